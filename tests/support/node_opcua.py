"""The node-opcua server of tests/peers/node-opcua as a process: started, asked, frozen, killed, shut down."""

from __future__ import annotations

import asyncio
import functools
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from opcua_mine import point

from mines.model import Point

FOLDER = Path(__file__).parents[1] / "peers" / "node-opcua"
FAN_URI, PUMP_URI, OTHER_URI = "urn:mine:fan", "urn:mine:pump", "urn:mine:other"

# As in server.mjs: the type of variable j of each namespace.
TYPES = (
    *["Double"] * 8, *["Float"] * 4, *["Int16", "Int16", "UInt16", "UInt16"], *["Int32", "Int32", "UInt32", "UInt32"],
    *["Int64", "Int64", "UInt64", "UInt64"], *["SByte", "SByte", "Byte", "Byte", "Boolean", "Boolean"],
)  # fmt: skip
PUMP_KEYS = 32  # keys of the second namespace begin here

_OLDEST_NODE = (20, 19)  # Debian 13 has it, Debian 12 has not: node-opcua 2.186 does not load under 18 (tried)


@functools.cache
def missing() -> str:
    """Why there is no node-opcua here; "" = there is."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules" / "node-opcua").is_dir():
        return "needs the Debian packages nodejs and npm, then: make peers"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(number) for number in version.removeprefix("v").split(".")[:2]) < _OLDEST_NODE:
        return f"needs the Debian package nodejs of {'.'.join(map(str, _OLDEST_NODE))} or later, here is {version}"
    return ""


class NodeServer:
    """One process at a time on one port, restarted at will. Ends with `with`."""

    def __init__(self, pki: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._pki = pki
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> NodeServer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()

    @property
    def url(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/mine"

    def start(self, uris: Sequence[str] = (FAN_URI, PUMP_URI)) -> None:
        """Returns once the port is open."""
        self._process = subprocess.Popen(
            ["node", "server.mjs", str(self.port), str(self._pki), ",".join(uris)],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        guard = threading.Timer(30, self._process.kill)  # readline below has no deadline of its own
        guard.start()
        try:
            line = self._line()
            while line not in ("ready", ""):
                line = self._line()
        finally:
            guard.cancel()
        assert line == "ready", "node-opcua did not start"

    def ask(self, word: str = "count") -> str:
        """Says count, quiet or loud; the answer is sessions/subscriptions as the server counts them."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """As kill -9."""
        assert self._process is not None
        self._process.kill()
        self._ended()

    def stop(self) -> None:
        """Shut down in order."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._ended()

    def _ended(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    async def restart(self, uris: Sequence[str], *, hard: bool) -> float:
        """Ends and starts it again; when it was ready [s of the loop's clock]."""
        await asyncio.to_thread(self.kill if hard else self.stop)
        await asyncio.to_thread(self.start, uris)
        return asyncio.get_running_loop().time()


def all_points(period_s: float) -> tuple[list[Point], list[tuple[int, int]]]:
    """A point for each variable of both namespaces, and (key, step) of each: every value is key modulo step."""
    points: list[Point] = []
    keys: list[tuple[int, int]] = []
    for uri, first in ((FAN_URI, 0), (PUMP_URI, PUMP_KEYS)):
        for j, type in enumerate(TYPES):
            identifier = f"s={type}.{j}" if j % 2 else f"i={5000 + j}"
            points.append(point(f"{uri[9:]}.{j}", f"nsu={uri};{identifier}", period_s))
            keys.append((first + j, {"SByte": 64, "Byte": 64}.get(type, 1000)))
    return points, keys


def is_own(value: float, key: int, step: int, *, boolean: bool) -> bool:
    """The value can only be that variable's."""
    return value == key % 2 if boolean else value % step == key
