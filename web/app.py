"""The web process: Flask under waitress. It reads; all it writes is rows of the ledger. Nothing runs at import."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, abort, request
from flask_babel import Babel
from werkzeug.exceptions import HTTPException

from mines.errors import StoreError
from mines.times import SHANGHAI
from mines.words import word
from web.access import BODY_LIMIT, choice, finish, remember_person, same_site
from web.pages.acts import ActLedger, Asked, Refused, asked
from web.pages.alarms import FILTERS, alarms
from web.pages.events import events
from web.pages.links import links
from web.pages.overview import overview
from web.pages.point import point
from web.pages.score import score
from web.pages.subsystem import subsystem
from web.readers import LatestSnapshot, MineReaders, NotHere, Picture, snapshot_tag
from web.render import KEPT_AFTER_ACT, add_helpers, address, json_answer, kept, render

if TYPE_CHECKING:
    from waitress.server import BaseWSGIServer

_CONNECTIONS: Final = 500
"""Of screens and desks at once; a connection costs waitress one file descriptor."""
_IDLE_S: Final = 30
_Page = Callable[..., dict[str, Any]]


def create_app(readers: MineReaders) -> Flask:
    """The pages of one mine's box."""
    app = Flask("web")
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    Babel(  # type: ignore[no-untyped-call]
        app,
        default_locale="zh",
        default_timezone=str(SHANGHAI),
        locale_selector=lambda: choice(request, "lang"),
    )
    add_helpers(app)
    latest, ledger = LatestSnapshot(readers), ActLedger(readers.ledger_path)
    _add_pages(app, latest, ledger)
    _add_acts(app, latest, lambda action, wish: ledger.record(action, wish, readers.clock.wall_ms()))
    _add_service(app, latest)
    app.register_error_handler(HTTPException, _error_page)
    app.after_request(lambda response: finish(request, response))
    return app


def open_server(app: Flask, host: str, port: int, threads: int) -> BaseWSGIServer:
    """A bound server: `.run()` serves until `.close()`; `.effective_port` says where (port 0 = any free one)."""
    from waitress.server import create_server

    server: BaseWSGIServer = create_server(  # type: ignore[no-untyped-call]
        app,
        host=host,
        port=port,
        threads=threads,
        ident=None,
        max_request_body_size=BODY_LIMIT,
        connection_limit=_CONNECTIONS,
        channel_timeout=_IDLE_S,
        asyncore_use_poll=True,
    )
    return server


def serve(app: Flask, host: str, port: int, threads: int) -> None:
    """Serves until the process is told to end."""
    open_server(app, host, port, threads).run()  # type: ignore[no-untyped-call]


def _add_pages(app: Flask, latest: LatestSnapshot, ledger: ActLedger) -> None:
    def add(rule: str, twin: str, name: str, page: _Page) -> None:
        """A page and its JSON twin: two renderings of what `page(picture, **names in the address)` gives."""

        def view(**parts: str) -> Response:
            return _answer(latest, lambda picture: page(picture, **parts), twin=False)

        def json_view(**parts: str) -> Response:
            return _answer(latest, lambda picture: page(picture, **parts), twin=True)

        app.add_url_rule(twin, f"{name}_json", json_view)
        app.add_url_rule(rule, name, view)

    def alarm_page(picture: Picture) -> dict[str, Any]:
        given = {key: request.args.get(key, "") for key in FILTERS}
        return alarms(picture, ledger, given, request.args.get("recorded", ""))

    def event_page(picture: Picture) -> dict[str, Any]:
        try:
            return events(picture, request.args.get("from", ""), request.args.get("to", ""))
        except ValueError as problem:
            abort(400, str(problem))

    add("/", "/overview.json", "overview", overview)
    add("/alarms", "/alarms.json", "alarms", alarm_page)
    add("/links", "/links.json", "links", links)
    add("/score", "/score.json", "score", score)
    add("/events", "/events.json", "events", event_page)
    add("/systems/<subsystem_id>", "/systems/<subsystem_id>.json", "subsystem", subsystem)
    add("/points/<path:point_id>", "/points/<path:point_id>.json", "point", point)


