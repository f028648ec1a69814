"""Who may do what, and what every answer carries: headers, language, theme, same-site check, the acting person."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, urlsplit

from flask import Request, Response

from mines.model import Actor

BODY_LIMIT: Final = 65_536
"""Bytes of a request body (faults §4)."""

LANGUAGES: Final = ("zh", "en")
THEMES: Final = ("auto", "desk", "wall")
NAME_LIMIT: Final = 64
NOTE_LIMIT: Final = 500

_CHOICES: Final = {"lang": LANGUAGES, "theme": THEMES}
_YEAR_S: Final = 365 * 24 * 3600
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def choice(request: Request, name: str) -> str:
    """`lang` or `theme` as asked for in the address, else as remembered, else the first of its words."""
    allowed = _CHOICES[name]
    for given in (request.args.get(name), request.cookies.get(name)):
        if given in allowed:
            return given
    return allowed[0]


def finish(request: Request, response: Response) -> Response:
    """Puts the headers on every answer and remembers language and theme where the address named them."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    for name, allowed in _CHOICES.items():
        given = request.args.get(name)
        if given in allowed:
            _remember(request, response, name, given)
    return response


def same_site(request: Request) -> bool:
    """False where a browser says that another site sent the request; a script that says nothing is let through.

    Sec-Fetch-Site decides where it is sent; older browsers send Origin (which a page without any referrer would hide
    as `null`: the alarm page therefore lets its own server see it).
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def acting_person(name: str, station: str) -> Actor:
    """The person as typed in. Until login exists nobody is authenticated, and the pages say so (未登录操作)."""
    return Actor(id="not_logged_in", name=name, role="not_logged_in", station=station, authenticated=False)


def remember_person(request: Request, response: Response, name: str, station: str) -> None:
    """So that the next acknowledgement need not be typed again at this desk."""
    _remember(request, response, "who", quote(name, safe=""))
    _remember(request, response, "station", quote(station, safe=""))


def remembered_person(request: Request) -> dict[str, str]:
    """Name and station as last typed at this browser, "" where never."""
    return {key: unquote(request.cookies.get(key, ""))[:NAME_LIMIT] for key in ("who", "station")}


def _remember(request: Request, response: Response, name: str, value: str) -> None:
    response.set_cookie(name, value, max_age=_YEAR_S, httponly=True, samesite="Strict", secure=request.is_secure)
