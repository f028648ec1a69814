"""Times and durations as people type them, and as pages print them. Asia/Shanghai where no offset is given."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_time_ms(text: str) -> int:
    """Milliseconds UTC of an ISO 8601 time (Asia/Shanghai without an offset) or of integer ms.

    Raises:
        ValueError: the text is neither; the message says what is expected.
    """
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; expected ISO 8601 or integer milliseconds") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=SHANGHAI)
    return round(moment.timestamp() * 1000)


def parse_duration_ms(text: str) -> int:
    """Milliseconds of `90s`, `15m`, `2h`, `3d` or a sum such as `1h30m`.

    Raises:
        ValueError: the text is no duration.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration; expected such as 90s, 15m, 2h, 3d")
    return round(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 1000)


def print_time(time_ms: int) -> str:
    """`YYYY-MM-DD HH:mm:ss` in Asia/Shanghai."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
