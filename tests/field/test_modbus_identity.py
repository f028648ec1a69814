"""No good value ever stands under another point's name, whatever a device does and in whatever order the points stand.

Every register holds its own unit, table and address (`modbus_devices.content`), so each value says whose it is. The
device answers at random: properly, late, too late and together with the next reply, cut short, with the wrong count,
function, unit or transaction, with exceptions, not at all, or by hanging up. Then the points are shuffled, the source
is built anew, and everything must hold again (peers §4 A and B: two others fail this).
"""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_devices import Device, content
from modbus_points import modbus_point, modbus_source
from modbus_rogue import Rogue
from modbus_streams import Watch

from connectors.modbus.codec import BlockDecoder
from connectors.modbus.mbap import ReplyGuard, Verdict
from mines.model import Point
from mines.quality import GOOD, Reason, reason_of

TIMEOUT_S = 0.02
WIDTHS = {"uint16": 1, "uint32": 2, "uint64": 4}


def some_points(chance: random.Random) -> list[Point]:
    """Points of up to three units, crowded so that blocks form, split and overlap."""
    points = []
    for number in range(chance.randint(3, 30)):
        unit, table, register = chance.randint(1, 3), chance.choice(["holding", "input"]), chance.randint(0, 40)
        data_type = chance.choice(sorted(WIDTHS))
        period_s = chance.choice([0.03, 0.03, 0.08])
        point = modbus_point(f"{unit}/{table}/{register}", data_type, id=f"p{number}", period_s=period_s)
        points.append(point)
    return points


def expected(point: Point) -> float:
    unit, table, register = point.address.split("/")
    function = 3 if table == "holding" else 4
    words = [content(int(unit), function, int(register) + at) for at in range(WIDTHS[point.data_type])]
    value = 0
    for word in words:
        value = value << 16 | word
    return float(value)


async def every_good_value_is_its_points_own(points: list[Point], seed: int) -> Counter[str]:
    """Reads with a rogue device for a while; returns how many rows came out which way."""
    rows: Counter[str] = Counter()
    async with Device(Rogue(seed, TIMEOUT_S)) as device:
        limits = {
            "timeout_s": TIMEOUT_S,
            "backoff_s": 0.005,
            "backoff_max_s": 0.02,
            "max_registers": 16,
            "max_gap": seed % 3,
        }
        async with Watch(modbus_source(points, device.port, **limits)) as watch:
            seen = await watch.cycles(8, within_s=20)
            for batch in seen.batches:
                for index, value, quality in zip(batch.index, batch.value, batch.quality, strict=True):
                    rows[reason_of(int(quality)).name] += 1
                    if quality == GOOD:
                        assert value == expected(points[index]), (points[index].id, points[index].address, seed)
                    else:
                        assert value != value
    return rows


async def many(seed: int, sources: int) -> Counter[str]:
    """Independent rogues at the same time: the waiting is shared."""
    jobs = []
    for number in range(sources):
        chance = random.Random(seed * 1_000 + number)
        points = some_points(chance)
        for _ in range(2):
            jobs.append(every_good_value_is_its_points_own(list(points), chance.randrange(1 << 30)))
            chance.shuffle(points)
    total: Counter[str] = Counter()
    for rows in await asyncio.gather(*jobs, return_exceptions=True):
        if isinstance(rows, BaseException):
            raise rows
        total += rows
    return total


def check(seed: int, sources: int) -> None:
    rows = asyncio.run(asyncio.wait_for(many(seed, sources), 60))
    assert rows[Reason.NONE.name] > 0
    assert len(rows) > 3, "the device was not rogue enough to prove anything"


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 1 << 20))
def test_no_good_value_stands_under_another_points_name(seed):
    check(seed, sources=6)


@pytest.mark.long
@settings(deadline=None, max_examples=105)
@given(st.integers(0, 1 << 20))
def test_no_good_value_stands_under_another_points_name_in_ten_thousand_runs(seed):
    check(seed, sources=48)


def test_the_proof_can_fail(monkeypatch):
    """A client that takes whatever comes for its answer would be found out."""
    decode = BlockDecoder.decode

    def credulous(guard: ReplyGuard, frame: bytes) -> Verdict:
        return Verdict.ANSWERED if frame[7] in (3, 4) and len(frame) > 9 else Verdict.REFUSED

    def decode_what_comes(decoder: BlockDecoder, *replies: bytes):
        sized = [reply[:size].ljust(size, b"\0") for reply, size in zip(replies, decoder.sizes, strict=True)]
        return decode(decoder, *sized)

    monkeypatch.setattr(ReplyGuard, "_judge", credulous)
    monkeypatch.setattr(BlockDecoder, "decode", decode_what_comes)
    with pytest.raises(AssertionError, match=r"p[0-9]+"):
        check(seed=1, sources=12)
