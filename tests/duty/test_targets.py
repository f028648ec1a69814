"""Where a mine stands toward 2025, the 260 and 2026: papers and gates, never a score alone."""

from __future__ import annotations

from datetime import date

import pytest

from compliance.gates import Block, Gate, GateState, Reached, gates
from compliance.items import score_items
from compliance.measures import Measure
from compliance.mine_record import MineRecord
from compliance.rule_pack import scoring_rules
from compliance.targets import Target, TargetState, target_260, target_2025, target_2026
from mines.model import Mine, Subsystem
from mines.site.tables import Certificate, SubsystemTable

PACK = scoring_rules()
DAY = date(2026, 11, 25)
EVERYTHING = tuple(Subsystem)


def record(certificates: tuple[Certificate, ...] = (), accepted: bool = False, **settings: object) -> MineRecord:
    table = SubsystemTable(acceptance_document="验收1号" if accepted else "")
    return MineRecord(Mine("m", "煤矿", "Mine", settings), dict.fromkeys(Subsystem, table), certificates)


def certificate(**more: object) -> Certificate:
    values = {"number": "1号", "issuer": "机关", "date": date(2025, 6, 1), "grade": "primary", "type": "underground"}
    return Certificate(**(values | more))


@pytest.mark.parametrize(
    ("certificates", "state", "words"),
    [
        ((), "not_met", "未登记智能煤矿证书"),
        ((certificate(),), "under_review", "矿方自报·未核验"),
        ((certificate(date=date(2026, 3, 1)),), "not_met", "发证晚于期限"),
        ((certificate(type="preparation_plant"),), "not_met", "选煤厂"),
        ((certificate(type="awaiting_acceptance"),), "not_met", "另列"),
        ((certificate(valid_until=date(2026, 1, 1)),), "under_review", "现已失效"),
        ((certificate(date=date(2026, 12, 1)),), "not_met", "未登记智能煤矿证书"),
    ],
    ids=["none", "own_word", "late", "plant", "awaiting", "expired", "dated_in_the_future"],
)
def test_2025_is_counted_by_certificates_and_never_met_by_the_mines_own_word(certificates, state, words):
    target = target_2025(record(certificates), DAY, PACK)

    assert target.state == state
    assert words in target.reason


def test_a_deadline_that_is_past_is_said_to_be_past():
    assert target_2025(record(), DAY, PACK).reason.startswith("期限2025-12-31已过329天。")
    assert target_2025(record(), date(2025, 12, 31), PACK).reason.startswith("距期限2025-12-31还有0天。")
    assert target_2025(record(), DAY, PACK).reason_en.startswith("The deadline 2025-12-31 passed 329 days ago.")


@pytest.mark.parametrize(
    ("mine", "state"),
    [(record(), "not_counted"), (record(in_260=True), "not_met"), (record(in_260=True, accepted=True), "under_review")],
    ids=["not_on_the_list", "no_document", "own_documents"],
)
def test_the_260_are_a_list_from_outside_and_acceptance_documents(mine, state):
    assert target_260(mine, EVERYTHING, PACK).state == state


def test_the_260_name_the_subsystems_without_a_document():
    assert "缺验收文件:安全监控、通风" in target_260(record(in_260=True), EVERYTHING, PACK).reason


def judged(states: dict[str, GateState], mine: MineRecord | None = None) -> Target:
    names = (
        "coverage",
        "acceptance",
        "required_set",
        "subsystem_points",
        "common_points",
        "veto",
        "integrity",
        "hazard",
    )
    made = [Gate(PACK.rule(f"gate.{name}"), states.get(name, GateState.MET), ("12.00 %",)) for name in names]
    return target_2026(mine or record(), made, DAY, PACK)


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ({}, "met"),
        ({"coverage": GateState.NOT_MET}, "not_enough_data"),
        ({"coverage": GateState.NOT_MET, "acceptance": GateState.NOT_MET}, "not_enough_data"),
        ({"acceptance": GateState.NOT_MET}, "not_met"),
        ({"subsystem_points": GateState.NOT_MET, "hazard": GateState.NOT_RECORDED}, "not_met"),
        ({"acceptance": GateState.UNDER_REVIEW}, "under_review"),
        ({"hazard": GateState.NOT_RECORDED}, "under_review"),
    ],
    ids=["all_met", "data", "data_first", "document", "points", "own_word", "not_recorded"],
)
def test_2026_is_judged_by_the_gates(states, state):
    assert judged(states).state == state


