"""The capture folder: what is written is read again, and every damage names its file and line."""

import json
import tomllib
from dataclasses import replace

import pytest
from capture_sites import frame, write_import
from hypothesis import given, settings
from hypothesis import strategies as st
from pcap_writer import read_request, words_reply

from connectors.captures.folder import CaptureHeader, CaptureKind, new_folder, read_header, write_header
from connectors.captures.pcap_import import import_pcap
from connectors.captures.samples_file import read_samples, write_samples
from connectors.captures.wire_frames import read_wire_frames, write_wire_frames
from mines.errors import CaptureError
from mines.model import Tick
from mines.store.frame import Frame

READ = read_request(3, 10, 1)
FRAMES = [
    frame(0, READ, words_reply(3, 1)),
    frame(10, READ, None),
    frame(20, READ, bytes([0x83, 2]), sure=False, reply_unit=7),
    replace(frame(30, READ, words_reply(3, 5)), request=None),
]
HEADER = CaptureHeader(
    CaptureKind.LIVE, 'mine"watch\\ 0.1\n', "ab" * 32, 5, 9, "矿.pcap", "boot", 3, 17, {"frames": 2, "rows": 0}
)


def test_a_header_is_read_as_it_was_written(tmp_path):
    write_header(tmp_path, HEADER)
    assert read_header(tmp_path) == HEADER
    assert tomllib.loads((tmp_path / "capture.toml").read_text(encoding="utf-8"))["schema"] == 1


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_in_a_header_survives(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("capture")
    write_header(folder, CaptureHeader(CaptureKind.IMPORT, text, "", 0, 1, origin=text))
    assert read_header(folder).origin == text


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("schema = 1", "schema = 2", "capture.toml:1: schema"),
        ('kind = "live"', 'kind = "film"', "capture.toml:2: kind"),
        ("from_ms = 5", "", "capture.toml:0: from_ms"),
        ("from_ms = 5", 'from_ms = "5"', "capture.toml:5: from_ms"),
        ("from_ms = 5", "from_ms = true", "capture.toml:5: from_ms"),
        ("to_ms = 9", "to_ms = 4", "capture.toml:6: to_ms"),
        ("to_ms = 9", "to_ms = = 9", "capture.toml:6: syntax"),
        ("frames = 2", "frames = -2", "capture.toml:13: frames"),
        ("first_tick = 3", "surprise = 3", "capture.toml:9: surprise"),
    ],
)
def test_a_damaged_header_names_its_line(tmp_path, old, new, place):
    write_header(tmp_path, HEADER)
    path = tmp_path / "capture.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CaptureError) as error:
        read_header(tmp_path)
    assert place in str(error.value)


def test_a_folder_that_is_no_capture_says_so(tmp_path):
    with pytest.raises(CaptureError, match=r"capture\.toml:0: file: No such file"):
        read_header(tmp_path)


def test_bytes_that_are_no_text_name_their_line(tmp_path):
    (tmp_path / "capture.toml").write_bytes(b"schema = 1\nkind = \xff\n")
    with pytest.raises(CaptureError, match=r"capture\.toml:2: encoding"):
        read_header(tmp_path)


def test_wire_frames_are_read_as_they_were_written(tmp_path):
    assert write_wire_frames(tmp_path, FRAMES) == 4
    assert list(read_wire_frames(tmp_path, 4)) == FRAMES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row.update(unit=256), "unit: is 256"),
        (lambda row: row.update(unit=True), "unit: is True"),
        (lambda row: row.update(time_ns=-1), "time_ns"),
        (lambda row: row.update(time_ns=1.5), "time_ns"),
        (lambda row: row.pop("server"), "server: is None"),
        (lambda row: row.update(request="0x"), "request"),
        (lambda row: row.update(request=""), "request"),
        (lambda row: row.update(reply="00" * 254), "reply"),
        (lambda row: row.update(reply=7), "reply"),
        (lambda row: row.update(reply=None), "reply_time_ns"),
        (lambda row: row.update(reply=None, reply_time_ns=None, request=None), "request"),
    ],
)
def test_a_damaged_exchange_names_its_line_and_key(tmp_path, change, words):
    rows = [each.to_json() for each in FRAMES]
    change(rows[0])
    lines = [json.dumps(row) for row in (FRAMES[1].to_json(), *rows)]
    (tmp_path / "frames.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(CaptureError) as error:
        list(read_wire_frames(tmp_path))
    assert "frames.jsonl:2: " in str(error.value)
    assert words in str(error.value)


def test_wire_frames_cut_anywhere_are_said_to_be_cut(tmp_path):
    write_wire_frames(tmp_path, FRAMES)
    path = tmp_path / "frames.jsonl"
    whole = path.read_bytes()
    for size in range(len(whole) - 1):  # only the last newline can go unnoticed
        path.write_bytes(whole[:size])
        found = []
        with pytest.raises(CaptureError, match=r"frames\.jsonl:\d"):
            found.extend(read_wire_frames(tmp_path, 4))
        assert found == FRAMES[: len(found)]


def test_samples_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "samples.frames"
    frames = [Frame(n, "boot", "site", (Tick(n, 250 * n, 250_000_000 * n),)) for n in (4, 5)]
    assert write_samples(path, frames) == 2
    assert [(f.seq, f.ticks[0].time_ms) for f in read_samples(path, 2)] == [(4, 1000), (5, 1250)]


def test_samples_cut_or_altered_anywhere_are_an_error(tmp_path):
    path = tmp_path / "samples.frames"
    write_samples(path, [Frame(n, "boot", "site", (Tick(n, 250 * n, 250_000_000 * n),)) for n in (4, 5)])
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(CaptureError, match=r"samples\.frames:\d: (byte \d+|file)"):
            list(read_samples(path, 2))
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(CaptureError, match=r"samples\.frames:\d"):
            list(read_samples(path, 2))


def test_a_capture_is_never_written_over(tmp_path):
    folder = write_import(tmp_path / "capture", FRAMES)
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    with pytest.raises(CaptureError, match="is there already"), new_folder(folder):
        pass
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


def test_a_capture_that_fails_half_way_leaves_nothing(tmp_path):
    out = tmp_path / "deep" / "capture"

    def fail():
        with new_folder(out) as folder:
            (folder / "half").write_text("x", encoding="utf-8")
            raise CaptureError("no more")

    with pytest.raises(CaptureError, match="no more"):
        fail()
    assert list(out.parent.iterdir()) == []


def test_an_import_of_nothing_makes_no_folder(tmp_path):
    file = tmp_path / "none.pcap"
    file.write_bytes(b"no pcap at all, but some text")
    result = import_pcap(file, tmp_path / "capture")
    assert "not a pcap file" in str(result.problem)
    assert result.report["packets"] == 0
    assert not (tmp_path / "capture").exists()
