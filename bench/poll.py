"""What reading costs: points per CPU-second, jitter and losses of the connectors and of the whole box, against peers.

A  20 devices × 100 float32 side by side, as fast as it goes: libmodbus in C, stock pymodbus, Node-RED, ThingsBoard.
B  the same with holes of 2 to 20 registers: read along where allowed, against a request a run of registers.
C  10,000 points on 200 units (40 lines × 5 units) at 1 s: the connectors, the whole box, every tenth unit dead.
D  10,000 OPC UA doubles at 1 Hz: plain asyncua, node-opcua.

CPU is user and system time of the client process: getrusage of those we wrote, /proc of the others. Servers are other
processes on loopback. Every value tells its point and time and is checked after the window. Peers are built or
installed into bench/.peers. Writes bench/results/poll.json and the table of docs/performance.md; `--quick` and `--only`
are looks that write neither.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from peers import report
from peers.install import PEERS
from peers.mine_shape import shape_c
from peers.modbus_shapes import shape_a, shape_b
from peers.opcua_shape import shape_d
from peers.rig import QUICK, Bench, Pace, machine
from peers.times import rounds

BENCH = Path(__file__).resolve().parent
RESULTS = BENCH / "results" / "poll.json"
DOCS = BENCH.parent / "docs" / "performance.md"
SHAPES = {"A": shape_a, "B": shape_b, "C": shape_c, "D": shape_d}


def main() -> None:
    """Measures, prints the ratios, keeps them."""
    asked = _arguments()
    if asked.write_docs:
        _write_docs(json.loads(RESULTS.read_text(encoding="utf-8")))
        return
    os.chdir(BENCH)  # `python -m peers.…` finds its modules here
    begun, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), QUICK if asked.quick else Pace(), asked.quick)
        for shape in asked.only or SHAPES:
            SHAPES[shape](bench)
        document = _document(bench, load, time.monotonic() - begun)
    whole = not (asked.quick or asked.only)
    path = RESULTS if whole else PEERS / "poll-look.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if whole:
        _write_docs(document)
    print(json.dumps({"ratios": document["ratios"], "targets": document["targets"]}, indent=2))
    print(f"{document['minutes']} minutes; {path.relative_to(BENCH.parent)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look of about two minutes")
    parser.add_argument("--only", nargs="+", metavar="SHAPE", choices=SHAPES, help="A, B, C or D")
    parser.add_argument("--write-docs", action="store_true", help="only renews the table from the results file")
    return parser.parse_args()


def _document(bench: Bench, load: float, took_s: float) -> dict[str, Any]:
    rows = bench.rows()
    found = report.ratios(bench.taken, rows)
    return {
        "machine": machine(),
        "noise": {
            "spin_ms": rounds(bench.spins),
            "load_begin": round(load, 2),
            "load_end": round(os.getloadavg()[0], 2),
        },
        "minutes": round(took_s / 60, 1),
        "quick": bench.quick,
        "workload": __doc__,
        "rows": rows,
        "skipped": bench.skipped,
        "losses": {name: {"lost": row["lost"], "wrong": row["wrong"]} for name, row in rows.items()},
        "ratios": found,
        "targets": report.targets(found),
    }


def _write_docs(document: dict[str, Any]) -> None:
    DOCS.write_text(report.with_section(DOCS.read_text(encoding="utf-8"), document), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
