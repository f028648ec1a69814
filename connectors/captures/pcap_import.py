"""`import`: a pcap file becomes a report and a capture folder. What could be read is kept, whatever the file's end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.captures.draft_site import broadcast_servers, draft_site
from connectors.captures.folder import (
    EXPECTED_FOLDER,
    SITE_FILES,
    SITE_FOLDER,
    CaptureHeader,
    CaptureKind,
    new_folder,
    write_header,
)
from connectors.captures.modbus_traffic import Conversation, Traffic
from connectors.captures.pcap import read_packets
from connectors.captures.registers import RegisterMap
from connectors.captures.report import PacketCount, modbus_report
from connectors.captures.tcp_packets import ETHERNET, LINK_NAMES, endpoint_text, tcp_segment
from connectors.captures.wire_frames import WireFrame, write_wire_frames
from mines.errors import CaptureError
from mines.site.site_file import read_site

REPORT_FILE = "report.json"
_PROGRESS_PACKETS = 4096

Progress = Callable[[int], None]
"""Told from time to time how many bytes of the file are read."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """`report` is the document of `import --json`, over what could be read; `problem` ends the command with 1."""

    report: Mapping[str, Any]
    problem: CaptureError | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrafficReading:
    """What a file gave, up to its `problem` if it has one."""

    counted: PacketCount
    conversations: Sequence[Conversation]
    registers: RegisterMap
    encrypted: bool
    problem: CaptureError | None

    def report(self) -> dict[str, Any]:
        """The document of `import --json`."""
        return modbus_report(self.counted, self.conversations, self.registers, encrypted=self.encrypted)


def import_pcap(file: Path, out: Path, *, software: str = "", progress: Progress | None = None) -> ImportResult:
    """Reads other people's traffic into a capture.

    Args:
        file: A classic pcap file.
        out: The capture folder to make; none is made where nothing of the protocol was seen.
        software: Name and version, for `capture.toml`.
        progress: See `Progress`.
    Returns:
        The report, and what kept the file from being read to its end.
    Raises:
        CaptureError: `out` is not empty or cannot be written.
    """
    reading = read_traffic(file, progress)
    report = reading.report()
    frames = sorted(_wire_frames(reading.conversations), key=lambda frame: frame.time_ns)
    problem = reading.problem
    if frames:
        with new_folder(out) as folder:
            _write_capture(folder, frames, reading.registers, report=report, names=(file.name, software))
    elif problem is None:
        problem = CaptureError(f"{file}:0: file: holds no Modbus message; expected Modbus TCP traffic")
    return ImportResult(report, problem, tuple(_warnings(reading)) if frames else ())


def read_traffic(file: Path, progress: Progress | None = None) -> TrafficReading:
    """Everything of the protocol that a file holds. Never raises for what the file is: the problem is in the result."""
    traffic, counted = Traffic(), PacketCount()
    problem: CaptureError | None = None
    link_type = ETHERNET
    try:
        for packet in read_packets(file):
            counted.add(packet.time_ns)
            link_type = packet.link_type
            segment = tcp_segment(packet.time_ns, packet.data) if link_type == ETHERNET else None
            if segment is not None:
                traffic.push(segment)
            if progress is not None and counted.packets % _PROGRESS_PACKETS == 0:
                progress(packet.end)
    except CaptureError as err:
        problem = err
    if problem is None and link_type != ETHERNET:
        name = LINK_NAMES.get(link_type, "unknown")
        problem = CaptureError(f"{file}:0: link type: {link_type} ({name}) is not read; expected {ETHERNET} (Ethernet)")
    conversations, registers = traffic.finish(), RegisterMap()
    for conversation in conversations:
        for exchange in conversation.exchanges:
            registers.add(conversation.server, exchange)
    return TrafficReading(counted, conversations, registers, traffic.encrypted, problem)


def _wire_frames(conversations: Sequence[Conversation]) -> Iterator[WireFrame]:
    for conversation in conversations:
        server, client = endpoint_text(conversation.server), endpoint_text(conversation.client)
        for each in conversation.exchanges:
            yield WireFrame(
                time_ns=each.time_ns,
                server=server,
                client=client,
                unit=each.unit,
                transaction=each.transaction,
                function=each.function,
                request=each.request,
                reply=each.reply,
                reply_time_ns=each.reply_time_ns,
                reply_unit=each.reply_unit,
                sure=each.sure,
            )


def _write_capture(
    folder: Path,
    frames: Sequence[WireFrame],
    registers: RegisterMap,
    *,
    report: Mapping[str, Any],
    names: tuple[str, str],
) -> None:
    count = write_wire_frames(folder, frames)
    times = [frame.time_ns for frame in frames] + [f.reply_time_ns for f in frames if f.reply_time_ns is not None]
    header = CaptureHeader(
        kind=CaptureKind.IMPORT,
        software=names[1],
        site_sha256=_write_draft(folder, registers),
        from_ms=min(times) // 1_000_000,
        to_ms=max(times) // 1_000_000 + 1,
        origin=names[0],
        counts={"exchanges": count},
    )
    write_header(folder, header)
    expected = folder / EXPECTED_FOLDER
    expected.mkdir()
    (expected / REPORT_FILE).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_draft(folder: Path, registers: RegisterMap) -> str:
    """Writes `site/` where there is anything to draft; gives the hash of it, "" where there is none."""
    texts = draft_site(registers.read_registers())
    if texts is None:
        return ""
    site = folder / SITE_FOLDER
    site.mkdir()
    for name, text in zip(SITE_FILES, texts, strict=True):
        (site / name).write_text(text, encoding="utf-8", newline="\n")
    reading = read_site(site)
    if reading.site is None:
        raise CaptureError(f"{site}: the draft site is wrong, which is a defect: {reading.errors[0]}")
    return reading.site.sha256


def _warnings(reading: TrafficReading) -> Iterator[str]:
    gaps = sum(each.gaps for each in reading.conversations)
    if gaps:
        yield f"{gaps} holes in the captured TCP streams: some requests or replies are missing from the capture"
    unsure = sum(not each.sure for conversation in reading.conversations for each in conversation.exchanges)
    if unsure:
        yield f"{unsure} replies may belong to another request with the same transaction id: replay marks them bad"
    registers = list(reading.registers.read_registers())
    for server in sorted(broadcast_servers(registers)):
        place = endpoint_text(server)
        yield f"{place}: unit 0 beside other units is the broadcast address: the draft site leaves it out"
    if not registers:
        yield "no register was read with a reply: there is no draft site"
