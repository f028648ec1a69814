"""The story of the demo mine as one scenario: courses, noise, incidents, then what the instruments make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from connectors.simulator.demo.blast import blast
from connectors.simulator.demo.coal_flow import coal_flow
from connectors.simulator.demo.compressed_air import compressed_air
from connectors.simulator.demo.drainage import pure_flow
from connectors.simulator.demo.face import face
from connectors.simulator.demo.incline import incline
from connectors.simulator.demo.local_time import COUNTERS_BEGIN_DAY, DAY_MS, HOUR_MS, UTC_OFFSET_MS
from connectors.simulator.demo.main_fan import false_stop, main_fans
from connectors.simulator.demo.people import people
from connectors.simulator.demo.sump import Sump
from connectors.simulator.demo.surge import surge
from connectors.simulator.demo.tables import Signal
from connectors.simulator.scenario import (
    Course,
    FloatArray,
    Incident,
    Moments,
    Picture,
    Readings,
    SmoothNoise,
    TimeArray,
)
from mines.model import Point, PointKind

DEFAULT_SEED = 1602


def demo_courses() -> tuple[Course, ...]:
    """How the demo mine's plant runs."""
    return (face, main_fans, Sump(), incline, coal_flow, compressed_air, people)


def demo_incidents() -> tuple[Incident, ...]:
    """What happens at the demo mine: only the surge counts from the start, the rest goes by the clock on the wall."""
    return (blast, false_stop, pure_flow, surge)


class DemoStory:
    """The scenario of the demo mine (`scenario.Scenario`).

    Args:
        points: Of the tables.
        signals: Of the tables, by point id.
        seed: Of the noise.
        incidents: What happens on top of the courses.
    """

    def __init__(
        self,
        points: Sequence[Point],
        signals: Mapping[str, Signal],
        *,
        seed: int = DEFAULT_SEED,
        incidents: Sequence[Incident] | None = None,
    ) -> None:
        chosen = [signals[point.id] for point in points]
        self.ids: Sequence[str] = tuple(point.id for point in points)
        self._column = {name: column for column, name in enumerate(self.ids)}
        self._courses = demo_courses()
        self._incidents = demo_incidents() if incidents is None else tuple(incidents)
        self._constant = np.array([signal.constant for signal in chosen])
        self._per_ms = np.array([signal.per_hour / HOUR_MS for signal in chosen])
        self._followers = [(column, signal.course) for column, signal in enumerate(chosen) if signal.course]
        self._noisy = np.array([column for column, signal in enumerate(chosen) if signal.amplitude > 0], dtype=np.int64)
        self._amplitude = np.array([chosen[column].amplitude for column in self._noisy])
        self._rests = np.array([bool(chosen[column].course) for column in self._noisy])
        self._noise = SmoothNoise(
            [points[column].id for column in self._noisy], [chosen[column].period_ms for column in self._noisy], seed
        )
        self._resolution = np.array([10.0 ** _digits(point) for point in points])

    def at(self, moments: Moments) -> Readings:
        """What every instrument shows, each rounded to its own resolution; shape (t, points)."""
        value = self._running(moments)
        state = np.zeros(value.shape, dtype=np.uint8)
        picture = Picture(self._column, value, state)
        for incident in self._incidents:
            incident(moments, picture)
        return Readings(np.rint(value * self._resolution) / self._resolution, state)

    def _running(self, moments: Moments) -> FloatArray:
        value: FloatArray = self._constant + _counted_ms(moments.wall_ms)[:, None] * self._per_ms
        courses: dict[str, FloatArray] = {}
        for course in self._courses:
            courses.update(course(moments))
        for column, name in self._followers:
            value[:, column] = courses[name]
        base = value[:, self._noisy]
        # What stands still reads nothing, not noise; and noise never turns a reading's sign.
        room = np.where(self._rests, np.minimum(self._amplitude, np.abs(base) / 2.0), self._amplitude)
        value[:, self._noisy] = base + self._noise.at(moments.wall_ms) * room
        return value


def _digits(point: Point) -> int:
    return point.decimals if point.kind in (PointKind.ANALOG, PointKind.TOTAL) else 0


def _counted_ms(wall_ms: TimeArray) -> TimeArray:
    return wall_ms + UTC_OFFSET_MS - COUNTERS_BEGIN_DAY * DAY_MS
