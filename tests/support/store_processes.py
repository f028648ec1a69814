"""What other processes do to a data folder in store tests: functions that a spawned child can import."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from store_box import Life
from store_sites import site_of

from mines.model import Actor
from mines.store import journal
from mines.store.ledger import Ledger

COUNTS = {"s": 5, "t": 3}
Acknowledged = tuple[int, int, int, int]  # frame, rows, event_seq, ledger id


def append_to_ledger(path: Path, count: int) -> None:
    """Records so many acts."""
    with Ledger(path) as ledger:
        for _ in range(count):
            append(ledger)


def append(ledger: Ledger) -> int:
    """Records one act."""
    actor = Actor("", "张三", "dispatcher", "1")
    return ledger.append(actor, "acknowledge", [("g0/high_alarm", 1)], time_ms=5)


def commit_without_end(folder: Path, boot: str, segment_bytes: int, acknowledged: Connection) -> None:
    """A box that commits as fast as it can and says after each commit and ledger row that it is durable."""
    journal.SEGMENT_BYTES = segment_bytes
    life = Life(site_of(folder, COUNTS), boot=boot)
    ledger = Ledger(life.site.data / "ledger.db")
    ledger_id = 0
    while True:
        watermark = life.commit()
        acknowledged.send((watermark.frame, watermark.rows, watermark.event_seq, ledger_id))
        ledger_id = append(ledger)
        acknowledged.send((watermark.frame, watermark.rows, watermark.event_seq, ledger_id))


class Box:
    """A child that runs `commit_without_end`."""

    def __init__(self, folder: Path, boot: str, segment_bytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._receiver, sender = context.Pipe(duplex=False)
        self._child = context.Process(
            target=commit_without_end, args=(folder, boot, segment_bytes, sender), daemon=True
        )
        self._child.start()
        sender.close()
        self.last: Acknowledged = self._receiver.recv()

    def wait(self, count: int) -> None:
        """For so many more acknowledgements."""
        for _ in range(count):
            self.last = self._receiver.recv()

    def look(self) -> Acknowledged:
        """The last acknowledgement so far."""
        try:
            while self._receiver.poll(0):
                self.last = self._receiver.recv()
        except EOFError:
            pass  # killed: that was the last
        return self.last

    def kill(self) -> None:
        """kill -9."""
        self._child.kill()
        self._child.join(20)


@contextmanager
def committing(folder: Path, boot: str, segment_bytes: int = 4_000) -> Iterator[Box]:
    """A child that commits; killed at the end at the latest."""
    box = Box(folder, boot, segment_bytes)
    try:
        yield box
    finally:
        box.kill()
