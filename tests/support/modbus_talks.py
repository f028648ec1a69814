"""Random Modbus conversations as hypothesis draws them, and the packets that carry them in ever so odd ways."""

from dataclasses import dataclass

from hypothesis import strategies as st
from pcap_writer import MS, T0_NS, Dialog, adu, read_request, words_reply


@dataclass(frozen=True)
class Turn:
    """A request and its reply; `reply` is None where the device stays silent."""

    transaction: int
    unit: int
    request: bytes
    reply: bytes | None

    @property
    def key(self):
        return self.transaction, self.unit, self.request, self.reply


@st.composite
def turns(draw, most=12):
    """Requests with distinct transaction ids, their replies data, an exception or nothing."""
    talk = []
    for transaction in range(draw(st.integers(1, most))):
        function, count = draw(st.sampled_from([3, 4])), draw(st.integers(1, 6))
        request = read_request(function, draw(st.integers(0, 999)), count)
        words = draw(st.lists(st.integers(0, 0xFFFF), min_size=count, max_size=count))
        reply = draw(
            st.sampled_from(
                [words_reply(function, *words), words_reply(function, *words), bytes([function | 0x80, 2]), None]
            )
        )
        talk.append(Turn(transaction, draw(st.integers(0, 5)), request, reply))
    return talk


def streams(talk, together):
    """Bytes in turns: (side, bytes), with `together` requests sent before their replies."""
    for start in range(0, len(talk), together):
        group = talk[start : start + together]
        yield 0, b"".join(adu(t.transaction, t.unit, t.request) for t in group)
        replies = b"".join(adu(t.transaction, t.unit, t.reply) for t in reversed(group) if t.reply is not None)
        if replies:
            yield 1, replies


@st.composite
def packets(draw, talk, **dialog):
    """Packets of a talk from its handshake on: cut anywhere, several messages in one, some twice, some overtaken.

    Everything is 1 ms apart, and nothing is displaced by more than a few places: as a switch or a card does it.
    """
    line = Dialog(**dialog)
    found = line.handshake(T0_NS)
    body, done = [], [b"", b""]
    for side, data in streams(talk, draw(st.integers(1, 3))):
        at = 0
        while at < len(data):
            size = draw(st.integers(1, len(data) - at))
            body.append(line.send(side, 0, data[at : at + size])[1])
            done[side] += data[at : at + size]
            at += size
        if draw(st.booleans()):  # a stretch that was sent before, sent again
            first = draw(st.integers(0, len(done[side]) - 1))
            last = draw(st.integers(first + 1, len(done[side])))
            body.append(line.again(side, 0, first, done[side][first:last])[1])
    places = [i + draw(st.integers(0, 3)) for i in range(len(body))]
    body = [
        data
        for _, _, data in sorted((place, i, data) for i, (place, data) in enumerate(zip(places, body, strict=True)))
    ]
    return found + [(T0_NS + (i + 1) * MS, data) for i, data in enumerate(body)]
