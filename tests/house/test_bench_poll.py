"""bench/results/poll.json holds what docs/performance.md shows: every figure of the table is computed, none typed."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench/results/poll.json"


@pytest.fixture(scope="module")
def report():
    """bench/ is no package: the module is loaded from its file."""
    spec = importlib.util.spec_from_file_location("bench_report", ROOT / "bench/peers/report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def document():
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def measured(points, cpu_s):
    return {"points": points, "cpu_s": cpu_s}


def test_the_table_of_the_docs_is_the_one_of_the_results(report, document):
    assert report.section(document) in (ROOT / "docs/performance.md").read_text(encoding="utf-8")


def test_the_results_are_of_a_whole_run_with_machine_noise_and_losses(report, document):
    assert document["quick"] is False
    assert document["machine"]["cores"] > 0
    assert document["noise"]["spin_ms"]["rounds"] >= 5
    assert set(document["rows"]) | set(document["skipped"]) == set(report.HOW)
    assert set(document["losses"]) == set(document["rows"])


def test_every_target_stands_beside_what_was_measured_and_is_judged_anew(report, document):
    assert document["targets"] == report.targets(document["ratios"])
    assert set(document["targets"]) <= set(document["ratios"])


@pytest.mark.parametrize(
    ("name", "value", "met"),
    [
        pytest.param("modbus_vs_libmodbus", 0.7, True, id="at least, just met"),
        pytest.param("modbus_vs_libmodbus", 0.69, False, id="at least, missed"),
        pytest.param("run_cpu_percent", 12.0, True, id="at most, just met"),
        pytest.param("run_cpu_percent", 12.1, False, id="at most, missed"),
        pytest.param("grid_p99_ms", None, None, id="not measured"),
    ],
)
def test_a_target_is_met_by_the_figure_alone(report, name, value, met):
    assert report.targets({name: value})[name]["met"] is met


def test_a_ratio_is_the_median_of_its_rounds_and_none_without_a_peer(report):
    taken = {
        "A ours": [measured(100, 1.0), measured(300, 1.0), measured(200, 1.0)],
        "A libmodbus": [measured(100, 1.0), measured(100, 1.0), measured(100, 1.0)],
    }
    found = report.ratios(taken, {})
    assert found["modbus_vs_libmodbus"] == 2.0
    assert found["modbus_vs_thingsboard"] is None


def test_a_section_is_renewed_in_place(report, document):
    text = f"# Head\n\n{report.BEGIN}\nold\n{report.END}\n\n## Tail\n"
    renewed = report.with_section(text, document)
    assert renewed.startswith("# Head\n")
    assert renewed.endswith("\n\n## Tail\n")
    assert "\nold\n" not in renewed
    assert report.with_section(renewed, document) == renewed
