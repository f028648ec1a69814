"""`probe modbus` against scripted devices, the demo mine's and others' servers: found by reads alone."""

import asyncio
import json
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from killed_run import Run
from modbus_points import free_port
from modbus_proxy import DecodingProxy
from probed_device import ProbedDevice, Unit, registers, words
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from pyModbusTCP.server import DataBank, ModbusServer
from rtu_devices import RtuLine, framed
from typer.testing import CliRunner

import minewatch
from connectors.modbus.address import Address, Table
from connectors.modbus.byte_order_look import candidates
from connectors.modbus.line_lock import LineLock, line_names
from connectors.modbus.links import open_link
from connectors.modbus.probe import Asked, Look, probe_line
from connectors.modbus.probe_report import ModbusProbe, TableState
from connectors.modbus.span_search import readable
from connectors.modbus.transport import SerialTransport, TcpTransport
from connectors.simulator.demo.mine import DemoMine
from connectors.simulator.demo.tables import DEVICES
from mines.clock import ManualClock, SystemClock
from mines.errors import LinkLost

QUICK = {"rate": 5000.0, "apart_s": 0.01, "timeout_s": 0.15, "again_s": 0.02, "last": 120, "most_reads": 60}
HOLDING, INPUT, COIL, DISCRETE = 3, 4, 1, 2


async def probed(port: int, *units: int, **asked) -> ModbusProbe:
    transport = TcpTransport("127.0.0.1", port, connect_timeout_s=1.0)
    async with asyncio.timeout(20):
        return await probe_line(
            transport.endpoint,
            lambda: open_link(transport, clock=SystemClock()),
            Asked(**({"units": units or (1,)} | QUICK | asked)),
        )


def probe_of(device: ProbedDevice, *units: int, **asked) -> ModbusProbe:
    async def story() -> ModbusProbe:
        async with device:
            return await probed(device.port, *units, **asked)

    return asyncio.run(story())


def codes(hints) -> list[str]:
    return [hint.code for hint in hints]


def test_units_tables_spans_identity_and_round_trips_are_found():
    one = Unit(
        {HOLDING: registers(0, *range(20)) | registers(100, 7, 8, 9), COIL: registers(3, 1, 0, 1)},
        identity={0: b"ACME", 1: b"PLC-7", 2: "3.1 主通风机".encode()},
    )
    found = probe_of(ProbedDevice({1: one, 3: Unit({INPUT: registers(50, 1)})}), 1, 2, 3)
    assert ([unit.unit for unit in found.units], found.silent, found.not_asked) == ([1, 3], [2], [])
    first, third = found.units
    assert first.identity == {"vendor": "ACME", "product_code": "PLC-7", "revision": "3.1 主通风机"}
    assert readable(first.tables[Table.HOLDING].spans) == [(0, 19), (100, 102)]
    assert readable(first.tables[Table.COIL].spans) == [(3, 5)]
    assert first.tables[Table.INPUT].state is TableState.NO_FUNCTION
    assert readable(third.tables[Table.INPUT].spans) == [(50, 50)]
    assert third.identity is None
    assert first.exceptions["4/1"] == 1
    assert len(first.durations_ms) > 20
    assert found.ended == ""


def test_a_unit_that_ignores_identification_is_found_by_a_register_of_any_table():
    shy = Unit({DISCRETE: registers(0, 1)}, silent_for=frozenset({43, 3, 4, 1}))
    (unit,) = probe_of(ProbedDevice({9: shy}), 9, tables=(Table.DISCRETE,)).units
    assert unit.by == "discrete"


def test_units_that_a_gateway_says_are_not_there_are_no_silent_ones():
    found = probe_of(ProbedDevice({2: Unit({HOLDING: registers(0, 1)})}, missing=11), 1, 2, 3)
    assert ([unit.unit for unit in found.units], found.absent, found.silent) == ([2], [1, 3], [])
    assert found.timeouts == 0


