"""`minewatch import` of a map of registers: one file in, a draft site with its account out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.captures.folder import SITE_FOLDER, new_folder
from connectors.maps.draft import MapReading, draft_site
from mines.errors import CaptureError, Problem
from mines.site.text_file import decode

MOST_BYTES: Final = 5_000_000
"""Of a map that is read; a project limit."""
REPORT_JSON, REPORT_TEXT = "report.json", "report.txt"

_ENDINGS: Final = (".csv", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class MapImport:
    """What an import of a map made: `report` as plain JSON, `text` the same for people; `problem` ends it with 1."""

    report: dict[str, Any]
    text: str
    problem: CaptureError | None = None


def is_map(file: Path) -> bool:
    """True for a file that is read as a map of registers (.csv, .yaml), not as a capture."""
    return file.suffix.lower() in _ENDINGS


def import_map(file: Path, out: Path) -> MapImport:
    """Reads a VOLTTRON map (.csv) or an evcc meter template (.yaml) into a draft site.

    Args:
        file: The map.
        out: A new folder: `site/` with the draft, `report.json` and `report.txt` with the account of every row.
    Returns:
        The account; with a problem, and without a folder, where no row could be imported.
    Raises:
        CaptureError: the file cannot be read, is no such map, or `out` cannot be written.
    """
    reading = _read(file)
    report, text = reading.report(file.name), reading.report_text(file.name)
    if not reading.registers:
        why = reading.skipped[0].why if reading.skipped else "it has no row"
        return MapImport(report, text, CaptureError(f"{file.name}:0: file: nothing to import: {why}"))
    with new_folder(out) as part:
        site = part / SITE_FOLDER
        site.mkdir()
        for name, body in zip(("site.toml", "points.csv"), draft_site(reading), strict=True):
            (site / name).write_text(body, encoding="utf-8")
        (part / REPORT_JSON).write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        (part / REPORT_TEXT).write_text(text, encoding="utf-8")
    return MapImport(report, text)


def _read(file: Path) -> MapReading:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise CaptureError(f"{file.name}:0: file: is larger than {MOST_BYTES} bytes; expected a map of registers")
        data = file.read_bytes()
    except OSError as err:
        raise CaptureError(f"{file}:0: file: cannot be read: {err.strerror}; expected a readable file") from err
    text = decode(data, file.name)
    if isinstance(text, Problem):
        raise CaptureError(str(text))
    try:
        if file.suffix.lower() == ".csv":
            from connectors.maps.volttron import read_volttron

            return read_volttron(file.stem, text)
        from connectors.maps.evcc import read_evcc

        return read_evcc(text)
    except ValueError as err:
        expected = "a VOLTTRON register map (.csv) or an evcc meter template (.yaml)"
        raise CaptureError(f"{file.name}:0: file: {err}; expected {expected}") from err
