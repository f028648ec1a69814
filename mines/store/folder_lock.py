"""One `run` a data folder: an advisory lock that the system drops with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mines.errors import StoreError
from mines.store.disk import store_errors


class FolderLock:
    """Holds a lock file until released.

    Raises:
        StoreError: another process holds it; the message names its pid.
    """

    def __init__(self, path: Path) -> None:
        with store_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._take(path)
            except BaseException:
                os.close(self._descriptor)
                raise

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise StoreError(f"{path}: another run writes this data folder (pid {holder})") from err
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Lets the next run in. Only once."""
        os.close(self._descriptor)
