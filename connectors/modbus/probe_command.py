"""`minewatch probe modbus`: options in, one probe, a document or tables out."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated

import typer

from connectors.modbus.address import AddressError, Table, parse_address
from connectors.modbus.transport import SerialTransport, TcpTransport, Transport
from connectors.probe_command import agree, bar
from mines.command_line import JsonOption, duration_option, print_json
from mines.errors import LinkLost, MineError

if TYPE_CHECKING:
    from connectors.modbus.probe import Asked, Look
    from connectors.modbus.probe_report import ModbusProbe

_DEFAULT_WITHIN_MS = 600_000  # project default
_MOST_UNIT = 247  # Source: MODBUS over Serial Line V1.02, 2.2; 248-255 are reserved, 0 is the broadcast
_SPAN = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def modbus(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="HOST, HOST:PORT, or the path of a serial port.")],
    unit: Annotated[str, typer.Option(metavar="LIST", help="Units, e.g. 1 or 1-10,20; 1 to 247.")] = "1-10",
    table: Annotated[str, typer.Option(metavar="LIST", help="Of holding,input,coil,discrete.")] = "",
    registers: Annotated[str, typer.Option(metavar="FIRST-LAST", help="What is searched of each table.")] = "0-999",
    reads: Annotated[int, typer.Option(min=1, max=2000, help="The most reads of one table.")] = 120,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Requests a second.")] = 5.0,
    timeout: Annotated[float, typer.Option(min=0.05, max=5, help="For one answer, in seconds.")] = 1.0,
    within_ms: Annotated[int | None, duration_option("--for", "Ends after this long at the latest; 10m.")] = None,
    at: Annotated[
        list[str] | None, typer.Option(metavar="UNIT/TABLE/REGISTER", help="Ranks types and byte orders there.")
    ] = None,
    low: Annotated[float | None, typer.Option(help="The least that the value at --at can be.")] = None,
    high: Annotated[float | None, typer.Option(help="The most that it can be.")] = None,
    expect: Annotated[float | None, typer.Option(help="What the device shows there now.")] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its clear-on-read registers are not read.")
    ] = None,
    framing: Annotated[str, typer.Option(metavar="mbap|rtu", help="On TCP.")] = "mbap",
    baud: Annotated[int, typer.Option(min=300, help="Of a serial port.")] = 9600,
    parity: Annotated[str, typer.Option(metavar="N|E|O", help="Of a serial port.")] = "E",
    stop_bits: Annotated[int, typer.Option(min=1, max=2, help="Of a serial port.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Does not ask first.")] = False,
    json: JsonOption = False,
) -> None:
    """试探 Modbus 线路: which units answer, who they are, which registers they have. Functions 1-4 and 43/14 only."""
    from connectors.modbus.probe import TABLES, Asked

    transport = _transport(address, framing=framing, serial=(baud, parity, stop_bits))
    first, last = _spans(registers, "--registers", 0, 65_535)[0]
    asked = Asked(
        units=tuple(sorted({n for a, b in _spans(unit, "--unit", 1, _MOST_UNIT) for n in range(a, b + 1)})),
        tables=_tables(table) or TABLES,
        first=first,
        last=last,
        most_reads=reads,
        rate=rate,
        timeout_s=timeout,
        within_s=(within_ms or _DEFAULT_WITHIN_MS) / 1000,
        looks=_looks(at or [], low, high, expect),
        never=_never(profile),
    )
    found = _probe(transport, asked, yes=yes)
    if json:
        print_json(found.to_json())
    else:
        from connectors.modbus.probe_print import print_probe

        print_probe(found)
    if not found.units:
        raise typer.Exit(1)


def _probe(transport: Transport, asked: Asked, *, yes: bool) -> ModbusProbe:
    """Asks the person, takes the line, and looks."""
    from connectors.modbus.line_lock import LineLock, line_names
    from connectors.modbus.links import open_link
    from connectors.modbus.probe import probe_line
    from mines.clock import SystemClock

    lock, clock = LineLock(line_names(transport), "probe"), SystemClock()
    holder = lock.take()
    if holder:
        raise MineError(
            f"{transport.endpoint}: 线路正被占用,未发送任何请求 (the line is in use by: {holder}; nothing was sent)"
        )
    try:
        agree(_question(transport, asked), yes=yes)
        with bar() as progress:
            task = progress.add_task("probe", total=None)

            def told(done: int, most: int) -> None:
                progress.update(task, completed=done, total=most, description=f"{done} 请求 requests")

            probing = probe_line(transport.endpoint, lambda: open_link(transport, clock=clock), asked, told)
            return asyncio.run(probing)
    except LinkLost as lost:
        raise MineError(f"{transport.endpoint}: {lost}") from lost
    finally:
        lock.release()


def _question(transport: Transport, asked: Asked) -> str:
    units, tables = len(asked.units), ", ".join(asked.tables)
    return (
        f"将对 {transport.endpoint} 的 {units} 个站号发送只读请求(功能码 1-4、43/14):至多 {asked.most_requests} 个,"
        f"每秒至多 {asked.rate:g} 个,至多 {asked.most_seconds:.0f} 秒。串行线路和网关:请确认没有别的主站在轮询,"
        "设备没有读后清零的寄存器(或用 --profile 排除)。\n"
        f"{transport.endpoint}: read-only requests (functions 1-4, 43/14) to {units} units, tables {tables}, registers "
        f"{asked.first}-{asked.last}: at most {asked.most_requests}, {asked.rate:g} a second, "
        f"{asked.most_seconds:.0f} s in all. On a serial line or gateway "
        "no other master may be polling; clear-on-read registers need --profile."
    )


def _transport(address: str, *, framing: str, serial: tuple[int, str, int]) -> Transport:
    if address.startswith("/"):
        baud, parity, stop_bits = serial
        match parity:
            case "N" | "E" | "O":
                return SerialTransport(address, baud=baud, parity=parity, stop_bits=stop_bits)
            case _:
                raise typer.BadParameter("N, E or O", param_hint="--parity")
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = address, "502"
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise typer.BadParameter(f"{address!r} is no HOST, HOST:PORT or /dev/PORT", param_hint="ADDRESS")
    match framing:
        case "mbap" | "rtu":
            return TcpTransport(host, int(port), framing=framing)
        case _:
            raise typer.BadParameter("mbap or rtu", param_hint="--framing")


def _spans(text: str, option: str, least: int, most: int) -> list[tuple[int, int]]:
    spans = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part.strip())
        first = int(match[1]) if match else -1
        last = int(match[2] or match[1]) if match else -1
        if not least <= first <= last <= most:
            raise typer.BadParameter(f"{part!r}: a number or FIRST-LAST from {least} to {most}", param_hint=option)
        spans.append((first, last))
    return spans


def _tables(text: str) -> tuple[Table, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not set(names) <= set(Table):
        raise typer.BadParameter("some of holding,input,coil,discrete", param_hint="--table")
    return tuple(dict.fromkeys(Table(name) for name in names))


def _looks(places: list[str], low: float | None, high: float | None, expect: float | None) -> tuple[Look, ...]:
    from connectors.modbus.probe import Look

    if not places:
        return ()
    if low is None or high is None or low > high:
        raise typer.BadParameter("--low and --high of the value are needed", param_hint="--at")
    try:
        found = [parse_address(place) for place in places]
    except AddressError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None
    if any(place.table.of_bits or place.bit is not None for place in found):
        raise typer.BadParameter("a register of holding or input, e.g. 1/holding/100", param_hint="--at")
    return tuple(Look(place, low, high, expect) for place in found)


def _never(profile: str | None) -> tuple[tuple[Table, int, int], ...]:
    """What a profile says may never be read."""
    if profile is None:
        return ()
    from connectors.profile_file import load_profile, profile_names

    if profile not in profile_names():
        raise typer.BadParameter("one of " + ", ".join(profile_names()), param_hint="--profile")
    return tuple((Table(span.table), span.first, span.last) for span in load_profile(profile).never_read)
