"""Gaps filled from a server's own history: what was missed comes as back-filled rows, each once, and nothing else."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from asyncua import ua
from hypothesis import given, settings
from hypothesis import strategies as st
from opcua_mine import MINE_URI, Heard, MineServer, listen, new_name, point, quick_source, the_mine
from opcua_proxy import Proxy

from connectors.opcua.gaps import Gap, Gaps
from connectors.opcua.services import READ_SIDE
from mines.clock import NO_TIME_MS
from mines.model import RowKind
from mines.quality import GOOD, Flag, Severity, severities

PERIOD_S = 0.2
_NUMBERS = itertools.count(500)  # numeric ids: asyncua's history refuses text in another of its stores


class Recorder:
    """A node of the mine with a history in the server's memory, or without one."""

    def __init__(self, mine: MineServer, *, history: bool = True, value: float = 0.0) -> None:
        self.mine, self.number = mine, next(_NUMBERS)
        self._index = mine.run(mine._server.get_namespace_index(MINE_URI))
        self.node = ua.NodeId(self.number, self._index)
        self.address = f"nsu={MINE_URI};i={self.number}"
        mine.run(self._added(history, value))

    async def _added(self, history: bool, value: float) -> None:
        name = ua.QualifiedName(str(self.number), 0)
        node = await self.mine._server.nodes.objects.add_variable(self.node, name, value)
        if history:
            await self.mine._server.historize_node_data_change(node, count=50_000)

    def write(self, value: float, time: datetime | None = None, status: int = 0) -> None:
        data = ua.DataValue(
            Value=ua.Variant(value, ua.VariantType.Double),
            StatusCode=ua.StatusCode(status),
            SourceTimestamp=time or datetime.now(UTC),
        )
        self.mine.run(self.mine._server.write_attribute_value(self.node, data))

    def passes(self, *values: float) -> None:
        """All but the last are in history only, a millisecond apart; the last is what stands."""
        begun = datetime.now(UTC)
        times = [begun + timedelta(milliseconds=n) for n in range(len(values))]
        self.record(list(zip(times, values, strict=True))[:-1])
        self.write(values[-1], times[-1])

    def record(self, values: list[tuple[datetime, float]]) -> None:
        """Puts values straight into the server's history: its own recorder drops what comes in a burst (U4)."""
        stored = self.mine._server.iserver.history_manager.storage._datachanges[self.node]
        stored += [ua.DataValue(Value=ua.Variant(v, ua.VariantType.Double), SourceTimestamp=at) for at, v in values]


async def with_a_gap(proxy: Proxy, points, during, until, **more) -> Heard:
    """Listens through a loss of the link; `during()` runs while the box hears nothing."""
    tasks: list[asyncio.Task[None]] = []

    async def outage() -> None:
        proxy.refusing = True
        proxy.cut()
        await asyncio.to_thread(during)
        proxy.refusing = False

    def meanwhile(heard: Heard) -> None:
        settled = all(heard.last(n) is not None for n in range(len(points)))
        if settled and not tasks:
            tasks.append(asyncio.create_task(outage()))

    source = quick_source(proxy.url, points, timeout_s=2.0, **more)
    return await listen(
        source, lambda h: bool(tasks) and tasks[0].done() and until(h), within_s=20, meanwhile=meanwhile
    )


def backfilled(heard: Heard, index: int) -> list[tuple[int, float]]:
    """(source time, value) of the rows that came out of history."""
    return [
        (int(at_ms), float(value))
        for batch in heard.batches(RowKind.BACKFILL)
        for at_ms, value in zip(
            batch.source_time_ms[batch.index == index], batch.value[batch.index == index], strict=True
        )
    ]


def live(heard: Heard, index: int) -> list[tuple[int, float]]:
    return [
        (int(at_ms), float(value))
        for batch in heard.batches(RowKind.SAMPLE)
        for at_ms, value, word in zip(batch.source_time_ms, batch.value, batch.quality, strict=True)
        for here in [batch.index[(batch.source_time_ms == at_ms) & (batch.value == value)]]
        if index in here and word == GOOD
    ]


