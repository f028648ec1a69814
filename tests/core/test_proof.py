"""Proof: what is altered is named, or alters nothing that anybody can ask for; cuts and rewriting show at an anchor."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_box import Life
from store_frames import START_MS
from store_hours import POINTS, life_of_hours
from store_sites import site_of
from typer.testing import CliRunner

import minewatch
from mines.model import Actor
from mines.store.chain import GENESIS, link
from mines.store.disk import SystemDisk, reading
from mines.store.layout import DataFolder
from mines.store.ledger import Ledger
from mines.store.packing import pack_sealed
from mines.store.proof import Head, box_key, canonical, extend, open_proof, read_head_file, read_links, signed
from mines.store.reader import Reader
from mines.store.summing import sum_packed
from mines.store.verify import verify

DISK = SystemDisk()
HOUR = 3_600_000
NOW = START_MS + 10 * HOUR


def grown(site, boot="b9"):
    """One more hour of life, closed."""
    life = Life(site, boot=boot)
    life.run(2)
    life.store.close()


def close_hours(folder):
    pack_sealed(folder, DISK)
    sum_packed(folder, DISK)
    return extend(folder, DISK, time_ms=NOW)


@pytest.fixture(scope="module")
def proved(tmp_path_factory):
    """A data folder of which all that is closed is proved, and its site."""
    site = site_of(tmp_path_factory.mktemp("proof") / "site", {"s": 4, "t": 2})
    life_of_hours(site, hours=5)
    grown(site)
    with Ledger(DataFolder(site.data).ledger_db) as ledger:
        for k in range(3):
            ledger.append(Actor("d1", "李", "dispatcher", "desk"), "acknowledge", [("s.0/high_alarm", k)], time_ms=NOW)
    close_hours(DataFolder(site.data))
    return site


def copied(site, tmp_path, name="copy"):
    data = tmp_path / name
    shutil.copytree(site.data, data)
    return dataclasses.replace(site, data=data)


def asked(site):
    """All that queries and hashes give: samples, confirmations, rollups, events, acts."""
    reader, folder = Reader(site.data), DataFolder(site.data)
    samples, confirmed = reader.samples_of(POINTS), reader.confirmations_of(POINTS)
    half = reader.samples_of(POINTS, START_MS + 3_700_000, START_MS + 7_300_000)
    rollups = [reader.hourly(point, START_MS - HOUR, START_MS + 9 * HOUR) for point in POINTS]
    columns = [
        getattr(rows, field.name).tobytes()
        for rows in (*samples.values(), *half.values(), *rollups)
        for field in dataclasses.fields(rows)
    ]
    events = [event.canonical() for event in reader.events()]
    with Ledger(folder.ledger_db) as ledger:
        acts = [repr(act) for act in ledger.acts_after(0)]
    return columns, {point: times.tolist() for point, times in confirmed.items()}, events, acts


def test_what_is_closed_is_proved_and_verifies(proved):
    verdict = verify(DataFolder(proved.data))
    assert verdict.problem == ""
    assert (verdict.parts, verdict.links > 10) == (5, True)
    assert verdict.rows == sum(len(Reader(proved.data).samples(point)) for point in POINTS) - 2 * len(POINTS), (
        "the open hour"
    )


def test_linking_again_adds_nothing(proved, tmp_path):
    assert close_hours(DataFolder(copied(proved, tmp_path).data)) is None


FILES = ["raw/2026-02.db", "stats/2026.db", "events.db", "points.db", "ledger.db", "proof.db", "journal/*"]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_altered_byte_anywhere_is_named_or_alters_nothing(proved, tmp_path_factory, data):
    site = copied(proved, tmp_path_factory.mktemp("altered"))
    files = sorted(
        path
        for pattern in FILES
        for path in site.data.glob(pattern)
        if path.is_file() and not path.name.endswith("lock")
    )
    path = data.draw(st.sampled_from(files))
    newest_segment = sorted(site.data.glob("journal/*.db"))[-1]
    if path == newest_segment:
        return  # the open hour is not proved, and the pages say so
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    if not verify(DataFolder(site.data)).problem:
        assert asked(site) == asked(proved)
    shutil.rmtree(site.data)


def remove_part(folder: DataFolder) -> None:
    (month,) = folder.raw_months()
    database = DISK.connect(month)
    (newest,) = database.execute("SELECT max(first_seq) FROM parts").fetchone()
    for table in ("parts", "chunks", "times"):
        database.execute(f"DELETE FROM {table} WHERE first_seq = ?", (newest,))
    database.close()


def cut_events(folder: DataFolder) -> None:
    database = DISK.connect(folder.events_db)
    database.execute("DELETE FROM events WHERE seq > 1")
    database.close()


def cut_chain(folder: DataFolder) -> None:
    database = DISK.connect(folder.proof_db)
    database.execute("DELETE FROM links WHERE n > 3")
    database.close()


def swap_links(folder: DataFolder) -> None:
    database = DISK.connect(folder.proof_db)
    for old, new in ((2, -1), (3, 2), (-1, 3)):
        database.execute("UPDATE links SET n = ? WHERE n = ?", (new, old))
    database.close()


def no_ledger(folder: DataFolder) -> None:
    folder.ledger_db.unlink()


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (remove_part, "is missing"),
        (cut_events, "events.db: cut off"),
        (cut_chain, "proof.db: cut off before link"),
        (swap_links, "link 2 .* altered or out of order"),
        (no_ledger, "ledger.db: is missing"),
    ],
    ids=lambda thing: thing.__name__ if callable(thing) else "",
)
def test_what_is_missing_moved_or_cut_is_named(proved, tmp_path, tamper, named):
    folder = DataFolder(copied(proved, tmp_path).data)
    tamper(folder)
    assert re.search(named, verify(folder).problem)


def newest_anchor(folder: DataFolder) -> Path:
    return sorted((folder.outbox / "heads").iterdir())[-1]


def rewrite(folder: DataFolder, keep: int, *, new_key: bool) -> None:
    """What the box's owner could do: cut the end off the chain, or sign everything anew with another key."""
    if new_key:
        (folder.keys / "box.key").unlink()
    with reading(folder.proof_db) as database:
        documents = [document for _, document, _ in read_links(database)][:keep]
    folder.proof_db.unlink()
    database = open_proof(folder, DISK)
    digest = GENESIS
    for n, document in enumerate(documents, start=1):
        digest = link(digest, canonical(document))
        database.execute("INSERT INTO links VALUES (?, ?, ?)", (n, canonical(document), digest))
    head = signed(box_key(folder, DISK), len(documents), digest, NOW)
    database.execute("INSERT INTO heads VALUES (?, ?, ?)", (head.n, head.canonical, head.signature))
    database.close()


