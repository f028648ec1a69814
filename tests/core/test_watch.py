"""The watch: the order within a tick, links as events, state after a restart, exactness of replay."""

from dataclasses import replace

from alarm_cases import WORDS, point
from hypothesis import given, settings
from hypothesis import strategies as st

from mines.events import Event, EventKind, event_log_sha256
from mines.model import Actor, LinkReport, LinkState, OperatorAct, RowKind, SourcedBatch, Tick, make_batch
from mines.watch import Watch

POINTS = [
    [point("a", high_alarm=1.0), point("b", high_alarm=1.0, on_delay_s=0.5)],
    [point("c", low_alarm=0.0, level=1)],
]


def batch(source, values, ms, no=1, words=None, kind=RowKind.SAMPLE):
    index = list(range(len(values)))
    return SourcedBatch(
        source,
        make_batch(
            index,
            values,
            [WORDS[w] for w in words or ["good"] * len(values)],
            receive_time_ms=ms,
            monotonic_ns=ms * 1_000_000,
            batch_no=no,
            kind=kind,
        ),
    )


def tick(number, ms, *batches, links=(), acts=(), step=0):
    return Tick(number, ms, ms * 1_000_000, tuple(batches), tuple(links), tuple(acts), step)


def link(state, ms, error="", unit=1):
    return LinkReport("s1", unit, state, ms, None, error, None, 0, 0, 0, 0, time_ms=ms)


def test_link_change_is_one_event_and_a_repeated_report_none():
    watch = Watch(POINTS, 1)
    first = watch.step(tick(1, 250, links=[link(LinkState.GOOD, 200)]))
    again = watch.step(tick(2, 500, links=[link(LinkState.GOOD, 400)]))
    lost = watch.step(tick(3, 750, links=[link(LinkState.LOST, 700, "timeout")]))
    assert [(e.seq, e.kind, e.cause) for e in first + again + lost] == [
        (1, "link_changed", "good"),
        (2, "link_changed", "lost"),
    ]
    assert lost[0].detail == {"source": "s1", "unit": 1, "was": "good", "error": "timeout"}


def test_defect_of_a_source_is_its_own_kind_of_event():
    events = Watch(POINTS, 1).step(tick(1, 250, links=[link(LinkState.LOST, 200, "source_defect: KeyError", None)]))
    assert [e.kind for e in events] == ["source_restarted"]


def test_clock_step_stands_first_in_its_tick():
    events = Watch(POINTS, 1).step(tick(1, 250, batch(0, [2.0, 0.0], 200), step=-3_600_000))
    assert [(e.kind, e.cause) for e in events] == [("clock_step", "backward"), ("alarm_raised", "high_alarm")]


def test_confirmation_vouches_and_is_no_sample():
    watch = Watch(POINTS, 1)
    watch.step(tick(1, 250, batch(0, [0.5, 0.5], 200)))
    watch.step(tick(2, 5_000, batch(0, [float("nan")] * 2, 4_900, 2, kind=RowKind.CONFIRM)))
    assert watch.image.age_ms(5_000_000_000).tolist() == [100, 100, -1]
    assert watch.image.value[0] == 0.5


def test_act_in_a_tick_is_answered_and_remembered():
    watch = Watch(POINTS, 1)
    watch.step(tick(1, 250, batch(0, [2.0, 0.0], 200)))
    act = OperatorAct(
        7, 300, Actor("", "李四", "dispatcher", "1"), "acknowledge", (("a/high_alarm", 1), ("b/high_alarm", 1))
    )
    events = watch.step(tick(2, 500, acts=[act]))
    assert [e.kind for e in events] == ["alarm_acknowledged", "act_refused"]
    assert watch.acts == {7: "partly"}
    assert watch.last_ledger_id == 7


@st.composite
def days(draw):
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from([0.0, 0.5, 1.0, 1.5]),
                st.sampled_from([0.0, 0.5, 1.0, 1.5]),
                st.sampled_from(["good", "uncertain", "bad"]),
                st.sampled_from([None, LinkState.GOOD, LinkState.LOST]),
                st.booleans(),
            ),
            min_size=2,
            max_size=14,
        )
    )
    ticks = []
    for i, (a, b, word, state, acts) in enumerate(steps):
        ms = 250 * (i + 1)
        ticks.append(
            tick(
                i + 1,
                ms,
                batch(0, [a, b], ms - 20, i + 1, words=[word, "good"]),
                batch(1, [b], ms - 10, i + 1),
                links=[] if state is None else [link(state, ms - 5)],
                acts=[OperatorAct(i + 1, ms, Actor("", "x", "d", "1"), "acknowledge", (("a/high_alarm", 1),))]
                if acts
                else [],
            )
        )
    return ticks


def run(ticks, watch=None):
    watch = watch or Watch(POINTS, 1)
    return watch, [event for t in ticks for event in watch.step(t)]


@given(days(), st.integers(0, 13))
@settings(max_examples=60, deadline=None)
def test_a_stretch_from_the_folded_state_gives_the_same_events(ticks, cut):
    """What capture and replay rely on: state at the start = fold of the log, plus the image's latest rows."""
    cut = min(cut, len(ticks) - 1)
    _, whole = run(ticks)
    before, head = run(ticks[:cut])
    later = Watch(POINTS, before.next_seq)
    later.fold(head)
    later.prime(ticks[:cut])
    _, tail = run(ticks[cut:], later)
    assert event_log_sha256(head + tail) == event_log_sha256(whole)


@given(days())
@settings(max_examples=30, deadline=None)
def test_same_ticks_give_the_same_events(ticks):
    assert event_log_sha256(run(ticks)[1]) == event_log_sha256(run([replace(t) for t in ticks])[1])


def test_delays_begin_again_after_a_restart_and_orphans_are_ended():
    watch, log = run([tick(1, 250, batch(0, [2.0, 2.0], 200))])
    assert [e.kind for e in log] == ["alarm_raised", "alarm_pending"]
    again = Watch([[POINTS[0][1]], POINTS[1]], watch.next_seq)
    started = Event(0, 10_000, EventKind.BOX_STARTED, cause="started", detail={"mono_ms": 10_000})
    opening = again.begin(log, started)
    assert [(e.seq, e.kind, e.point) for e in opening] == [(3, "box_started", None), (4, "alarm_ended_by_site", "a")]
    assert again.step(tick(1, 10_250)) == []
    assert again.step(tick(2, 10_500)) == []  # nothing was read yet: a delay does not run out on missing data
    raised = again.step(tick(3, 10_750, batch(0, [2.0], 10_700, 1)))
    assert [(e.kind, e.time_ms) for e in raised] == [("alarm_raised", 10_500)]
