"""How each unit of a line is read: its own key, its profile, the source's key, the source's profile, the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from connectors.modbus.address import MAX_UNIT
from connectors.modbus.bounds import Bounds, key_problem
from connectors.modbus.device_check import identity_problem, signature_problem
from connectors.modbus.plan import MAX_BITS, MAX_REGISTERS, NeverRead, PlanLimits
from mines.errors import Problem
from mines.site.source_table import SourceTable

if TYPE_CHECKING:
    from connectors.profile_file import Profile

MOST_WAIT_S: Final = 5.0
"""No reply is waited for longer, but for what the wire itself takes (project default)."""
NUMBERS: Final[Mapping[str, Bounds]] = {
    "max_registers": Bounds(True, 0, MAX_REGISTERS, f"a whole number from 1 to {MAX_REGISTERS}"),
    "max_bits": Bounds(True, 0, MAX_BITS, f"a whole number from 1 to {MAX_BITS}"),
    "max_gap": Bounds(True, -1, MAX_REGISTERS - 2, f"a whole number from 0 to {MAX_REGISTERS - 2}"),
    "timeout_s": Bounds(False, 0, MOST_WAIT_S, f"seconds, more than 0, at most {MOST_WAIT_S:g}"),
    "delay_ms": Bounds(False, -1e-9, 5_000, "milliseconds, 0 to 5000"),
    "response_ms": Bounds(False, -1e-9, 5_000, "milliseconds, 0 to 5000"),
}
_FROZEN: Final = Bounds(False, 0, 86_400, "seconds, more than 0, at most 86400")
"""Keys that a source, a unit of it and a profile may all give."""
DEVICE_KEYS: Final = ("identity", "signature")
"""Tables that tell a device from another one; a unit or a profile may have them."""
_LIMITS: Final = ("max_registers", "max_bits", "max_gap", "never_read")
_TIMES: Final = ("timeout_s", "delay_ms", "response_ms")
_ODD_KEYS: Final = ("plausibility", "frozen_s")
_UNIT_KEYS: Final = ("profile", *NUMBERS, *DEVICE_KEYS, *_ODD_KEYS)


@dataclass(frozen=True, slots=True)
class UnitSettings:
    """One unit of a line. Defaults are project defaults, on TCP.

    `timeout_s` is how long it may take to begin to answer, `delay_ms` the rest that its connection keeps after it was
    asked, `response_ms` how long it usually takes to begin to answer (for forecasts only).
    """

    limits: PlanLimits = field(default_factory=PlanLimits)
    timeout_s: float = 1.0
    delay_ms: float = 0.0
    response_ms: float = 10.0
    identity: Mapping[str, Any] | None = None
    signature: Mapping[str, Any] | None = None
    plausibility: bool = True  # told where every register is 0, or every bit 1
    frozen_s: float | None = None  # told where no register moves for so long; None = never

    @property
    def never_read(self) -> tuple[NeverRead, ...]:
        """What nothing may read of it."""
        return self.limits.never_read


def unit_settings(layers: Sequence[Mapping[str, Any]], *, response_ms: float) -> UnitSettings:
    """The settings of a unit from what is said of it, the most particular first.

    Args:
        layers: Unit keys, unit profile, source keys, source profile; each with the keys that it gives.
        response_ms: Where nothing says it.
    """

    known: dict[str, Any] = {"response_ms": response_ms}
    for layer in reversed(layers):
        known |= layer
    limits = PlanLimits(**{key: known[key] for key in _LIMITS if key in known})
    return UnitSettings(limits, **{key: known[key] for key in (*_TIMES, *DEVICE_KEYS, *_ODD_KEYS) if key in known})


def read_units(
    table: SourceTable, layers: Sequence[Mapping[str, Any]], *, response_ms: float, named: frozenset[int] | None
) -> tuple[dict[int, UnitSettings], list[Problem]]:
    """The settings of every `[source.ID.unit.N]`, and everything that is wrong there.

    Args:
        table: The source's table.
        layers: What the source says itself, and its profile: as in `unit_settings`.
        response_ms: Where nothing says it.
        named: Units that points of the source have; None = unknown. A table of another unit is a mistake.
    """
    units: dict[int, UnitSettings] = {}
    problems: list[Problem] = []
    given = table.settings.get("unit", {})
    if not isinstance(given, Mapping):
        return units, [key_problem(table, "unit", f"is {given!r}", f"tables, e.g. [source.{table.id}.unit.3]")]
    for name, settings in given.items():
        found = _unit_problems(table, name, settings, named)
        if not found:
            profile, found = profile_layer(table, f"unit.{name}.profile", settings.get("profile"))
            own = {key: value for key, value in settings.items() if key != "profile"}
            units[int(name)] = unit_settings([own, profile, *layers], response_ms=response_ms)
        problems += found
    return units, problems


def profile_layer(table: SourceTable, key: str, name: object) -> tuple[dict[str, Any], list[Problem]]:
    """What a profile says of a device, nothing where none is named; the problem where there is no such profile.

    Args:
        table: The source's table.
        key: That names the profile.
        name: As written; None = none.
    """
    if name is None:
        return {}, []
    from connectors.profile_file import load_profile, profile_names  # read only where a profile is named

    names = profile_names()
    if name not in names:
        return {}, [key_problem(table, key, f"is {name!r}", "one of " + ", ".join(names))]
    profile = load_profile(str(name))
    if profile.kind != "modbus":
        return {}, [key_problem(table, key, f"{name} is a profile of {profile.kind}", "a profile of a Modbus device")]
    return _layer_of(profile), []


def _layer_of(profile: Profile) -> dict[str, Any]:
    """Its particulars; what it says nothing of is left to the next layer, what it forbids is its own affair."""
    layer = {key: getattr(profile, key) for key in (*NUMBERS, *DEVICE_KEYS)}
    return {key: value for key, value in layer.items() if value is not None} | {"never_read": profile.never_read}


def _unit_problems(table: SourceTable, name: str, settings: object, named: frozenset[int] | None) -> list[Problem]:
    where = f"unit.{name}"
    if not (name.isascii() and name.isdigit() and str(int(name)) == name and int(name) <= MAX_UNIT):
        return [key_problem(table, where, "is no unit", f"a unit from 0 to {MAX_UNIT}")]
    if not isinstance(settings, Mapping):
        return [key_problem(table, where, f"is {settings!r}", f"a table, [source.{table.id}.unit.{name}]")]
    problems = []
    if named is not None and int(name) not in named:
        problems.append(key_problem(table, where, "no point has this unit", "a unit of a point of this source"))
    for key, value in settings.items():
        if key not in _UNIT_KEYS:
            expected = "one of " + ", ".join(_UNIT_KEYS)
            problems.append(key_problem(table, f"{where}.{key}", "unknown key", expected))
        elif key in NUMBERS and not NUMBERS[key].accepts(value):
            problems.append(key_problem(table, f"{where}.{key}", f"is {value!r}", NUMBERS[key].expected))
        else:
            expected = _device_problem(key, value)
            if expected:
                problems.append(key_problem(table, f"{where}.{key}", f"is {value!r}", expected))
    return problems


def _device_problem(key: str, value: object) -> str:
    """What is expected of a key that tells devices apart or says what is odd; "" = it is right."""
    match key:
        case "identity":
            return identity_problem(value)
        case "signature":
            return signature_problem(value)
        case "plausibility":
            return "" if isinstance(value, bool) else "true or false"
        case "frozen_s":
            return "" if _FROZEN.accepts(value) else _FROZEN.expected
    return ""