@pytest.mark.parametrize(
    ("less", "new_key", "named"),
    [(2, False, "cut off before link"), (0, True, "another key than the anchor's")],
    ids=["a cut tail, signed again", "signed anew by another key"],
)
def test_a_chain_that_was_written_anew_is_found_against_an_anchor_only(proved, tmp_path, less, new_key, named):
    folder = DataFolder(copied(proved, tmp_path).data)
    anchor = read_head_file(newest_anchor(folder))
    assert verify(folder, anchor).problem == ""
    rewrite(folder, anchor.n - less, new_key=new_key)
    assert verify(folder).problem == ""
    assert named in verify(folder, anchor).problem


def test_a_forged_anchor_is_no_anchor(proved):
    head = json.loads(newest_anchor(DataFolder(proved.data)).read_bytes())
    forged = Head.from_json({**head, "time_ms": head["time_ms"] + 1})
    assert "signature of the anchor" in verify(DataFolder(proved.data), forged).problem


def test_the_key_is_its_owners_only(proved):
    path = DataFolder(proved.data).keys / "box.key"
    assert path.stat().st_mode & 0o077 == 0


def test_verify_command_says_what_holds_and_names_what_does_not(proved, tmp_path):
    site = copied(proved, tmp_path)
    runner = CliRunner()
    good = runner.invoke(
        minewatch.app, ["verify", str(site.data), "--json", "--anchor", str(newest_anchor(DataFolder(site.data)))]
    )
    assert good.exit_code == 0, good.output
    document = json.loads(good.stdout)
    assert (document["ok"], document["problem"], document["parts"]) == (True, "", 5)
    remove_part(DataFolder(site.data))
    bad = runner.invoke(minewatch.app, ["verify", str(site.data), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["ok"] is False
