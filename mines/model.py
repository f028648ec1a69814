"""The nouns: Mine, Subsystem, Point, Batch, LinkReport, Tick, Actor. Frozen, with units; no I/O and no time of day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from mines.clock import NO_TIME_MS
from mines.quality import QualityArray

IndexArray = npt.NDArray[np.int32]
ValueArray = npt.NDArray[np.float64]
TimeArray = npt.NDArray[np.int64]


class Subsystem(StrEnum):
    """The auxiliary systems; the same ids stand in files, addresses of pages and JSON."""

    GAS = "gas"  # 安全监控
    VENTILATION = "ventilation"  # 通风
    GAS_DRAINAGE = "gas_drainage"  # 瓦斯抽采
    DEWATERING = "dewatering"  # 排水
    HOISTING = "hoisting"  # 提升
    POWER = "power"  # 供电
    COMPRESSED_AIR = "compressed_air"  # 压风
    TRANSPORT = "transport"  # 运输
    PERSONNEL = "personnel"  # 人员位置


class PointKind(StrEnum):
    """What a value of the point is (MT/T 1201: MN, KG, DT, LJ)."""

    ANALOG = "analog"  # 模拟量
    SWITCH = "switch"  # 开关量: 0 or 1
    MULTISTATE = "multistate"  # 多态量
    TOTAL = "total"  # 累计量


@dataclass(frozen=True, slots=True)
class Mine:
    """The mine this box stands in."""

    id: str
    name_zh: str
    name_en: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One measured quantity (测点). Limits, range and deadband are in `unit`; a limit pair is its own deadband."""

    id: str
    name_zh: str
    name_en: str
    subsystem: Subsystem
    area: str
    kind: PointKind
    unit: str  # a code of mines.units; "" for a pure number or a state
    source: str
    address: str  # one text, parsed by the source's connector
    period_s: float
    location_code: str = ""
    role: str = ""
    principle: str = ""
    sensor_code: str = ""
    states: Mapping[int, str] = field(default_factory=dict)  # value → Chinese word
    decimals: int = 2
    range_low: float | None = None
    range_high: float | None = None
    data_type: str = ""
    byte_order: str = ""
    scale: float = 1.0
    offset: float = 0.0
    sentinels: tuple[float, ...] = ()  # raw values, before scale and offset
    high_alarm: float | None = None
    high_clear: float | None = None
    high_cut: float | None = None
    high_restore: float | None = None
    low_alarm: float | None = None
    low_clear: float | None = None
    low_cut: float | None = None
    low_restore: float | None = None
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    latch: bool = False
    level: int = 3  # 1 … 4, 红 橙 黄 蓝
    rule: str = ""
    relations: str = ""
    upload_code: str = ""
    formerly: str = ""
    x: float | None = None
    y: float | None = None
    z: float | None = None
    line: int = 0  # where it stands in `file`, 1-based; 0 = made by a program
    file: str = "points.csv"  # or points.xlsx

    def name(self, language: str) -> str:
        """The name in `zh` or `en`; Chinese where there is no English one."""
        return self.name_en if language.startswith("en") and self.name_en else self.name_zh


class RowKind(IntEnum):
    """What the rows of a batch are."""

    SAMPLE = 0
    CONFIRM = 1  # nothing changed and the session is verified; value is NaN; no sample: not read, stored, queried
    BACKFILL = 2  # 补录: came from the device's own history


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of one source, one a sample, as a structure of arrays of equal length n.

    `index` counts into the `points` of the source that yields the batch: a source cannot name another's point.
    `source_time_ms` is NO_TIME_MS where the device gave none. `batch_no` is gap-free per source and boot, from 1.
    A bad row carries NaN as value.
    """

    index: IndexArray
    value: ValueArray
    quality: QualityArray
    source_time_ms: TimeArray
    receive_time_ms: TimeArray
    monotonic_ns: TimeArray
    batch_no: int
    kind: RowKind = RowKind.SAMPLE

    def __post_init__(self) -> None:
        n = len(self.index)
        for name in ("value", "quality", "source_time_ms", "receive_time_ms", "monotonic_ns"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"batch column {name} has {len(getattr(self, name))} rows, index has {n}")

    def __len__(self) -> int:
        return len(self.index)


def make_batch(
    index: Sequence[int] | IndexArray,
    value: Sequence[float] | ValueArray,
    quality: Sequence[int] | QualityArray | int,
    *,
    receive_time_ms: int,
    monotonic_ns: int,
    batch_no: int,
    source_time_ms: TimeArray | None = None,
    kind: RowKind = RowKind.SAMPLE,
) -> Batch:
    """A batch whose rows were all received at one moment (one reply, one notification)."""
    n = len(index)
    words = np.full(n, quality, dtype=np.uint16) if isinstance(quality, int) else np.asarray(quality, dtype=np.uint16)
    return Batch(
        index=np.asarray(index, dtype=np.int32),
        value=np.asarray(value, dtype=np.float64),
        quality=words,
        source_time_ms=np.full(n, NO_TIME_MS, dtype=np.int64) if source_time_ms is None else source_time_ms,
        receive_time_ms=np.full(n, receive_time_ms, dtype=np.int64),
        monotonic_ns=np.full(n, monotonic_ns, dtype=np.int64),
        batch_no=batch_no,
        kind=kind,
    )


class LinkState(StrEnum):
    """State between box and device."""

    CONNECTING = "connecting"
    GOOD = "good"
    DEGRADED = "degraded"  # answers, but not everything
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class LinkReport:
    """How one device is doing: (source, unit), or one OPC UA server. Yielded on change and every 10 s.

    Times are box time [ms]; None = never. `duration_ms` is the last round trip. Counters are since the source's start.
    """

    source: str
    unit: int | None
    state: LinkState
    since_ms: int
    last_answer_ms: int | None
    last_error: str  # "" = none; else a word such as timeout, refused, exception 2
    duration_ms: float | None
    polls: int
    good: int
    bad: int
    reconnects: int
    endpoint: str = ""
    time_ms: int = 0  # when the report was made
    counters: Mapping[str, int] = field(default_factory=dict)
    device_time_ms: int | None = None  # the device's own clock at its last answer; None = it told none


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a person at a station. Until login exists `authenticated` is False (未登录操作)."""

    id: str
    name: str
    role: str
    station: str
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class OperatorAct:
    """One row of the ledger, as the supervisor applies it."""

    ledger_id: int
    time_ms: int
    actor: Actor
    action: str  # acknowledge, reset
    alarms: tuple[tuple[str, int], ...]  # (alarm id, version as the person saw it)
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SourcedBatch:
    """A batch with the position of its source among the site's sources: the order within a tick."""

    source: int
    batch: Batch


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """What one tick (250 ms) drained, in arrival order (tick, source, batch_no, row): the only order."""

    number: int
    time_ms: int
    monotonic_ns: int
    batches: tuple[SourcedBatch, ...] = ()
    links: tuple[LinkReport, ...] = ()
    acts: tuple[OperatorAct, ...] = ()
    clock_step_ms: int = 0  # how far the wall clock had stepped away since the tick before; 0 = it ran on

    @property
    def quiet(self) -> bool:
        """True where nothing was drained and the clock ran on."""
        return not (self.batches or self.links or self.acts or self.clock_step_ms)