def test_2026_says_which_gates_stand_against_it():
    reason = judged({"acceptance": GateState.NOT_MET, "common_points": GateState.NOT_MET}).reason

    assert "未满足:每个必需子系统有验收文件、公共部分低值不少于80%。" in reason


STOPPED = {
    "production_state": "stopped",
    "stop_order": "停1号",
    "stop_issuer": "机关",
    "stop_from": date(2026, 10, 1),
    "stop_until": date(2026, 12, 15),
}


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        (STOPPED, "not_counted"),
        (STOPPED | {"stop_until": date(2026, 11, 1)}, "under_review"),
        (STOPPED | {"stop_order": ""}, "under_review"),
        (STOPPED | {"stop_until": None}, "under_review"),
        ({"production_state": "under_construction"}, "not_counted"),
        ({"production_state": "closed"}, "not_counted"),
    ],
    ids=["by_order", "order_ran_out", "no_number", "no_resumption", "under_construction", "closed"],
)
def test_only_an_order_that_names_everything_takes_a_stopped_mine_out_of_the_count(settings, state):
    assert judged({}, record(**settings)).state == state


def states_of(
    mine: MineRecord,
    coverage: float = 1.0,
    measured: dict[str, Measure] | None = None,
    required: tuple[Subsystem, ...] = EVERYTHING,
):
    items = score_items(PACK, required, measured or {})
    reached = Reached(items, Block(600, 600, 600), required, coverage)
    return {gate.id: gate for gate in gates(mine, reached, PACK)}


def test_a_document_in_the_mines_own_file_is_under_review():
    assert states_of(record(accepted=True))["acceptance"].state == GateState.UNDER_REVIEW
    assert states_of(record())["acceptance"].state == GateState.NOT_MET


@pytest.mark.parametrize(("coverage", "state"), [(0.9, "met"), (0.8999, "not_met")])
def test_coverage_needs_ninety_percent(coverage, state):
    assert states_of(record(), coverage)["coverage"].state == state


def test_a_subsystem_left_out_waits_for_the_bureau():
    required = tuple(s for s in Subsystem if s != Subsystem.GAS_DRAINAGE)

    gate = states_of(record(), required=required)["required_set"]

    assert (gate.state, gate.detail) == (GateState.UNDER_REVIEW, ("gas_drainage",))
    assert states_of(record())["required_set"].state == GateState.MET


def test_every_subsystem_must_reach_its_share_by_itself():
    full = {row.id: Measure(row.full, row.full, ()) for row in PACK.indicators if row.full is not None}
    without_fan = {name: measure for name, measure in full.items() if name != "V1"}

    met, short = (states_of(record(), measured=measured)["subsystem_points"] for measured in (full, without_fan))

    assert (met.state, met.detail) == (GateState.MET, ())
    assert (short.state, short.detail) == (GateState.NOT_MET, ("ventilation",))  # 11 of its own 18 points


def test_what_nobody_recorded_is_said_to_be_unrecorded():
    found = states_of(record())

    assert {found[name].state for name in ("veto", "integrity", "hazard")} == {GateState.NOT_RECORDED}


def test_every_target_has_reason_clause_and_quote_in_both_languages():
    for target in (target_2025(record(), DAY, PACK), target_260(record(), EVERYTHING, PACK), judged({})):
        document = target.to_json()
        assert document["state"] in set(TargetState)
        assert "第11条" in document["clause"]
        assert document["quote"]
        assert document["reason_en"]
