"""The house stands as drawn: who may import whom, checked on the source alone, so it runs without any tool."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("connectors", "mines", "compliance", "web")
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]

PURE = [
    "mines/model.py",
    "mines/quality.py",
    "mines/errors.py",
    "mines/events.py",
    "mines/rows.py",
    "mines/process_image.py",
    "mines/watch.py",
    "mines/box_time.py",
    "mines/snapshot_document.py",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "mines/alarms").glob("*.py"))),
    *(f"mines/store/{name}.py" for name in ("frame", "frame_columns", "column_codec", "frame_text", "chain")),
    *(f"mines/store/{name}.py" for name in ("point_identity", "site_change", "query")),
    "connectors/modbus/codec.py",
    "connectors/modbus/plan.py",
    "connectors/modbus/mbap.py",
    "connectors/modbus/rtu.py",
    "connectors/modbus/overheard.py",
    "connectors/modbus/identification.py",
    "connectors/modbus/transport.py",
    "connectors/modbus/bounds.py",
    "connectors/opcua/decode.py",
    "connectors/opcua/bulk.py",
    "connectors/opcua/scalars.py",
    "connectors/opcua/nodes.py",
    "connectors/simulator/scenario.py",
    "compliance/operating.py",
    "compliance/scoring.py",
    "compliance/targets.py",
]
IMPURE = {
    "asyncio", "sqlite3", "socket", "os", "time", "logging", "flask", "pymodbus", "asyncua", "threading", "subprocess",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("name", PURE)
def test_pure_core_does_no_io_and_reads_no_clock(name):
    assert tops(ROOT / name) & IMPURE == set()


def test_rooms_import_only_the_rooms_below():
    allowed = {"mines": set(), "compliance": {"mines"}, "connectors": {"mines"}, "web": {"mines", "compliance"}}
    wrong = [
        f"{path.relative_to(ROOT)} imports {sorted(found)}"
        for path in FILES
        if (
            found := tops(path)
            & set(ROOMS) - allowed[path.relative_to(ROOT).parts[0]] - {path.relative_to(ROOT).parts[0]}
        )
    ]
    assert wrong == []


def test_nobody_imports_the_roof():
    assert [str(path) for path in FILES if "minewatch" in tops(path)] == []


@pytest.mark.parametrize(
    ("library", "doors"),
    [
        (
            "pymodbus",
            {f"connectors/modbus/{name}.py" for name in ("engine", "pdus", "link", "rtu_link", "serial_link")},
        ),
        (
            "asyncua",
            {
                "connectors/opcua/session.py",
                "connectors/opcua/wire.py",
                "connectors/opcua/security.py",
                "connectors/opcua/history.py",
                "connectors/opcua/browse.py",
                "connectors/opcua/bulk_services.py",
                "connectors/simulator/opcua_server.py",
            },
        ),
    ],
)
def test_protocol_library_enters_at_its_doors_only(library, doors):
    found = {str(path.relative_to(ROOT)) for path in FILES if library in tops(path)}
    assert found <= doors
    assert found


def test_pages_import_neither_supervisor_nor_writer():
    wrong = {"mines.supervisor", "mines.run", "mines.store.box_store", "mines.store.journal", "mines.worker"}
    assert [str(p) for p in FILES if p.relative_to(ROOT).parts[0] == "web" and imported(p) & wrong] == []


def test_roof_is_at_most_300_lines():
    assert len((ROOT / "minewatch.py").read_text(encoding="utf-8").splitlines()) <= 300


def test_no_package_outside_the_four_rooms():
    stray = [
        str(path.relative_to(ROOT))
        for folder in ("tests", "fixtures", "systemd", "docs", "bench")
        for path in (ROOT / folder).rglob("__init__.py")
        if not {".peers", "node_modules"} & set(path.parts)  # what benches and foreign peers install, never committed
    ]
    assert stray == []


def test_nothing_writes_to_the_field():
    """No code path of the client side names a writing function of either library (F49)."""
    writing = {
        "write_coil", "write_coils", "write_register", "write_registers", "mask_write_register",
        "readwrite_registers", "write_file_record", "write_value", "write_attribute", "write_values", "set_value",
        "call_method", "add_node", "delete_nodes",
    }  # fmt: skip
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.attr}"
        for path in FILES
        if path.relative_to(ROOT).parts[:2] in (("connectors", "modbus"), ("connectors", "opcua"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in writing
    ]
    assert found == []