@pytest.mark.parametrize(
    ("unit", "code"),
    [
        (Unit({HOLDING: registers(1, *range(40))}), "counts_from_1"),
        (Unit({HOLDING: registers(0, *range(121))}, most=50), "max_registers"),
        (Unit({HOLDING: registers(0, *range(9)) | registers(12, 1)}), "holes"),
    ],
    ids=["counts from 1", "few at once", "holes"],
)
def test_what_the_site_must_heed_is_a_hint(unit, code):
    (found,) = probe_of(ProbedDevice({1: unit}), tables=(Table.HOLDING,)).units
    assert codes(found.hints) == [code]
    if code == "max_registers":
        assert found.tables[Table.HOLDING].largest_read <= 50
        assert readable(found.tables[Table.HOLDING].spans) == [(0, 120)]


def test_transaction_0_is_named_and_never_taken_for_an_answer():
    device = ProbedDevice({1: Unit({HOLDING: registers(0, 1)})})
    device.zero_transaction = True
    found = probe_of(device)
    assert "transaction_0" in codes(found.hints)
    assert found.units == [] or all(not readable(t.spans) for u in found.units for t in u.tables.values())


def test_answers_that_come_twice_are_named():
    device = ProbedDevice({1: Unit({HOLDING: registers(0, 1, 2)})})
    device.double = True
    found = probe_of(device)
    assert "double_answers" in codes(found.hints)


def test_two_devices_that_answer_by_turns_are_named():
    class Twins(Unit):
        turns = 0

        def answer(self, function, body):
            self.turns += function == 43
            self.identity = {0: b"A" if self.turns % 2 else b"B"}
            return super().answer(function, body)

    (unit,) = probe_of(ProbedDevice({1: Twins({HOLDING: registers(0, 1)})})).units
    assert "two_devices" in codes(unit.hints)


def test_a_device_that_hangs_up_on_what_it_does_not_know_is_probed_all_the_same():
    device = ProbedDevice({n: Unit({HOLDING: registers(0, 1, 2)}) for n in (1, 2)})
    device.hangs_up_on = frozenset({43})
    found = probe_of(device, 1, 2, tables=(Table.HOLDING,))
    assert [readable(unit.tables[Table.HOLDING].spans) for unit in found.units] == [[(0, 1)]] * 2
    assert "hangs_up" in codes(found.hints)
    assert found.lost["closed by the device"] >= 2


def test_a_gateway_that_hangs_up_on_every_unit_it_does_not_have_is_probed_to_the_end():
    device = ProbedDevice({9: Unit({HOLDING: registers(0, 1)})})
    device.hangs_up_on_missing = True
    found = probe_of(device, *range(3, 10), tables=(Table.HOLDING,))
    assert ([unit.unit for unit in found.units], found.silent) == ([9], list(range(3, 9)))
    assert found.ended == ""


def test_one_answer_that_is_no_modbus_never_stops_the_rest():
    device = ProbedDevice({1: Unit({HOLDING: registers(0, 1, 2)}), 2: Unit({HOLDING: registers(0, 3)})})
    device.garbage_once = True
    found = probe_of(device, 1, 2, tables=(Table.HOLDING,))
    assert [unit.unit for unit in found.units] == [1, 2]
    assert found.connects == 2


def test_a_busy_unit_is_left_after_a_few_refusals_and_the_next_is_asked():
    found = probe_of(ProbedDevice({1: Unit(exception=6), 2: Unit({HOLDING: registers(0, 3)})}), 1, 2)
    busy, good = found.units
    assert {table.state for table in busy.tables.values()} == {TableState.FAILED}
    assert busy.exceptions["3/6"] == 3  # the one block, asked for three times
    assert readable(good.tables[Table.HOLDING].spans) == [(0, 0)]


