"""Closed lists of points.csv: what a point is (`role`) and how it senses (`principle`); words in words.csv."""

from __future__ import annotations

from typing import Final

ROLES: Final = (
    # 环境 environment
    "methane",
    "co",
    "o2",
    "co2",
    "temperature",
    "air_velocity",
    "wind_direction",
    "smoke",
    "barometer",
    # 通风 ventilation
    "main_fan_run",
    "main_fan_current",
    "main_fan_pressure",
    "main_fan_flow",
    "local_fan_run",
    "duct_flow",
    "bearing_temperature",
    "vibration",
    "door_open",
    # 排水 dewatering
    "sump_level",
    "sump_volume",
    "pump_run",
    "pump_mode",
    "pump_available",
    "pump_current",
    "pump_flow",
    "pump_pressure",
    # 提升 hoisting
    "hoist_ready",
    "hoist_protection",
    "hoist_speed",
    "hoist_position",
    "brake_gap",
    "hoist_trip",
    "hoist_cycles",
    # 供电 power
    "feed_state",
    "power_voltage",
    "power_current",
    "power_active",
    "energy",
    "breaker",
    # 压风 compressed air
    "compressor_pressure",
    "compressor_temperature",
    "compressor_run",
    # 运输 transport
    "belt_run",
    "belt_protection",
    "belt_speed",
    # 人员 people
    "personnel_count",
    # 抽采 drainage
    "drainage_flow",
    "drainage_concentration",
    "drainage_pressure",
    "pump_station_methane",
    "water_supply",
    "other",
)

METHANE_PRINCIPLES: Final = ("catalytic", "laser", "infrared", "thermal_conductivity")
"""What a methane sensor may work by: the principle sets its calibration dates (alarm-logic §4)."""

PRINCIPLES: Final = (
    *METHANE_PRINCIPLES,
    "electrochemical",
    "paramagnetic",
    "ultrasonic",
    "vortex",
    "differential_pressure",
    "piezoresistive",
    "resistance",
    "semiconductor",
    "optical",
    "float",
    "radar",
    "eddy_current",
    "encoder",
    "transformer",
    "contact",
    "computed",
    "other",
)

METHANE_ROLES: Final = frozenset({"methane", "pump_station_methane"})
"""Methane in the air that people breathe; `drainage_concentration` is gas in a pipe and another matter."""

STATUTORY_ROLES: Final = METHANE_ROLES | {"co"}
"""Roles whose limits are the regulation's: never with a delay (alarm-logic §2)."""

STATUTORY_RULE_PREFIX: Final = "gas."
"""A row that names such a rule is statutory whatever its role."""
