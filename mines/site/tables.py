"""The tables of site.toml as frozen models: keys, defaults, bounds. An unknown key is refused, never ignored.

`description` of a field is what its Problem names as expected; the meaning of each key is in docs/site-files.md.
Source tables are not here: their settings belong to the connector. Defaults without a source are project defaults.
"""

from __future__ import annotations

from datetime import date, time
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from mines.site.text_file import hidden_characters

_A_DATE = "a date without quotes, e.g. 2025-12-31"
_TRUE_OR_FALSE = "true or false"
_A_SHA256 = "64 hexadecimal digits in lower case"


def _visible(value: str) -> str:
    if hidden_characters(value):
        raise ValueError("control characters")
    return value


Text = Annotated[
    str,
    AfterValidator(_visible),
    Field(description="a text in quotes of at most 200 visible characters", max_length=200),
]
RequiredText = Annotated[
    str,
    AfterValidator(_visible),
    Field(description="a text in quotes of 1 to 200 visible characters", min_length=1, max_length=200),
]
Sha256 = Annotated[str, Field(description=_A_SHA256, pattern=r"^([0-9a-f]{64})?$")]
Flag = Annotated[bool, Field(description=_TRUE_OR_FALSE)]
Day = Annotated[date | None, Field(description=_A_DATE)]


def _clock(value: object) -> object:
    """`"08:00"` as a time of day; whatever else it is goes on to be refused."""
    if isinstance(value, str) and len(value) == 5 and value[2] == ":":
        return time.fromisoformat(value)
    return value


ClockTime = Annotated[time, BeforeValidator(_clock)]


class SiteTable(BaseModel):
    """What all tables share: frozen, strict, closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class MineTable(SiteTable):
    """`[mine]`: who the mine is. `id`, `name_zh`, `name_en` and `simulated` also stand in `Site`."""

    id: Annotated[
        str,
        Field(
            description='letters, digits, "-" and "_" in quotes, e.g. "520222000123"',
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
            max_length=64,
        ),
    ]
    name_zh: RequiredText
    name_en: Text = ""
    province: Text = ""
    prefecture: Text = ""
    county: Text = ""
    kind: Annotated[Literal["underground", "open_pit"], Field(description='"underground" or "open_pit"')] = (
        "underground"
    )
    gas_class: Annotated[Literal["", "low", "high", "outburst"], Field(description='"low", "high" or "outburst"')] = ""
    opening: Annotated[
        Literal["", "vertical_shaft", "inclined_shaft", "adit", "combined"],
        Field(description='"vertical_shaft", "inclined_shaft", "adit" or "combined"'),
    ] = ""
    capacity_mt_a: Annotated[
        float | None,
        Field(description="million tonnes a year, more than 0, e.g. 0.45", gt=0, le=100, allow_inf_nan=False),
    ] = None
    simulated: Flag = False
    in_75: Flag = False
    in_260: Flag = False
    production_state: Annotated[
        Literal["producing", "under_construction", "stopped", "closed"],
        Field(description='"producing", "under_construction", "stopped" or "closed"'),
    ] = "producing"
    stop_order: Text = ""
    stop_issuer: Text = ""
    stop_from: Day = None
    stop_until: Day = None


class StorageTable(SiteTable):
    """`[storage]`: where the box keeps what it read. Relative paths count from the site folder."""

    data: Annotated[
        str, Field(description="a folder in quotes, relative to the site folder or absolute", min_length=1)
    ] = "data"
    runtime: Annotated[
        str | None,
        Field(description="a folder in quotes, relative to the site folder or absolute", min_length=1),
    ] = None


class RunSettings(SiteTable):
    """`[run]`: the rhythm of the poller. [ms]"""

    tick_ms: Annotated[int, Field(description="whole milliseconds from 50 to 1000", ge=50, le=1000)] = 250
    commit_ms: Annotated[int, Field(description="whole milliseconds from 50 to 1000", ge=50, le=1000)] = 1000


class ShiftSettings(SiteTable):
    """`[shift]`: shifts, dispatch day and report day, three things apart (alarm-logic §9). Times are Asia/Shanghai."""

    starts: Annotated[
        tuple[ClockTime, ...],
        Field(
            description='1 to 6 rising times of day, e.g. ["00:00", "08:00", "16:00"]',
            min_length=1,
            max_length=6,
            strict=False,
        ),
    ] = (time(0), time(8), time(16))
    names: Annotated[
        tuple[RequiredText, ...],
        Field(description="one name for each of starts, or none at all", strict=False),
    ] = ()
    dispatch_day_start: Annotated[ClockTime, Field(description='a time of day, e.g. "08:00"')] = time(8)
    report_day_start: Annotated[ClockTime, Field(description='a time of day, e.g. "00:00"')] = time(0)

    @field_validator("starts")
    @classmethod
    def _rising(cls, starts: tuple[time, ...]) -> tuple[time, ...]:
        if list(starts) != sorted(set(starts)):
            raise ValueError("not rising")
        return starts

    @field_validator("names")
    @classmethod
    def _as_many_as_starts(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        starts = info.data.get("starts")
        if names and starts is not None and len(names) != len(starts):
            raise ValueError("not as many as starts")
        return names

    def name(self, index: int) -> str:
        """The name of the shift that begins at `starts[index]`; its hours (`08:00-16:00`) where it has none."""
        if self.names:
            return self.names[index]
        end = self.starts[(index + 1) % len(self.starts)]
        return f"{self.starts[index]:%H:%M}-{end:%H:%M}"


class WebSettings(SiteTable):
    """`[web]`: where the pages are served."""

    host: Annotated[str, Field(description='an address or name, e.g. "127.0.0.1"', pattern=r"^[A-Za-z0-9.:_-]+$")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(description="a port from 0 to 65535 (0 = any free one)", ge=0, le=65535)] = 8080
    threads: Annotated[int, Field(description="a whole number from 1 to 64", ge=1, le=64)] = 8


class SubsystemTable(SiteTable):
    """`[subsystem.ID]`: required or not; by which papers accepted, upgraded. Operating is measured, never written."""

    required: Flag = True
    reason: Text = ""  # why it is not required: listed wherever its weight is redistributed
    acceptance_document: Text = ""
    acceptance_issuer: Text = ""
    acceptance_date: Day = None
    acceptance_sha256: Sha256 = ""
    upgrade_version: Text = ""
    upgrade_date: Day = None
    manufacturer: Text = ""
    note: Text = ""


class Certificate(SiteTable):
    """One `[[certificate]]`: as the mine says (矿方自报·未核验); nothing counts by it until two people verified it."""

    number: RequiredText
    issuer: RequiredText
    date: Annotated[date, Field(description=_A_DATE)]
    grade: Annotated[
        Literal["primary", "intermediate", "advanced"],
        Field(description='"primary" (初级), "intermediate" (中级) or "advanced" (高级)'),
    ]
    type: Annotated[
        Literal["underground", "open_pit", "preparation_plant", "working_face", "awaiting_acceptance"],
        Field(description='"underground", "open_pit", "preparation_plant", "working_face" or "awaiting_acceptance"'),
    ]
    valid_until: Day = None
    scan_sha256: Sha256 = ""
