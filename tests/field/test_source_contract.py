"""The promises of `mines/source.py`, held over every kind of source; the benches: tests/support/source_rigs.py."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import numpy as np
import pytest
from modbus_streams import Seen, Watch
from source_rigs import PERIOD_S, RIGS, Rig

from mines.model import Batch, LinkReport, LinkState, RowKind
from mines.quality import Reason, Severity, severities

SLACK_S = 0.4
"""What a busy test machine may add to a period."""

over_every_source = pytest.mark.parametrize("kind", RIGS)


def run(kind: str, test: Callable[[Rig, Watch], Awaitable[None]], within_s: float = 15) -> None:
    async def rigged() -> None:
        async with RIGS[kind]() as rig, asyncio.timeout(within_s), Watch(rig.source) as watch:
            await test(rig, watch)

    asyncio.run(rigged())


def good_of(rig: Rig) -> Callable[[Seen], bool]:
    """Every readable point's newest row is good and the link is known."""

    def condition(seen: Seen) -> bool:
        known = {int(index) for batch in seen.batches for index in batch.index}
        up = bool(seen.reports) and seen.reports[-1].state in (LinkState.GOOD, LinkState.DEGRADED)
        return up and known >= set(rig.readable) and all(is_good(seen, point) for point in rig.readable)

    return condition


def is_good(seen: Seen, point: int) -> bool:
    return seen.last(point)[1] is Severity.GOOD


def samples(seen: Seen) -> list[Batch]:
    return [batch for batch in seen.batches if batch.kind is RowKind.SAMPLE]


@over_every_source
def test_every_point_is_in_the_first_batches_read_or_not(kind):
    async def test(rig: Rig, watch: Watch) -> None:
        seen = await watch.until(lambda seen: len(seen.batches) >= 1)
        everything = set(range(len(rig.source.points)))
        await watch.until(lambda seen: {int(i) for batch in samples(seen) for i in batch.index} == everything, 2)
        assert all(set(batch.index.tolist()) <= everything for batch in seen.batches)
        await watch.until(good_of(rig))

    run(kind, test)


@over_every_source
def test_batches_are_numbered_from_one_without_a_gap_through_loss_and_return(kind):
    async def test(rig: Rig, watch: Watch) -> None:
        await watch.until(good_of(rig))
        await rig.cable.cut()
        await watch.cycles(3)
        await rig.cable.mend()
        seen = await watch.until(good_of(rig))
        assert [batch.batch_no for batch in seen.batches] == list(range(1, len(seen.batches) + 1))

    run(kind, test)


@over_every_source
def test_a_point_that_cannot_be_read_is_there_with_nan_bad_quality_and_a_reason(kind):
    async def test(rig: Rig, watch: Watch) -> None:
        await watch.until(good_of(rig))
        seen = await watch.cycles(4)
        assert len(seen.reasons(rig.unreadable)) >= 2
        value, severity, reason = seen.last(rig.unreadable)
        assert (np.isnan(value), severity) == (True, Severity.BAD)
        assert reason not in (Reason.NONE, Reason.NO_COMMUNICATION)
        assert all(is_good(seen, point) for point in rig.readable)

    run(kind, test)


@over_every_source
def test_bad_rows_carry_no_value(kind):
    async def test(rig: Rig, watch: Watch) -> None:
        await watch.until(good_of(rig))
        await rig.cable.cut()
        seen = await watch.cycles(4)
        for batch in samples(seen):
            assert np.isnan(batch.value[severities(batch.quality) == Severity.BAD]).all()

    run(kind, test)


@over_every_source
def test_while_the_link_is_down_there_are_bad_rows_each_period_and_it_comes_back_by_itself(kind):
    async def test(rig: Rig, watch: Watch) -> None:
        await watch.until(good_of(rig))
        await rig.cable.cut()
        seen = await watch.until(lambda seen: seen.reports[-1].state is LinkState.LOST)
        before = len(samples(seen))
        await asyncio.sleep(5 * PERIOD_S)
        down = samples(seen)[before:]
        for point in range(len(rig.source.points)):
            rows = [word for batch in down for word in batch.quality[batch.index == point]]
            assert 3 <= len(rows) <= 9
            assert (severities(np.array(rows, dtype=np.uint16)) == Severity.BAD).all()
        await rig.cable.mend()
        await watch.until(good_of(rig))

    run(kind, test)


@over_every_source
def test_every_change_of_the_link_is_reported_with_its_reason(kind):
    async def test(rig: Rig, watch: Watch) -> None:
        await watch.until(good_of(rig))
        await rig.cable.cut()
        seen = await watch.until(lambda seen: seen.reports[-1].state is LinkState.LOST)
        lost = seen.reports[-1]
        assert lost.last_error
        assert lost.last_answer_ms is not None
        await rig.cable.mend()
        await watch.until(good_of(rig))
        back = seen.reports[-1]
        assert back.since_ms >= lost.since_ms
        assert back.reconnects >= 1
        assert all(report.source == rig.source.id and report.endpoint for report in seen.reports)
        assert all(before.time_ms <= after.time_ms for before, after in pairwise(seen.reports))

    run(kind, test)


@over_every_source
def test_it_never_waits_longer_than_its_period_without_yielding(kind):
    async def test(rig: Rig, watch: Watch) -> None:
        seen = await watch.until(good_of(rig))
        since = len(seen.yields_s)
        await asyncio.sleep(4 * PERIOD_S)
        await rig.cable.cut()
        await asyncio.sleep(4 * PERIOD_S)
        gaps_s = [after - before for before, after in pairwise(seen.yields_s[since:])]
        assert max(gaps_s) < PERIOD_S + SLACK_S

    run(kind, test)


@over_every_source
@pytest.mark.parametrize("cut", [False, True], ids=["connected", "disconnected"])
def test_closing_the_stream_releases_everything(kind, cut):
    async def test() -> None:
        async with RIGS[kind]() as rig, asyncio.timeout(15):
            before = asyncio.all_tasks()
            async with Watch(rig.source) as watch:
                await watch.until(good_of(rig))
                if cut:
                    await rig.cable.cut()
                    await watch.until(lambda seen: seen.reports[-1].state is LinkState.LOST)
            async with asyncio.timeout(2):
                while rig.cable.connections or asyncio.all_tasks() - before:
                    await asyncio.sleep(0.01)

    asyncio.run(test())


@over_every_source
def test_a_device_that_is_not_there_at_the_start_stops_nothing(kind):
    async def test() -> None:
        async with RIGS[kind]() as rig, asyncio.timeout(15):
            await rig.cable.cut()
            async with Watch(rig.source) as watch:
                seen = await watch.cycles(3)
                for point in range(len(rig.source.points)):
                    assert seen.last(point)[1] is Severity.BAD
                await rig.cable.mend()
                await watch.until(good_of(rig))

    asyncio.run(test())


@pytest.mark.long
@over_every_source
def test_the_link_is_reported_every_ten_seconds(kind):
    async def test(rig: Rig, watch: Watch) -> None:
        await watch.until(good_of(rig))
        seen = watch.seen
        before = len(seen.reports)
        await asyncio.sleep(11)
        assert any(isinstance(report, LinkReport) for report in seen.reports[before:])

    run(kind, test, within_s=30)


def test_the_contract_is_held_over_every_kind_of_source_that_a_site_may_name():
    from mines.site.source_table import SOURCE_KINDS

    def family(kind: str) -> str:
        return kind.partition("_")[0]

    assert {family(kind) for kind in SOURCE_KINDS} <= set(RIGS)
