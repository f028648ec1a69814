"""`minewatch run`: opens the store, wakes the watch, hands sources to the supervisor, and stays until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mines import snapshot
from mines.box_time import BoxTime
from mines.clock import Clock, SystemClock
from mines.errors import StoreError
from mines.events import Event, EventKind
from mines.notify import notify
from mines.site.site_file import Site
from mines.source import Source
from mines.store.box_store import BoxStore
from mines.store.layout import DataFolder
from mines.store.ledger import Ledger
from mines.store.reader import Reader
from mines.supervisor import Identity, Pace, Supervisor
from mines.watch import Watch

_LOG = logging.getLogger("minewatch.run")

BuildSources = Callable[[Site, Clock], Sequence[Source]]


def run_box(site: Site, build_sources: BuildSources, software: str) -> None:
    """Runs the mine's box until SIGTERM or SIGINT.

    Raises:
        ConfigError: the sources' settings are wrong.
        StoreError: the data folder is in use, damaged or cannot be written.
    """
    site.runtime.mkdir(parents=True, exist_ok=True)
    system = SystemClock()
    boot_id = uuid.uuid4().hex
    store = BoxStore.open(site.data, site, boot_id=boot_id, time_ms=system.wall_ms())
    try:
        time = BoxTime(system, Reader(site.data).newest_tick_ms() or 0)
        sources = build_sources(site, time)
        watch = Watch([source.points for source in sources], store.next_event_seq)
        opening = _opening(site, store, watch, time=time, software=software)
        ledger = Ledger(DataFolder(site.data).ledger_db)
        supervisor = Supervisor(
            sources,
            watch,
            store,
            time=time,
            identity=_identity(site, boot_id, time, software),
            snapshot_path=snapshot_path(site),
            new_acts=ledger.acts_after,
            progress=_fed_watchdog(system),
            pace=Pace(tick_ms=site.run.tick_ms, commit_ms=site.run.commit_ms),
        )
        _settle()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_until_told(supervisor, opening))
    finally:
        store.close()


def _settle() -> None:
    """Makes the interpreter fit for a loop that must be on time beside threads that write.

    What was built until now lives as long as the process: frozen, no full collection walks through it again (with
    10,000 points each took 80 ms of the loop). A thread that makes text gives way to the loop within 1 ms, not 5.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.001)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it installs; the standard loop elsewhere."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _until_told(supervisor: Supervisor, opening: Sequence[Event]) -> None:
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, supervisor.stop)
    notify("READY=1")
    await supervisor.run(opening)
    notify("STOPPING=1")


def _opening(site: Site, store: BoxStore, watch: Watch, *, time: BoxTime, software: str) -> list[Event]:
    """Events before the first tick: started, the site where it is another than the last, alarms that the site ended."""
    now_ms = time.wall_ms()
    detail = {
        "software": software,
        "site_sha256": site.sha256,
        "clock_unsure": time.unsure,
        "mono_ms": time.monotonic_ns() // 1_000_000,
        "set_aside": store.recovered,
    }
    for note in store.recovered:
        _LOG.warning("recovered: %s", note)
    opening = watch.begin(store.log_tail, Event(0, now_ms, EventKind.BOX_STARTED, cause="started", detail=detail))
    change = store.site_changed
    if change is not None:
        changed = Event(0, now_ms, EventKind.SITE_ACCEPTED, cause="changed", detail=change.to_json())
        opening += watch.number([changed])
    return opening


def snapshot_path(site: Site) -> Path:
    """Where `run` publishes and every page reads."""
    return site.runtime / "snapshot.json"


def running_snapshot(site: Site) -> dict[str, Any]:
    """The snapshot of a `run` that is alive now.

    Raises:
        StoreError: none is.
    """
    view = snapshot.read(snapshot_path(site), SystemClock(), {}, frozenset())
    if not view.alive:
        raise StoreError(f"{snapshot_path(site)}: no `minewatch run` is alive on this data folder")
    return dict(view.document)


def _identity(site: Site, boot_id: str, time: BoxTime, software: str) -> Identity:
    return Identity(
        boot_id=boot_id,
        site_sha256=site.sha256,
        software=software,
        origin="simulated" if site.simulated else "live",
        mine={"id": site.mine.id, "name_zh": site.mine.name_zh, "name_en": site.mine.name_en},
        pid=os.getpid(),
        started_ms=time.wall_ms(),
    )


def _fed_watchdog(clock: Clock) -> Callable[[], None]:
    """Feeds systemd's watchdog once a second, and only from a tick that did its work."""
    last_ns = 0

    def progress() -> None:
        nonlocal last_ns
        now_ns = clock.monotonic_ns()
        if now_ns - last_ns >= 1_000_000_000:
            last_ns = now_ns
            notify("WATCHDOG=1")

    return progress
