"""Journal to packed history under power cuts and kills: the rows are the same before, after and in between. (F01, F03)

Packing, statistics and the chain run on a disk that writes down what is done to it; before every operation the power
goes, and what is then found must read the same, and come to the same end when the worker runs again.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from power_cut_vfs import RecordingDisk, put
from store_hours import POINTS, life_of_hours
from store_sites import site_of

from mines.store.disk import Disk, SystemDisk
from mines.store.layout import DataFolder
from mines.store.packing import pack_sealed
from mines.store.proof import extend
from mines.store.query import stretch_rows
from mines.store.reader import Reader
from mines.store.summing import sum_packed
from mines.store.verify import verify

HOURS = 4
WORK = """
import sys
from pathlib import Path
from mines.store.disk import SystemDisk
from mines.store.layout import DataFolder
from mines.store.packing import pack_sealed
from mines.store.proof import extend
from mines.store.summing import sum_packed
folder, disk = DataFolder(Path(sys.argv[1])), SystemDisk()
print("begins", flush=True)
pack_sealed(folder, disk)
sum_packed(folder, disk)
extend(folder, disk, time_ms=1)
"""


def work(data: Path, disk: Disk | None = None) -> None:
    """What the worker does once a minute."""
    folder, disk = DataFolder(data), disk or SystemDisk()
    pack_sealed(folder, disk)
    sum_packed(folder, disk)
    extend(folder, disk, time_ms=1)


def rows_of(data: Path) -> object:
    """Every stored row and confirmation, bit for bit."""
    reader = Reader(data)
    samples, confirmed = reader.samples_of(POINTS), reader.confirmations_of(POINTS)
    columns = [getattr(rows, f.name).tobytes() for rows in samples.values() for f in dataclasses.fields(rows)]
    return columns, [times.tolist() for times in confirmed.values()]


def rollups_of(data: Path) -> object:
    return [stretch_rows(Reader(data).hourly(point, 0, 2**60)) for point in POINTS]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A data folder that nobody has packed yet, and one that was packed in peace."""
    site = site_of(tmp_path_factory.mktemp("handover") / "site", {"s": 4, "t": 2})
    life_of_hours(site, hours=HOURS, each=6)
    done = site.data.with_name("done")
    shutil.copytree(site.data, done)
    work(done)
    assert verify(DataFolder(done)).problem == ""
    return site.data, done


def check(data: Path, begun: tuple[Path, Path]) -> None:
    before, done = begun
    assert rows_of(data) == rows_of(before)
    work(data)
    assert rows_of(data) == rows_of(before)
    assert rollups_of(data) == rollups_of(done)
    assert verify(DataFolder(data)).problem == ""


def check_cuts(begun: tuple[Path, Path], place: Path, *, every: int, seed: int | None = None) -> int:
    before, _ = begun
    data = place / "run"
    shutil.copytree(before, data)
    disk = RecordingDisk({path: path.read_bytes() for path in data.rglob("*") if path.is_file()})
    work(data, disk)
    disk.unregister()
    made = 0
    for cut, found in disk.tape.cuts(seed):
        if cut % every == 0 or cut == len(disk.tape.operations):
            left = place / "left"
            left.mkdir()
            put(found(), data, left)
            try:
                check(left, begun)
            except BaseException as err:
                err.add_note(f"the power went before operation {cut} of {len(disk.tape.operations)}, seed {seed}")
                raise
            shutil.rmtree(left)
            made += 1
    return made


def test_a_power_cut_in_the_handover_loses_and_doubles_nothing(begun, tmp_path):
    assert check_cuts(begun, tmp_path, every=29) > 10


@pytest.mark.long
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_power_cut_before_every_operation_of_the_handover_loses_and_doubles_nothing(begun, tmp_path, seed):
    assert check_cuts(begun, tmp_path, every=1, seed=seed) > 200


def check_kills(begun: tuple[Path, Path], place: Path, rounds: int) -> None:
    before, _ = begun
    chance = random.Random(rounds)
    for number in range(rounds):
        data = place / f"kill{number}"
        shutil.copytree(before, data)
        process = subprocess.Popen([sys.executable, "-P", "-c", WORK, str(data)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begins\n"
        time.sleep(chance.uniform(0, 0.12))
        process.kill()
        process.wait(10)
        process.stdout.close()
        check(data, begun)
        shutil.rmtree(data)


def test_kills_of_the_worker_lose_and_double_nothing(begun, tmp_path):
    check_kills(begun, tmp_path, 6)


@pytest.mark.long
def test_two_hundred_kills_of_the_worker_lose_and_double_nothing(begun, tmp_path):
    check_kills(begun, tmp_path, 200)