def test_a_table_that_goes_silent_costs_two_timeouts():
    sulky = Unit({HOLDING: registers(0, 1), INPUT: registers(0, 5)}, identity={0: b"x"}, silent_for=frozenset({3}))
    found = probe_of(ProbedDevice({1: sulky}), tables=(Table.HOLDING, Table.INPUT), last=299)
    (unit,) = found.units
    assert unit.tables[Table.HOLDING].state is TableState.SILENT
    assert found.timeouts == 2
    assert readable(unit.tables[Table.INPUT].spans) == [(0, 0)]


def test_it_never_asks_faster_than_its_rate():
    device = ProbedDevice({1: Unit({HOLDING: registers(0, 1, 2)})})
    probe_of(device, tables=(Table.HOLDING,), rate=40.0, last=9, most_reads=12)
    gaps = [b - a for a, b in zip(device.times_s, device.times_s[1:], strict=False)]
    assert sum(gaps) >= 0.95 * len(gaps) / 40.0


def test_when_its_time_is_over_it_says_what_it_did_not_ask():
    found = probe_of(ProbedDevice({1: Unit({HOLDING: registers(0, 1)})}), 1, 2, 3, 4, within_s=0.6, timeout_s=0.25)
    assert found.ended == "not done within 0.6 s"
    assert found.not_asked
    assert [unit.unit for unit in found.units] == [1]


def test_nobody_there_is_one_word():
    with pytest.raises(LinkLost, match="refused"):
        asyncio.run(probed(1))


def test_what_a_profile_forbids_is_never_asked_for():
    read: set[int] = set()

    class Clears(Unit):
        def answer(self, function, body):
            if function == 3:
                first, count = int.from_bytes(body[:2], "big"), int.from_bytes(body[2:], "big")
                read.update(range(first, first + count))
            return super().answer(function, body)

    unit = Clears({HOLDING: registers(0, *range(60))})
    (found,) = probe_of(ProbedDevice({1: unit}), tables=(Table.HOLDING,), never=((Table.HOLDING, 30, 31),)).units
    assert read & {30, 31} == set()
    assert readable(found.tables[Table.HOLDING].spans) == [(0, 29), (32, 59)]


@pytest.mark.parametrize(
    ("order", "shift"), [("ABCD", 0), ("CDAB", 0), ("BADC", 0), ("DCBA", 0), ("CDAB", -1), ("ABCD", 1)]
)
def test_a_wrong_byte_order_and_a_register_off_by_one_are_found(order, shift):
    swapped = bytes(struct.pack(">f", 0.52)["ABCD".index(letter)] for letter in order)
    unit = Unit({HOLDING: registers(99 + shift, 4711) | registers(100 + shift, *words(swapped)) | {103 + shift: 12}})
    look = Look(Address(1, Table.HOLDING, 100), 0.0, 4.0, 0.52)
    (found,) = probe_of(ProbedDevice({1: unit}), tables=(Table.HOLDING,), looks=(look,), most_reads=1).units
    best = found.byte_orders[0]["ranked"][0]
    assert (best["address"], best["data_type"], best["byte_order"]) == (f"1/holding/{100 + shift}", "float32", order)
    assert best["value"] == pytest.approx(0.52)
    assert ("off_by_one" in codes(found.hints)) is bool(shift)


def test_without_an_expectation_what_is_plausible_comes_first():
    words_of = dict(zip((99, 100, 101, 102, 103, 104), (0, *words(struct.pack(">f", 3.25)), 0, 0, 0), strict=True))
    ranked = candidates([words_of], Address(1, Table.HOLDING, 100), low=0.0, high=4.0)["ranked"]
    assert (ranked[0]["byte_order"], ranked[0]["value"], ranked[0]["shift"]) == ("ABCD", 3.25, 0)


def test_against_pymodbus_own_server():
    device = SimDevice(1, simdata=[SimData(10, values=[1.5, -2.5], datatype=DataType.FLOAT32)])

    async def story() -> ModbusProbe:
        port = free_port()
        server = ModbusTcpServer(device, address=("127.0.0.1", port))
        await server.serve_forever(background=True)
        try:
            return await probed(port, 1, tables=(Table.HOLDING,), last=40)
        finally:
            await server.shutdown()

    (unit,) = asyncio.run(story()).units
    assert readable(unit.tables[Table.HOLDING].spans) == [(10, 13)]
    assert unit.identity is not None


