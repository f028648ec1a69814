"""Lines of a Go template of YAML, one branch of it followed, nothing of it run. Pure.

Known are lines of nothing but an action: include "modbus" (the connection, left out), `if eq .usage "word"`, else, end.
What stands under another condition is left out and told, as is any other action; an action within a line becomes
UNREAD, which is no value of anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from connectors.maps.draft import SkippedRow

UNREAD: Final = "TEMPLATE"

_ACTION_LINE = re.compile(r"\s*\{\{-?\s*(.*?)\s*-?\}\}\s*")
_ACTION = re.compile(r"\{\{.*?\}\}")
_USAGE_IS = re.compile(r'if\s+(eq|ne)\s+\.usage\s+"([^"]*)"')
_CONNECTION = re.compile(r'include\s+"modbus"|/\*')
_OPENS = re.compile(r"(if|range|with|define|block)\b")


@dataclass(frozen=True, slots=True)
class Branches:
    """The lines that are followed, blank where a line is not, so that line numbers stay; and what was left out."""

    lines: tuple[str, ...]
    first: int  # line of the file that lines[0] is
    left_out: tuple[SkippedRow, ...]
    chose: bool  # some condition was decided by usage


@dataclass(slots=True)
class _Block:
    """One open `if` … `end`: whether its lines are followed now, and what is said of those that are not."""

    taken: bool
    condition: str
    known: bool


def follow(lines: Sequence[str], usage: str, first: int) -> Branches:
    """The branch of a template that `usage` takes.

    Args:
        lines: Of the template.
        usage: What `.usage` is.
        first: Line of the file that the first of them is.
    Raises:
        ValueError: its blocks do not close.
    """
    kept: list[str] = []
    left_out: list[SkippedRow] = []
    open_blocks: list[_Block] = []
    chose = False
    for line, text in enumerate(lines, start=first):
        action = _ACTION_LINE.fullmatch(text)
        if action is None:
            dark = next((block for block in open_blocks if not block.taken), None)
            if dark is not None and text.strip():
                left_out.append(SkippedRow(line, text.strip(), _why(dark)))
            kept.append("" if dark is not None else _ACTION.sub(UNREAD, text))
            continue
        chose |= _USAGE_IS.fullmatch(action[1]) is not None
        if not _step(open_blocks, action[1], usage, line) and all(block.taken for block in open_blocks):
            left_out.append(SkippedRow(line, text.strip(), "模板动作未读 an action of the template that is not read"))
        kept.append("")
    if open_blocks:
        raise ValueError(f"render: {len(open_blocks)} blocks of the template are never ended")
    return Branches(tuple(kept), first, tuple(left_out), chose)


def _step(open_blocks: list[_Block], action: str, usage: str, line: int) -> bool:
    """Opens, turns or closes a block; False for an action that is not known."""
    if action == "end" or action.startswith("else"):
        if not open_blocks:
            raise ValueError(f"line {line}: {action} without if")
        if action == "end":
            open_blocks.pop()
        else:
            last = open_blocks[-1]
            last.known &= action == "else"
            last.taken = last.known and not last.taken
    elif match := _USAGE_IS.fullmatch(action):
        taken = (match[2] == usage) is (match[1] == "eq")
        open_blocks.append(_Block(taken, f"usage {match[1]} {match[2]}", known=True))
    elif _OPENS.match(action):
        open_blocks.append(_Block(False, action, known=False))
    else:
        return _CONNECTION.match(action) is not None
    return True


def _why(block: _Block) -> str:
    if block.known:
        return f"只在模板的另一分支里 only in another branch of the template ({block.condition})"
    return f"模板条件未知 under a condition of the template that is not read ({block.condition})"
