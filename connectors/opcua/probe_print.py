"""What was found of an OPC UA server as a person reads it: Chinese first with English beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def print_probe(document: Mapping[str, Any]) -> None:
    """The document of `probe opcua --json`, on stdout."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(document["address"])
    console.print(_endpoints(document["endpoints"]), soft_wrap=False)
    _certificates(console, document["endpoints"])
    for name, value in document["server"].items():
        if value is not None:
            console.print(f"服务器 server {name}: {value}")
    for index, uri in enumerate(document["namespaces"]):
        console.print(f"命名空间 namespace {index}: {uri}")
    for name, value in document["limits"].items():
        console.print(f"限制 limit {name}: {value}{' (0 = 不限 none)' if value == 0 else ''}")
    history = {True: "提供 offered", False: "不提供 not offered", None: "未说明 not said"}[document["history"]]
    console.print(f"历史数据 history: {history}")
    _variables(console, document)
    for word in document["trouble"]:
        console.print(f"未完成 not done: {word}")


def _endpoints(endpoints: list[dict[str, Any]]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("地址 endpoint", "安全策略 policy", "方式 mode", "用户 users", "支持 spoken"):
        table.add_column(name, overflow="fold")
    for each in endpoints:
        spoken = "是 yes" if each["spoken"] else "否 no"
        table.add_row(each["url"], each["policy"], each["mode"], ", ".join(each["users"]), spoken)
    return table


def _certificates(console: Console, endpoints: list[dict[str, Any]]) -> None:
    """Each certificate once, and what is wrong with it."""
    seen = {each["certificate"].get("sha256", ""): each["certificate"] for each in endpoints if each["certificate"]}
    for facts in seen.values():
        for name, value in facts.items():
            text = ", ".join(value) or "无 none" if name == "problems" else value
            console.print(f"证书 certificate {name}: {text}")
    for hint in dict.fromkeys(hint for each in endpoints for hint in each["hints"]):
        console.print(f"提示 hint: {hint}")


def _variables(console: Console, document: Mapping[str, Any]) -> None:
    browse = document["browse"]
    if browse is None:
        return
    console.print(
        f"浏览 browse: {browse['nodes']} 个节点 nodes, {browse['requests']} 个请求 requests, "
        f"{browse['variables']} 个变量 variables, 被拒 refused {browse['refused']}, "
        f"可读历史 with history {browse['with_history']}"
    )
    console.print(f"可作测点 points: {document['points']}")
    for reason, number in document["left_out"].items():
        console.print(f"  不作测点 left out, {reason}: {number}")
    for unit, number in document["unknown_units"].items():
        console.print(f"  未知单位 unknown unit {unit!r}: {number}")
    if document["out"]:
        console.print(f"草稿 draft: {document['out']} (人工补全子系统、名称、限值; subsystem, names, limits are yours)")
