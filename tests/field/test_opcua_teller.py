"""What is told of values, silence and loss; no network, every moment is given."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opcua_mine import point

from connectors.opcua.decode import Heard, Values
from connectors.opcua.link import LinkBook
from connectors.opcua.teller import Begun, Happening, Lost, Refused, Teller
from mines.clock import NO_TIME_MS
from mines.model import Batch, LinkReport, LinkState, RowKind
from mines.quality import GOOD, Flag, Reason, bad, uncertain

WAITING = bad(Reason.WAITING_FOR_INITIAL_DATA)
NO_COMMUNICATION = bad(Reason.NO_COMMUNICATION)
UNKNOWN = bad(Reason.NODE_UNKNOWN)


class Desk:
    """A teller with its book and a clock that is moved by hand [s]."""

    def __init__(self, *periods_s: float) -> None:
        self.now_s = 100.0
        self.book = LinkBook("fan", "opc.tcp://h:4840", 100_000)
        points = [point(f"p{i}", f"i={i}", period_s) for i, period_s in enumerate(periods_s)]
        self.teller = Teller(points, self.book, itertools.count(1), self.now_s)
        self.batches: list[Batch] = []
        self.told: list[Batch | LinkReport] = []

    def heard(self) -> Heard:
        return Heard(round(self.now_s * 1000), round(self.now_s * 1e9))

    def values(self, *rows: tuple[int, object], status: int = 0) -> Values:
        """Values that the server sends now; it is heard."""
        self.book.heard = self.heard()
        index = [i for i, _ in rows]
        return Values(index, [v for _, v in rows], [status] * len(rows), [5] * len(rows), self.book.heard)

    def at(self, now_s: float, *happened: Happening, alive: bool = False) -> list[Batch]:
        """Moves to a moment and hears what is told; `alive` = the server just spoke."""
        self.now_s = now_s
        if alive:
            self.book.heard = self.heard()
        self.told = self.teller.tell(happened, self.heard(), now_s)
        batches = [item for item in self.told if isinstance(item, Batch)]
        self.batches += batches
        return batches

    @property
    def reports(self) -> list[LinkReport]:
        return [item for item in self.told if isinstance(item, LinkReport)]


def rows(batch: Batch) -> list[tuple[int, float | None, int]]:
    """(index, value or None, quality), in order."""
    return [
        (int(i), None if math.isnan(v) else float(v), int(q))
        for i, v, q in zip(batch.index, batch.value, batch.quality, strict=True)
    ]


def test_before_any_connection_every_point_is_bad_each_period():
    desk = Desk(1.0, 1.0)
    assert desk.at(100.5) == []
    (first,) = desk.at(101.0)
    (second,) = desk.at(102.0)
    assert rows(first) == rows(second) == [(0, None, WAITING), (1, None, WAITING)]


def test_first_values_come_as_one_batch_of_all_points():
    desk = Desk(1.0, 1.0, 1.0)
    assert desk.at(100.1, Begun(((2, UNKNOWN),))) == []
    assert desk.at(100.2, desk.values((1, 5.0))) == []
    (batch,) = desk.at(100.3, desk.values((0, True)))
    assert rows(batch) == [(1, 5.0, GOOD), (0, 1.0, GOOD), (2, None, UNKNOWN)]
    assert batch.receive_time_ms.tolist() == [100_100, 100_200, 100_300]
    assert batch.source_time_ms.tolist() == [5, 5, NO_TIME_MS]


def test_values_that_do_not_come_are_waited_for_one_period_at_most():
    desk = Desk(1.0, 1.0)
    desk.at(100.1, Begun())
    assert desk.at(100.2, desk.values((1, 5.0))) == []
    assert desk.teller.wake_at_s == pytest.approx(101.0)
    assert desk.at(101.0) == []
    assert desk.teller.wake_at_s == pytest.approx(101.1)
    (batch,) = desk.at(101.1)
    assert rows(batch) == [(1, 5.0, GOOD), (0, None, WAITING)]


def begun(*periods_s: float) -> Desk:
    """A desk whose session stands since 100 s with the value 1 at every point."""
    desk = Desk(*periods_s)
    desk.at(100.0, Begun(), desk.values(*((i, 1.0) for i in range(len(periods_s)))))
    desk.batches.clear()
    return desk


def test_changes_are_told_at_once_and_one_burst_is_one_batch():
    desk = begun(1.0, 1.0)
    (batch,) = desk.at(100.4, desk.values((0, 2.0), (0, 3.0)), desk.values((1, 4.0), (0, 5.0)))
    assert rows(batch) == [(0, 2.0, GOOD), (0, 3.0, GOOD), (1, 4.0, GOOD), (0, 5.0, GOOD)]


def test_a_quiet_period_is_confirmed_with_the_time_of_the_servers_word():
    desk = begun(1.0, 1.0)
    desk.at(100.7, alive=True)
    (batch,) = desk.at(101.0)
    assert batch.kind == RowKind.CONFIRM
    assert rows(batch) == [(0, None, GOOD), (1, None, GOOD)]
    assert batch.receive_time_ms.tolist() == [100_700, 100_700]
    assert batch.monotonic_ns.tolist() == [100_700_000_000] * 2


def test_a_point_that_changed_within_its_period_is_not_confirmed():
    desk = begun(1.0, 1.0)
    desk.at(100.7, desk.values((1, 2.0)))
    (batch,) = desk.at(101.0)
    assert rows(batch) == [(0, None, GOOD)]


def test_without_a_new_word_of_the_server_nothing_is_confirmed_and_the_link_is_told():
    desk = begun(1.0)
    (first,) = desk.at(101.0)
    assert first.kind == RowKind.CONFIRM
    for now_s in (102.0, 103.0):
        assert desk.at(now_s) == []
        assert [report.last_answer_ms for report in desk.reports] == [100_000]


def test_a_confirmation_that_was_missed_is_made_up_for_as_soon_as_the_server_speaks():
    desk = begun(1.0)
    desk.at(101.0)
    desk.at(102.0)
    desk.at(102.4, alive=True)
    (batch,) = desk.at(103.0)
    assert (batch.kind, batch.receive_time_ms.tolist()) == (RowKind.CONFIRM, [102_400])


def test_each_point_is_confirmed_at_its_own_period():
    desk = begun(1.0, 3.0)
    confirmed = [b.index.tolist() for now_s in range(101, 107) for b in desk.at(float(now_s), alive=True)]
    assert confirmed == [[0], [0], [0, 1], [0], [0], [0, 1]]


def test_a_point_of_a_long_period_is_confirmed_with_proof_not_older_than_a_second():
    desk = begun(60.0)
    for now_s in range(101, 160):
        assert desk.at(float(now_s), alive=True) == []
    (batch,) = desk.at(160.0, alive=True)
    assert batch.monotonic_ns[0] >= 159e9


def test_a_point_that_is_bad_is_said_to_be_bad_each_period_and_never_confirmed():
    desk = begun(1.0, 1.0)
    desk.at(100.5, desk.values((0, 9.0), status=0x808C0000))
    told = [desk.at(101.6, alive=True), desk.at(102.6, alive=True)]
    for confirm, sample in told:
        assert (confirm.kind, rows(confirm)) == (RowKind.CONFIRM, [(1, None, GOOD)])
        assert (sample.kind, rows(sample)) == (RowKind.SAMPLE, [(0, None, bad(Reason.SENSOR_FAILURE))])
        assert sample.source_time_ms.tolist() == [NO_TIME_MS]


def test_an_uncertain_point_is_confirmed_as_uncertain():
    desk = begun(1.0)
    desk.at(100.5, desk.values((0, 9.0), status=0x40900000))
    (batch,) = desk.at(102.0, alive=True)
    assert (batch.kind, rows(batch)) == (RowKind.CONFIRM, [(0, None, uncertain(Reason.LAST_USABLE_VALUE))])


def test_a_lost_link_is_told_at_once_after_what_was_still_received_and_then_each_period():
    desk = begun(1.0, 1.0)
    last, lost = desk.at(100.3, desk.values((1, 7.0)), Lost())
    assert rows(last) == [(1, 7.0, GOOD)]
    assert rows(lost) == [(0, None, NO_COMMUNICATION), (1, None, NO_COMMUNICATION)]
    for now_s in (102.0, 103.0, 104.0):
        (batch,) = desk.at(now_s)
        assert (batch.kind, rows(batch)) == (RowKind.SAMPLE, rows(lost))


def test_first_values_that_a_loss_interrupts_are_not_dropped():
    desk = Desk(1.0, 1.0)
    desk.at(100.1, Begun())
    received, lost = desk.at(100.2, desk.values((1, 5.0)), Lost())
    assert rows(received) == [(1, 5.0, GOOD)]
    assert len(lost) == 2


def test_a_new_session_gives_every_point_its_value_again():
    desk = begun(1.0)
    desk.at(100.3, Lost())
    desk.at(100.6, Begun())
    (batch,) = desk.at(100.7, desk.values((0, 1.0)))
    assert rows(batch) == [(0, 1.0, GOOD)]


def test_points_refused_later_are_told_at_once():
    desk = begun(1.0, 1.0)
    (batch,) = desk.at(100.3, Refused(((1, UNKNOWN),)))
    assert rows(batch) == [(1, None, UNKNOWN)]


def test_after_a_stall_a_period_is_made_up_for_once():
    desk = begun(1.0)
    assert len(desk.at(117.2, alive=True)) == 1
    assert desk.teller.wake_at_s == pytest.approx(118.0)
    assert desk.at(117.3, alive=True) == []


def test_the_link_is_reported_on_every_change_and_every_ten_seconds():
    desk = Desk(60.0)
    desk.at(100.0)
    assert [r.state for r in desk.reports] == [LinkState.CONNECTING]
    desk.book.begun(whole=True, time_ms=100_100)
    desk.book.lost("timeout", 100_200)
    desk.book.lost("timeout", 100_300)
    desk.book.lost("refused", 100_400)
    desk.at(101.0)
    assert [(r.state, r.last_error, r.since_ms) for r in desk.reports] == [
        (LinkState.GOOD, "", 100_100),
        (LinkState.LOST, "timeout", 100_200),
        (LinkState.LOST, "refused", 100_200),
    ]
    reported = []
    for now_s in range(102, 123):
        desk.at(float(now_s))
        reported += [now_s for _ in desk.reports]
    assert reported == [111, 121]


def test_the_book_counts_rows_overflows_and_reconnects():
    desk = begun(1.0, 1.0)
    desk.book.begun(whole=True, time_ms=1)
    desk.book.begun(whole=False, time_ms=2)
    desk.at(100.5, desk.values((0, 2.0), status=0x480))
    desk.at(100.6, Lost())
    report = desk.book.report(3)
    assert (report.good, report.bad, report.reconnects, report.state) == (3, 2, 1, LinkState.DEGRADED)
    assert report.counters["overflows"] == 1


def test_an_overflow_of_the_servers_queue_is_flagged_on_the_row():
    desk = begun(1.0)
    (batch,) = desk.at(100.5, desk.values((0, 2.0), status=0x480))
    assert rows(batch) == [(0, 2.0, int(Flag.QUEUE_OVERFLOW))]


def test_a_source_without_points_tells_its_link_and_nothing_else():
    desk = Desk()
    assert desk.at(100.0, Begun()) == []
    assert desk.at(101.0, alive=True) == []
    assert desk.at(102.0, Lost()) == []


HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["begun", "lost", "good", "bad", "alive", "nothing"]), st.integers(0, 2), st.floats(0.01, 1.5)
    ),
    max_size=30,
)


@given(HAPPENINGS)
@settings(deadline=None, max_examples=150)
def test_whatever_happens_numbers_have_no_gap_times_go_forward_and_no_confirmation_rests_on_a_bad_point(story):
    desk = Desk(0.5, 1.0, 2.0)
    stands = [WAITING] * 3
    up = False
    for what, which, step_s in story:
        now_s = desk.now_s + step_s
        desk.now_s = now_s
        happened: list[Happening] = []
        if what == "begun" and not up:
            happened, up = [Begun(((2, UNKNOWN),))], True
        elif what == "lost" and up:
            happened, up = [Lost()], False
        elif what in ("good", "bad") and up:
            happened = [desk.values((which, 1.0), status=0 if what == "good" else 0x80000000)]
        for batch in desk.at(now_s, *happened, alive=what == "alive" and up):
            for index, value, word in rows(batch):
                if batch.kind == RowKind.CONFIRM:
                    assert stands[index] == word == GOOD
                else:
                    stands[index] = word
                    assert (value is None) == (word != GOOD)
        assert desk.teller.wake_at_s > now_s
    assert [batch.batch_no for batch in desk.batches] == list(range(1, len(desk.batches) + 1))
    times = np.concatenate([[0], *[batch.monotonic_ns for batch in desk.batches]])
    assert (np.diff(times) >= 0).all()


@given(st.lists(st.floats(0.01, 0.9), min_size=20, max_size=60), st.sampled_from([0.2, 0.5, 1.0, 4.0]))
@settings(deadline=None, max_examples=60)
def test_every_point_of_a_living_session_is_spoken_of_each_period(steps, period_s):
    desk = begun(period_s)
    spoken_s = 100.0
    for step_s in steps:
        now_s = min(desk.now_s + step_s, desk.teller.wake_at_s)  # the stream wakes at the beat at the latest
        if any(len(batch) for batch in desk.at(now_s, alive=True)):
            spoken_s = now_s
        assert now_s - spoken_s <= period_s + min(period_s, 1.0) / 2 + 1e-6
