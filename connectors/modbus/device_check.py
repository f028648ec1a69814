"""Is this the device that the site means? What it must say of itself, or hold in a register, to be believed. Pure.

    [source.ID.unit.N.identity]     vendor, product_code, … as 43/14 tells them; a part left out is not compared
    [source.ID.unit.N.signature]    address = "holding/0", data_type, byte_order, value: a register that never changes;
                                    data_type = "string", registers, value: some that hold a text

A device that comes back with another map or at another's address gives numbers that look right (F45): none of them is
taken until the answer fits. Asked on every new connection, after every silence of the unit, and every ten minutes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from connectors.modbus.address import MAX_REGISTER, AddressError, parse_address
from connectors.modbus.codec import BYTE_ORDERS, REGISTERS, SHORT_ORDERS, BlockDecoder, Field, raw_sentinel
from connectors.modbus.plan import ReadRequest
from connectors.modbus.probe_identity import IDENTITY_NAMES, identity_of, text_of

CHECK_EVERY_S: Final = 600.0
ASK_AGAIN_S: Final = 10.0
"""A device that does not fit is asked again this often (both project defaults)."""
TEXT: Final = "string"
MOST_TEXT_REGISTERS: Final = 64
"""Of a text that tells a device from another one (project default)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Registers that tell the device from another one: their raw value, or the text in them, never changes."""

    request: ReadRequest
    data_type: str  # a key of REGISTERS, or TEXT
    byte_order: str
    value: float | str

    def fault(self, payload: bytes) -> str:
        """Why the registers do not fit; "" = they do."""
        found = self._found(payload)
        if found == self.value:
            return ""
        return f"{self.request.table}/{self.request.first} {_shown(self.value)} ≠ {_shown(found)}"

    def _found(self, payload: bytes) -> float | str:
        if self.data_type == TEXT:
            return text_of(payload, self.byte_order)
        value, _ = BlockDecoder([Field(0, self.data_type, self.byte_order)], self.request.count).decode(payload)
        return float(value[0])


@dataclass(frozen=True, slots=True)
class DeviceCheck:
    """What one unit must prove."""

    identity: Mapping[str, str] | None
    signature: Signature | None

    def identity_fault(self, payload: bytes | None) -> str:
        """Why what the device says of itself does not fit; "" = it does.

        Args:
            payload: The reply to 43/14 behind the MEI type; None where the device refused to say.
        """
        if not self.identity:
            return ""
        told = None if payload is None else identity_of(payload)
        if told is None:
            return "it does not say what it is"
        wrong = [
            f"{name} {text!r} ≠ {told.get(name, '')!r}"
            for name, text in self.identity.items()
            if told.get(name) != text
        ]
        return ", ".join(wrong)


@dataclass(frozen=True, slots=True)
class _Proof:
    fault: str
    until_s: float


class Proofs:
    """What a unit has proved so far, on each of its connections: another connection may lead to another device.

    Args:
        check: What it must prove.
    """

    def __init__(self, check: DeviceCheck) -> None:
        self.check = check
        self.fault = ""  # why it is not the device that the site means, by the newest check; "" = it is
        self._by_connection: WeakKeyDictionary[object, _Proof] = WeakKeyDictionary()

    def due(self, connection: object, now_s: float, *, silent: bool) -> bool:
        """True where it must say again what it is: on another connection, after a silence, or after its time."""
        proof = self._by_connection.get(connection)
        return proof is None or silent or now_s >= proof.until_s

    def fault_on(self, connection: object) -> str:
        """Why it is not to be believed on this connection; "" = it is, or has not been asked."""
        proof = self._by_connection.get(connection)
        return "" if proof is None else proof.fault

    def enter(self, connection: object, fault: str, now_s: float) -> None:
        """What came of the check: "" = it is the device that the site means."""
        self.fault = fault
        self._by_connection[connection] = _Proof(fault, now_s + (ASK_AGAIN_S if fault else CHECK_EVERY_S))


def device_check(
    unit: int, identity: Mapping[str, Any] | None, signature: Mapping[str, Any] | None
) -> DeviceCheck | None:
    """The check of a unit, None where it need prove nothing. The tables have been found right."""
    if not identity and not signature:
        return None
    return DeviceCheck(dict(identity) if identity else None, _signature(unit, signature) if signature else None)


def identity_problem(table: object) -> str:
    """What is wrong with an `identity` table; "" = nothing."""
    if not isinstance(table, Mapping) or not table:
        return "a table with some of " + ", ".join(IDENTITY_NAMES)
    if any(name not in IDENTITY_NAMES or not isinstance(text, str) for name, text in table.items()):
        return "texts for some of " + ", ".join(IDENTITY_NAMES)
    return ""


def signature_problem(table: object) -> str:
    """What is wrong with a `signature` table; "" = nothing."""
    expected = 'address = "holding/0", data_type = "uint16" and value = 1234'
    if not isinstance(table, Mapping):
        return expected
    text = table.get("data_type") == TEXT
    problem = _text_problem(table) if text else _number_problem(table, expected)
    if problem:
        return problem
    try:
        address = parse_address(f"1/{table['address']}")
    except AddressError as err:
        return f"{expected}: {err.what}"
    if address.table.of_bits or address.bit is not None:
        return expected
    width = table["registers"] if text else REGISTERS[table["data_type"]]
    most = MAX_REGISTER - width + 1
    return f"a register up to {most}" if address.register > most else ""


def _number_problem(table: Mapping[str, Any], expected: str) -> str:
    if set(table) - {"byte_order"} != {"address", "data_type", "value"}:
        return expected
    value, data_type, order = table["value"], table["data_type"], table.get("byte_order", BYTE_ORDERS[0])
    if isinstance(value, bool) or not isinstance(value, int | float) or data_type not in REGISTERS:
        return expected
    raw = raw_sentinel(value, data_type)
    if raw is None or not math.isfinite(raw):
        return f"a value that {data_type} can have"
    orders = (*BYTE_ORDERS, *(SHORT_ORDERS if REGISTERS[data_type] == 1 else ()))
    return "" if order in orders else "byte_order one of " + ", ".join(orders)


def _text_problem(table: Mapping[str, Any]) -> str:
    expected = 'address = "holding/0", data_type = "string", registers = 8 and value = "KJ2000N"'
    if set(table) - {"byte_order"} != {"address", "data_type", "registers", "value"}:
        return expected
    value, width = table["value"], table["registers"]
    if isinstance(width, bool) or not isinstance(width, int) or not 0 < width <= MOST_TEXT_REGISTERS:
        return f"registers from 1 to {MOST_TEXT_REGISTERS}"
    readable = isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip()
    if not readable or not 0 < len(value) <= 2 * width:
        return f"a text of 1 to {2 * width} ASCII characters, no blank at its ends"
    return "" if table.get("byte_order", "AB") in SHORT_ORDERS else "byte_order one of " + ", ".join(SHORT_ORDERS)


def _signature(unit: int, table: Mapping[str, Any]) -> Signature:
    address = parse_address(f"{unit}/{table['address']}")
    data_type, value = table["data_type"], table["value"]
    text = data_type == TEXT
    width = table["registers"] if text else REGISTERS[data_type]
    order = table.get("byte_order", "AB" if text else BYTE_ORDERS[0])
    request = ReadRequest(unit, address.table, address.register, width, ())
    raw = value if text else raw_sentinel(value, data_type)
    return Signature(request, data_type, order, math.nan if raw is None else raw)


def _shown(value: float | str) -> str:
    return repr(value) if isinstance(value, str) else f"{value:.12g}"
