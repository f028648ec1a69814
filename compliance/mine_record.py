"""What a score needs to know of a mine besides its evidence: who it is and which papers it says it has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from mines.model import Mine, Subsystem
from mines.site.tables import Certificate, SubsystemTable


@dataclass(frozen=True, slots=True)
class MineRecord:
    """One mine's papers as its own site file says them (矿方自报·未核验)."""

    mine: Mine
    subsystems: Mapping[Subsystem, SubsystemTable]
    certificates: tuple[Certificate, ...] = ()
    simulated: bool = False

    @property
    def in_260(self) -> bool:
        """On the list of the 260, as the mine says."""
        return bool(self.mine.settings.get("in_260", False))

    @property
    def in_75(self) -> bool:
        """On the list of the 75, as the mine says."""
        return bool(self.mine.settings.get("in_75", False))

    @property
    def production_state(self) -> str:
        """producing, under_construction, stopped or closed."""
        return str(self.mine.settings.get("production_state") or "producing")

    def stopped_by_order(self, day: date) -> bool:
        """Stopped with an order that has number, issuer, beginning and expected resumption, and covers the day."""
        order: Mapping[str, Any] = self.mine.settings
        begins, ends = order.get("stop_from"), order.get("stop_until")
        named = bool(order.get("stop_order")) and bool(order.get("stop_issuer"))
        dated = isinstance(begins, date) and isinstance(ends, date) and begins <= day <= ends
        return self.production_state == "stopped" and named and dated

    def acceptance(self, subsystem: Subsystem) -> str:
        """The acceptance document of a subsystem; "" where none is named."""
        table = self.subsystems.get(subsystem)
        return table.acceptance_document if table else ""

    def reason(self, subsystem: Subsystem) -> str:
        """Why a subsystem is not required; "" where nothing is said."""
        table = self.subsystems.get(subsystem)
        return table.reason if table else ""
