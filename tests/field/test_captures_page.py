"""The report of an import as a page: every device and register of the document, both languages, nothing that runs."""

import re
from pathlib import Path

import pytest

from connectors.captures.pcap_import import import_pcap
from connectors.captures.report_page import report_page
from mines.words import word

FOLDER = Path(__file__).parents[2] / "fixtures" / "captures"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "capture"
    result = import_pcap(FOLDER / "link_storm" / "traffic.pcap", out)
    return result, (out / "report.html").read_text(encoding="utf-8")


def test_the_page_tells_devices_registers_and_exceptions(imported):
    result, page = imported
    for device in result.report["devices"]:
        assert f"<td>{device['server']}</td><td>{device['unit']}</td><td>{device['requests']}</td>" in page
    assert page.count("<td>holding</td>") == len(result.report["registers"])
    assert "3/6: 24" in page
    assert word("statement.every_page") in page
    assert not re.search(r"<script|https?://|onload", page)


def test_what_is_encrypted_is_called_so_and_foreign_text_is_escaped(imported):
    result, _ = imported
    report = dict(result.report) | {"encrypted": True, "units": ["<b>"]}
    page = report_page(report, origin="<i>.pcap", warnings=["a < b"])
    assert "已加密,无法读取" in page
    assert "&lt;i&gt;.pcap" in page
    assert "a &lt; b" in page
    assert "<b>" not in page
