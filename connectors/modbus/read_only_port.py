"""A serial port opened for reading only: the system itself refuses to let a byte out of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import termios
from typing import Final

from connectors.modbus.transport import SerialTransport

_PARITY: Final = {"N": 0, "E": termios.PARENB, "O": termios.PARENB | termios.PARODD}


def open_read_only(transport: SerialTransport) -> int:
    """The file descriptor of the port, set and non-blocking; the caller closes it.

    Its RTS line is dropped: a converter that takes its direction from RTS would drive the bus otherwise.

    Raises:
        OSError: it is not there, may not be read, is in use by another program, or refuses its settings.
    """
    port = os.open(transport.device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _set(port, transport)
        with contextlib.suppress(OSError):  # a pseudo-terminal has no such line
            fcntl.ioctl(port, termios.TIOCMBIC, struct.pack("I", termios.TIOCM_RTS))
    except BaseException:
        os.close(port)
        raise
    return port


def _set(port: int, transport: SerialTransport) -> None:
    """Raw, eight bits, at the transport's speed."""
    speed = getattr(termios, f"B{transport.baud}", None)
    if speed is None:
        raise OSError(errno.EINVAL, f"no standard speed {transport.baud}")
    flags = termios.CS8 | termios.CREAD | termios.CLOCAL | _PARITY[transport.parity]
    if transport.stop_bits == 2:
        flags |= termios.CSTOPB
    try:
        attributes = termios.tcgetattr(port)
        control = attributes[6]
        control[termios.VMIN], control[termios.VTIME] = 0, 0
        termios.tcsetattr(port, termios.TCSANOW, [0, 0, flags, 0, speed, speed, control])
        termios.tcflush(port, termios.TCIFLUSH)
    except termios.error as err:
        raise OSError(errno.EINVAL, "port settings") from err
