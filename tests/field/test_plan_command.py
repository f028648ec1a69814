"""`plan`: what a line will be asked and how long it takes, by hand-made examples and by the contract of its JSON."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from killed_run import Run
from modbus_devices import Device
from modbus_points import modbus_point, modbus_source
from modbus_servers import CountingServer
from modbus_streams import Watch
from site_folders import SITE_TOML, write_site
from typer.testing import CliRunner

import minewatch
from connectors.modbus.forecast import LineForecast, forecast
from connectors.modbus.plan import plan_reads
from connectors.modbus.points import read_points
from connectors.modbus.settings import ModbusSettings
from connectors.modbus.transport import SerialTransport, TcpTransport
from connectors.modbus.unit_settings import UnitSettings
from connectors.simulator.demo.mine import Endpoint
from connectors.simulator.demo.site import write_demo_site
from connectors.simulator.demo.tables import DEVICES

ROOT = Path(__file__).parents[2]
CONTRACT = {"line", "units", "requests", "registers", "bridged", "period_ms", "cycle_ms"}
TCP = TcpTransport("192.0.2.1")


def forecast_of(points, **settings) -> tuple[LineForecast, ...]:
    settings = ModbusSettings(**({"transport": TCP} | settings))
    read, problems = read_points(points, settings.limits)
    assert not problems
    return forecast("plc", settings, plan_reads([item.need for item in read], settings.limits))


def every(period_s: float, *addresses: str):
    return [modbus_point(address, period_s=period_s) for address in addresses]


def test_a_cycle_is_the_sum_of_response_and_delay_of_its_requests():
    points = every(1.0, "1/holding/0", "1/holding/50", "2/input/0")
    (line,) = forecast_of(points, response_ms=30.0, delay_ms=5.0)
    assert (line.requests, line.registers, line.bridged) == (3, 3, 0)
    assert line.units == (1, 2)
    assert (line.period_ms, line.cycle_ms) == (1000, 3 * 35.0)
    assert line.share == pytest.approx(0.105)


def test_each_unit_counts_with_its_own_response():
    points = every(1.0, "1/holding/0", "2/holding/0")
    (line,) = forecast_of(points, response_ms=30.0, units={2: UnitSettings(response_ms=200.0, delay_ms=50.0)})
    assert line.cycle_ms == 280.0


def test_a_bridged_hole_costs_registers_and_saves_a_request():
    points = every(1.0, "1/holding/0", "1/holding/5")
    (line,) = forecast_of(points, max_gap=10)
    assert (line.requests, line.registers, line.bridged) == (1, 6, 4)


def test_on_a_serial_line_the_wire_counts():
    # 8 bytes out, 5 + 2 × 10 back, 11 bits a character, and 3.5 characters of silence behind each.
    points = [modbus_point(f"1/holding/{n}") for n in range(10)]
    (line,) = forecast_of(points, transport=SerialTransport("/dev/ttyS1", baud=9600), response_ms=0.0)
    assert line.cycle_ms == pytest.approx(1000 * (33 + 7) * 11 / 9600, abs=0.1)


def test_what_shorter_periods_ask_meanwhile_is_in_the_cycle_of_the_longer():
    points = every(0.1, "1/holding/0") + every(2.0, *(f"1/holding/{n}" for n in range(100, 140, 2)))
    short, long = forecast_of(points, response_ms=20.0)
    # 20 requests of its own are 400 ms; in 500 ms the short period asks five times, which takes the other 100.
    assert (short.cycle_ms, long.cycle_ms) == (20.0, 500.0)


def test_a_line_that_is_never_done_is_forecast_with_what_it_would_need():
    points = every(0.1, *(f"1/holding/{n}" for n in range(0, 20, 2))) + every(1.0, "1/holding/100")
    short, long = forecast_of(points, response_ms=20.0)
    assert short.cycle_ms == 200.0
    assert long.cycle_ms == 20.0 + 10 * 200.0
    assert long.share > 1


def test_parallel_connections_share_units_or_the_requests_of_the_one_unit():
    four_units = every(1.0, "1/holding/0", "1/holding/9", "2/holding/0", "3/holding/0")
    (line,) = forecast_of(four_units, response_ms=30.0, connections=2)
    assert line.cycle_ms == 90.0  # units 1 and 3 on one connection, unit 2 on the other
    one_unit = every(1.0, "1/holding/0", "1/holding/9", "1/holding/20")
    (line,) = forecast_of(one_unit, response_ms=30.0, connections=2)
    assert line.cycle_ms == 60.0
    (line,) = forecast_of(one_unit[:1], response_ms=30.0, connections=2)
    assert line.cycle_ms == 30.0


def test_a_line_that_is_only_listened_to_is_asked_nothing():
    assert forecast_of(every(1.0, "1/holding/0"), transport=SerialTransport("/dev/ttyS1", passive=True)) == ()


POINTS = """id,name_zh,subsystem,kind,unit,source,address,data_type,period_s
sump,水位,dewatering,analog,m,pump,1/holding/0,uint16,1
current,电流,dewatering,analog,A,pump,1/holding/1,uint16,1
ch4,甲烷,gas,analog,%CH4,kj,i=1,,2
"""


def site(folder: Path, *, keys: str = "", points: str = POINTS) -> Path:
    return write_site(folder, toml=SITE_TOML + keys + "\n", points=points)


def planned(folder: Path, *options: str):
    done = CliRunner().invoke(minewatch.app, ["plan", str(folder), *options])
    return done, json.loads(done.stdout) if "--json" in options else None


def test_the_json_is_that_of_the_contract(tmp_path):
    done, document = planned(site(tmp_path), "--json")
    assert done.exit_code == 0
    assert document["ok"] is True
    (line,) = document["lines"]
    assert set(line) == CONTRACT | {"source", "measured_ms"}
    assert (line["line"], line["units"], line["requests"], line["registers"]) == ("192.0.2.10:502", 1, 1, 2)
    assert (line["bridged"], line["period_ms"], line["cycle_ms"]) == (0, 1000, 10.0)
    (server,) = document["opcua"]
    assert (server["source"], server["nodes"], server["read"]) == ("kj", 1, "subscribe")


def test_a_person_reads_it_in_chinese_with_what_is_assumed(tmp_path):
    done, _ = planned(site(tmp_path))
    assert "采集计划" in done.stdout
    assert "192.0.2.10:502" in done.stdout
    assert "项目默认值,非实测" in done.stdout


@pytest.mark.parametrize(
    ("keys", "said"),
    [("response_ms = 40", "from site.toml"), ("[source.pump.unit.1]\nresponse_ms = 40", "from site.toml")],
    ids=["source", "unit"],
)
def test_who_says_the_response_time_is_printed(tmp_path, keys, said):
    done, _ = planned(site(tmp_path, keys=keys))
    assert "response_ms = 40" in done.stdout
    assert said in done.stdout


TOO_LONG = POINTS + "".join(f"p{n},水位{n},dewatering,analog,m,pump,1/holding/{n},uint16,1\n" for n in range(2, 60, 2))


@pytest.mark.parametrize("command", ["check", "plan"])
def test_a_cycle_longer_than_its_period_is_an_error_before_the_first_poll(tmp_path, command):
    folder = site(tmp_path, keys="response_ms = 40", points=TOO_LONG)
    done = CliRunner().invoke(minewatch.app, [command, str(folder), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["ok"] is False
    if command == "check":
        (error,) = json.loads(done.stdout)["errors"]
        assert (error["file"], error["line"], error["key"]) == ("points.csv", 2, "period_s")
        assert error["what"] == "one cycle on 192.0.2.10:502 (29 requests) takes 1160 ms, it has 1000 ms"
    else:
        assert json.loads(done.stdout)["lines"][0]["cycle_ms"] == 1160.0


def test_a_site_with_mistakes_is_refused_with_all_of_them(tmp_path):
    folder = tmp_path / "site"
    shutil.copytree(ROOT / "fixtures/sites/refused/ten_mistakes_at_once", folder)
    done, document = planned(folder, "--json")
    assert done.exit_code == 1
    assert document == {"ok": False, "lines": [], "opcua": []}


def test_every_line_of_the_demo_mine_fits_its_period(tmp_path):
    endpoints = {d.source: Endpoint(d.kind, "127.0.0.1", 30_000 + n) for n, d in enumerate(DEVICES)}
    write_demo_site(tmp_path, endpoints, data=tmp_path / "data", web_port=1)
    done, document = planned(tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    assert {line["source"] for line in document["lines"]} == {d.source for d in DEVICES if d.kind != "opcua"}
    assert all(line["cycle_ms"] <= line["period_ms"] for line in document["lines"])


def test_a_device_of_the_foretold_response_takes_no_less_than_foretold():
    """Only the lower side: how much longer a busy machine takes belongs to the bench. One answer takes 40 ms."""

    async def slow(request, connection):
        await asyncio.sleep(0.04)
        connection.send(request.reply())

    points = every(1.0, *(f"1/holding/{n}" for n in range(0, 10, 2)))

    async def cycle_ms() -> float:
        async with Device(slow) as device:
            async with Watch(modbus_source(points, device.port, timeout_s=2.0)) as watch:
                seen = await watch.until(lambda seen: len(seen.batches) >= 2)
            batch = seen.batches[-1]
            return float(batch.monotonic_ns.max() - batch.monotonic_ns.min()) / 1e6 + 40

    (line,) = forecast_of(points, response_ms=40.0)
    measured = asyncio.run(asyncio.wait_for(cycle_ms(), 20))
    assert line.cycle_ms == 200.0
    assert measured >= 0.9 * line.cycle_ms


@pytest.mark.long  # link reports come every 10 s
def test_beside_a_run_the_plan_tells_what_the_cycles_really_took(tmp_path):
    rows = [*POINTS.splitlines(keepends=True)[:-1], "slow,电流,dewatering,analog,A,pump,1/holding/9,uint16,2\n"]
    with CountingServer() as server:
        toml = SITE_TOML.split("[source.kj]")[0] + '[storage]\ndata = "data"\n[source.pump]\nkind = "modbus_tcp"\n'
        folder = write_site(tmp_path, toml=f'{toml}host = "127.0.0.1"\nport = {server.port}\n', points="".join(rows))
        run = Run(folder, folder / "data")
        try:
            run.wait(lambda snapshot: any("cycle ms of 2 s" in link["counters"] for link in snapshot["links"]))
            _, document = planned(folder, "--json")
            told, _ = planned(folder)
        finally:
            run.kill()
    assert [(line["period_ms"], line["cycle_ms"]) for line in document["lines"]] == [(1000, 10.0), (2000, 20.0)]
    assert all(isinstance(line["measured_ms"], int) for line in document["lines"])
    assert "实测" in told.stdout
