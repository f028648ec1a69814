"""How a source's line is reached: TCP with either framing, TLS, or a serial port, as `[source.ID]` says it. Pure.

Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b; MODBUS/TCP Security Protocol Specification v21;
MODBUS over Serial Line Specification V1.02, 2.5.1 (RTU).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from connectors.modbus.bounds import Bounds, key_problem, number_problems
from mines.errors import Problem
from mines.site.source_table import SourceTable

TCP_KIND: Final = "modbus_tcp"
SERIAL_KIND: Final = "modbus_serial"
KINDS: Final = (TCP_KIND, SERIAL_KIND)

Framing = Literal["mbap", "rtu"]
Parity = Literal["N", "E", "O"]

TCP_PORT: Final = 502
TLS_PORT: Final = 802
"""mbap-s. Source: MODBUS/TCP Security Protocol Specification v21."""
FASTEST_GAP_S: Final = 0.00175
"""Silence between frames above 19,200 baud. Source: MODBUS over Serial Line V1.02, 2.5.1.1."""
_GAP_CHARACTERS: Final = 3.5
_LEAST_BITS: Final = 11  # of a character; a port that sends fewer is only a little faster
_BAUDS: Final = (300, 4_000_000)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Whom the box believes and as whom it comes. All files are PEM."""

    ca: Path  # the server's certificate must lead to one of these
    certificate: Path | None = None  # of the box, with whatever leads up to its issuer
    key: Path | None = None
    server_name: str = ""  # as the server's certificate calls it; "" = the host


@dataclass(frozen=True, slots=True)
class TcpTransport:
    """One socket to a device or gateway."""

    host: str
    port: int = TCP_PORT
    connect_timeout_s: float = 3.0
    framing: Framing = "mbap"
    tls: TlsFiles | None = None

    @property
    def endpoint(self) -> str:
        """For people: `host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def line(self) -> str:
        """What may exist once in a site."""
        return self.endpoint

    @property
    def passive(self) -> bool:
        """True where nothing may ever be sent."""
        return False

    def wire_s(self, request_bytes: int, reply_bytes: int) -> float:
        """Time on the wire [s]: nothing that counts."""
        del request_bytes, reply_bytes
        return 0.0


@dataclass(frozen=True, slots=True)
class SerialTransport:
    """One serial port in RTU framing. Even parity is the standard's default."""

    device: str
    baud: int = 9600
    data_bits: int = 8
    parity: Parity = "E"
    stop_bits: int = 1
    passive: bool = False  # another system polls this line: listen, never send

    @property
    def endpoint(self) -> str:
        """For people: the device."""
        return self.device

    @property
    def line(self) -> str:
        """What may exist once in a site."""
        return self.device

    @property
    def character_s(self) -> float:
        """One character on the wire [s]."""
        bits = 1 + self.data_bits + (self.parity != "N") + self.stop_bits
        return max(bits, _LEAST_BITS) / self.baud

    @property
    def gap_s(self) -> float:
        """The silence that ends a frame [s]."""
        return max(_GAP_CHARACTERS * self.character_s, FASTEST_GAP_S)

    def wire_s(self, request_bytes: int, reply_bytes: int) -> float:
        """Time on the wire of a request and its reply, each with the silence that ends it [s]."""
        return (request_bytes + reply_bytes) * self.character_s + 2 * self.gap_s


Transport = TcpTransport | SerialTransport

_TLS_KEYS: Final = ("tls_ca", "tls_certificate", "tls_key", "tls_server_name")
_TCP_KEYS: Final = ("host", "port", "framing", "connect_timeout_s", *_TLS_KEYS)
_SERIAL_KEYS: Final = ("device", "baud", "data_bits", "parity", "stop_bits", "passive")
_TCP_NUMBERS: Final = {
    "port": Bounds(True, 0, 65_535, "a port from 1 to 65535"),
    "connect_timeout_s": Bounds(False, 0, 30, "seconds, more than 0, at most 30"),
}
_SERIAL_NUMBERS: Final = {
    "baud": Bounds(True, _BAUDS[0] - 1, _BAUDS[1], f"bits a second, {_BAUDS[0]} to {_BAUDS[1]}"),
    "data_bits": Bounds(True, 7, 8, "8: RTU frames are of whole bytes"),
    "stop_bits": Bounds(True, 0, 2, "1 or 2"),
}
_CHOICES: Final[Mapping[str, tuple[object, ...]]] = {
    "framing": ("mbap", "rtu"),
    "parity": ("N", "E", "O"),
    "passive": (True, False),
}


