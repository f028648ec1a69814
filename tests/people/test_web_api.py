"""`/api/v1/snapshot` and `/healthz`, and how pages answer a browser that has them already."""

from __future__ import annotations

import gzip
import json
import threading
import urllib.error
import urllib.request

import pytest
from web_browser import stop_server
from web_snapshots import make_desk

from web.app import open_server


def get(desk, address, **headers):
    return desk.app.test_client().get(address, headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_snapshot_is_the_document_as_of_now(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    found = get(desk, "/api/v1/snapshot").get_json()
    assert (found["seq"], found["alive"], found["silent_ms"]) == (100, True, 500)
    assert found["points"]["gas.f1602.t1.ch4"][2] == 900


def test_snapshot_comes_gzipped_where_that_is_welcome(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    zipped, plain = get(desk, "/api/v1/snapshot", Accept_Encoding="gzip"), get(desk, "/api/v1/snapshot")
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(zipped.data) == plain.data
    assert zipped.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"


def test_bytes_are_made_once_per_snapshot(tmp_path, monkeypatch):
    import web.readers

    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    made = []
    real = web.readers.gzip.compress
    monkeypatch.setattr(web.readers.gzip, "compress", lambda *a, **k: made.append(1) or real(*a, **k))
    for _ in range(4):
        get(desk, "/api/v1/snapshot")
    assert len(made) == 1


def test_known_seq_or_etag_is_304_with_the_silence_so_far(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    etag = get(desk, "/api/v1/snapshot").headers["ETag"]
    desk.clock.advance_ms(200)
    for answer in (get(desk, "/api/v1/snapshot?since=100"), get(desk, "/api/v1/snapshot", If_None_Match=etag)):
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["Minewatch-Silent-Ms"] == "700"
    assert get(desk, "/api/v1/snapshot?since=99").status_code == 200


def test_new_seq_is_new(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    desk.show(builder)
    etag = get(desk, "/api/v1/snapshot").headers["ETag"]
    builder.seq = 101
    desk.show(builder)
    assert get(desk, "/api/v1/snapshot?since=100").get_json()["seq"] == 101
    assert get(desk, "/api/v1/snapshot", If_None_Match=etag).status_code == 200


def test_a_dead_poller_is_never_304(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    etag = get(desk, "/api/v1/snapshot").headers["ETag"]
    desk.clock.advance_ms(10_000)
    for answer in (get(desk, "/api/v1/snapshot?since=100"), get(desk, "/api/v1/snapshot", If_None_Match=etag)):
        assert answer.status_code == 200
        assert answer.get_json()["alive"] is False


def test_without_a_snapshot_the_api_says_503(tmp_path):
    answer = get(make_desk(tmp_path), "/api/v1/snapshot")
    assert answer.status_code == 503
    assert json.loads(answer.data) == {"alive": False, "silent_ms": None}


def test_live_part_is_304_only_while_nothing_could_have_changed(tmp_path):
    desk = make_desk(tmp_path)
    builder = desk.builder
    desk.show(builder)
    first = get(desk, "/?part=1")
    assert first.text.lstrip().startswith('<div id="live"')
    assert "<html" not in first.text
    etag = first.headers["ETag"]
    assert get(desk, "/?part=1", If_None_Match=etag).status_code == 304
    assert get(desk, "/?part=1&lang=en", If_None_Match=etag).status_code == 200
    desk.clock.advance_ms(1_000)  # ages are another second older: the page is printed anew
    assert get(desk, "/?part=1", If_None_Match=etag).status_code == 200


def test_server_answers_on_a_free_port_and_refuses_bodies_over_64_kib(tmp_path):
    desk = make_desk(tmp_path)
    server = open_server(desk.app, "127.0.0.1", 0, 2)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.effective_port}"
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            assert json.loads(answer.read())["ok"] is True
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/alarms/acknowledge", data=b"x" * 70_000, timeout=5)
        assert refused.value.code == 413
        refused.value.close()
    finally:
        stop_server(server, thread)


def test_health_says_that_the_web_lives_and_whether_run_does(tmp_path):
    desk = make_desk(tmp_path)
    assert get(desk, "/healthz").get_json() == {"ok": True, "alive": False, "silent_ms": None, "seq": None}
    desk.show(desk.builder)
    assert get(desk, "/healthz").get_json() == {"ok": True, "alive": True, "silent_ms": 500, "seq": 100}
