"""The one entry to the score of a mine whose box this is: site and data folder in, score out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from compliance.evidence import EvidenceReader, Vouching, gather_evidence
from compliance.mine_record import MineRecord
from compliance.rule_pack import scoring_rules
from compliance.scoring import ScoreDocument, score
from compliance.template import make_template, required_subsystems
from compliance.window import Window, months_before
from mines.model import Point
from mines.site.point_list import read_points
from mines.site.problems import POINTS_FILES, Findings
from mines.site.site_file import Site


class AcceptedSite(Protocol):
    """A site that was taken into use at a time."""

    @property
    def sha256(self) -> str: ...
    @property
    def time_ms(self) -> int: ...


class SiteReader(EvidenceReader, Protocol):
    """What a score needs of `mines.store.reader.Reader`: rows, and the sites that were accepted before."""

    def accepted_sites(self) -> Sequence[AcceptedSite]:
        """Oldest first."""
        ...

    def site_files(self, sha256: str) -> Mapping[str, bytes]:
        """The files of an accepted site by name."""
        ...


def score_site(site: Site, reader: SiteReader, as_of_ms: int) -> ScoreDocument:
    """The score of a site over the window of the rule pack that ends at a moment.

    Args:
        site: As read now.
        reader: Of the site's data folder; an empty one makes everything unknown.
        as_of_ms: End of the window, exclusive [ms UTC].
    Raises:
        StoreError: the data folder cannot be read.
    Source: indicators §1 and §2; window of compliance/rules/duty.toml.
    """
    pack = scoring_rules()
    window = months_before(as_of_ms, round(pack.number("window", "months")))
    earlier = _earlier_points(site, reader, window)
    template = make_template(site.process_points, earlier, required_subsystems(site.subsystems), pack)
    vouching = Vouching(pack.number("vouching", "periods"), pack.number("vouching", "slack_s"))
    evidence = gather_evidence(reader, template.expected, window, vouching)
    record = MineRecord(site.mine, site.subsystems, site.certificates, site.simulated)
    return score(record, template, evidence, pack)


def _earlier_points(site: Site, reader: SiteReader, window: Window) -> Iterator[Point]:
    """Points of every other site that was in use in the window: what was expected once stays expected."""
    accepted = reader.accepted_sites()
    ends = [*(later.time_ms for later in accepted[1:]), window.to_ms]
    for entry, end_ms in zip(accepted, ends, strict=False):  # one end too many where nothing was ever accepted
        if entry.sha256 == site.sha256 or end_ms <= window.from_ms or entry.time_ms >= window.to_ms:
            continue
        for name, data in reader.site_files(entry.sha256).items():
            if name in POINTS_FILES:
                yield from read_points(data, None, Findings(), file=name).points
