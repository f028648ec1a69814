"""The power goes before every single operation of the disk; the box starts again from what is left. (F03: R1, R2)

Checked at every cut: what was acknowledged is there (frames below the watermark bit for bit, every ledger row), nothing
is there that was not written, events are exactly those of the frames, every database is whole, and the box goes on.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from power_cut_vfs import RecordingDisk, Tape, put
from store_box import Life, open_box
from store_frames import bits
from store_processes import append
from store_sites import make_point, make_site

from mines.events import EventKind
from mines.site.site_file import Site
from mines.store import journal
from mines.store.disk import SystemDisk
from mines.store.frame import Frame, Watermark
from mines.store.ledger import Ledger
from mines.store.reader import Reader

SEGMENT_BYTES = 900  # a few frames: the script goes through several segments


@dataclass
class Script:
    """What was done, in the order in which it was done, and the tape of the disk."""

    folder: Path
    tape: Tape
    sites: list[Site]
    frames: list[Frame] = field(default_factory=list)


def run_script(folder: Path, disk: RecordingDisk) -> Script:
    """Two lives of a box and a ledger beside it: a first site, then one with a point renamed and one added."""
    first = make_site(folder / "site", [make_point("a"), make_point("b", "t")], ("s", "t"))
    points = [make_point("c"), make_point("a2", formerly="a"), make_point("b", "t")]
    second = make_site(folder / "site2", points, ("s", "t"))
    second = dataclasses.replace(second, data=first.data)
    script = Script(folder, disk.tape, [first, second])
    first.data.mkdir(parents=True)
    with Ledger(first.data / "ledger.db", disk) as ledger:
        for site, boot in ((first, "b1"), (second, "b2")):
            disk.tape.say(site)
            life = Life(site, boot=boot, disk=disk)
            for step in range(7):
                frame = life.frame(events=life.site_accepted()) if step == 1 else life.frame()
                script.frames.append(frame)
                disk.tape.say(life.commit(frame))
                disk.tape.say(append(ledger))
            life.store.close()
    return script


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "SEGMENT_BYTES", SEGMENT_BYTES)
        disk = RecordingDisk()
        yield run_script(tmp_path_factory.mktemp("script"), disk)
        disk.unregister()


def said(script: Script, cut: int, kind: type) -> list:
    return [what for what in script.tape.said_before(cut) if type(what) is kind]


def assert_survived(script: Script, cut: int, data: Path, disk: SystemDisk | None = None) -> None:
    """The box starts from `data`, has everything acknowledged before `cut`, and nothing that was never written."""
    site = dataclasses.replace((said(script, cut, Site) or script.sites)[-1], data=data)
    life = Life(site, boot="after", disk=disk)
    store, promised = life.store, (said(script, cut, Watermark) or [Watermark(0, 0, 0)])[-1]
    assert store.recovered == []
    frames = list(Reader(data).frames())
    assert bits(frames) == bits(script.frames[: len(frames)])
    assert len(frames) >= promised.frame
    events = [event for frame in frames for event in frame.events]
    assert list(store.log_tail) == events
    rows = sum(len(item.batch) for frame in frames for tick in frame.ticks for item in tick.batches)
    assert store.watermark == Watermark(len(frames), rows, len(events))
    assert Reader(data).broken_event() is None
    assert_every_row_is_found_by_its_point(script, data, frames)
    told = [event.detail["site_sha256"] for event in events if event.kind == EventKind.SITE_ACCEPTED]
    assert store.site_changed is not None or site.sha256 in told  # a change of the site is told sooner or later
    assert life.commit().frame == len(frames) + 1  # and life goes on
    store.close()
    assert_ledger(data, (said(script, cut, int) or [0])[-1])
    assert integrity(data) == {"ok"}


def assert_every_row_is_found_by_its_point(script: Script, data: Path, frames: list[Frame]) -> None:
    found = Reader(data).samples_of(["a", "b"])  # a by its old name too
    expected = {"a": [], "b": []}
    for frame in frames:
        at_a = 0 if frame.boot_id == "b1" else 1
        for item in frame.ticks[0].batches:
            expected["b" if item.source else "a"].append(float(item.batch.value[0 if item.source else at_a]))
    for point, values in expected.items():
        assert found[point].value.tolist() == values


def assert_ledger(data: Path, promised: int) -> None:
    with Ledger(data / "ledger.db") as ledger:
        numbers = [act.ledger_id for act in ledger.acts_after(0)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= promised
        assert ledger.verify() is None


def integrity(data: Path) -> set[str]:
    found = set()
    for path in data.rglob("*.db"):
        database = sqlite3.connect(path)
        found |= {row[0] for row in database.execute("PRAGMA integrity_check")}
        database.close()
    return found


def check_cuts(script: Script, place: Path, *, every: int, first: int = 0, seed: int | None = None) -> int:
    """Cuts before every `every`-th operation, and after the last. Returns how many cuts were made."""
    made = 0
    for cut, found in script.tape.cuts(seed):
        if cut % every == first or cut == len(script.tape.operations):
            data = place / "data"
            data.mkdir()
            put(found(), script.sites[0].data, data)
            try:
                assert_survived(script, cut, data)
            except BaseException as err:
                err.add_note(f"the power went before operation {cut} of {len(script.tape.operations)}, seed {seed}")
                raise
            shutil.rmtree(data)
            made += 1
    return made


def test_the_script_goes_through_everything_that_a_box_does_to_its_disk(script):
    kinds = {operation.kind for operation in script.tape.operations}
    touched = {operation.path.name for operation in script.tape.operations if operation.kind == "write"}
    assert kinds == {"create", "write", "truncate", "sync", "remove", "rename", "sync_folder"}
    assert {"events.db-wal", "points.db-wal", "ledger.db-journal", "000000000001.db-wal", "schema.json.part"} <= touched
    assert len([name for name in touched if name.startswith("0") and name.endswith(".db")]) >= 4
    assert [what.frame for what in said(script, 10**9, Watermark)] == list(range(1, 15))
    assert len(script.tape.operations) > 300


def test_what_was_acknowledged_survives_a_power_cut(script, tmp_path):
    assert check_cuts(script, tmp_path, every=47) > 10


def test_it_survives_also_where_un_synced_writes_are_there_in_part_and_torn(script, tmp_path):
    assert check_cuts(script, tmp_path, every=59, first=7, seed=1) > 8


@pytest.mark.long
def test_what_was_acknowledged_survives_a_power_cut_before_every_single_operation(script, tmp_path):
    assert check_cuts(script, tmp_path, every=1) == len(script.tape.operations) + 1


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 3))
def test_it_survives_torn_writes_before_every_single_operation(script, tmp_path, seed):
    assert check_cuts(script, tmp_path, every=1, seed=seed) == len(script.tape.operations) + 1


def check_second_cuts(script: Script, place: Path, cut: int, found: dict[Path, bytes], *, every: int) -> int:
    """The power goes again while the box recovers from a first cut: before every `every`-th operation of that start."""
    first, second = place / "first", place / "second"
    first.mkdir()
    put(found, script.sites[0].data, first)
    disk = RecordingDisk({first / path.relative_to(script.sites[0].data): content for path, content in found.items()})
    site = dataclasses.replace((said(script, cut, Site) or script.sites)[-1], data=first)
    open_box(site, boot="between", disk=disk).close()
    disk.unregister()
    made = 0
    for again, left in disk.tape.cuts():
        if again % every == 0:
            second.mkdir()
            put(left(), first, second)
            assert_survived(script, cut, second)
            shutil.rmtree(second)
            made += 1
    shutil.rmtree(first)
    return made


def in_the_middle(script: Script, count: int) -> dict[int, dict[Path, bytes]]:
    chosen = set(random.Random(7).sample(range(len(script.tape.operations)), count))
    return {cut: found() for cut, found in script.tape.cuts() if cut in chosen}


def test_a_second_cut_while_recovering_loses_no_more(script, tmp_path):
    for cut, found in in_the_middle(script, 2).items():
        assert check_second_cuts(script, tmp_path, cut, found, every=17) > 1


@pytest.mark.long
def test_a_second_cut_before_every_operation_of_a_recovery_loses_no_more(script, tmp_path):
    for cut, found in in_the_middle(script, 8).items():
        assert check_second_cuts(script, tmp_path, cut, found, every=1) > 10


class NotFull(RecordingDisk):
    """A disk on which the store's databases do not sync each commit."""

    def connect(self, path):
        return _Weakened(super().connect(path))


class _Weakened:
    def __init__(self, database):
        self._database = database

    def execute(self, sql, parameters=(), /):
        return self._database.execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), parameters)

    def close(self):
        self._database.close()


def test_the_check_finds_a_store_that_does_not_sync(tmp_path, monkeypatch):
    """The same script with synchronous=NORMAL must fail: else the check could not."""
    monkeypatch.setattr(journal, "SEGMENT_BYTES", SEGMENT_BYTES)
    disk = NotFull()
    weak = run_script(tmp_path / "script", disk)
    disk.unregister()
    said_durable = next(done for done, what in weak.tape.said if type(what) is Watermark)
    found = next(found() for cut, found in weak.tape.cuts() if cut == said_durable)
    (tmp_path / "data").mkdir()
    put(found, weak.sites[0].data, tmp_path / "data")
    with pytest.raises(AssertionError, match=r"assert 0 >= 1"):
        assert_survived(weak, said_durable, tmp_path / "data")
