"""Child processes of the demo: started, watched and ended by id, each with its own log file."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mines.errors import MineError

_STOP_WITHIN_S = 20.0


class Children:
    """minewatch commands run as processes of their own; all are ended on the way out, newest first."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Starts `minewatch ARGUMENTS`; its output goes to `<logs>/<name>.log`."""
        command = [sys.executable, "-P", "-m", "minewatch", *arguments]
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def check(self) -> None:
        """Raises MineError where a child has ended by itself."""
        for name, child in self._running.items():
            if child.poll() is not None:
                tail = (self._logs / f"{name}.log").read_text(errors="replace").strip().splitlines()[-5:]
                raise MineError(f"{name} ended with {child.returncode}: " + " | ".join(tail))

    def stop(self, name: str) -> None:
        """Asks one child to end and waits; after 20 s it is ended."""
        child = self._running.pop(name, None)
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def stop_all(self) -> None:
        """Ends all that still run, newest first."""
        for name in reversed(list(self._running)):
            self.stop(name)
