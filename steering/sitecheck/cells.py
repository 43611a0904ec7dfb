"""The table of `steering check --sites` as values: a row for each leg, with its cells."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from steering.model import Seconds
from steering.sitecheck.legs import Leg


class State(enum.StrEnum):
    """The text of a cell. Of several reasons the first one in this order is reported."""

    OK = "ok"
    NO_ADDRESS = "no address"
    OTHER_RULE = "other rule"
    NO_RULE = "no rule"
    LINK_DOWN = "link down"
    NO_ROUTE = "no route"
    FIREWALL = "firewall"
    MTU = "mtu"
    NEXT_HOP = "next hop"
    OTHER_WAY = "other way"
    NAT = "nat"
    RP_FILTER = "rp_filter"
    REFUSED = "refused"
    ICMP = "icmp"
    ERROR = "error"
    NO_ANSWER = "no answer"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a cell is not as it should be."""

    state: State
    because: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The result of one leg for one kind of question."""

    state: State
    rtt: Seconds | None = None
    octets: int = 0
    """Octets of the largest answer in one packet; 0 if this cell is not about size."""
    reason: Reason | None = None
    """Why it failed, or why nothing is known."""

    @property
    def failed(self) -> bool:
        """Whether the operator has to do something."""
        return self.reason is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One leg of the table."""

    leg: Leg
    sent_from: str | None
    udp: Cell
    tcp: Cell
    large: Cell
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> Mapping[str, Cell]:
        return {"udp": self.udp, "tcp": self.tcp, "large": self.large}

    @property
    def failed(self) -> bool:
        return any(cell.failed for cell in self.cells.values())
