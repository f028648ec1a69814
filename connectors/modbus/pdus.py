"""What is asked and answered, as pymodbus' engine wants it: requests that read, replies that stay bytes.

A reply is never parsed here: the guard has checked every byte of it before pymodbus sees it, and numpy decodes whole
blocks (libraries §13). They are registered through pymodbus' public API.
"""

from __future__ import annotations

import struct
from typing import Final

from pymodbus.pdu import ModbusPDU

from connectors.modbus.mbap import DEVICE_IDENTIFICATION
from connectors.modbus.plan import ReadRequest

_ADDRESS_AND_COUNT = struct.Struct(">HH")
_BASIC: Final = 1
"""Read device identification code: the basic objects, as a stream. Source: MODBUS Application Protocol V1.1b3, 6.21."""


class ReadPdu(ModbusPDU):
    """A read request of any of the four tables."""

    def __init__(self, request: ReadRequest) -> None:  # not the base's: one for every request, ten attributes unused
        self.dev_id, self.transaction_id = request.unit, 0
        self.address, self.count = request.first, request.count
        self.function_code = request.table.function

    def encode(self) -> bytes:
        return _ADDRESS_AND_COUNT.pack(self.address, self.count)


class IdentifyPdu(ModbusPDU):
    """A request for the basic identification objects from one on."""

    function_code = DEVICE_IDENTIFICATION[0]

    def __init__(self, unit: int, first_object: int) -> None:
        super().__init__(dev_id=unit)
        self._first_object = first_object

    def encode(self) -> bytes:
        return bytes([DEVICE_IDENTIFICATION[1], _BASIC, self._first_object])


class BytesPdu(ModbusPDU):
    """A reply that keeps its data as bytes: no list of registers is built."""

    payload = b""
    """Behind the byte count; of an identification behind the MEI type."""

    def __init__(self) -> None:  # not the base's: it would fill a dozen attributes for every reply
        self.dev_id = self.transaction_id = self.retries = 0

    def decode(self, data: bytes) -> None:
        self.payload = data[1:]

    def __str__(self) -> str:  # pymodbus formats every reply for a debug log, on or off
        return "reply"

    @classmethod
    def calculateRtuFrameSize(cls, data: bytes) -> int:
        return len(data)  # pymodbus is only ever shown one whole frame


class _Coils(BytesPdu):
    function_code = 1


class _DiscreteInputs(BytesPdu):
    function_code = 2


class _HoldingRegisters(BytesPdu):
    function_code = 3


class _InputRegisters(BytesPdu):
    function_code = 4


class _Identification(BytesPdu):
    function_code = DEVICE_IDENTIFICATION[0]


REPLIES: Final = (_Coils, _DiscreteInputs, _HoldingRegisters, _InputRegisters, _Identification)
