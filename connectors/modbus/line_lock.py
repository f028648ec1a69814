"""One program of this machine a line: whoever polls it holds its lock, and the system drops it with the process.

The lock is a Linux abstract socket name: the same for every user and for a service with folders of its own, gone with
the process however it ends, and no file is left behind. A second name, which anybody may read in /proc/net/unix, says
who holds it. Where a machine has no such names (not Linux) nothing is locked.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from connectors.modbus.transport import SerialTransport, TcpTransport, Transport

_LOCK: Final = "minewatch/line/"
_HOLDER: Final = "minewatch/held/"
_MOST_NAME_BYTES: Final = 107  # of sun_path, behind the zero byte
_TABLE: Final = Path("/proc/net/unix")


class LineLock:
    """The lock on every name that one line goes by: taken whole or not at all."""

    def __init__(self, names: Sequence[str], holder: str) -> None:
        """Takes nothing yet.

        Args:
            names: From `line_names`.
            holder: Who asks, in a few words for whoever is refused meanwhile, e.g. `run MINE SOURCE`.
        """
        self._digests = [hashlib.sha256(name.encode()).hexdigest()[:20] for name in names]
        self._holder = holder
        self._sockets: list[socket.socket] = []

    @property
    def held(self) -> bool:
        """True from a `take` that succeeded to `release`."""
        return bool(self._sockets)

    def take(self) -> str:
        """Takes the line: "" where that succeeded or it is held already, else who has it."""
        if self._sockets or not sys.platform.startswith("linux"):
            return ""
        try:
            for digest in self._digests:
                self._bind(_LOCK + digest)
        except OSError:
            self.release()
            return holder_of(digest)
        for digest in self._digests:
            self._bind(f"{_HOLDER}{digest}/{self._holder} (pid {os.getpid()})")
        return ""

    def release(self) -> None:
        """Lets the next one in; may be called more than once."""
        for held in self._sockets:
            held.close()
        self._sockets = []

    def _bind(self, name: str) -> None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sockets.append(made)
        made.bind(b"\0" + name.encode()[:_MOST_NAME_BYTES])


def holder_of(digest: str) -> str:
    """Who holds a lock, as it said itself; "another program" where it said nothing."""
    try:
        lines = _TABLE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    marks = (line.partition("@" + _HOLDER + digest + "/")[2] for line in lines)
    return next((mark.strip() for mark in marks if mark), "another program")


def line_names(transport: Transport, *, resolve: bool = True) -> tuple[str, ...]:
    """Every name that a line goes by on this machine: the same device gives a common name however it is written.

    Args:
        transport: Host and port, or a serial device.
        resolve: Asks the system's resolver for the addresses of a host; may take seconds where it is a name.
    """
    match transport:
        case SerialTransport(device=device):
            return (f"serial {os.path.realpath(device)}",)
        case TcpTransport(host=host, port=port):
            hosts = {_plain(host)}
            if resolve:
                hosts |= _addresses(host, port)
            return tuple(sorted(f"tcp {name} {port}" for name in hosts))


def _addresses(host: str, port: int) -> set[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {_plain(str(entry[4][0])) for entry in found}


def _plain(host: str) -> str:
    """One spelling a host; this machine's own first loopback addresses are one host."""
    bare = host.strip("[]").partition("%")[0].rstrip(".").lower()
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return "loopback" if bare == "localhost" else bare
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return "loopback" if str(address) in ("127.0.0.1", "::1") else str(address)
