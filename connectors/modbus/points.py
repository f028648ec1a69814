"""Points of a source as the codec and the plan want them, with every problem of an address, type or sentinel. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from connectors.modbus.address import MAX_REGISTER, Address, AddressError, parse_address
from connectors.modbus.codec import BITS_TYPE, BOOL, BYTE_ORDERS, REGISTERS, SHORT_ORDERS, Field, raw_sentinel
from connectors.modbus.plan import Need, PlanLimits, ReadRequest
from mines.errors import Problem
from mines.model import Point, PointKind


@dataclass(frozen=True, slots=True)
class ReadPoint:
    """A point whose address and type are understood."""

    need: Need
    point: Point
    data_type: str

    @property
    def measures(self) -> bool:
        """True where it is a measured or counted value, not a switch or a state."""
        return self.point.kind in (PointKind.ANALOG, PointKind.TOTAL) and self.data_type != BOOL

    def field(self, request: ReadRequest) -> Field:
        """Where its value lies in the replies to a request that covers it."""
        point = self.point
        return Field(
            position=self.need.address.register - request.first,
            data_type=self.data_type,
            byte_order=point.byte_order or BYTE_ORDERS[0],
            bit=self.need.address.bit,
            high_bit=self.need.address.high_bit,
            scale=point.scale,
            offset=point.offset,
            sentinels=point.sentinels,
        )


def read_points(points: Sequence[Point], limits: PlanLimits) -> tuple[list[ReadPoint], list[Problem]]:
    """Each point understood, or what is wrong with it.

    Args:
        points: All points of one source.
        limits: Of the same source.
    Returns:
        The points that are right, in their order; every problem, each in its file with its line.
    """
    understood: list[ReadPoint] = []
    problems: list[Problem] = []
    for index, point in enumerate(points):
        found = _Reading(index, point)
        read = found.read(limits)
        if read is not None and not found.problems:
            understood.append(read)
        problems += found.problems
    return understood, problems + _broadcast(understood)


class _Reading:
    """One point while it is being understood."""

    def __init__(self, index: int, point: Point) -> None:
        self.problems: list[Problem] = []
        self._index = index
        self._point = point

    def read(self, limits: PlanLimits) -> ReadPoint | None:
        address, data_type = self._address(), None
        if address is not None:
            data_type = self._data_type(address)
        width = REGISTERS.get(data_type or "", 1)
        self._check_order(width)
        if address is None or data_type is None:
            return None
        self._check_sentinels(data_type)
        self._check_place(address, width, limits.of(address.unit))
        return ReadPoint(Need(self._index, address, width, self._point.period_s), self._point, data_type)

    def _address(self) -> Address | None:
        try:
            return parse_address(self._point.address)
        except AddressError as err:
            self._refuse("address", err.what, err.expected)
            return None

    def _data_type(self, address: Address) -> str | None:
        """The type of the point; a bit can only be a bool, so that it need not say so."""
        given, text = self._point.data_type, self._point.address
        if address.high_bit is not None:
            if given in ("", BITS_TYPE):
                return BITS_TYPE
            self._refuse("data_type", f"{given} at {text}, which is some bits of a register", BITS_TYPE)
        elif address.table.of_bits or address.bit is not None:
            if given in ("", BOOL):
                return BOOL
            where = f"table {address.table}" if address.bit is None else "a register"
            self._refuse("data_type", f"{given} at {text}, which is one bit of {where}", "bool")
        elif given == BOOL:
            self._refuse("address", f"{text} is a whole register, the point is a bool", f"its bit, e.g. {text}.0")
        elif given in REGISTERS:
            return given
        else:
            self._refuse("data_type", f"{given!r} for a register", "one of " + ", ".join(REGISTERS))
        return None

    def _check_order(self, width: int) -> None:
        given = self._point.byte_order
        if given in ("", *BYTE_ORDERS) or (width == 1 and given in SHORT_ORDERS):
            return
        orders = (*BYTE_ORDERS, *SHORT_ORDERS) if width == 1 else BYTE_ORDERS
        self._refuse("byte_order", f"{given!r} for a value of {width} registers", "one of " + ", ".join(orders))

    def _check_sentinels(self, data_type: str) -> None:
        for sentinel in self._point.sentinels:
            possible = sentinel in (0, 1) if data_type == BOOL else raw_sentinel(sentinel, data_type) is not None
            if not possible:
                self._refuse("sentinels", f"{sentinel:g} can never be read as {data_type}", f"a raw {data_type} value")

    def _check_place(self, address: Address, width: int, limits: PlanLimits) -> None:
        forbidden = limits.forbidden(address.table, address.register, address.register + width)
        if forbidden is not None:
            part = f"{forbidden.first} to {forbidden.last}"
            what = f"{self._point.address} lies in {part}, which its profile never reads: {forbidden.why}"
            self._refuse("address", what, "a place that reading does not change")
        if address.register + width - 1 > MAX_REGISTER:
            what = f"{self._point.address} with {width} registers ends after register {MAX_REGISTER}"
            self._refuse("address", what, f"a register up to {MAX_REGISTER - width + 1}")
        if width > limits.largest(address.table):
            what = (
                f"{self._point.data_type} takes {width} registers, its unit's max_registers is {limits.max_registers}"
            )
            self._refuse("data_type", what, f"max_registers of at least {width}")

    def _refuse(self, key: str, what: str, expected: str) -> None:
        self.problems.append(Problem(self._point.file, self._point.line, key, what, expected))


def _broadcast(understood: Sequence[ReadPoint]) -> list[Problem]:
    """Unit 0 is a device that itself ends the TCP line; behind a gateway it is the broadcast address."""
    if len({read.need.address.unit for read in understood}) < 2:
        return []
    return [
        Problem(
            read.point.file,
            read.point.line,
            "address",
            f"{read.point.address}: unit 0 beside other units of one source is the broadcast address",
            "the device's own unit, 1 to 255, or a source of its own for the device at the TCP end",
        )
        for read in understood
        if read.need.address.unit == 0
    ]
