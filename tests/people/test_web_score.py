"""The score page: the worker's document as it is, with its age, its rules and its statement; never a made-up figure."""

from __future__ import annotations

import json

import pytest
from web_snapshots import WALL_MS, make_desk

from mines.words import word

CH4 = "gas.f1602.t1.ch4"


SCORE = {
    "as_of_ms": WALL_MS - 30_000,
    "window": {"from_ms": WALL_MS - 7_948_800_000, "to_ms": WALL_MS, "months": 3},
    "score": {"low": 82.0, "high": 88.5},
    "coverage": 0.943,
    "rules_sha256": "ab" * 32,
    "subsystems": {"gas": {"required": True, "duty": {"low": 0.991, "high": 0.997, "coverage": 0.99}}},
    "items": [
        {
            "id": "G1",
            "points": 4.0,
            "lost": 1.5,
            "unknown": 0.5,
            "reason": "below_full",
            "reason_zh": "未达满分线",
            "evidence": {"points": [CH4], "proved_ms": 3_600_000},
        },
        {
            "id": "V1",
            "points": 4.0,
            "lost": 10.0,
            "unknown": 6.0,
            "reason": "missing_data",
            "evidence": "raw/2026-11.db",
        },
        {"id": "C1", "points": 3.0, "lost": 0.0, "unknown": 0.0, "reason": "full", "evidence": None},
    ],
    "gates": [],
    "vetoes": [],
    "targets": {
        "2025": {"state": "not_met", "reason": "期限已过327天"},
        "260": {"state": "under_review", "reason": "待核"},
        "2026": {"state": "not_enough_data", "reason": "覆盖不足"},
    },
}


def score_desk(tmp_path, document):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    desk.readers.score_path.write_text(document if isinstance(document, str) else json.dumps(document))
    return desk


def test_score_page_shows_interval_coverage_targets_items_and_the_statement(tmp_path):
    html = score_desk(tmp_path, SCORE).html("/score")
    for text in (
        "[82.00, 88.50]",
        "94.3 %",
        "未达标",
        "待核查",
        "数据不足",
        "期限已过327天",
        "未达满分线",
        "[99.1, 99.7] %",
        "ab" * 32,
        word("statement.score"),
        f'href="/points/{CH4}"',
        "raw/2026-11.db",
    ):
        assert text in html
    assert "自相矛盾" not in html


def test_waterfall_descends_from_100_to_high_and_ends_in_the_interval():
    from web.charts import waterfall

    bars = waterfall(SCORE)
    assert [(b["kind"], b["id"]) for b in bars] == [("full", ""), ("lost", "V1"), ("lost", "G1"), ("result", "")]
    assert (bars[1]["x"], bars[1]["width"]) == (90.0, 10.0)
    assert (bars[2]["x"], bars[2]["width"]) == (88.5, 1.5)
    assert (bars[3]["width"], bars[3]["unknown"]) == (82.0, 6.5)


def test_score_that_does_not_add_up_is_called_so(tmp_path):
    broken = SCORE | {"score": {"low": 82.0, "high": 90.0}}
    assert "自相矛盾" in score_desk(tmp_path, broken).html("/score")


def test_score_that_was_never_made_is_no_zero(tmp_path):
    desk = make_desk(tmp_path)
    desk.show(desk.builder)
    html = desk.html("/score")
    assert "还没有评分结果" in html
    assert word("statement.score") in html
    assert "/ 100" not in html


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"score": {"low": 1}}'], ids=["empty", "cut", "list", "bare", "half"]
)
def test_score_file_that_cannot_be_read_shows_no_figure(tmp_path, text):
    html = score_desk(tmp_path, text).html("/score")
    assert "评分结果文件不可读" in html
    assert "/ 100" not in html


def test_old_score_is_called_old(tmp_path):
    desk = score_desk(tmp_path, SCORE | {"as_of_ms": WALL_MS - 3 * 86_400_000})
    assert "评分结果已过时:算于 3 d 0:00:00 前" in desk.html("/score")
    assert "评分结果已过时" not in score_desk(tmp_path, SCORE).html("/score")


def test_score_by_other_rules_than_ours_is_called_so_and_by_ours_names_them(tmp_path):
    from compliance.rule_pack import scoring_rules

    assert "与本机软件的规则不同" in score_desk(tmp_path, SCORE).html("/score")
    ours = SCORE | {"rules_sha256": scoring_rules().sha256}
    html = score_desk(tmp_path, ours).html("/score")
    assert scoring_rules().indicators[0].rule.edition in html
    assert "已核实 0 /" in html


def test_score_as_the_scoring_room_makes_it_is_shown(tmp_path):
    from compliance.score_site import score_site
    from mines.store.reader import Reader

    desk = make_desk(tmp_path)
    document = score_site(desk.site, Reader(desk.site.data), WALL_MS).to_json()
    desk.show(desk.builder)
    desk.readers.score_path.write_text(json.dumps(document, ensure_ascii=False))
    for language in ("zh", "en"):
        html = desk.html(f"/score?lang={language}")
        assert html.count('id="item-') == len(document["items"])
        for target in document["targets"].values():
            assert target["reason" if language == "zh" else "reason_en"].split(";")[0][:20] in html