def test_a_serial_line_is_probed_like_any_other_and_a_silent_unit_costs_no_neighbour():
    units = {2: Unit({HOLDING: registers(0, *range(6))}, identity={0: b"METER"})}

    def behave(request, wire):
        unit = units.get(request.unit)
        if unit is not None:
            wire.send(framed(bytes([request.unit]) + unit.answer(request.function, request.raw[2:-2])))

    async def story() -> ModbusProbe:
        async with RtuLine(behave) as line, asyncio.timeout(30):
            transport = SerialTransport(line.path, baud=115_200, parity="N")
            asked = Asked(**(QUICK | {"units": (1, 2), "tables": (Table.HOLDING,), "last": 40}))
            found = await probe_line(line.path, lambda: open_link(transport, clock=SystemClock()), asked)
            assert {request.function for request in line.requests} <= {1, 2, 3, 4, 43}
            return found

    found = asyncio.run(story())
    assert ([unit.unit for unit in found.units], found.silent) == ([2], [1])
    assert found.units[0].identity == {"vendor": "METER"}
    assert readable(found.units[0].tables[Table.HOLDING].spans) == [(0, 5)]


# On the command line


@contextmanager
def in_thread(context):
    """An async context in a loop and thread of its own: the command has a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(20)
    finally:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def command(*arguments):
    return CliRunner().invoke(minewatch.app, ["probe", "modbus", *map(str, arguments)])


SHORT = ("--rate", "50", "--timeout", "0.2", "--registers", "0-20", "--reads", "12")
UNIT_KEYS = {
    "unit", "by", "identity", "tables", "exceptions", "wrong_replies", "timeouts", "rtt_ms", "byte_orders", "hints",
}  # fmt: skip


def test_against_the_demo_mine_the_json_is_that_of_the_contract_and_only_reads_leave():
    hoist = [device for device in DEVICES if device.source == "hoist"]
    mine = DemoMine(ManualClock(1_795_600_000_000), drive=False, devices=hoist)
    with in_thread(mine), DecodingProxy("127.0.0.1", mine.endpoints["hoist"].port) as proxy:
        done = command(f"127.0.0.1:{proxy.port}", "--unit", "1-2,5", "--table", "input", *SHORT, "--yes", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["address"] == f"127.0.0.1:{proxy.port}"
    assert [unit["unit"] for unit in document["units"]] == [1, 2]
    assert all(set(unit) == UNIT_KEYS for unit in document["units"])
    assert document["units"][0]["identity"]["vendor"] == "minewatch"
    assert document["units"][1]["tables"][0]["spans"] == [[0, 3]]
    assert (document["absent"], document["ended"]) == ([5], "")
    assert proxy.read_only
    assert set(proxy.functions) == {4, 43}


def test_against_a_server_of_other_people_that_ignores_the_unit():
    bank = DataBank(h_regs_size=100, i_regs_size=10, coils_size=8, d_inputs_size=8)
    server = ModbusServer("127.0.0.1", 0, no_block=True, data_bank=bank)
    server.start()
    try:
        found = asyncio.run(probed(server._service.server_address[1], 1, 2, 3, most_reads=60))
    finally:
        server.stop()
    spans = [readable(found.units[0].tables[t].spans) for t in (Table.HOLDING, Table.INPUT, Table.COIL)]
    assert spans == [[(0, 99)], [(0, 9)], [(0, 7)]]
    assert codes(found.hints) == ["unit_ignored"]


def test_a_person_reads_it_in_chinese_and_english():
    device = ProbedDevice({1: Unit({HOLDING: registers(1, 1, 2)}, identity={0: b"ACME"})})
    with in_thread(device):
        done = command(f"127.0.0.1:{device.port}", "--unit", "1", "--table", "holding", *SHORT, "--yes")
    assert done.exit_code == 0
    assert all(text in done.stdout for text in ("站号 unit 1", "ACME", "可读", "从 1 计数", "count from 1"))
    assert "只读请求" in done.stderr


def test_a_value_that_is_asked_for_is_ranked_on_the_command_line():
    device = ProbedDevice({1: Unit({HOLDING: registers(100, *words(struct.pack(">f", 0.52)))})})
    with in_thread(device):
        where = ("--unit", "1", "--table", "holding", "--registers", "100-101", "--at", "1/holding/100")
        value = ("--low", "0", "--high", "4", "--expect", "0.5")
        done = command(f"127.0.0.1:{device.port}", *where, *value, "--rate", "50", "--yes")
        refused = command(f"127.0.0.1:{device.port}", *where, "--yes")
    assert done.exit_code == 0, done.output
    assert "1/holding/100  float32  ABCD  = 0.52" in done.stdout
    assert refused.exit_code == 2


def test_with_nobody_to_ask_it_sends_nothing():
    device = ProbedDevice({1: Unit()})
    with in_thread(device):
        run = [sys.executable, "-P", "-m", "minewatch", "probe", "modbus", f"127.0.0.1:{device.port}"]
        done = subprocess.run(run, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert device.connections == 0


@pytest.mark.parametrize(
    "wrong",
    [("--unit", "0"), ("--unit", "1-300"), ("--registers", "9-3"), ("--table", "flags"), ("--rate", "500")],
    ids=lambda wrong: " ".join(wrong),
)
def test_what_may_not_be_asked_is_refused_before_anything_is_sent(wrong):
    assert command("127.0.0.1:1", *wrong, "--yes").exit_code == 2


def test_a_line_that_run_owns_is_refused_by_its_source_and_site_and_nothing_is_sent(tmp_path):
    points = "id,name_zh,subsystem,kind,unit,source,address,data_type,period_s\n"
    points += "p,测点,power,analog,A,plc,1/holding/0,uint16,1\n"
    device = ProbedDevice({1: Unit({HOLDING: registers(0, 7)})})
    with in_thread(device):
        site = tmp_path / "site"
        site.mkdir()
        (site / "points.csv").write_text(points, encoding="utf-8")
        (site / "site.toml").write_text(
            f'schema = 1\n[mine]\nid = "mine-7"\nname_zh = "某矿"\n[storage]\ndata = "{tmp_path / "data"}"\n'
            "[subsystem.power]\n"
            f'[source.plc]\nkind = "modbus_tcp"\nhost = "localhost"\nport = {device.port}\n',
            encoding="utf-8",
        )
        run = Run(site, tmp_path / "data")
        try:
            run.wait(lambda document: document["counters"]["read"] > 0)
            connections = device.connections
            done = command(f"127.0.0.1:{device.port}", "--unit", "1", *SHORT, "--yes")
            assert done.exit_code == 1
            assert "run mine-7 plc" in str(done.exception)
            assert device.connections == connections
        finally:
            run.kill()
        done = command(f"127.0.0.1:{device.port}", "--unit", "1", "--table", "holding", *SHORT, "--yes", "--json")
        assert done.exit_code == 0, done.output  # the lock has gone with the process


def test_a_probe_keeps_the_line_to_itself_while_it_runs():
    device = ProbedDevice({1: Unit({HOLDING: registers(0, 7)})})
    held: list[str] = []
    with in_thread(device):
        other = LineLock(line_names(TcpTransport("127.0.0.1", device.port)), "run")

        def look() -> None:
            end = time.monotonic() + 10
            while not device.times_s and time.monotonic() < end:
                time.sleep(0.005)
            held.append(other.take())

        looker = threading.Thread(target=look)
        looker.start()
        done = command(f"127.0.0.1:{device.port}", "--unit", "1", *SHORT, "--yes", "--json")
        looker.join(10)
    other.release()
    assert done.exit_code == 0
    assert held[0].startswith("probe")
