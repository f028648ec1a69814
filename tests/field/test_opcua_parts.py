"""Large requests in parts, chunks out of a stream, answers to publishes, and the second look; no network."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opcua_mine import point

from connectors.opcua.decode import BAD_DECODING_ERROR, Heard, Values
from connectors.opcua.notifications import Notifications
from connectors.opcua.parts import Parts, TooMuch, Undecodable
from connectors.opcua.second_look import SecondLook
from connectors.opcua.standing import Standing
from connectors.opcua.tap import ChunkSplitter
from mines.errors import LinkLost
from mines.quality import GOOD, Reason, bad

TOO_MANY = 0x80100000


class Server:
    """Answers each item with its double; takes `limit` items at once and cannot say the `unsayable` ones."""

    def __init__(self, limit: int = 10_000, unsayable: Sequence[int] = ()) -> None:
        self.limit, self.unsayable = limit, set(unsayable)
        self.sizes: list[int] = []

    async def answer(self, items: Sequence[int]) -> list[int]:
        self.sizes.append(len(items))
        if len(items) > self.limit:
            raise TooMuch(TOO_MANY)
        if self.unsayable & set(items):
            raise Undecodable("wrong reply")
        return [2 * item for item in items]


def asked(parts: Parts, server: Server, count: int) -> list[int]:
    return asyncio.run(parts.ask(range(count), server.answer, lambda status: -status))


@given(st.integers(0, 60), st.integers(1, 70), st.integers(1, 40), st.sets(st.integers(0, 59), max_size=5))
@settings(deadline=None, max_examples=150)
def test_every_item_has_its_own_result_whatever_the_server_bears(count, limit, at_once, unsayable):
    results = asked(Parts(at_once), Server(limit, sorted(unsayable)), count)
    assert results == [-BAD_DECODING_ERROR if i in unsayable else 2 * i for i in range(count)]


def test_a_limit_is_found_once_and_remembered():
    parts, server = Parts(500), Server(limit=130)
    asked(parts, server, 1000)
    assert server.sizes[:2] == [500, 250]
    assert set(server.sizes[2:]) == {125}
    server.sizes.clear()
    asked(parts, server, 250)
    assert server.sizes == [125, 125]


def test_an_item_that_is_too_much_alone_is_refused_alone():
    assert asked(Parts(2), Server(limit=0), 3) == [-TOO_MANY] * 3


def test_one_item_that_cannot_be_decoded_costs_few_requests():
    server = Server(unsayable=[77])
    asked(Parts(500), server, 500)
    assert len(server.sizes) <= 2 * 9 + 1


def test_a_reply_of_another_length_is_no_reply():
    async def short(_: Sequence[int]) -> list[int]:
        return [1]

    with pytest.raises(LinkLost):
        asyncio.run(Parts().ask([1, 2], short, int))


def chunk(body: bytes) -> bytes:
    return b"MSGF" + (8 + len(body)).to_bytes(4, "little") + body


@given(st.lists(st.binary(max_size=30), max_size=6), st.integers(1, 20))
@settings(deadline=None, max_examples=100)
def test_chunks_come_out_whole_however_the_stream_is_cut(bodies, step):
    stream = b"".join(chunk(body) for body in bodies)
    splitter = ChunkSplitter()
    out = [c for at in range(0, len(stream), step) for c in splitter.feed(stream[at : at + step])]
    assert out == [chunk(body) for body in bodies]


@pytest.mark.parametrize("foreign", [b"HTTP/1.1 400 Bad Request", b"MSGF\x00\x00\x00\x00"], ids=["http", "size 0"])
def test_a_foreign_stream_comes_out_as_it_went_in(foreign):
    assert ChunkSplitter().feed(foreign) == [foreign]


def changes(*pairs: tuple[int, float]) -> SimpleNamespace:
    """A DataChangeNotification as far as it is looked at."""
    return SimpleNamespace(
        MonitoredItems=[
            SimpleNamespace(
                ClientHandle=handle,
                Value=SimpleNamespace(
                    Value=SimpleNamespace(Value=value), StatusCode=SimpleNamespace(value=0), SourceTimestamp=None
                ),
            )
            for handle, value in pairs
        ]
    )


def answer(number: int, *parts: SimpleNamespace, more: bool = False) -> SimpleNamespace:
    """A PublishResult as far as it is looked at."""
    return SimpleNamespace(
        NotificationMessage=SimpleNamespace(SequenceNumber=number, NotificationData=list(parts)), MoreNotifications=more
    )


def subscribed() -> Notifications:
    notifications = Notifications()
    notifications.expect([0, 1])
    return notifications


def test_values_of_all_parts_of_a_message_come_in_order_and_are_acknowledged():
    notifications = subscribed()
    values = notifications.take(answer(1, changes((0, 1.0), (1, 2.0)), changes((0, 3.0)), more=True), Heard(5, 6))
    assert (values.index, values.value, values.more, values.heard) == ([0, 1, 0], [1.0, 2.0, 3.0], True, Heard(5, 6))
    assert notifications.to_acknowledge == [1]
    assert notifications.ended == ""


def test_a_keep_alive_has_no_rows_no_acknowledgement_and_takes_no_number():
    notifications = subscribed()
    notifications.take(answer(1, changes((0, 1.0))), Heard(0, 0))
    assert notifications.take(answer(2), Heard(0, 0)).index == []
    notifications.take(answer(2, changes((0, 1.0))), Heard(0, 0))
    assert (notifications.to_acknowledge, notifications.ended) == ([1, 2], "")


@pytest.mark.parametrize(
    ("first", "second", "ended"),
    [(7, 8, ""), (7, 9, "notification lost"), (7, 7, "notification lost"), (2**32 - 1, 1, ""), (2**32 - 1, 0, "x")],
    ids=["next", "hole", "repeated", "wraps to 1", "0 is no number"],
)
def test_a_hole_in_the_numbers_ends_it_and_what_came_is_kept(first, second, ended):
    notifications = subscribed()
    notifications.take(answer(first, changes((0, 1.0))), Heard(0, 0))
    values = notifications.take(answer(second, changes((1, 2.0))), Heard(0, 0))
    assert values.value == [2.0]
    assert bool(notifications.ended) == bool(ended)


def test_an_end_told_by_the_server_comes_after_the_values_of_the_same_message():
    notifications = subscribed()
    status = SimpleNamespace(Status=SimpleNamespace(name="BadTimeout"))
    values = notifications.take(answer(1, changes((0, 1.0)), status), Heard(0, 0))
    assert values.value == [1.0]
    assert notifications.ended == "subscription ended: BadTimeout"


def test_a_part_of_a_kind_that_nobody_asked_for_ends_it():
    notifications = subscribed()
    notifications.take(answer(1, changes((0, 1.0)), SimpleNamespace(Events=[])), Heard(0, 0))
    assert notifications.ended == "wrong reply"


def test_a_value_of_a_point_that_nobody_subscribed_to_is_no_proper_answer():
    with pytest.raises(LinkLost, match="wrong reply"):
        subscribed().take(answer(1, changes((2, 1.0))), Heard(0, 0))


class Looking:
    """Three points that stand at 1.0 since 0 s, and the second look at them; a notification may take 2 s."""

    def __init__(self, count: int = 3) -> None:
        points = [point(f"p{i}", f"i={i}") for i in range(count)]
        self.standing = Standing(points, 0.0)
        self.look = SecondLook(self.standing)
        self.told(0.0, *range(count), value=1.0)

    def told(self, now_s: float, *index: int, value: float, word: int = GOOD) -> None:
        which = np.array(index, dtype=np.int32)
        self.standing.take(which, np.full(len(which), value), np.full(len(which), word, dtype=np.uint16), now_s)

    def read(self, now_s: float, *values: object, status: int = 0) -> bool:
        n = len(values)
        return self.look.frozen(Values(range(n), values, [status] * n, [0] * n, Heard(0, 0)), now_s, 2.0)


def test_reads_that_agree_raise_no_suspicion():
    looking = Looking()
    assert not any(looking.read(float(now_s), 1.0, 1.0, 1.0) for now_s in range(0, 100, 10))


def test_a_value_that_differs_and_is_never_told_means_frozen():
    looking = Looking()
    assert [looking.read(now_s, 1.0, 5.0, 1.0) for now_s in (10.0, 11.0, 12.1)] == [False, False, True]


def test_a_status_that_differs_and_is_never_told_means_frozen():
    looking = Looking()
    assert [looking.read(now_s, 1.0, status=0x808C0000) for now_s in (10.0, 13.0)] == [False, True]


def test_a_point_that_is_told_between_the_looks_is_not_frozen_however_it_differs():
    looking = Looking()
    for now_s in range(10, 100, 10):
        assert not looking.read(float(now_s), float(now_s))
        looking.told(now_s + 5.0, 0, value=-1.0)


def test_a_value_that_came_back_is_suspected_no_more():
    looking = Looking()
    assert [looking.read(now_s, value) for now_s, value in ((10.0, 5.0), (20.0, 1.0), (30.0, 5.0))] == [False] * 3


def test_points_that_stand_bad_and_read_bad_agree():
    looking = Looking()
    looking.told(1.0, 0, value=np.nan, word=bad(Reason.TYPE_MISMATCH))
    assert not any(looking.read(now_s, "text") for now_s in (10.0, 20.0, 30.0))


def test_a_new_session_forgets_suspicions():
    looking = Looking()
    looking.read(10.0, 5.0)
    looking.look.forget()
    assert not looking.read(20.0, 5.0)


def test_looks_go_round_all_points_and_return_to_the_suspected_first():
    looking = Looking(250)
    everything = list(range(250))
    looks = [looking.look.choose(everything) for _ in range(3)]
    assert [len(chosen) for chosen in looks] == [100, 100, 100]
    assert {index for chosen in looks for index in chosen} == set(everything)
    looking.read(10.0, *[5.0 if i == 7 else 1.0 for i in range(100)])
    assert [looking.look.choose(everything)[0] for _ in range(3)] == [7, 7, 7]
    assert looking.look.choose([]) == []
