"""The closed list of engineering units. A unit that is not here is a problem of the site's file, never a guess."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: the code of points.csv, how it is printed, and what it measures (only like compares with like).

    `symbol_en` is given where the symbol is a Chinese word.
    """

    code: str
    symbol: str
    quantity: str
    symbol_en: str = ""

    def printed(self, language: str) -> str:
        """The symbol in `zh` or `en`."""
        return self.symbol_en if self.symbol_en and language.startswith("en") else self.symbol


_UNITS = (
    Unit("", "", "number"),
    Unit("%", "%", "fraction"),
    Unit("%CH4", "%CH4", "methane"),
    Unit("%O2", "%O2", "oxygen"),
    Unit("%CO2", "%CO2", "carbon dioxide"),
    Unit("ppm", "ppm", "trace gas"),
    Unit("m/s", "m/s", "velocity"),
    Unit("m3/min", "m³/min", "flow"),
    Unit("m3/h", "m³/h", "flow per hour"),
    Unit("m3", "m³", "volume"),
    Unit("m", "m", "length"),
    Unit("mm", "mm", "length, small"),
    Unit("mm/s", "mm/s", "vibration"),
    Unit("Pa", "Pa", "pressure, small"),
    Unit("hPa", "hPa", "air pressure"),
    Unit("kPa", "kPa", "pressure"),
    Unit("MPa", "MPa", "pressure, high"),
    Unit("degC", "℃", "temperature"),
    Unit("%RH", "%RH", "humidity"),
    Unit("mg/m3", "mg/m³", "dust"),
    Unit("A", "A", "current"),
    Unit("V", "V", "voltage"),
    Unit("kV", "kV", "voltage, high"),
    Unit("W", "W", "power, small"),
    Unit("kW", "kW", "power"),
    Unit("kvar", "kvar", "reactive power"),
    Unit("kVA", "kVA", "apparent power"),
    Unit("kWh", "kWh", "energy"),
    Unit("kvarh", "kvarh", "reactive energy"),
    Unit("kVAh", "kVAh", "apparent energy"),
    Unit("Hz", "Hz", "frequency"),
    Unit("r/min", "r/min", "speed of rotation"),
    Unit("kN", "kN", "force"),
    Unit("t", "t", "mass"),
    Unit("t/h", "t/h", "mass flow"),
    Unit("s", "s", "time"),
    Unit("min", "min", "time, minutes"),
    Unit("h", "h", "time, hours"),
    Unit("count", "次", "count", "×"),
    Unit("person", "人", "people", "persons"),
    Unit("deg", "°", "angle"),
)

UNITS: dict[str, Unit] = {unit.code: unit for unit in _UNITS}
"""By code."""
