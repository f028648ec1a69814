"""Processes of the bench: started, measured by the kernel's own accounting, and ended by id, each with its own log."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parents[1]
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Core(Enum):
    """Which processors a process may use.

    A field device is another machine: server and client stand on a core each. Left to itself the kernel puts a client
    that blocks and its server on loopback on one core, where waking each other costs a fraction of what an interrupt
    does, and only the blocking client gains.
    """

    ANY = "any"
    CLIENT = "client"
    SERVER = "server"

    @property
    def processors(self) -> set[int]:
        """By number; all of them where there is only one."""
        known = sorted(os.sched_getaffinity(os.getpid()))
        if self is Core.ANY or len(known) < 2:
            return set(known)
        return {known[0]} if self is Core.CLIENT else {known[-1]}


class PeerFailed(Exception):
    """A peer could not be measured; the message says why. The others go on."""


class Child:
    """One process; its lines of standard output are read as they come."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        cwd: Path = BENCH,
        env: Mapping[str, str] | None = None,
        grace_s: float = 10.0,
        core: Core = Core.ANY,
    ) -> None:
        self._log, self._grace_s = log, grace_s
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                text=True,
            )
        os.sched_setaffinity(self.process.pid, core.processors)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def line(self, timeout_s: float) -> str:
        """The next line it prints.

        Raises:
            PeerFailed: it ends, or prints none in time.
        """
        try:
            text = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise PeerFailed(f"nothing within {timeout_s:g} s: {self.tail()}") from None
        if not text:
            raise PeerFailed(f"ended with {self.process.wait(5)}: {self.tail()}")
        return text.strip()

    def result(self, timeout_s: float) -> dict[str, Any]:
        """The JSON object that it prints, other lines passed over."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            text = self.line(max(deadline_s - time.monotonic(), 0.01))
            if text.startswith("{"):
                return dict(json.loads(text))

    def newest(self) -> dict[str, Any] | None:
        """The last JSON line that has come and has not been read; never waits."""
        found = None
        while not self._lines.empty():
            text = self._lines.get_nowait()
            if text.startswith("{"):
                found = json.loads(text)
        return found

    def cpu_s(self) -> float:
        """User and system time of the process with all its threads and the children that it has ended [s]."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = text.rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / _TICKS_PER_S

    def tail(self) -> str:
        """The end of its log."""
        return " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-4:])

    def signal(self, number: signal.Signals) -> None:
        """Sends one signal."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """Asks it to end, and ends it after its time of grace."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(self._grace_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None and not stream.closed:
                stream.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            for text in self.process.stdout:
                self._lines.put(text)
        except ValueError:  # closed by stop()
            pass
        self._lines.put("")


def python(module: str, *arguments: object) -> list[str]:
    """The command of a module of the bench in this environment."""
    return [sys.executable, "-m", f"peers.{module}", *(str(argument) for argument in arguments)]
