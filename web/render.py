"""One document → a whole page, the live part of a page, or JSON; and how values, times and words are printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask import Flask, Response, render_template, request, url_for
from flask_babel import gettext

from mines.times import print_time
from mines.units import UNITS
from mines.words import codes, link_error, word
from web import charts
from web.access import choice, remembered_person

DASH: Final = "—"
_LIST: Final = ("level", "state", "subsystem")
KEPT_AFTER_ACT: Final = (*_LIST, "lang")
"""What stays in the address when an act is sent: the list that the person looked at, and the language."""

_KEPT_ON_PAGE: Final = (*_LIST, "recorded", "from", "to", "lang", "theme")
_KEPT_IN_TWIN: Final = (*_LIST, "recorded", "from", "to")

_TEN_S, _MINUTE_MS, _DAY_S = 10_000, 60_000, 86_400

LEVEL_SHAPE: Final = {1: "■", 2: "▲", 3: "◆", 4: "●"}
HOLLOW_SHAPE: Final = {1: "□", 2: "△", 3: "◇", 4: "○"}
"""Returned, not acknowledged: the same shape, hollow (pages §1.3)."""
STATE_SHAPE: Final = {"live": "◎", "late": "◐", "stale": "▤", "lost": "▨", "never": "┄"}
FINDING_SHAPE: Final = {
    "dead_line": "╳", "dead_unit": "▨", "wrong_device": "≠", "certificate": "⚿", "exception": "!", "quarantine": "▣",
    "busy": "…", "implausible": "≟", "clock": "◷", "slow": "◔", "overrun": "»", "other": "◐", "none": "",
}  # fmt: skip
LINK_SHAPE: Final = {"good": "◎", "degraded": "◐", "connecting": "◌", "lost": "▨", "none": "┄", "unknown": "?"}


def render(document: Mapping[str, Any], *, twin: bool = False, status: int = 200) -> Response:
    """The document as JSON where `twin`, as the live part where the address says `part=1`, else as a whole page."""
    if twin:
        return json_answer(document, status)
    part = request.args.get("part") == "1"
    html = render_template(f"{document['page']}.html", doc=document, head=document.get("head"), part=part)
    return Response(html, status=status, content_type="text/html; charset=utf-8")


def json_answer(document: Mapping[str, Any], status: int = 200) -> Response:
    """The document as UTF-8 JSON."""
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(data, status=status, content_type="application/json; charset=utf-8")


def add_helpers(app: Flask) -> None:
    """Puts the printing functions into the templates' hands."""
    app.jinja_env.filters.update(clock=clock, hms=hms, span=span, number=number, grouped=grouped)
    app.jinja_env.globals.update(
        DASH=DASH,
        LEVEL_SHAPE=LEVEL_SHAPE,
        HOLLOW_SHAPE=HOLLOW_SHAPE,
        STATE_SHAPE=STATE_SHAPE,
        LINK_SHAPE=LINK_SHAPE,
        FINDING_SHAPE=FINDING_SHAPE,
        bar=charts.bar,
        waterfall=charts.waterfall,
        reading=reading,
        symbol=symbol,
        evidence_text=evidence_text,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.context_processor(_in_this_request)


def address(endpoint: str, values: Mapping[str, Any]) -> str:
    """The address of a page, empty values left out."""
    return url_for(endpoint, **{key: value for key, value in values.items() if value})


def kept(names: Sequence[str]) -> dict[str, str]:
    """Of the query only what is named: what a stranger writes into an address never reaches `url_for`."""
    return {name: request.args[name] for name in names if name in request.args}


def _in_this_request() -> dict[str, Any]:
    language = choice(request, "lang")
    place = request.view_args or {}

    def name(named: Mapping[str, Any] | None) -> str:
        if named is None:
            return DASH
        english = language == "en" and named.get("name_en")
        return str(named["name_en"] if english else named["name_zh"])

    def word_or(code: str, fallback: str) -> str:
        """A code that has no word yet is printed as it is: no page may fail for want of a word."""
        return word(code, language) if code in codes() else fallback

    return {
        "language": language,
        "english": language == "en",
        "theme": choice(request, "theme"),
        "person": remembered_person(request),
        "word": lambda code: word_or(code, code.rpartition(".")[2]),
        "word_or": word_or,
        "link_error": lambda error: link_error(error, language),
        "words": lambda code: (word(code, "zh"), word(code, "en")),
        "name": name,
        "link": lambda endpoint, **values: address(endpoint, {**kept(("lang",)), **values}),
        "here": lambda **values: address(str(request.endpoint), {**place, **kept(_KEPT_ON_PAGE), **values}),
        "act_address": lambda action: address(action, kept(KEPT_AFTER_ACT)),
        "twin": lambda: address(f"{request.endpoint}_json", {**place, **kept(_KEPT_IN_TWIN)}),
    }


def clock(time_ms: int | None) -> str:
    """`YYYY-MM-DD HH:mm:ss` in Asia/Shanghai, a dash for none."""
    return DASH if time_ms is None else print_time(time_ms)


def hms(time_ms: int | None) -> str:
    """`HH:mm:ss` in Asia/Shanghai, a dash for none."""
    return DASH if time_ms is None else print_time(time_ms)[11:]


def span(duration_ms: int | None) -> str:
    """A length of time: `1.2 s`, `42 s`, then total `h:mm:ss`, with days where there are any (`3 d 4:05:06`)."""
    if duration_ms is None:
        return DASH
    if duration_ms < _TEN_S:
        return f"{duration_ms / 1000:.1f} s"
    if duration_ms < _MINUTE_MS:
        return f"{duration_ms // 1000} s"
    days, seconds = divmod(duration_ms // 1000, _DAY_S)
    text = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{days} d {text}" if days else text


def number(value: float | None, decimals: int = 2) -> str:
    """A number with its point's decimals; a dash for none."""
    return DASH if value is None else f"{value:.{decimals}f}"


def grouped(value: int | None) -> str:
    """`45,678`; a dash for none."""
    return DASH if value is None else f"{value:,}"


def symbol(unit: str) -> str:
    """How a unit is printed in the language of the request; a unit that is in no list as it came."""
    return UNITS[unit].printed(choice(request, "lang")) if unit in UNITS else unit


def reading(point: Mapping[str, Any], value: float | None) -> str:
    """A value of the point as text: the word of its state, or the number; ≥ range end where it is over range.

    Source: alarm-logic §1: over-range is shown as ≥ range end (≥4.00); the raw value stays in the document.
    """
    if value is None:
        return DASH
    states: Mapping[str, str] = point["states"]
    if states and float(value).is_integer() and str(int(value)) in states:
        return states[str(int(value))]
    if point["kind"] in ("switch", "multistate"):
        return f"{value:g}"
    top = point["range"][1]
    over = top is not None and value > top and "over_range" in point.get("quality", {"flags": ()})["flags"]
    return f"≥{top:.{point['decimals']}f}" if over else number(value, point["decimals"])


def evidence_text(evidence: object) -> str:
    """Evidence of a score item as one line, whatever shape it has."""
    if isinstance(evidence, str):
        return evidence
    if not evidence:
        return gettext("无")
    return json.dumps(evidence, ensure_ascii=False)
