"""The commissioning document as one HTML page for A4 paper: Chinese first, English beside it, no script. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from connectors.commissioning.paper_style import FOOT, STYLE
from mines.site.problems import number
from mines.times import print_time
from mines.units import UNITS
from mines.words import link_error, word

DASH: Final = "—"
BLANK: Final = '<span class="blank"></span>'

_Document = Mapping[str, Any]
_POINT_HEADS: Final = (
    ("序", "No."),
    ("测点", "point"),
    ("地址", "address"),
    ("类型", "type"),
    ("字序", "order"),
    ("换算", "scaling"),
    ("量程", "range"),
    ("单位", "unit"),
    ("最近值", "last value"),
    ("质量", "quality"),
    ("时间", "time"),
    ("就地显示", "local display"),
    ("核对人", "signature"),
)
_LINK_HEADS: Final = (
    ("站号", "unit"),
    ("状态", "state"),
    ("自", "since"),
    ("最近应答", "last answer"),
    ("最近错误", "last error"),
    ("采集/好/坏", "polls/good/bad"),
    ("重连", "reconnects"),
    ("设备时钟差", "skew"),
    ("计数", "counters"),
)
_PLAN_HEADS: Final = (
    ("站号", "units"),
    ("请求", "requests"),
    ("寄存器", "registers"),
    ("跨越", "gap"),
    ("周期", "period"),
    ("预计用时", "predicted"),
)
_SERVER_HEADS: Final = {
    "nodes": ("节点", "nodes"),
    "requests": ("连接时请求", "requests of a connect"),
    "read": ("方式", "read"),
    "publishing_ms": ("发布周期 ms", "publishing"),
    "sampling_ms": ("采样周期 ms", "sampling"),
    "security": ("安全", "security"),
}
_PAPER_HEADS: Final = (("用途", "use"), ("文件", "file"), ("主体", "subject"), ("SHA-256", ""), ("到期", "ends"))
_PAPERS: Final = {
    "own": "本机 own",
    "ca": "签发机构 CA",
    "trust": "信任 trusted",
    "pin": "指定服务器 pinned",
}


def page(document: _Document) -> str:
    """The whole page, UTF-8 text."""
    title = f"接入调试报告 {document['mine']['name_zh']}"
    body = "\n".join([*_head(document), *(part for source in document["sources"] for part in _source(source)), _end()])
    return (
        f'<!DOCTYPE html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>\n{STYLE.replace(FOOT, _foot(document))}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _foot(document: _Document) -> str:
    """Mine, site and time, of characters that mean nothing in a style sheet."""
    texts = (document["mine"]["id"], document["site"]["sha256"][:16], print_time(document["made_ms"]))
    return " · ".join(re.sub(r"[^A-Za-z0-9_ :-]", "", text) for text in texts)


def _head(document: _Document) -> Iterator[str]:
    mine, site, run = document["mine"], document["site"], document["run"]
    yield "<h1>接入调试报告 <small>Commissioning report</small></h1>"
    if document["simulated"]:
        yield f'<p class="simulated">{_both("statement.simulated")}</p>'
    yield _facts(
        [
            (("煤矿", "mine"), _names(mine["name_zh"], mine["name_en"]) + f" ({escape(mine['id'])})"),
            (("本报告", "this report"), f"{print_time(document['made_ms'])} {escape(document['software'])}"),
            (("配置", "site"), f"{site['points']} 测点 points, sha256 <code>{escape(site['sha256'])}</code>"),
            (("本配置启用", "site in use since"), _time(site["accepted_ms"])),
            (("运行程序", "run"), _run_text(run)),
            (("已落盘", "durable"), _durable_text(run)),
        ]
    )
    if not run["this_site"]:
        yield f'<p class="notice">{_why_no_values(run)}</p>'
    yield (
        "<p>逐点与就地显示(或标准气样、信号发生器)比较,填写就地读数并签字;空格为未核对。 "
        '<span class="en">Compare each point with its local display, write down what it shows and sign; '
        "a blank is not compared.</span></p>"
    )


def _run_text(run: _Document) -> str:
    if not run["alive"]:
        return "未运行 not running"
    unsure = ",时钟存疑 clock unsure" if run["clock_unsure"] else ""
    return f"{escape(str(run['software']))}, {_time(run['time_ms'])}{unsure}"


def _durable_text(run: _Document) -> str:
    durable = run["durable"]
    newest = f"记录至 record up to {_time(run['newest_ms'])}"
    if durable is None:
        return newest
    counts = f"帧 frame {durable['frame']}, 行 rows {durable['rows']}, 事件 event {durable['event_seq']}"
    return f"{counts}; {newest}"


def _why_no_values(run: _Document) -> str:
    if not run["alive"]:
        return "运行程序未运行:数值一律为“—” <b>run is not running: every value is a dash</b>"
    return (
        "运行程序用的是另一版配置:数值一律为“—” "
        f"<b>run works with another site ({escape(str(run['site_sha256'])[:12])}…): every value is a dash</b>"
    )


def _source(source: _Document) -> Iterator[str]:
    yield f"<h2>{escape(source['id'])} <small>{escape(source['kind'])} {escape(source['endpoint'])}</small></h2>"
    if source["passive"]:
        yield '<p class="notice">只监听,不发送 only listened to, nothing is sent</p>'
    yield _plan(source)
    if source["certificates"]:
        yield _table("证书 certificates", _PAPER_HEADS, [_paper_row(paper) for paper in source["certificates"]])
    if source["links"]:
        yield _table("链路 links", _LINK_HEADS, [_link_row(link) for link in source["links"]])
    else:
        yield "<p>链路 links: —</p>"
    for device in source["devices"]:
        yield from _device(device)


def _plan(source: _Document) -> str:
    if source["kind"] == "opcua":
        [row] = source["plan"]
        facts = [(_SERVER_HEADS.get(key, (key, "")), escape(str(value))) for key, value in row.items()]
        return f"<h4>采集计划 plan</h4>{_facts(facts)}"
    rows = [
        [
            escape(", ".join(map(str, row["units"]))),
            str(row["requests"]),
            str(row["registers"]),
            str(row["bridged"]),
            f"{row['period_ms']} ms",
            f"{row['cycle_ms']:g} ms",
        ]
        for row in source["plan"]
    ]
    return _table("采集计划 plan", _PLAN_HEADS, rows) if rows else "<p>采集计划 plan: —</p>"


def _paper_row(paper: _Document) -> list[str]:
    fault = "不可读 unreadable" if paper["fault"] else ""
    return [
        _PAPERS[paper["whose"]],
        escape(paper["file"]),
        fault or escape(paper["subject"]),
        f"<code>{escape(paper['sha256'])}</code>",
        _time(paper["ends_ms"]),
    ]


def _link_row(link: _Document) -> list[str]:
    skew = link["skew_ms"]
    return [
        DASH if link["unit"] is None else str(link["unit"]),
        _both(f"link.{link['state']}"),
        _time(link["since_ms"]),
        _time(link["last_answer_ms"]),
        _link_error(link["last_error"]),
        f"{link['polls']}/{link['good']}/{link['bad']}",
        str(link["reconnects"]),
        DASH if skew is None else f"{skew} ms",
        escape("; ".join(f"{name} {value}" for name, value in sorted(link["counters"].items()))),
    ]


def _link_error(error: str | None) -> str:
    if not error:
        return DASH
    zh, en = link_error(error, "zh"), link_error(error, "en")
    return _names(zh, en if en != zh else "")


def _device(device: _Document) -> Iterator[str]:
    title = "服务器 server" if device["unit"] is None else f"站号 unit {device['unit']}"
    state = DASH if device["state"] is None else _both(f"link.{device['state']}")
    yield f"<h3>{title} <small>{state}</small></h3>"
    yield _facts(
        [
            (("设备类型", "profile"), escape(device["profile"]) or DASH),
            (("应有标识", "identity expected"), _pairs(device["identity_expected"])),
            (("特征", "signature expected"), _pairs(device["signature_expected"])),
            (
                ("现场铭牌/标识", "identity found"),
                BLANK + f' <span class="en">{_link_error(device["last_error"])}</span>',
            ),
        ]
    )
    rows = [_point_row(i, point) for i, point in enumerate(device["points"], start=1)]
    yield _table("", _POINT_HEADS, rows, kind="points")


def _pairs(table: _Document) -> str:
    return escape("; ".join(f"{key} = {value}" for key, value in table.items())) or DASH


def _point_row(position: int, point: _Document) -> list[str]:
    unit = UNITS.get(point["unit"])
    return [
        str(position),
        f"<b>{escape(point['name_zh'])}</b> <span class='en'>{escape(point['name_en'])}</span><br>"
        f"<code>{escape(point['id'])}</code>",
        f"<code>{escape(point['address'])}</code>",
        escape(point["data_type"]) or DASH,
        escape(point["byte_order"]) or DASH,
        _scaling(point["scale"], point["offset"]),
        _range(point["range"]),
        escape(unit.symbol if unit else point["unit"]) or DASH,
        f"<b>{_value(point)}</b>",
        _quality(point),
        _point_time(point),
        BLANK,
        BLANK,
    ]


def _scaling(scale: float, offset: float) -> str:
    factor = "" if scale == 1 else f"× {number(scale)}"
    return " ".join(filter(None, [factor, f"{offset:+.15g}" if offset else ""])) or DASH


def _range(ends: Sequence[float | None]) -> str:
    low, high = (DASH if end is None else number(end) for end in ends)
    return DASH if low == high == DASH else f"{low} … {high}"


def _value(point: _Document) -> str:
    value = point["value"]
    if value is None:
        return DASH
    named = point["states"].get(number(value))
    text = f"{value:.{point['decimals']}f}" if not point["states"] else number(value)
    return escape(f"{text} {named}" if named else text)


def _quality(point: _Document) -> str:
    if point["severity"] is None:
        return DASH if point["freshness"] is None else _both(f"freshness.{point['freshness']}")
    parts = [_both(f"severity.{point['severity']}")]
    if point["reason"] != "none":
        parts.append(_both(f"quality.{point['reason']}"))
    if point["freshness"] != "live":
        parts.append(_both(f"freshness.{point['freshness']}"))
    return "<br>".join([*parts, *(_both(f"flag.{flag}") for flag in point["flags"])])


def _point_time(point: _Document) -> str:
    device = point["source_ms"]
    return _time(point["time_ms"]) + (f'<br><span class="en">设备 device {_time(device)}</span>' if device else "")


def _end() -> str:
    people = "".join(
        f"<td>{zh}<br><span class='en'>{en}</span><p>{BLANK}</p><p>日期 date {BLANK}</p></td>"
        for zh, en in (("调试人", "commissioned by"), ("校核人", "checked by"), ("矿方代表", "for the mine"))
    )
    return (
        f'<section class="end"><h2>签字 <small>Signatures</small></h2><table class="people"><tr>{people}</tr></table>'
        f"<p>{_both('statement.every_page')}</p><p>{_both('statement.installation')}</p></section>"
    )


def _table(title: str, heads: Iterable[tuple[str, str]], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    head = "".join(f'<th>{escape(zh)}<br><span class="en">{escape(en)}</span></th>' for zh, en in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    named = f"<h4>{title}</h4>" if title else ""
    return f'{named}<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'


def _facts(rows: Iterable[tuple[tuple[str, str], str]]) -> str:
    cells = "".join(f'<dt>{zh} <span class="en">{en}</span></dt><dd>{value}</dd>' for (zh, en), value in rows)
    return f"<dl>{cells}</dl>"


def _both(code: str) -> str:
    """A word, Chinese first; the code itself where no word is known."""
    try:
        zh, en = word(code, "zh"), word(code, "en")
    except KeyError:
        return escape(code.rpartition(".")[2])
    return _names(zh, en if en != zh else "")


def _names(zh: str, en: str) -> str:
    return escape(zh) + (f' <span class="en">{escape(en)}</span>' if en else "")


def _time(time_ms: int | None) -> str:
    return DASH if time_ms is None else print_time(time_ms)
