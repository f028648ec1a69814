"""A platform that only counts: enough MQTT 5 on loopback for the ThingsBoard gateway to deliver its telemetry to.

`python -m peers.mqtt_sink TICK_MS` prints its port, then once a second a JSON object with the points so far, how many
of them belong to no point, and the ages of the newest [s]. It is a process of its own: what it costs is its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any

import numpy as np
from peers.layout import IDENTITIES, ages_s
from peers.times import spread

# What a platform without limits of its own says to `getSessionLimits`, which the gateway waits for.
_LIMITS = b'{"maxPayloadSize":65536,"maxInflightMessages":100,"rateLimits":{"none":true},"gatewayRateLimits":{}}'
_CONNECT, _PUBLISH, _PUBREL, _SUBSCRIBE, _UNSUBSCRIBE, _PING = 1, 3, 6, 8, 10, 12


class Sink:
    """Counts telemetry; keeps the last ages."""

    def __init__(self, tick_ms: int) -> None:
        self.points = self.strange = 0
        self._tick_ms = tick_ms
        self._ages: deque[float] = deque(maxlen=50_000)

    def take(self, topic: str, payload: bytes) -> None:
        """Telemetry of a gateway: {device: [{ts, values{tag: value}}]}; anything else is passed over."""
        if topic != "v1/gateway/telemetry":
            return
        told = json.loads(payload)
        now_ns = time.monotonic_ns()
        for records in told.values():
            for record in records:
                self._take_values(record.get("values", {}), now_ns)

    def _take_values(self, values: dict[str, Any], now_ns: int) -> None:
        found = {tag: value for tag, value in values.items() if tag.startswith("i")}
        whole = np.array([int(value) for value in found.values()], dtype=np.int64)
        named = np.array([int(tag[1:]) for tag in found], dtype=np.int64)
        self.points += len(whole)
        self.strange += int((whole % IDENTITIES != named).sum())
        self._ages.extend(ages_s(whole, np.full(len(whole), now_ns), self._tick_ms).tolist())

    def told(self) -> dict[str, Any]:
        """For the bench."""
        ages, self._ages = list(self._ages), deque(maxlen=50_000)
        return {"points": self.points, "wrong": self.strange, "age_s": spread(ages)}


async def talk(sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One client, until it hangs up."""
    try:
        while True:
            head = (await reader.readexactly(1))[0]
            body = await reader.readexactly(await _length(reader))
            answer = _answer(sink, head, body)
            if answer:
                writer.write(answer)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _length(reader: asyncio.StreamReader) -> int:
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return length


def _answer(sink: Sink, head: int, body: bytes) -> bytes:
    """What MQTT 5 says to a packet, without any property; b"" = nothing."""
    kind = head >> 4
    if kind == _CONNECT:
        return b"\x20\x03\x00\x00\x00"
    if kind == _SUBSCRIBE:
        return _subscribed(body)
    if kind == _PUBLISH:
        end = 2 + int.from_bytes(body[:2], "big")
        service = head >> 1 & 3
        topic, payload = body[2:end], body[_behind_properties(body, end + 2 * (service > 0)) :]
        sink.take(topic.decode(), payload)
        received = b"" if not service else (b"\x40\x02" if service == 1 else b"\x50\x02") + body[end : end + 2]
        return received + (_limits(topic) if b"getSessionLimits" in payload else b"")
    if kind == _PUBREL:
        return b"\x70\x02" + body[:2]
    if kind == _UNSUBSCRIBE:
        return b"\xb0\x04" + body[:2] + b"\x00\x00"
    return b"\xd0\x00" if kind == _PING else b""


def _subscribed(body: bytes) -> bytes:
    at, granted = _behind_properties(body, 2), b""
    while at < len(body):
        at += 2 + int.from_bytes(body[at : at + 2], "big")
        granted += bytes([body[at] & 3])
        at += 1
    return bytes([0x90, 3 + len(granted)]) + body[:2] + b"\x00" + granted


def _limits(request: bytes) -> bytes:
    topic = request.replace(b"request", b"response")
    body = len(topic).to_bytes(2, "big") + topic + b"\x00" + _LIMITS
    length = bytes([len(body) & 0x7F | 0x80, len(body) >> 7]) if len(body) > 127 else bytes([len(body)])
    return b"\x30" + length + body


def _behind_properties(body: bytes, at: int) -> int:
    """Where a packet goes on whose properties, of less than 128 bytes, begin at `at`."""
    return at + 1 + body[at]


async def main() -> None:
    """See the module; ends with its standard input."""
    sink = Sink(int(sys.argv[1]))
    server = await asyncio.start_server(lambda r, w: talk(sink, r, w), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    while not ended.done():
        await asyncio.wait({ended}, timeout=1)
        print(json.dumps(sink.told()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
