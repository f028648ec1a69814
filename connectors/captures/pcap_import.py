"""`import`: a pcap or pcapng file becomes a report and a capture folder. What is readable is kept, whatever its end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
from connectors.captures.modbus_traffic import Conversation
from connectors.captures.report_page import report_page
from connectors.captures.tcp_packets import endpoint_text
from connectors.captures.traffic import Progress, TrafficReading, read_traffic, warnings
from connectors.captures.ua_draft import ReadNodes, read_nodes
from connectors.captures.ua_files import readings, write_ua_frames, write_ua_samples
from connectors.captures.wire_frames import WireFrame, write_wire_frames
from mines.errors import CaptureError
from mines.site.site_file import read_site

REPORT_FILE = "report.json"
PAGE_FILE = "report.html"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """`report` is the document of `import --json`, over what could be read; `problem` ends the command with 1."""

    report: Mapping[str, Any]
    problem: CaptureError | None
    warnings: tuple[str, ...] = ()


def import_pcap(file: Path, out: Path, *, software: str = "", progress: Progress | None = None) -> ImportResult:
    """Reads other people's traffic into a capture.

    Args:
        file: A pcap or pcapng file.
        out: The capture folder to make; none is made where nothing of a protocol was seen.
        software: Name and version, for `capture.toml`.
        progress: See `Progress`.
    Returns:
        The report, and what kept the file from being read to its end.
    Raises:
        CaptureError: `out` is not empty or cannot be written.
    """
    reading = read_traffic(file, progress)
    report, problem = reading.report(), reading.problem
    frames = sorted(_wire_frames(reading.conversations), key=lambda frame: frame.time_ns)
    if not frames and not any(each.messages for each in reading.ua_conversations):
        return ImportResult(report, problem or _nothing(file, reading))
    nodes = read_nodes(reading.ua_conversations, reading.ua_servers.nodes)
    told = tuple([*warnings(reading), *_draft_warnings(reading, nodes)])
    with new_folder(out) as folder:
        _CaptureWriter(folder, reading, nodes).write(frames, report, names=(file.name, software))
        page = report_page(report, origin=file.name, warnings=told)
        (folder / PAGE_FILE).write_text(page, encoding="utf-8")
    return ImportResult(report, problem, told)


def _nothing(file: Path, reading: TrafficReading) -> CaptureError:
    if reading.encrypted:
        return CaptureError(f"{file}:0: file: encrypted: its Modbus traffic is TLS (已加密); expected readable traffic")
    return CaptureError(f"{file}:0: file: holds no Modbus or OPC UA message; expected traffic of one of them")


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


class _CaptureWriter:
    """Writes the folder of one import."""

    def __init__(self, folder: Path, reading: TrafficReading, nodes: ReadNodes) -> None:
        self._folder = folder
        self._reading = reading
        self._nodes = nodes

    def write(self, frames: Sequence[WireFrame], report: Mapping[str, Any], *, names: tuple[str, str]) -> None:
        counts, times = {}, []
        if frames or not self._reading.ua_conversations:
            counts["exchanges"] = write_wire_frames(self._folder, frames)
            times = [frame.time_ns for frame in frames]
            times += [frame.reply_time_ns for frame in frames if frame.reply_time_ns is not None]
        if self._reading.ua_conversations:
            counts |= self._write_opcua()
            counted = self._reading.counted
            times += [each for each in (counted.first_ns, counted.last_ns) if each is not None]
        header = CaptureHeader(
            kind=CaptureKind.IMPORT,
            software=names[1],
            site_sha256=self._write_draft(),
            from_ms=min(times) // 1_000_000,
            to_ms=max(times) // 1_000_000 + 1,
            origin=names[0],
            counts=counts,
        )
        write_header(self._folder, header)
        expected = self._folder / EXPECTED_FOLDER
        expected.mkdir()
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        (expected / REPORT_FILE).write_text(text, encoding="utf-8")

    def _write_opcua(self) -> dict[str, int]:
        conversations = self._reading.ua_conversations
        found = readings(conversations, self._reading.ua_servers.nodes)
        return {
            "opcua_exchanges": write_ua_frames(self._folder, conversations),
            "opcua_readings": write_ua_samples(self._folder, found),
        }

    def _write_draft(self) -> str:
        """Writes `site/` where there is anything to draft; gives the hash of it, "" where there is none."""
        texts = draft_site(self._reading.registers.read_registers(), self._nodes)
        if texts is None:
            return ""
        site = self._folder / SITE_FOLDER
        site.mkdir()
        for name, text in zip(SITE_FILES, texts, strict=True):
            (site / name).write_text(text, encoding="utf-8", newline="\n")
        reading = read_site(site)
        if reading.site is None:
            raise CaptureError(f"{site}: the draft site is wrong, which is a defect: {reading.errors[0]}")
        return reading.site.sha256


def _draft_warnings(reading: TrafficReading, nodes: ReadNodes) -> Iterator[str]:
    registers = list(reading.registers.read_registers())
    for server in sorted(broadcast_servers(registers)):
        place = endpoint_text(server)
        yield f"{place}: unit 0 beside other units is the broadcast address: the draft site leaves it out"
    for reason, count in sorted(nodes.left_out.items()):
        yield f"{count} OPC UA nodes are left out of the draft site: {reason}"
    if nodes.unknown:
        yield (
            f"{nodes.unknown} OPC UA nodes are of namespaces that the traffic does not name: their addresses keep the "
            "number as urn:minewatch:unknown-namespace:N until a person names the URI"
        )
    if not registers and not nodes.nodes:
        yield "no register or node was read with a reply: there is no draft site"
