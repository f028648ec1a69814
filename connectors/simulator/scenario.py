"""Scenarios: what every signal of a simulated mine reads at a moment. Pure: same seed and same moment, same values.

A scenario is made in three layers. A course is how plant runs by itself (a fan turning, a sump filling). Noise makes
instruments breathe: smooth, bounded, a function of seed and time alone. An incident changes the picture on top of both.
Everything is vectorised over moments, so that a day is computed as cheaply as it is tested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
TimeArray = npt.NDArray[np.int64]
StateArray = npt.NDArray[np.uint8]

FAST_PERIOD_MS = 7_000
FAST_SHARE = 0.25
"""A quarter of the noise moves within seconds, as an instrument does; the rest follows the signal's own period."""


class SignalState(IntEnum):
    """What the instrument knows about its own reading; each server says it in its protocol's way."""

    GOOD = 0
    LOST = 1  # 断线: no reading at all
    OVER_RANGE = 2  # 超量程: the reading is beyond the span and said to be so


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The moments asked for, shape (t,): wall time [ms UTC] and time since the simulation began [ms]."""

    wall_ms: TimeArray
    elapsed_ms: TimeArray

    def __len__(self) -> int:
        return len(self.wall_ms)

    @staticmethod
    def single(wall_ms: int, elapsed_ms: int) -> Moments:
        """One moment."""
        return Moments(np.array([wall_ms], dtype=np.int64), np.array([elapsed_ms], dtype=np.int64))

    @staticmethod
    def run(start_wall_ms: int, duration_ms: int, step_ms: int) -> Moments:
        """Every step of a run that begins at `start_wall_ms`, its end excluded."""
        elapsed = np.arange(0, duration_ms, step_ms, dtype=np.int64)
        return Moments(start_wall_ms + elapsed, elapsed)


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What the instruments show: value in engineering units and state, each of shape (t, signals)."""

    value: FloatArray
    state: StateArray


class Scenario(Protocol):
    """Gives the reading of every signal at any moment."""

    @property
    def ids(self) -> Sequence[str]:
        """The signals, in the order of the columns of `Readings`."""
        ...

    def at(self, moments: Moments) -> Readings:
        """Readings of shape (t, len(ids)); the same moments give the same readings."""
        ...


class Picture:
    """Readings while they are being made: an incident changes single signals of it by name."""

    def __init__(self, column: Mapping[str, int], value: FloatArray, state: StateArray) -> None:
        self._column = column
        self._value = value
        self._state = state

    def value(self, signal: str) -> FloatArray:
        """The signal's values, shape (t,): a view that writes through."""
        return self._value[:, self._column[signal]]

    def state(self, signal: str) -> StateArray:
        """The signal's states, shape (t,): a view that writes through."""
        return self._state[:, self._column[signal]]

    def add(self, signal: str, change: FloatArray) -> None:
        """Adds to the signal; shape (t,)."""
        self._value[:, self._column[signal]] += change

    def put(self, signal: str, value: FloatArray | float, where: npt.NDArray[np.bool_]) -> None:
        """Replaces the signal where told; shapes (t,)."""
        self._value[:, self._column[signal]] = np.where(where, value, self._value[:, self._column[signal]])


Course = Callable[[Moments], Mapping[str, FloatArray]]
"""How plant runs: course name → values of shape (t,)."""

Incident = Callable[[Moments, Picture], None]
"""What happens on top: changes the picture in place."""


class SmoothNoise:
    """Bounded noise, one column a signal: never leaves [-1, 1], has no step, depends on seed, name and time only.

    Lattice noise: a hashed value at every multiple of the period, smoothstep between them; a slow and a fast layer.
    """

    def __init__(self, names: Sequence[str], period_ms: Sequence[int], seed: int) -> None:
        keys = np.array([_key(name, seed) for name in names], dtype=np.uint64)
        self._keys = np.concatenate([keys, ~keys])
        self._periods = np.concatenate([np.asarray(period_ms), np.full(len(names), FAST_PERIOD_MS)]).astype(np.int64)

    def at(self, wall_ms: TimeArray) -> FloatArray:
        """Noise of shape (t, names), each within [-1, 1]."""
        steps, rest = np.divmod(wall_ms[:, None], self._periods[None, :])
        here, there = _hashed(self._keys, steps), _hashed(self._keys, steps + 1)
        share = smoothstep(rest / self._periods)
        both = here + (there - here) * share
        slow, fast = np.split(both, 2, axis=1)
        return (1.0 - FAST_SHARE) * slow + FAST_SHARE * fast


def smoothstep(x: FloatArray) -> FloatArray:
    """0 below 0, 1 above 1, and the cubic without a kink between."""
    inside: FloatArray = np.clip(x, 0.0, 1.0)
    return inside * inside * (3.0 - 2.0 * inside)


def ramp(t: FloatArray | TimeArray, begin: float, end: float) -> FloatArray:
    """0 up to `begin`, 1 from `end` on, straight between; `t`, `begin` and `end` in one unit."""
    risen: FloatArray = np.clip((t - begin) / (end - begin), 0.0, 1.0)
    return risen


def piecewise(t: FloatArray | TimeArray, knots: Sequence[tuple[float, float]]) -> FloatArray:
    """Straight lines through (t, value) knots in rising order; the first and last value go on outside."""
    times, values = zip(*knots, strict=True)
    line: FloatArray = np.interp(t.astype(np.float64), np.array(times), np.array(values))
    return line


def decay(t: FloatArray | TimeArray, half_life: float) -> FloatArray:
    """2 to the power -t / half-life; 1 before t = 0."""
    left: FloatArray = np.exp2(-np.maximum(t, 0) / half_life)
    return left


def _key(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big")


def _hashed(keys: npt.NDArray[np.uint64], steps: TimeArray) -> FloatArray:
    """Uniform in [-1, 1) for each (key, step): the finaliser of splitmix64 (Steele, Lea, Flood 2014), wrapping."""
    z = keys + steps.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    uniform: FloatArray = z.astype(np.float64) * 2.0**-63 - 1.0
    return uniform
