"""No good value ever stands under another point's name, whatever becomes of the replies of an OPC UA server.

Node k of the server only ever holds k + 1000 × n, so each value says whose it is. Between server and source sits a wire
that draws its manners reply by reply: passed on, lost, late, twice, swapped with the next, cut short, with another
request's number, another place in the sequence, another channel or token, with a handle that nobody subscribed to, or
the connection is reset. Values that the server itself sends under a wrong handle of the same subscription cannot be
told by any client and are not drawn. The points are read by subscription and shuffled from source to source.
"""

import asyncio
import itertools
import struct
from collections import Counter
from random import Random

import pytest
from opcua_mine import Heard, MineServer, listen, point, quick_source
from opcua_proxy import Proxy, message_body, message_type, type_number

from mines.model import Batch
from mines.quality import GOOD, Reason, reason_of

NODES = 20
STEP = 1000  # node k holds k, k + STEP, k + 2 × STEP …
PUBLISH_RESPONSE = 829
MANNERS = (
    "lost", "late", "twice", "swapped", "cut short", "other request", "other sequence", "other channel", "other token",
    "unknown handle", "resets",
)  # fmt: skip


class RogueWire(Proxy):
    """A proxy that draws what becomes of each whole chunk from the server; the first few pass, so that there is one."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(port)
        self.did: Counter[str] = Counter()
        self._random = Random(seed)
        self._held = b""
        self.rewrite = self._drawn

    @property
    def cases(self) -> int:
        """Replies that were not simply passed on."""
        return self.did.total() - self.did["passed on"]

    def _drawn(self, chunk: bytes) -> bytes:
        manner = self._random.choice(MANNERS) if self._random.random() < 0.25 else "passed on"
        if message_type(chunk) != "MSG":
            manner = "passed on"
        held, self._held = self._held, b""
        self.did[manner] += 1
        return held + self._treated(manner, chunk)

    def _treated(self, manner: str, chunk: bytes) -> bytes:
        match manner:
            case "lost":
                return b""
            case "late" | "swapped":  # behind the next one: late where that comes after a deadline
                self._held = chunk
                return b""
            case "twice":
                return chunk * 2
            case "cut short":
                keep = self._random.randrange(24, len(chunk))
                return chunk[:4] + struct.pack("<I", keep) + chunk[8:keep]
            case "other channel" | "other token" | "other sequence" | "other request":
                at = {"other channel": 8, "other token": 12, "other sequence": 16, "other request": 20}[manner]
                (number,) = struct.unpack_from("<I", chunk, at)
                number += self._random.choice([-2, -1, 1, 2])
                return chunk[:at] + struct.pack("<I", number % 2**32) + chunk[at + 4 :]
            case "unknown handle":
                return _with_unknown_handle(chunk)
            case "resets":
                self.cut()
                return chunk[: self._random.randrange(len(chunk))]
        return chunk


def _with_unknown_handle(chunk: bytes) -> bytes:
    """Every client handle below NODES in a publish response that is followed by a data value of a Double, moved up."""
    if type_number(message_body(chunk)) != PUBLISH_RESPONSE:
        return chunk
    out = bytearray(chunk)
    for at in range(24, len(chunk) - 6):
        handle, mask, kind = struct.unpack_from("<IBB", chunk, at)
        if handle < NODES and mask & 0x01 and mask < 0x40 and kind == 11:
            struct.pack_into("<I", out, at, handle + 10_000)
    return bytes(out)


async def every_good_value_is_its_points_own(mine: MineServer, names: list[str], seed: int, until: int) -> Counter[str]:
    """Reads through a rogue wire until so many replies were treated; returns how many rows came out which way."""
    rows: Counter[str] = Counter()
    chance = Random(seed)
    order = list(range(NODES))
    chance.shuffle(order)
    points = [point(f"p{k}", names[k], chance.choice([0.05, 0.1])) for k in order]
    async with RogueWire(mine.port, seed) as wire:
        source = quick_source(wire.url, points, timeout_s=0.2, second_look_s=0.2, ask_refused_again_s=0.2)

        def check(heard: Heard) -> None:
            batch = heard.items.pop() if isinstance(heard.items[-1], Batch) else None
            heard.at_s.clear()
            if batch is None or batch.kind != 0:
                return
            for index, value, word in zip(batch.index, batch.value, batch.quality, strict=True):
                rows[reason_of(int(word)).name] += 1
                if word & 0xC000 == GOOD & 0xC000 and value == value:
                    assert value % STEP == order[index], (points[index].id, value, seed)

        await listen(source, lambda heard: wire.cases >= until, within_s=500, meanwhile=check)
    return rows + Counter({f"wire: {manner}": n for manner, n in wire.did.items()})


def check(seed: int, *, sources: int, until: int, off_by: int = 0) -> Counter[str]:
    """A server whose values change all the time, and sources that read it side by side; `off_by` nodes beside."""
    mine = MineServer().start()
    try:
        names = [mine.add(f"k{k}", float(k)) for k in range(NODES)]
        names = names[off_by:] + names[:off_by]

        async def scenario() -> Counter[str]:
            done = asyncio.Event()
            writing = asyncio.create_task(asyncio.to_thread(_change, mine, done))
            jobs = [every_good_value_is_its_points_own(mine, names, seed + i, until) for i in range(sources)]
            try:
                return sum(await asyncio.gather(*jobs), Counter())
            finally:
                done.set()
                await writing

        return asyncio.run(asyncio.wait_for(scenario(), 900))
    finally:
        mine.stop()


def _change(mine: MineServer, done: asyncio.Event) -> None:
    """Every 50 ms five nodes get their next value, until done or for fifteen minutes."""
    step = itertools.count(1)

    async def changed(n: int) -> None:
        for k in range(n % 4, NODES, 4):
            await mine.set_value(f"k{k}", float(k + STEP * n))
        await asyncio.sleep(0.05)

    for n in itertools.islice(step, 18_000):
        if done.is_set():
            return
        mine.run(changed(n))


@pytest.mark.parametrize(
    ("sources", "until"), [(3, 8), pytest.param(25, 400, marks=pytest.mark.long)], ids=["a few", "10,000 cases"]
)
def test_no_good_value_stands_under_another_points_name(sources, until):
    rows = check(seed=7, sources=sources, until=until)
    assert rows[Reason.NONE.name] > 0
    assert rows[Reason.NO_COMMUNICATION.name] > 0, "the wire was not rogue enough to prove anything"
    if until > 100:
        assert all(rows[f"wire: {manner}"] > 0 for manner in MANNERS)


def test_the_proof_can_fail():
    """A source that reads its neighbour's nodes would be found out."""
    with pytest.raises(AssertionError, match=r"p[0-9]+"):
        check(seed=1, sources=1, until=8, off_by=1)
