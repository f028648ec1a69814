"""Workbooks for tests: rows as openpyxl writes them, and what of a zip no spreadsheet program would write."""

from __future__ import annotations

import io
import zipfile

from openpyxl import Workbook

HEADER = (
    "id",
    "name_zh",
    "subsystem",
    "kind",
    "states",
    "unit",
    "source",
    "address",
    "period_s",
    "decimals",
    "latch",
    "sensor_code",
    "high_alarm",
)
ROW = (
    "water.sump.level",
    "水仓水位",
    "dewatering",
    "analog",
    None,
    "m",
    "pump",
    "1/holding/0",
    1,
    2,
    None,
    "0049",
    3.5,
)


def workbook_bytes(rows, *, sheet="points", change=None):
    """A workbook with one sheet of these rows; `change` may alter the sheet before it is saved."""
    book = Workbook()
    page = book.active
    page.title = sheet
    for row in rows:
        page.append(row)
    if change is not None:
        change(page)
    return saved(book)


def saved(book):
    """The bytes of a workbook."""
    kept = io.BytesIO()
    book.save(kept)
    return kept.getvalue()


def cells(**values):
    """ROW with some columns changed."""
    row = dict(zip(HEADER, ROW, strict=True)) | values
    return [row[name] for name in HEADER]


def with_part(data, name, body):
    """The same zip with one part replaced or added."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            if part.filename != name:
                new.writestr(part.filename, old.read(part))
        new.writestr(name, body)
    return kept.getvalue()


def part_of(data, name):
    """One part of a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        return parts.read(name)