def read_transport(table: SourceTable) -> tuple[Transport | None, list[Problem], tuple[str, ...]]:
    """How the line of a source is reached, or everything that is wrong with how it is said.

    Args:
        table: The `[source.ID]` table as written, of one of KINDS.
    Returns:
        The transport, None where there is any problem; the problems; the keys that belong to it.
    """
    reading = _serial if table.kind == SERIAL_KIND else _tcp
    keys = _SERIAL_KEYS if table.kind == SERIAL_KIND else _TCP_KEYS
    problems = _place(table, keys[0]) + _choices(table, keys)
    problems += number_problems(table, _SERIAL_NUMBERS if table.kind == SERIAL_KIND else _TCP_NUMBERS)
    transport = reading(table, problems)
    return (None if problems else transport), problems, keys


def _serial(table: SourceTable, problems: Sequence[Problem]) -> Transport | None:
    given = {key: table.settings[key] for key in _SERIAL_KEYS if key in table.settings}
    return None if problems else SerialTransport(**given)


def _tcp(table: SourceTable, problems: list[Problem]) -> Transport | None:
    tls = _tls(table, problems)
    given: dict[str, Any] = {key: table.settings[key] for key in _TCP_KEYS[:4] if key in table.settings}
    if tls is not None:
        given.setdefault("port", TLS_PORT)
    return None if problems else TcpTransport(**given, tls=tls)


def _tls(table: SourceTable, problems: list[Problem]) -> TlsFiles | None:
    """Any of its keys turns TLS on; a server that nothing vouches for is never believed."""
    if not any(key in table.settings for key in _TLS_KEYS):
        return None
    before = len(problems)
    for key in _TLS_KEYS:
        value = table.settings.get(key)
        if key in table.settings and not (isinstance(value, str) and value and value == value.strip()):
            expected = "a name as in the certificate" if key == "tls_server_name" else "a PEM file"
            problems.append(key_problem(table, key, f"is {value!r}", expected))
    if "tls_ca" not in table.settings:
        problems.append(key_problem(table, "tls_ca", "is missing", "the file that the server's certificate leads to"))
    for key, other in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        if key in table.settings and other not in table.settings:
            problems.append(key_problem(table, other, f"is missing beside {key}", "both, or neither"))
    if table.settings.get("framing") == "rtu":
        problems.append(key_problem(table, "framing", "rtu within TLS", 'framing = "mbap", or no tls_ keys'))
    if len(problems) > before:
        return None
    paths = {key: _file(table, key, problems) for key in _TLS_KEYS[:3]}
    ca = paths["tls_ca"]
    name = table.settings.get("tls_server_name", "")
    return None if ca is None else TlsFiles(ca, paths["tls_certificate"], paths["tls_key"], name)


def _file(table: SourceTable, key: str, problems: list[Problem]) -> Path | None:
    if key not in table.settings:
        return None
    path = Path(table.settings[key]) if table.folder is None else table.folder / table.settings[key]
    if table.folder is not None and not path.is_file():
        problems.append(key_problem(table, key, f"{path} is not there", "a PEM file, named from the site's folder"))
    return path


def _place(table: SourceTable, key: str) -> list[Problem]:
    place = table.settings.get(key)
    if isinstance(place, str) and place and place == place.strip() and " " not in place:
        return []
    what = "is missing" if key not in table.settings else f"is {place!r}"
    example = '"192.168.10.21"' if key == "host" else '"/dev/ttyS1"'
    kind = "a name or address" if key == "host" else "a serial port"
    return [key_problem(table, key, what, f"{kind} in quotes, e.g. {example}")]


def _choices(table: SourceTable, keys: Sequence[str]) -> list[Problem]:
    problems = []
    for key, allowed in _CHOICES.items():
        if key not in keys or key not in table.settings:
            continue
        value = table.settings[key]
        if not any(value is word or (isinstance(value, str) and value == word) for word in allowed):
            expected = "true or false" if key == "passive" else "one of " + ", ".join(f'"{word}"' for word in allowed)
            problems.append(key_problem(table, key, f"is {value!r}", expected))
    return problems
