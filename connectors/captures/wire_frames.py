"""`frames.jsonl`: what was seen on the wire, one exchange a line, ordered by the time of the request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.captures.folder import WIRE_FILE, read_lines
from mines.errors import CaptureError


@dataclass(frozen=True, slots=True)
class WireFrame:
    """One request and its reply; PDUs begin with the function code, times are [ns since 1970 UTC].

    `server` and `client` are `address:port`. `request` is None for a reply that nobody asked for here: then `time_ns`
    is its own time. `reply` and `reply_time_ns` are None where nobody answered; `reply_unit` is the unit that answered.
    `sure` is False where the reply may belong to another open request with the same transaction id.
    """

    time_ns: int
    server: str
    client: str
    unit: int
    transaction: int
    function: int
    request: bytes | None
    reply: bytes | None
    reply_time_ns: int | None
    reply_unit: int | None
    sure: bool = True

    def to_json(self) -> dict[str, Any]:
        """One line of the file, PDUs as hex."""
        return {
            "time_ns": self.time_ns,
            "server": self.server,
            "client": self.client,
            "unit": self.unit,
            "transaction": self.transaction,
            "function": self.function,
            "request": None if self.request is None else self.request.hex(),
            "reply": None if self.reply is None else self.reply.hex(),
            "reply_time_ns": self.reply_time_ns,
            "reply_unit": self.reply_unit,
            "sure": self.sure,
        }


def write_wire_frames(folder: Path, frames: Iterable[WireFrame]) -> int:
    """Writes the file; gives the number of lines."""
    count = 0
    with (folder / WIRE_FILE).open("w", encoding="utf-8", newline="\n") as file:
        for frame in frames:
            file.write(json.dumps(frame.to_json(), separators=(",", ":")) + "\n")
            count += 1
    return count


def read_wire_frames(folder: Path, expected: int | None = None) -> Iterator[WireFrame]:
    """The exchanges in file order.

    Args:
        folder: Of the capture.
        expected: How many there must be; None = not known.
    Raises:
        CaptureError: a line is not one; the message names it.
    """
    path = folder / WIRE_FILE
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        yield _LineReading(path, number, line).frame()
    if expected is not None and len(lines) != expected:
        raise CaptureError(f"{path}:{len(lines)}: file: ends after {len(lines)} lines; expected {expected}")


class _LineReading:
    """One line, with its place."""

    def __init__(self, path: Path, number: int, line: str) -> None:
        self._place = f"{path}:{number}"
        try:
            table = json.loads(line)
        except ValueError as err:
            raise CaptureError(f"{self._place}: line: is no JSON; expected one object a line") from err
        if not isinstance(table, dict):
            raise CaptureError(f"{self._place}: line: is no JSON object; expected one object a line")
        self._table: dict[str, Any] = table

    def frame(self) -> WireFrame:
        frame = WireFrame(
            time_ns=self._number("time_ns"),
            server=self._text("server"),
            client=self._text("client"),
            unit=self._number("unit", 0xFF),
            transaction=self._number("transaction", 0xFFFF),
            function=self._number("function", 0x7F),
            request=self._pdu("request"),
            reply=self._pdu("reply"),
            reply_time_ns=self._number_or_none("reply_time_ns"),
            reply_unit=self._number_or_none("reply_unit", 0xFF),
            sure=self._table.get("sure", True) is True,
        )
        if (frame.reply is None) != (frame.reply_time_ns is None):
            raise self._error("reply_time_ns", "a time where there is a reply, null where there is none")
        if frame.request is None and frame.reply is None:
            raise self._error("request", "a request or a reply")
        return frame

    def _number(self, key: str, largest: int = 2**63 - 1) -> int:
        value = self._table.get(key)
        if type(value) is not int or not 0 <= value <= largest:
            raise self._error(key, f"a whole number from 0 to {largest}")
        return value

    def _number_or_none(self, key: str, largest: int = 2**63 - 1) -> int | None:
        return None if self._table.get(key) is None else self._number(key, largest)

    def _text(self, key: str) -> str:
        value = self._table.get(key)
        if not isinstance(value, str) or not value:
            raise self._error(key, "a text")
        return value

    def _pdu(self, key: str) -> bytes | None:
        value = self._table.get(key)
        if value is None:
            return None
        try:
            pdu = bytes.fromhex(value)
        except (TypeError, ValueError) as err:
            raise self._error(key, "hexadecimal digits or null") from err
        if not 1 <= len(pdu) <= 253:
            raise self._error(key, "1 to 253 bytes")
        return pdu

    def _error(self, key: str, expected: str) -> CaptureError:
        return CaptureError(f"{self._place}: {key}: is {self._table.get(key)!r}; expected {expected}")
