"""What the agent believes and wants: the value that one turn hands to the next."""

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
    """Something people should look at, for as long as it lasts."""

    since: WallTime
    because: str
    cause: str | None = None
    """The alarm that it follows from, and is shown under; None: it stands by itself."""
    about: tuple[int, ...] = ()
    """Rows of the addresses it is about; empty: it is about something else."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """Everything between two turns. Never changed: `engine.turn` returns the next one."""

    layout: Layout
    ledger: Ledger
    plan: NDArray[np.int64]
    """(A,) column of the path each address shall take; 0: local."""
    rule: NDArray[np.int64]
    """(A,) number of the rule that decided it."""
    since: NDArray[np.float64]
    """(A,) wall time of the latest change of plan, be it by an agent before this one; of the start
    where there was none."""
    left_at: NDArray[np.float64]
    """(A,) instant at which it left the local path by itself; NaN: it is there, or was sent."""
    breached: NDArray[np.bool_]
    """(A,) whether the address shall move away from the local path, by itself or its group."""
    open_groups: NDArray[np.bool_]
    """Groups of which enough is breached that all of them go."""
    avoid_until: NDArray[np.float64]
    """(A, P) instant until which a site is not tried again for an address."""
    verifications: Mapping[int, Verification]
    """Row -> the proof of its steer; of column 0: of its way home, watched for its group."""
    override_state: OverrideState
    """What the overrides say."""
    frozen: Mapping[str, Frozen]
    """Address -> where an override keeps it."""
    moves: tuple[tuple[Instant, int], ...]
    """When, within the last minute, how many addresses changed their path, by no word of people."""
    worn: NDArray[np.float64]
    """(A,) moves of each address that are not worn off yet (`damping`), as of `worn_at`."""
    worn_at: NDArray[np.float64]
    alarms: Mapping[str, Alarm]
    situation: Situation | None
    """What the latest decision was made from; None before the first turn."""
    off: bool
    started: bool
    """False until the first turn has adopted what it found installed."""
    begun: Instant
    now: Instant
    wall: WallTime
    sources: Mapping[Family, tuple[str, ...]] = field(default_factory=dict)
    """What the resolvers send from, by the latest facts."""
    forwarded: Mapping[Family, tuple[Forwarded, ...]] = field(default_factory=dict)
    """Who sends through this host, by the latest facts."""
    turned: Mapping[Key, Instant] = field(default_factory=dict)
    """(row, column) -> when a site was left because its path had turned bad. It is avoided like one
    that did not help, but not where the address has nowhere else to go, and the first time."""
    bypassed: frozenset[str] = frozenset()
    """Addresses that no steer would move: a rule of somebody else comes before it."""
    unserved: Mapping[Key, Unserved] = field(default_factory=dict)
    """(row, column) -> how the resolvers fared over a site that was left for that."""

    @classmethod
    def blank(cls, layout: Layout, now: Instant, wall: WallTime) -> State:
        """The world before the first turn: nothing known, nothing wanted."""
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
        """The plan as the actuators take it: address -> site, of those that take a detour.

        Empty for an agent that does not act, whatever it would do (`wanted`).
        """
        return self.wanted() if self.layout.acts else {}

    def wanted(self) -> dict[str, str]:
        """The plan, be it carried out or not: address -> site, of those that take a detour."""
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
        """One thing to tell of the address in row `a`; of a decision, as what it comes to here."""
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
