"""Settings of an OPC UA source: what stands in `[source.ID]`, checked key by key, every problem at once. No network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from connectors.opcua.nodes import address_problems
from connectors.opcua.paper_checks import paper_problems, paper_warnings
from connectors.opcua.security_settings import KEYS as SECURITY_KEYS
from connectors.opcua.security_settings import Security, SecurityReader, User
from mines.errors import Problem
from mines.model import Point
from mines.site.problems import any_of, one_of, shown

if TYPE_CHECKING:
    from mines.site.source_table import SourceTable

_DEFAULT_PORT: Final = 4840  # IANA
READ_MODES: Final = ("subscribe", "poll")
_EXPECTED_URL: Final = "opc.tcp://HOST, opc.tcp://HOST:PORT or opc.tcp://HOST:PORT/PATH"


@dataclass(frozen=True, slots=True)
class OpcUaSettings:
    """One OPC UA server and the pace it is read at. All defaults are defaults of this project."""

    url: str  # opc.tcp://HOST:PORT/PATH, the port always there
    publishing_ms: float = 500.0  # how often the server sends what changed
    sampling_ms: float = 250.0  # how often the server looks at its own device
    timeout_s: float = 4.0  # the longest that one request may take
    backoff_s: float = 1.0  # first wait before a new connection; doubles up to backoff_max_s
    backoff_max_s: float = 30.0
    read: str = "subscribe"  # or "poll": every point is read each period
    history: bool = True  # gaps are filled from the server's history where it offers one
    security: Security | None = None  # None = a channel without security
    user: User | None = None  # None = anonymous
    # No keys of the site file yet:
    keep_alive_s: float = 1.0  # a subscription with nothing to tell says so this often
    session_timeout_s: float = 60.0  # after which a server forgets a session whose close never reached it
    channel_lifetime_s: float = 3600.0  # renewed at three quarters of it
    second_look_s: float = 10.0  # how often some nodes are read and compared with the subscription
    ask_refused_again_s: float = 30.0  # a node that is not there may come, but asking costs the server


# key → (lowest, highest, unit)
_NUMBERS: Final[Mapping[str, tuple[float, float, str]]] = {
    "publishing_ms": (50.0, 60_000.0, "milliseconds"),
    "sampling_ms": (10.0, 60_000.0, "milliseconds"),
    "timeout_s": (0.1, 30.0, "seconds"),
    "backoff_s": (0.1, 600.0, "seconds"),
    "backoff_max_s": (0.1, 600.0, "seconds"),
}


_KEYS: Final = ("url", *_NUMBERS, "read", "history", *SECURITY_KEYS)


def read_settings(table: SourceTable, points: Sequence[Point]) -> tuple[OpcUaSettings | None, list[Problem]]:
    """The settings of one `[source.ID]` of kind opcua, or None with everything that is wrong in it.

    Args:
        table: As written in site.toml.
        points: The points of this source; their addresses are checked here too.
    """
    problems = [_problem(table, key, "unknown key", one_of(_KEYS, key)) for key in table.settings if key not in _KEYS]
    url = _url(table, problems)
    numbers = {key: value for key in _NUMBERS if (value := _number(table, key, problems)) is not None}
    first, longest = numbers.get("backoff_s", 1.0), numbers.get("backoff_max_s", 30.0)
    if first > longest:
        key = "backoff_max_s" if "backoff_max_s" in numbers else "backoff_s"
        problems.append(_problem(table, key, "the first wait is longer than the longest", "backoff_s ≤ backoff_max_s"))
    read, history = _read_mode(table, problems), _switch(table, "history", problems)
    reader = SecurityReader(table, problems)
    security, user = reader.security(), reader.user()
    problems += paper_problems(table, security, user)
    problems += address_problems(points)
    if problems or url is None:
        return None, problems
    return OpcUaSettings(url=url, read=read, history=history, security=security, user=user, **numbers), []


def settings_warnings(table: SourceTable, now_ms: int) -> list[Problem]:
    """What an engineer should know of a source whose settings are right: papers that end soon, a password in clear.

    Args:
        table: As written in site.toml.
        now_ms: [ms UTC].
    """
    ignored: list[Problem] = []
    reader = SecurityReader(table, ignored)
    return paper_warnings(table, reader.security(), reader.user(), now_ms)


def _read_mode(table: SourceTable, problems: list[Problem]) -> str:
    value = table.settings.get("read", READ_MODES[0])
    if isinstance(value, str) and value in READ_MODES:
        return value
    problems.append(_problem(table, "read", f"{shown(value)} is not allowed", any_of(READ_MODES)))
    return READ_MODES[0]


def _switch(table: SourceTable, key: str, problems: list[Problem]) -> bool:
    value = table.settings.get(key, True)
    if not isinstance(value, bool):
        problems.append(_problem(table, key, f"{shown(value)} is not allowed", "true or false"))
    return value is True


def _problem(table: SourceTable, key: str, what: str, expected: str) -> Problem:
    return Problem(table.file, table.line(key), f"source.{table.id}.{key}", what, expected)


def _number(table: SourceTable, key: str, problems: list[Problem]) -> float | None:
    if key not in table.settings:
        return None
    value = table.settings[key]
    lowest, highest, unit = _NUMBERS[key]
    if isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest:
        return float(value)
    problems.append(_problem(table, key, f"{shown(value)} is not allowed", f"{lowest:g} to {highest:g} [{unit}]"))
    return None


def _url(table: SourceTable, problems: list[Problem]) -> str | None:
    if "url" not in table.settings:
        problems.append(_problem(table, "url", "missing", _EXPECTED_URL))
        return None
    value = table.settings["url"]
    try:
        parts = urlsplit(value if isinstance(value, str) and value == value.strip() else "")
        fault = _url_fault(parts)
        port = parts.port or _DEFAULT_PORT
    except ValueError as error:  # a port above 65535, a broken IPv6 address
        fault = str(error)
    if fault:
        problems.append(_problem(table, "url", f"{shown(value)}: {fault}", _EXPECTED_URL))
        return None
    return parts._replace(netloc=f"{parts.netloc.removesuffix(f':{port}').rstrip(':')}:{port}").geturl()


def _url_fault(parts: SplitResult) -> str:
    """Why this is no address of a server; "" = it is one."""
    if parts.scheme != "opc.tcp":
        return "it does not begin with opc.tcp://"
    if not parts.hostname or parts.port == 0:
        return "there is no host" if not parts.hostname else "there is no port 0"
    if parts.username is not None or parts.password is not None:
        return "a user name or password does not belong into a URL"
    return "there is a query or a fragment" if parts.query or parts.fragment else ""


def queue_size(publishing_ms: float, sampling_ms: float) -> int:
    """How many changes of one node the server is asked to keep between two publishes.

    Ten times what can come, at least 100: servers jitter, and 10 Hz at 200 ms needed 100 to be without a hole against
    one of them (measured).
    """
    return max(100, 10 * math.ceil(publishing_ms / sampling_ms))
