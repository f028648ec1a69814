"""Tells systemd how the process is doing (sd_notify): one datagram, no library. Does nothing outside systemd."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Sends `READY=1`, `WATCHDOG=1`, `STOPPING=1` … to the service manager, where there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(address)
        channel.sendall(state.encode())
