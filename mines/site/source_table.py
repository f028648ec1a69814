"""One `[source.ID]` as written: the core never looks into its settings, the connector of its kind does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mines.site.problems import SITE_TOML

SOURCE_KINDS: Final = ("modbus_tcp", "modbus_serial", "opcua")
"""What a source may speak; `connectors/sources.py` matches on it."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A source's table: `settings` is the raw table without `kind`, `lines` maps its dotted keys to lines of `file`."""

    id: str
    kind: str
    settings: Mapping[str, Any]
    file: str = SITE_TOML
    lines: Mapping[str, int] = field(default_factory=dict)
    folder: Path | None = None  # of the site, for files that settings name; None = unknown: no file is looked at

    def line(self, key: str) -> int:
        """The line of a key (`host`, `unit.3.name`); of the table around it where it is not there; 0 = unknown."""
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            found = self.lines.get(".".join(parts[:length]))
            if found is not None:
                return found
        return self.lines.get("", 0)
