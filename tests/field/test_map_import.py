"""Import of other projects' register maps: every row is a point or is told with its line, and nothing is guessed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_data import reference

from connectors.maps.command import import_map, is_map
from connectors.maps.evcc import read_evcc
from connectors.maps.volttron import read_volttron
from connectors.modbus.address import parse_address
from connectors.sources import check_sources
from mines.errors import CaptureError
from mines.site.site_file import read_site

MAPS = Path(__file__).parents[2] / "fixtures" / "maps"
EXPECTED = MAPS / "expected"
CASES = sorted(path for path in MAPS.iterdir() if path.is_file())


def _draft(file, out):
    """The import of a file and the draft as `check` reads it, without an error."""
    result = import_map(file, out)
    assert result.problem is None
    reading = read_site(out / "site")
    assert reading.errors == ()
    assert check_sources(reading.site) == []
    return result, reading


@pytest.mark.parametrize("file", CASES, ids=lambda path: path.name)
def test_an_import_is_its_golden_draft_and_account(file, tmp_path):
    result = import_map(file, tmp_path / "out")
    expected = EXPECTED / file.stem
    assert result.report == json.loads((expected / "report.json").read_text("utf-8"))
    assert (result.problem is None) is (expected / "site").is_dir()
    for name in ("site.toml", "points.csv") if result.problem is None else ():
        made = (tmp_path / "out" / "site" / name).read_text("utf-8")
        assert made == (expected / "site" / name).read_text("utf-8")


@pytest.mark.parametrize("name", ["register_counts.csv", "hexadecimal.csv", "both_dialects.csv", "meter.yaml"])
def test_a_draft_passes_check_and_says_which_names_a_person_must_translate(name, tmp_path):
    result, reading = _draft(MAPS / name, tmp_path / "out")
    assert len(reading.site.points) == result.report["imported"] > 0
    untranslated = [warning for warning in reading.warnings if warning.key == "name_zh"]
    assert len(untranslated) == len(reading.site.points)
    assert {warning.what for warning in untranslated} == {"begins with 待译: a draft left it to be translated"}


VOLTTRON = {
    "battery_meter.csv": (74, 0),
    "ion6200.csv": (0, 19),
    "ion6200_map.csv": (17, 2),
    "ion8600_map.csv": (3, 8),
    "mixed_endian_reg_map.csv": (7, 0),
    "scale_reg_map.csv": (1, 4),
    "scale_reg_pow_10_map.csv": (1, 4),
    "watts_on.csv": (0, 10),
    "watts_on_map.csv": (10, 0),
}


@pytest.mark.parametrize("name", VOLTTRON)
def test_every_row_of_the_nine_volttron_maps_is_accounted_for(name, tmp_path):
    file = reference(f"volttron-maps/{name}")
    result = import_map(file, tmp_path / "out")
    assert (result.report["imported"], len(result.report["skipped"])) == VOLTTRON[name]
    rows = [line for line in file.read_text().splitlines()[1:] if line.strip(",")]
    assert sum(VOLTTRON[name]) == len(rows)
    for row in result.report["skipped"]:
        assert row["name"] in file.read_text().splitlines()[row["line"] - 1]
    if result.problem is None:
        shutil.rmtree(tmp_path / "out")
        _draft(file, tmp_path / "out")
    else:
        assert "has no address" in str(result.problem)
        assert not (tmp_path / "out").exists()


def test_the_three_address_dialects_of_the_volttron_maps():
    def registers(name):
        reading = read_volttron("x", reference(f"volttron-maps/{name}").read_text())
        return {register.name: (str(register.table), register.register) for register in reading.registers}

    assert registers("ion6200_map.csv")["serial"] == ("holding", 0)
    assert registers("ion6200_map.csv")["prog_power_scale"] == ("holding", 4014)
    assert registers("ion8600_map.csv") == {
        "vll_avg": ("holding", 183),
        "kw_sum": ("holding", 203),
        "kvar_sum": ("holding", 213),
    }
    assert registers("watts_on_map.csv")["active_power_total"] == ("holding", 0x200)
    assert registers("battery_meter.csv")["FREQUENCY (Hz)"] == ("holding", 433)


def test_what_needs_another_register_or_is_a_number_format_is_told_and_not_guessed():
    why = {}
    for name in ("scale_reg_map.csv", "scale_reg_pow_10_map.csv", "ion8600_map.csv", "ion6200_map.csv"):
        reading = read_volttron("x", reference(f"volttron-maps/{name}").read_text())
        why[name] = Counter(row.why.rpartition(":")[2].strip() for row in reading.skipped)
    assert why == {
        "scale_reg_map.csv": {"scale_reg(I_AC_CurrentSF)": 4},
        "scale_reg_pow_10_map.csv": {"scale_reg_pow_10(I_AC_CurrentSF)": 4},
        "ion8600_map.csv": {"mod10k(False)": 8},
        "ion6200_map.csv": {"mod10k(True)": 2},
    }


def test_mixed_endian_turns_the_registers_of_wide_values_only():
    reading = read_volttron("x", reference("volttron-maps/mixed_endian_reg_map.csv").read_text())
    assert {register.data_type: register.byte_order for register in reading.registers} == {
        "uint16": "",
        "int16": "",
        "uint32": "CDAB",
        "int32": "CDAB",
        "float32": "CDAB",
        "uint64": "CDAB",
        "int64": "CDAB",
    }


EVCC = {"acrel-adw300.yaml": (11, 5), "eastron-sdm120.yaml": (2, 2), "siemens-7kt1665.yaml": (8, 0)}


@pytest.mark.parametrize("name", EVCC)
def test_every_register_of_the_three_evcc_templates_is_imported_or_told(name, tmp_path):
    file = reference(f"evcc-meter-maps/{name}")
    result, reading = _draft(file, tmp_path / "out")
    assert (result.report["imported"], len(result.report["skipped"])) == EVCC[name]
    lines = file.read_text().splitlines()
    assert sum("address:" in line for line in lines) == result.report["imported"] + sum(
        row["name"].startswith("address") for row in result.report["skipped"]
    )
    for row in result.report["skipped"]:
        assert row["name"] == lines[row["line"] - 1].strip()
    for register in read_evcc(file.read_text()).registers:
        told = lines[register.line - 1].partition("#")[0].split()
        assert told[0] == "address:"
        assert int(told[1], 0) == register.register
    kinds = {source.kind for source in reading.site.sources}
    assert kinds == {"modbus_serial" if "sdm120" in name else "modbus_tcp"}


def test_a_branch_that_is_not_followed_is_told_with_its_condition():
    reading = read_evcc(reference("evcc-meter-maps/eastron-sdm120.yaml").read_text())
    assert [(row.line, row.name) for row in reading.skipped] == [
        (21, "scale: -1"),
        (28, "address: 0x4a # Export active energy"),
    ]
    assert all("usage eq pv" in row.why for row in reading.skipped)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("a: 1", "has no keys template and render", id="another yaml"),
        pytest.param("- 1", "has no keys template and render", id="a list"),
        pytest.param("template: x\nrender: [", "is no YAML", id="no yaml"),
        pytest.param("a: &a [1]\nb: [*a, *a]\n", "has aliases", id="aliases"),
        pytest.param('template: x\nrender: |\n  {{ if eq .usage "pv" }}\n  a: 1\n', "never ended", id="open block"),
        pytest.param("template: x\nrender: |\n  {{ end }}\n", "end without if", id="end without if"),
        pytest.param("template: x\nrender: |\n  a: [1\n", "render is no YAML", id="no yaml inside"),
        pytest.param("a: !!python/object/apply:os.system ['true']", "is no YAML", id="a tag that would run code"),
    ],
)
def test_what_is_no_evcc_template_says_why(tmp_path, text, what):
    file = tmp_path / "x.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(CaptureError, match=what):
        import_map(file, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("", "header has none of", id="empty"),
        pytest.param("a,b\n1,2\n", "header has none of", id="another csv"),
        pytest.param("Register Name,Address,Type\n", "header has none of|nothing to import", id="no row"),
        pytest.param("\ufffd".encode("gb18030", "replace"), "UTF-8|header", id="another encoding"),
    ],
)
def test_what_is_no_volttron_map_says_why(tmp_path, text, what):
    file = tmp_path / "x.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        problem = import_map(file, tmp_path / "out").problem
    except CaptureError as err:
        problem = err
    assert problem is not None
    assert any(part in str(problem) for part in what.split("|"))


def test_an_import_never_writes_over_a_folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(CaptureError, match="is there already"):
        import_map(MAPS / "hexadecimal.csv", tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "kept"


@pytest.mark.parametrize("name", ["a.csv", "a.YAML", "a.yml"])
def test_a_map_is_told_from_a_capture_by_its_ending(name):
    assert is_map(Path(name))
    assert not is_map(Path("traffic.pcap"))


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(
            st.text("ab=- é甲", max_size=6),
            st.sampled_from(["0", "40001", "0x10", "65535", "65536", "-1", "1.5", ""]),
            st.sampled_from(["uint16", "float", "bool", "uint64", "string[3]", ">H", "<I", ""]),
            st.sampled_from(["", "scale(0.1)", "scale(0)", "scale(", "mod10k(True)", "scale(1e400)"]),
            st.sampled_from(["", "analog_input_registers", "discrete_output_coils", "x"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_row_is_lost_and_every_imported_one_has_an_address_that_can_be_read(rows):
    lines = ["Register Name,Address,Type,Transform,Table", *(",".join(row) for row in rows)]
    reading = read_volttron("x", "\n".join(lines) + "\n")
    written = [line for line in lines[1:] if line.strip(" ,")]
    assert len(reading.registers) + len(reading.skipped) == len(written)
    for register in reading.registers:
        parse_address(f"1/{register.table}/{register.register}")
