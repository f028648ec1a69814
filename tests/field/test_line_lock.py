"""One program a line: locks by every name of it, gone with the process, and a source that waits its turn."""

import asyncio
import contextlib
import subprocess
import sys

import pytest
from modbus_devices import Device
from modbus_points import modbus_point, modbus_source
from rtu_devices import RtuLine
from site_folders import write_site

from connectors.modbus.line_claim import BUSY, LineClaim
from connectors.modbus.line_lock import LineLock, line_names
from connectors.modbus.transport import SerialTransport, TcpTransport
from connectors.sources import build_sources, check_sources
from mines.clock import SystemClock
from mines.model import LinkReport, LinkState
from mines.site.site_file import load_site


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (TcpTransport("localhost", 5), TcpTransport("127.0.0.1", 5), True),
        (TcpTransport("::1", 5), TcpTransport("127.0.0.1", 5), True),
        (TcpTransport("LOCALHOST.", 5), TcpTransport("localhost", 5), True),
        (TcpTransport("::ffff:192.0.2.7", 5), TcpTransport("192.0.2.7", 5), True),
        (TcpTransport("192.0.2.7", 5), TcpTransport("192.0.2.7", 6), False),
        (TcpTransport("127.0.0.2", 5), TcpTransport("127.0.0.1", 5), False),
        (TcpTransport("192.0.2.7", 5, framing="rtu"), TcpTransport("192.0.2.7", 5), True),
    ],
    ids=["name", "ipv6", "spelling", "mapped", "port", "other loopback", "framing"],
)
def test_a_line_is_one_however_it_is_written(one, other, same):
    assert bool(set(line_names(one)) & set(line_names(other))) is same


def test_two_sources_of_a_site_on_one_line_are_found_however_they_are_written(tmp_path):
    toml = 'schema = 1\n[mine]\nid = "m"\nname_zh = "某矿"\n[subsystem.power]\n'
    toml += "".join(f'[source.{s}]\nkind = "modbus_tcp"\nhost = "{h}"\n' for s, h in (("a", "localhost"), ("b", "::1")))
    points = "id,name_zh,subsystem,kind,unit,source,address,data_type,period_s\n"
    points += "".join(f"p{s},测点,power,analog,A,{s},1/holding/0,uint16,1\n" for s in "ab")
    site = load_site(write_site(tmp_path, toml=toml, points=points))
    (problem,) = check_sources(site)
    assert problem.key == "source.b.host"
    assert "is the line of source a already" in problem.what


def test_a_serial_port_is_one_behind_its_links(tmp_path):
    port, link = tmp_path / "ttyS9", tmp_path / "by-id"
    port.touch()
    link.symlink_to(port)
    assert line_names(SerialTransport(str(link))) == line_names(SerialTransport(str(port)))


def test_a_lock_is_whole_or_not_taken_and_names_its_holder():
    first, second = (
        LineLock(("tcp x-lock-test 1",), "run mine-1 fan"),
        LineLock(("tcp x-lock-test 0", "tcp x-lock-test 1"), "probe"),
    )
    third = LineLock(("tcp x-lock-test 0",), "probe")
    try:
        assert first.take() == ""
        assert first.take() == ""  # held already
        assert second.take().startswith("run mine-1 fan")
        assert not second.held
        assert third.take() == ""
        first.release()
        third.release()
        assert second.take() == ""
    finally:
        for lock in (first, second, third):
            lock.release()


def test_a_lock_goes_with_its_process_however_it_ends():
    code = (
        "import time; from connectors.modbus.line_lock import LineLock\n"
        "lock = LineLock(('tcp x-killed-test 1',), 'run mine-1 fan'); print(repr(lock.take()), flush=True)\n"
        "time.sleep(60)"
    )
    lock = LineLock(("tcp x-killed-test 1",), "probe")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "''\n"
        assert f"(pid {holder.pid})" in lock.take()
        holder.kill()
        holder.wait(10)
    assert lock.take() == ""
    lock.release()


def test_a_source_of_a_line_in_use_says_so_sends_nothing_and_polls_once_it_is_free():
    async def story():
        async with Device() as device:
            other = LineLock(line_names(TcpTransport("localhost", device.port)), "run mine-1 fan")
            assert other.take() == ""
            source = modbus_source([modbus_point("1/holding/3", period_s=0.1)], device.port)
            source.claim = LineClaim(TcpTransport("127.0.0.1", device.port), "run mine-2 fan")
            reports: list[LinkReport] = []
            async with asyncio.timeout(10), contextlib.aclosing(source.stream()) as stream:
                async for item in stream:
                    if not isinstance(item, LinkReport):
                        continue
                    reports.append(item)
                    if item.state is LinkState.LOST and other.held:
                        assert item.last_error == BUSY
                        assert device.connections == 0
                        other.release()
                    if item.state is LinkState.GOOD:
                        break
            again = LineLock(line_names(TcpTransport("127.0.0.1", device.port)), "probe")
            assert again.take() == ""  # the source has let go
            again.release()
            states = [report.state for report in reports if report.state is not LinkState.CONNECTING]
            assert states[0] is LinkState.LOST

    asyncio.run(story())


def test_a_line_that_is_only_listened_to_is_nobody_elses_to_poll(tmp_path):
    async def story():
        async with RtuLine() as line:
            toml = 'schema = 1\n[mine]\nid = "m"\nname_zh = "某矿"\n[subsystem.power]\n[source.bus]\n'
            toml += f'kind = "modbus_serial"\ndevice = "{line.path}"\npassive = true\n'
            points = "id,name_zh,subsystem,kind,unit,source,address,data_type,period_s\n"
            points += "p,测点,power,analog,A,bus,1/holding/0,uint16,1\n"
            (source,) = build_sources(load_site(write_site(tmp_path, toml=toml, points=points)), SystemClock())
            probe = LineLock(line_names(SerialTransport(line.path)), "probe")
            async with asyncio.timeout(10), contextlib.aclosing(source.stream()) as stream:
                async for _ in stream:
                    break
                assert probe.take().startswith("run m bus")
            assert probe.take() == ""
            probe.release()

    asyncio.run(story())
