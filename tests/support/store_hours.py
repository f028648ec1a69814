"""A data folder with some hours of life: a segment an hour, with samples of every quality, confirmations, history."""

from __future__ import annotations

import dataclasses

import numpy as np
from store_box import Life
from store_frames import START_MS, poll

from mines.model import Batch, RowKind
from mines.quality import Flag, Reason, bad, quality
from mines.quality import Severity as S
from mines.site.site_file import Site

POINTS = ["s.0", "s.1", "s.2", "s.3", "t.0", "t.1"]
HOUR = 3600
WORDS = [
    0,
    bad(Reason.TIMEOUT),
    quality(S.UNCERTAIN, Reason.OUT_OF_RANGE, Flag.OVER_RANGE),
    quality(S.GOOD, flags=Flag.CLOCK_UNSURE),
]


def odd_poll(count: int, second: int, *, kind: RowKind = RowKind.SAMPLE) -> Batch:
    """A poll with rows of every quality, bad values, infinities, source times, at second `second`."""
    random = np.random.default_rng(second)
    batch = poll(count, second, kind=kind)
    words = random.choice(np.array(WORDS, dtype=np.uint16), count)
    value = np.where(words >> 14 == 2, np.nan, batch.value)
    value[random.random(count) < 0.1] = np.inf
    source = batch.source_time_ms.copy()
    source[random.random(count) < 0.5] = START_MS + 1000 * second - int(random.integers(0, 5000))
    return dataclasses.replace(batch, value=value, quality=words, source_time_ms=source)


def life_of_hours(site: Site, hours: int = 4, each: int = 12) -> Life:
    """Frames spread over some hours: a segment each; samples, confirmations and history."""
    life = Life(site)
    for hour in range(hours):
        for k in range(each):
            second = hour * HOUR + k * 7 + 1
            batches = [(0, odd_poll(4, second)), (1, odd_poll(2, second))]
            if k % 4 == 1:
                batches.append((1, odd_poll(2, second, kind=RowKind.CONFIRM)))
            if k % 5 == 2:
                batches.append((0, odd_poll(3, max(second - HOUR, 1), kind=RowKind.BACKFILL)))
            frame = life.frame(batches)
            tick = dataclasses.replace(frame.ticks[0], time_ms=START_MS + 1000 * second)
            life.commit(dataclasses.replace(frame, ticks=(tick,), events=()))
    life.store.close()
    return life
