"""`frames.opcua.jsonl` and `samples.opcua.jsonl`: OPC UA exchanges as seen, and what was read in them, one a line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.captures.folder import read_lines
from connectors.captures.tcp_packets import Endpoint, endpoint_text
from connectors.captures.ua_binary import DataValue
from connectors.captures.ua_nodes import UaNodes
from connectors.captures.ua_traffic import UaConversation, UaExchange
from mines.clock import NO_TIME_MS
from mines.errors import CaptureError

UA_FRAMES_FILE: Final = "frames.opcua.jsonl"
UA_SAMPLES_FILE: Final = "samples.opcua.jsonl"
_LONGEST_TEXT: Final = 256  # of a value that is a text; more of it is no use to anybody here


@dataclass(frozen=True, slots=True)
class UaReading:
    """What one reply of one server read: times [ns since 1970 UTC], a row a node by the address of a point."""

    time_ns: int
    server: str
    service: str
    rows: tuple[tuple[str, DataValue], ...]


def write_ua_frames(folder: Path, conversations: Sequence[UaConversation]) -> int:
    """Writes the exchanges, ordered by time; gives their number."""
    found = [(each.time_ns, conversation, each) for conversation in conversations for each in conversation.exchanges]
    with (folder / UA_FRAMES_FILE).open("w", encoding="utf-8", newline="\n") as file:
        for _, conversation, exchange in sorted(found, key=lambda item: item[0]):
            file.write(json.dumps(_frame(conversation, exchange), separators=(",", ":")) + "\n")
    return len(found)


def _frame(conversation: UaConversation, exchange: UaExchange) -> dict[str, Any]:
    return {
        "time_ns": exchange.time_ns,
        "server": endpoint_text(conversation.server),
        "client": endpoint_text(conversation.client),
        "service": exchange.service,
        "request_id": exchange.request_id,
        "request": None if exchange.request is None else exchange.request.hex(),
        "reply": None if exchange.reply is None else exchange.reply.hex(),
        "reply_time_ns": exchange.reply_time_ns,
        "result": exchange.result,
    }


def readings(conversations: Sequence[UaConversation], nodes: Mapping[Endpoint, UaNodes]) -> list[UaReading]:
    """Every reply that read something, ordered by time."""
    found = []
    for conversation in conversations:
        server = conversation.server
        for each in conversation.exchanges:
            if each.rows and each.reply_time_ns is not None:
                rows = tuple((nodes[server].address(row.node), row.data) for row in each.rows)
                found.append(UaReading(each.reply_time_ns, endpoint_text(server), each.service, rows))
    return sorted(found, key=lambda each: each.time_ns)


def write_ua_samples(folder: Path, found: Iterable[UaReading]) -> int:
    """Writes the file; gives the number of lines."""
    count = 0
    with (folder / UA_SAMPLES_FILE).open("w", encoding="utf-8", newline="\n") as file:
        for each in found:
            rows = [_row_json(address, data) for address, data in each.rows]
            line = {"time_ns": each.time_ns, "server": each.server, "service": each.service, "rows": rows}
            file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count


def _row_json(address: str, data: DataValue) -> list[Any]:
    """Address, type, value (an infinite one or none by its name), status, source time."""
    value = data.value
    if isinstance(value, float) and not math.isfinite(value):
        value = repr(value)
    elif isinstance(value, str):
        value = value[:_LONGEST_TEXT]
    elif isinstance(value, tuple):
        value = None
    source_time_ms = None if data.source_time_ms == NO_TIME_MS else data.source_time_ms
    return [address, data.kind, value, data.status, source_time_ms]


def read_ua_samples(folder: Path, expected: int | None = None) -> Iterator[UaReading]:
    """The readings in file order.

    Raises:
        CaptureError: a line is not one; the message names it.
    """
    path = folder / UA_SAMPLES_FILE
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        try:
            table = json.loads(line)
            rows = tuple(_row(*row) for row in table["rows"])
            yield UaReading(int(table["time_ns"]), str(table["server"]), str(table["service"]), rows)
        except (ValueError, KeyError, TypeError, OverflowError) as err:
            raise CaptureError(f"{path}:{number}: line: cannot be read ({err}); expected a line of samples") from err
    if expected is not None and len(lines) != expected:
        raise CaptureError(f"{path}:{len(lines)}: file: ends after {len(lines)} lines; expected {expected}")


def _row(address: str, kind: str, value: object, status: int, source_time_ms: int | None) -> tuple[str, DataValue]:
    if not isinstance(address, str) or type(status) is not int or not 0 <= status < 2**32:
        raise TypeError("a row is an address, a type, a value, a status, a source time")
    if kind in ("Float", "Double") and isinstance(value, str):
        value = float(value)
    if value is not None and not isinstance(value, int | float | str):
        raise TypeError("a value is a number, true, false, a text or null")
    time_ms = NO_TIME_MS if source_time_ms is None else source_time_ms
    if type(time_ms) is not int or not -(2**63) <= time_ms < 2**63:
        raise TypeError("a source time is whole milliseconds")
    return address, DataValue(kind, value, status, time_ms)