def run_gap(points, during, until, **more) -> tuple[Heard, list[str]]:
    async def scenario() -> tuple[Heard, list[str]]:
        async with Proxy(points[0][1].port) as proxy:
            heard = await with_a_gap(proxy, [p for p, _ in points], during, until, **more)
            return heard, proxy.requests

    return asyncio.run(scenario())


def has_filled(rows: int):
    return lambda heard: sum(len(batch) for batch in heard.batches(RowKind.BACKFILL)) >= rows


@pytest.mark.parametrize("read", ["subscribe", "poll"])
def test_what_was_missed_comes_out_of_history_once_each_with_its_own_time_and_a_flag(read):
    mine = the_mine()
    first, second = Recorder(mine), Recorder(mine)
    points = [(point("a", first.address, PERIOD_S), mine), (point("b", second.address, PERIOD_S), mine)]

    def during() -> None:
        first.passes(*map(float, range(1, 11)))
        second.passes(*map(float, range(101, 111)))

    heard, requests = run_gap(points, during, has_filled(18), read=read)
    # The last of each is what stands when the session is back: it comes live, and not a second time.
    assert [value for _, value in backfilled(heard, 0)] == [float(n) for n in range(1, 10)]
    assert [value for _, value in backfilled(heard, 1)] == [100.0 + n for n in range(1, 10)]
    assert heard.last(0) == (10.0, GOOD)
    for index in (0, 1):
        times = [at_ms for at_ms, _ in backfilled(heard, index)]
        assert times == sorted(times)
        assert set(backfilled(heard, index)).isdisjoint(live(heard, index))
    for batch in heard.batches(RowKind.BACKFILL):
        assert (batch.quality & np.uint16(Flag.BACKFILLED)).all()
        assert (severities(batch.quality) == Severity.GOOD).all()
    assert [batch.batch_no for batch in heard.batches()] == list(range(1, len(heard.batches()) + 1))
    assert "HistoryRead" in requests
    assert set(requests) <= set(READ_SIDE.values())


def test_a_node_without_history_keeps_its_gap_and_the_others_are_filled():
    mine = the_mine()
    kept, plain = Recorder(mine), Recorder(mine, history=False)
    points = [(point("a", kept.address, PERIOD_S), mine), (point("b", plain.address, PERIOD_S), mine)]

    def during() -> None:
        kept.passes(1.0, 2.0, 3.0, 4.0, 5.0)
        plain.write(5.0)

    heard, _ = run_gap(points, during, has_filled(4))
    assert [value for _, value in backfilled(heard, 0)] == [1.0, 2.0, 3.0, 4.0]
    assert backfilled(heard, 1) == []


@pytest.mark.parametrize("page", [700, 10_000], ids=["continuation points", "full pages without one"])
def test_a_long_gap_comes_in_pages_and_whole(page, monkeypatch):
    mine = the_mine()
    recorder = Recorder(mine)
    monkeypatch.setattr(mine._server.iserver.history_manager.storage, "max_history_data_response_size", page)
    points = [(point("a", recorder.address, PERIOD_S), mine)]

    def during() -> None:
        begun = datetime.now(UTC)
        recorder.record([(begun + timedelta(milliseconds=n), float(n)) for n in range(1, 2501)])
        recorder.write(9999.0, begun + timedelta(seconds=10))

    heard, _ = run_gap(points, during, has_filled(2500))
    assert [value for _, value in backfilled(heard, 0)] == [float(n) for n in range(1, 2501)]
    assert len(heard.batches(RowKind.BACKFILL)) >= 3
    assert heard.last(0) == (9999.0, GOOD)