def _answer(latest: LatestSnapshot, page: Callable[[Picture], dict[str, Any]], *, twin: bool) -> Response:
    """One page. A live part that the browser has already (ETag) is answered 304 with the silence so far."""
    picture = latest.picture()
    tag = f"{snapshot_tag(picture.view)}.{choice(request, 'lang')}"
    if request.args.get("part") == "1" and request.if_none_match.contains_weak(tag):
        response = Response(status=304)
    else:
        try:
            response = render(page(picture), twin=twin)
        except NotHere:
            abort(404)
    response.set_etag(tag, weak=True)
    if picture.view.silent_ms is not None:
        response.headers["Minewatch-Silent-Ms"] = str(picture.view.silent_ms)
    return response


def _add_acts(app: Flask, latest: LatestSnapshot, record: Callable[[str, Asked], int]) -> None:
    def act(action: str) -> Response:
        if not same_site(request):
            return _refused(Refused("cross_site"), 403)
        try:
            wish = _read_wish(latest)
            ledger_id = record(action, wish)
        except Refused as refusal:
            return _refused(refusal, 400)
        except StoreError as problem:
            return _refused(Refused("not_recorded", str(problem)), 503)
        if request.is_json:
            return json_answer({"ledger_id": ledger_id, "state": "recorded"})
        response = Response(status=303)
        response.location = address("alarms", {**kept(KEPT_AFTER_ACT), "recorded": str(ledger_id)})
        remember_person(request, response, wish.name, wish.station)
        return response

    for action in ("acknowledge", "reset"):
        app.add_url_rule(f"/alarms/{action}", action, act, methods=["POST"], defaults={"action": action})


def _read_wish(latest: LatestSnapshot) -> Asked:
    """The request as form or JSON; a row's own button (`only`) outranks the ticked boxes."""
    if not request.is_json:
        alone = request.form.getlist("only")
        return asked(request.form, alone or request.form.getlist("alarm"), latest.index)
    fields = request.get_json(silent=True)
    if not isinstance(fields, dict):
        raise Refused("not_readable")
    alarm = fields.get("alarm", fields.get("alarms", []))
    return asked(fields, alarm if isinstance(alarm, list) else [alarm], latest.index)


def _refused(refusal: Refused, status: int) -> Response:
    language = choice(request, "lang")
    text = word(f"request.{refusal.code}", language)
    document = {"page": "error", "status": status, "error": refusal.code, "given": refusal.given, "text": text}
    return render(document, twin=request.is_json, status=status)


def _error_page(problem: HTTPException) -> Response:
    status = problem.code or 500
    document = {
        "page": "error",
        "status": status,
        "error": problem.name,
        "given": problem.description or "",
        "text": "",
    }
    twin = request.is_json or request.path.endswith(".json") or request.path.startswith("/api/")
    return render(document, twin=twin, status=status)


def _add_service(app: Flask, latest: LatestSnapshot) -> None:
    @app.get("/api/v1/snapshot")
    def snapshot() -> Response:
        """The snapshot as ready bytes. 304 where the caller has it: by ETag, or `since=SEQ` while `run` is alive."""
        encoded, view = latest.encoded(), latest.view()
        known = request.args.get("since", "") == str(view.document.get("seq", "")) and view.alive
        if known or request.if_none_match.contains_weak(encoded.tag):
            response = Response(status=304)
        else:
            zipped = request.accept_encodings.quality("gzip") > 0
            response = Response(encoded.zipped if zipped else encoded.plain, content_type="application/json")
            response.status_code = 200 if view.document else 503
            if zipped:
                response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        response.set_etag(encoded.tag, weak=True)
        if view.silent_ms is not None:
            response.headers["Minewatch-Silent-Ms"] = str(view.silent_ms)
        return response

    @app.get("/healthz")
    def healthz() -> Response:
        """The web process answers; whether `run` does is said beside it."""
        view = latest.view()
        return json_answer(
            {"ok": True, "alive": view.alive, "silent_ms": view.silent_ms, "seq": view.document.get("seq")}
        )
