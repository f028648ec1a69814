"""Bytes to text: UTF-8 with or without a byte order mark, and a plain word where it is something else (GBK, UTF-16)."""

from __future__ import annotations

import codecs
from unicodedata import category

from mines.errors import Problem

_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(data: bytes, file: str) -> str | Problem:
    """The text of a file, without its byte order mark; a Problem where the bytes are not UTF-8.

    Args:
        data: The whole file.
        file: Its name, for the Problem.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        what = f"is not UTF-8 text: byte 0x{data[err.start]:02x} in this line; {_guess(data)}"
    return Problem(file, line, "encoding", what, 'UTF-8, with or without BOM (in Excel: save as "CSV UTF-8")')


def _guess(data: bytes) -> str:
    if data.startswith(_UTF16_MARKS):
        return "it is UTF-16"
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return "it is no GBK either"
    return "it reads as GBK"


def hidden_characters(text: str) -> tuple[str, ...]:
    """Characters that no name may hold: control characters (NUL …) and those that turn the direction of writing.

    Tabs and line breaks are text. Source: faults.md F86.
    """
    return tuple(dict.fromkeys(c for c in text if c in _DIRECTION or (category(c) == "Cc" and c not in "\t\r\n")))
