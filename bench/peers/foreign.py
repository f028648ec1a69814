"""Configurations of the two gateways that the bench compares with: written by us, in their own formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.layout import Layout

# Counts what comes out of a Modbus Read node and turns it into values with quality and time, as ours does.
_NODE_RED_FUNCTION = """
const bytes = Buffer.alloc(msg.payload.length * 2);
msg.payload.forEach((register, i) => bytes.writeUInt16BE(register, 2 * i));
const [line, first] = msg.topic.split('/').map(Number), time = Date.now(), rows = [];
let wrong = 0;
for (let i = 0; i < bytes.length / 4; i++) {
    const value = bytes.readFloatBE(4 * i);
    if (value % 16384 !== (first + i) % 16384) wrong++;
    rows.push({ index: first + i, value: value, quality: 0, time: time });
}
const now = Math.floor(Number(process.hrtime.bigint() / 1000000n) / TICK) % 1024;
const age = (now - Math.floor(rows[0].value / 16384) + 1024) % 1024 * TICK / 1000;
const told = global.get('told') || { points: 0, wrong: 0, ages: [] };
told.points += rows.length;
told.wrong += wrong;
told.ages.push(age);
global.set('told', told);
msg.payload = rows;
return msg;
"""
_NODE_RED_TOLD = """
const told = global.get('told') || { points: 0, wrong: 0, ages: [] };
const ages = told.ages.sort((a, b) => a - b);
const of = q => ages.length ? ages[Math.min(ages.length - 1, Math.floor(q * ages.length))] : 0;
msg.payload = JSON.stringify({ points: told.points, wrong: told.wrong,
    age_s: { p50: of(0.5), p99: of(0.99), max: of(1) } });