def test_live_values_go_on_while_history_is_read():
    mine = the_mine()
    recorder, lively = Recorder(mine), new_name()
    points = [(point("a", recorder.address, PERIOD_S), mine), (point("b", mine.add(lively, 0.0), PERIOD_S), mine)]

    def during() -> None:
        begun = datetime.now(UTC)
        recorder.record([(begun + timedelta(milliseconds=n), float(n)) for n in range(1, 4001)])
        recorder.write(9999.0, begun + timedelta(seconds=10))

    heard, _ = run_gap(points, during, has_filled(4000))
    kinds = [(at_s, item.kind) for at_s, item in zip(heard.at_s, heard.items, strict=True) if hasattr(item, "kind")]
    filling = [at_s for at_s, kind in kinds if kind == RowKind.BACKFILL]
    assert filling[-1] - filling[0] >= 1.0, "two thousand values a second at most"
    between = [at_s for at_s, kind in kinds if kind != RowKind.BACKFILL and filling[0] <= at_s <= filling[-1]]
    assert np.diff([filling[0], *between, filling[-1]]).max() <= PERIOD_S + 0.4


def test_a_value_that_did_not_change_asks_for_nothing():
    mine = the_mine()
    recorder = Recorder(mine)
    points = [(point("a", recorder.address, PERIOD_S), mine)]
    heard, requests = run_gap(points, lambda: None, lambda h: h.links[-1].reconnects == 1 and len(h.values(0)) >= 2)
    assert "HistoryRead" not in requests
    assert heard.batches(RowKind.BACKFILL) == []


def test_history_can_be_switched_off():
    mine = the_mine()
    recorder = Recorder(mine)
    points = [(point("a", recorder.address, PERIOD_S), mine)]

    def during() -> None:
        recorder.passes(1.0, 2.0)

    def until(heard: Heard) -> bool:
        return heard.last(0) == (2.0, GOOD) and len(heard.batches(RowKind.CONFIRM)) >= 6

    heard, requests = run_gap(points, during, until, history=False)
    assert "HistoryRead" not in requests
    assert heard.batches(RowKind.BACKFILL) == []


def gaps_of(points: int, *steps) -> list[Gap]:
    gaps = Gaps(points)
    for step in steps:
        if step is None:
            gaps.lost()
        else:
            index, times = zip(*step, strict=True)
            gaps.heard(np.array(index, dtype=np.int32), np.array(times, dtype=np.int64))
    return gaps.take(100)


def test_a_gap_lies_between_the_newest_time_before_and_the_first_after():
    assert gaps_of(2, [(0, 10), (1, 20), (0, 30), (0, 25)], None, [(0, 99), (0, 120)]) == [Gap(0, 30, 99)]


def test_nothing_is_a_gap_that_was_never_heard_before_or_went_back_or_has_no_time():
    assert gaps_of(4, [(0, 10), (2, 50), (3, NO_TIME_MS)], None, [(1, 99), (0, 10), (2, 40), (3, NO_TIME_MS)]) == []


def test_two_losses_without_a_word_between_them_are_one_gap():
    assert gaps_of(1, [(0, 10)], None, None, [(0, 50)]) == [Gap(0, 10, 50)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(1, 50), min_size=0, max_size=6), min_size=1, max_size=6))
def test_no_time_that_was_heard_live_lies_within_a_gap_while_a_devices_clock_runs_on(sessions):
    gaps, at_ms, heard = Gaps(1), 1000, []
    for steps in sessions:
        times = list(itertools.accumulate(steps, initial=at_ms))[1:]
        if times:
            gaps.heard(np.zeros(len(times), dtype=np.int32), np.array(times, dtype=np.int64))
            heard += times
            at_ms = times[-1]
        gaps.lost()
        at_ms += 500
    found = []
    while taken := gaps.take(10):
        found += taken
    for gap in found:
        assert gap.after_ms in heard
        assert gap.before_ms in heard
        assert not [t for t in heard if gap.after_ms < t < gap.before_ms]
    assert len(found) == max(sum(bool(steps) for steps in sessions) - 1, 0)
