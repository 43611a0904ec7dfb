"""The state of the engine: the value that one turn hands to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from steering.decide.override_state import OverrideState
from steering.decide.traffic_served import Unserved
from steering.decide.verification import Verification
from steering.judge.ledger import Key, Ledger
from steering.layout import Layout
from steering.model import Event, Family, Forwarded, Frozen, Instant, WallTime
from steering.rehearsed_events import event_name

if TYPE_CHECKING:
    from steering.decide.situation import Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A condition that an operator should look at, for as long as it lasts."""

    since: WallTime
    because: str
    cause: str | None = None
    """The alarm that it follows from and is shown under; None: it has no such cause."""
    about: tuple[int, ...] = ()
    """Rows of the addresses that it is about; empty: it is not about addresses."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """All that is kept between two turns. Never changed: `engine.turn` returns the next one."""

    layout: Layout
    ledger: Ledger
    plan: NDArray[np.int64]
    """(A,) column of the planned path of each address; 0: local."""
    rule: NDArray[np.int64]
    """(A,) number of the rule that decided it."""
    since: NDArray[np.float64]
    """(A,) wall time of the latest change of plan, also by an earlier agent; of the start where
    there was none."""
    left_at: NDArray[np.float64]
    """(A,) instant of the move off the local path by the rules; NaN: it is there, or an operator
    moved it."""
    breached: NDArray[np.bool_]
    """(A,) whether the address, or its group, is breached: it should leave the local path."""
    open_groups: NDArray[np.bool_]
    """Groups of which so many addresses are breached that all of them move."""
    avoid_until: NDArray[np.float64]
    """(A, P) instant until which a site is not used again for an address."""
    verifications: Mapping[int, Verification]
    """Row -> the verification of its steer; of column 0: of its return, for its whole group."""
    override_state: OverrideState
    """What the overrides order for each address."""
    frozen: Mapping[str, Frozen]
    """Address -> where an override keeps it."""
    moves: tuple[tuple[Instant, int], ...]
    """(instant, number) of the addresses that the rules moved within the last minute."""
    worn: NDArray[np.float64]
    """(A,) penalty of each address for recent moves (`damping`), at `worn_at`."""
    worn_at: NDArray[np.float64]
    alarms: Mapping[str, Alarm]
    situation: Situation | None
    """What the latest decision was based on; None before the first turn."""
    off: bool
    started: bool
    """False until the first turn has adopted the steers that it found installed."""
    begun: Instant
    now: Instant
    wall: WallTime
    sources: Mapping[Family, tuple[str, ...]] = field(default_factory=dict)
    """The addresses that the resolvers send from, by the latest facts."""
    forwarded: Mapping[Family, tuple[Forwarded, ...]] = field(default_factory=dict)
    """The sources that send through this host, by the latest facts."""
    turned: Mapping[Key, Instant] = field(default_factory=dict)
    """(row, column) -> when a site was left because its path had turned bad. It is avoided like one
    that did not help, except the first time and where the address has no other site."""
    bypassed: frozenset[str] = frozenset()
    """Addresses that a steer would not move: another program's routing rule comes before ours."""
    unserved: Mapping[Key, Unserved] = field(default_factory=dict)
    """(row, column) -> what the resolvers got over a site that was left because of it."""

    @classmethod
    def blank(cls, layout: Layout, now: Instant, wall: WallTime) -> State:
        """The state before the first turn: nothing known, nothing wanted."""
        a, p = layout.shape
        groups = int(layout.group_of.max()) + 1 if a else 0
        return cls(
            layout=layout,
            ledger=Ledger.blank(layout, now),
            plan=np.zeros(a, dtype=np.int64),
            rule=np.zeros(a, dtype=np.int64),
            since=np.full(a, wall),
            left_at=np.full(a, np.nan),
            breached=np.zeros(a, dtype=np.bool_),
            open_groups=np.zeros(groups, dtype=np.bool_),
            avoid_until=np.full((a, p), -np.inf),
            verifications={},
            override_state=OverrideState.blank(layout),
            frozen={},
            moves=(),
            worn=np.zeros(a),
            worn_at=np.full(a, now),
            alarms={},
            situation=None,
            off=False,
            started=False,
            begun=now,
            now=now,
            wall=wall,
        )

    def steers(self) -> dict[str, str]:
        """The plan for the actuators: address -> site, of the steered addresses.

        Empty for an agent that does not act (see `wanted`).
        """
        return self.wanted() if self.layout.acts else {}

    def wanted(self) -> dict[str, str]:
        """The plan, carried out or not: address -> site, of the steered addresses."""
        return {
            self.layout.targets[a].address: self.layout.paths[self.plan[a]]
            for a in np.flatnonzero(self.plan).tolist()
        }

    def event(
        self,
        event: str,
        a: int,
        because: str,
        *,
        path: str | None = None,
        was: str | None = None,
        now: str | None = None,
        rule: str | None = None,
    ) -> Event:
        """An event about the address in row `a`, by its name in this mode."""
        target = self.layout.targets[a]
        return Event(
            event=event_name(event, acts=self.layout.acts),
            because=because,
            upstream=target.upstream,
            address=target.address,
            path=path,
            was=was,
            now=now,
            rule=rule,
        )
