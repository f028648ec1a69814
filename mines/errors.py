"""The error tree. A problem of a file is found before a start; a problem of the field never stops anything.

MineError
├── ConfigError     the site's files: every problem at once, each `file:line: key: what; expected …`
├── SourceError     inside connectors only; never leaves a stream
│   ├── LinkLost    the connection is gone
│   └── DeviceBusy  the device asks to be left alone
├── StoreError      the data folder: a file that is damaged, locked, full or of another schema
│   ├── Damaged     in mines.store.disk: no sound file of this schema
│   └── NotNow      in mines.store.disk: DiskFull, Locked; the same write may be tried again
├── CaptureError    a capture or a foreign file that cannot be read further
└── EvidenceError   evidence that does not add up
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in one file: what a person needs to mend it.

    `line` is 1-based, 0 where the file as a whole is meant; `key` is the TOML key (`source.fan.period_s`) or the
    column (`points.csv` row's column).
    """

    file: str
    line: int
    key: str
    what: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.what}; expected {self.expected}"


class MineError(Exception):
    """Anything minewatch raises on purpose."""


class ConfigError(MineError):
    """The site's files are wrong; `problems` holds all of them, ordered by file and line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.key, p.what)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SourceError(MineError):
    """Something went wrong between box and device."""


class LinkLost(SourceError):
    """The connection is gone; the source reconnects."""


class DeviceBusy(SourceError):
    """The device answered that it is busy."""


class StoreError(MineError):
    """The data folder cannot be read or written as asked."""


class CaptureError(MineError):
    """A capture, or a file to import, cannot be read further; the message names file and place."""


class EvidenceError(MineError):
    """Evidence does not add up."""