told.ages = [];
global.set('told', told);
return msg;
"""


def write_node_red(folder: Path, layout: Layout, ports: Sequence[int], *, rate_ms: int) -> Path:
    """A user folder of Node-RED: a client a line, a Modbus Read a block, one function, counters into told.jsonl."""
    folder.mkdir(parents=True)
    tick = _NODE_RED_FUNCTION.replace("TICK", str(layout.tick_ms))
    nodes: list[dict[str, Any]] = [
        {"id": "tab", "type": "tab", "label": "bench"},
        {"id": "bench-rows", "type": "function", "z": "tab", "func": tick, "outputs": 1, "wires": [[]]}
        | {"libs": [{"var": "process", "module": "process"}]},
        {
            "id": "bench-each",
            "type": "inject",
            "z": "tab",
            "repeat": "1",
            "once": True,
            "props": [],
            "wires": [["bench-told"]],
        },
        {
            "id": "bench-told",
            "type": "function",
            "z": "tab",
            "func": _NODE_RED_TOLD,
            "outputs": 1,
            "wires": [["bench-file"]],
        },
        {"id": "bench-file", "type": "file", "z": "tab", "filename": str(folder / "told.jsonl"), "filenameType": "str"}
        | {"appendNewline": True, "createDir": False, "overwriteFile": "false", "encoding": "none", "wires": [[]]},
    ]
    for line, port in enumerate(ports):
        nodes += _node_red_line(layout, line, port, rate_ms)
    (folder / "flows.json").write_text(json.dumps(nodes), encoding="utf-8")
    settings = (
        "module.exports = { flowFile: 'flows.json', uiHost: '127.0.0.1', uiPort: 0, httpAdminRoot: false,\n"
        "  httpNodeRoot: false, disableEditor: true, functionExternalModules: true,\n"
        "  telemetry: { enabled: false }, logging: { console: { level: 'warn' } } };\n"
    )
    (folder / "settings.js").write_text(settings, encoding="utf-8")
    return folder


def _node_red_line(layout: Layout, line: int, port: int, rate_ms: int) -> list[dict[str, Any]]:
    client = {"id": f"c{line}", "type": "modbus-client", "clienttype": "tcp", "bufferCommands": True}
    client |= {"tcpHost": "127.0.0.1", "tcpPort": str(port), "tcpType": "DEFAULT", "unit_id": 1, "commandDelay": 1}
    client |= {"clientTimeout": 1000, "reconnectOnTimeout": True, "reconnectTimeout": 2000}
    client |= {"parallelUnitIdsAllowed": True, "failureLogEnabled": False}
    reads = [
        {"id": f"r{line}.{unit}.{first}", "type": "modbus-read", "z": "tab", "unitid": str(unit), "server": f"c{line}"}
        | {"topic": f"{line}/{(line * layout.units + unit - 1) * layout.span + pairs[0]}"}
        | {"dataType": "HoldingRegister", "adr": str(first), "quantity": str(count), "rate": str(rate_ms)}
        | {"rateUnit": "ms", "delayOnStart": False, "wires": [["bench-rows"], []]}
        for unit in range(1, layout.units + 1)
        for first, count, pairs in layout.blocks()
    ]
    return [client, *reads]


def write_thingsboard(folder: Path, layout: Layout, ports: Sequence[int], sink_port: int) -> Path:
    """A configuration folder of the ThingsBoard gateway: a slave a unit, a tag a point, its platform on loopback."""
    folder.mkdir(parents=True)
    gateway = {
        "thingsboard": {"host": "127.0.0.1", "port": sink_port, "remoteShell": False, "remoteConfiguration": False}
        | {"statistics": {"enable": False}, "checkConnectorsConfigurationInSeconds": 3600, "qos": 1}
        | {"minPackSendDelayMS": 50, "minPackSizeToSend": 500, "maxPayloadSizeBytes": 65_536}
        | {"handleDeviceRenaming": False, "checkingDeviceActivity": {"checkDeviceInactivity": False}}
        | {"security": {"type": "accessToken", "accessToken": "bench"}, "reportStrategy": {"type": "ON_RECEIVED"}}
        # The platform's own limits on how much it takes a second would measure the platform.
        | dict.fromkeys(("rateLimits", "dpRateLimits", "messagesRateLimits"), "0:0,")
        | dict.fromkeys(("deviceMessagesRateLimits", "deviceRateLimits", "deviceDpRateLimits"), "0:0,"),
        "storage": {"type": "memory", "read_records_count": 1000, "max_records_count": 100_000},
        "grpc": {"enabled": False},
        "connectors": [{"type": "modbus", "name": "bench", "configuration": "modbus.json"}],
    }
    slaves = [
        _slave(layout, line, unit, port) for line, port in enumerate(ports) for unit in range(1, layout.units + 1)
    ]
    connector = {"name": "bench", "logLevel": "ERROR", "master": {"slaves": slaves}}
    logs: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}
    logs |= {"formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}}}
    logs |= {"handlers": {"consoleHandler": {"class": "logging.StreamHandler", "formatter": "plain", "level": "ERROR"}}}
    names = ("service", "storage", "connector", "converter", "tb_connection", "extension")
    logs |= {"loggers": {name: {"handlers": ["consoleHandler"], "level": "ERROR"} for name in names}}
    logs |= {"root": {"level": "ERROR", "handlers": ["consoleHandler"]}}
    for name, content in (("tb_gateway.json", gateway), ("modbus.json", connector), ("logs.json", logs)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def _slave(layout: Layout, line: int, unit: int, port: int) -> dict[str, Any]:
    base = (line * layout.units + unit - 1) * layout.span
    tags = [
        {"tag": f"i{(base + pair) % 16384}", "type": "32float", "functionCode": 3, "objectsCount": 2}
        | {"address": 2 * pair}
        for pair in layout.pairs
    ]
    return {
        "host": "127.0.0.1",
        "port": port,
        "type": "tcp",
        "method": "socket",
        "unitId": unit,
        "deviceName": f"l{line}u{unit}",
        "deviceType": "default",
        "timeout": 3,
        "byteOrder": "BIG",
        "wordOrder": "BIG",
        "retries": 0,
        "pollPeriod": 1000,
        "connectAttemptTimeMs": 5000,
        "connectAttemptCount": 5,
        "waitAfterFailedAttemptsMs": 30000,
        "reportStrategy": {"type": "ON_RECEIVED"},
        "attributes": [],
        "timeseries": tags,
        "attributeUpdates": [],
        "rpc": [],
    }
