"""The state of the engine: the value that one turn hands to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.decide.overrides.override_state import OverrideState
from steering.decide.situation import NO_CAUSES, Operators, Situation
from steering.decide.traffic_served import Unserved
from steering.decide.verification import Verification
from steering.facts import Forwarded
from steering.index import Index, Key
from steering.judge.known.ledger import Ledger
from steering.model import LOCAL, Event, Family, Instant, WallTime
from steering.override import Frozen
from steering.rehearsed_events import event_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A condition that an operator should look at, for as long as it lasts."""

    since: WallTime
    because: str
    cause: str | None = None
    """The alarm that it follows from and is shown under; None: it has no such cause."""
    about: tuple[str, ...] = ()
    """The addresses that it is about; empty: it is not about addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that is kept between two turns. Never changed: `engine.turn` returns the next one."""

    index: Index
    ledger: Ledger
    plan: Mapping[str, str]
    """Address -> the planned site; addresses on the local path are left out."""
    rule: Mapping[str, int]
    """Address -> number of the rule that decided it, for every address; none before the first turn,
    nor for addresses that a reload brought until the next one."""
    since: Mapping[str, WallTime]
    """Address -> time of the latest change of its plan, also by an earlier agent; of the start
    where there was none. For every address."""
    left_at: Mapping[str, Instant]
    """Address -> when it left the local path by the rules; those that did not are left out."""
    breached: frozenset[str]
    """Addresses that are breached, or whose group is: they should leave the local path."""
    open_groups: frozenset[str]
    """Groups of which so many addresses are breached that all of them move."""
    avoid_until: Mapping[Key, Instant]
    """(address, site) -> until when the site is not used again for the address."""
    verifications: Mapping[str, Verification]
    """Address -> the verification of its steer; of the local path: of its return, for its whole
    group."""
    override_state: OverrideState
    """What the overrides order for each address."""
    frozen: Mapping[str, Frozen]
    """Address -> where an override keeps it."""
    moves: tuple[tuple[Instant, int], ...]
    """(instant, number) of the addresses that the rules moved within the last minute."""
    worn: Mapping[str, float]
    """Address -> penalty for its recent moves (`damping`), as of `worn_at`; none: 0."""
    worn_at: Instant
    alarms: Mapping[str, Alarm]
    situation: Situation | None
    """What the latest decision was based on; None before the first turn."""
    common_causes: Mapping[Family, Operators]
    """By family, the operators that failed at once in the latest turn (`Situation`)."""
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
    """(address, site) -> when the site was left because its path had turned bad. It is avoided like
    one that did not help, except the first time and where the address has no other site."""
    bypassed: frozenset[str] = frozenset()
    """Addresses that a steer would not move: another program's routing rule comes before ours."""
    unserved: Mapping[Key, Unserved] = field(default_factory=dict)
    """(address, site) -> what the resolvers got over a site that was left because of it."""

    @classmethod
    def blank(cls, index: Index, now: Instant, wall: WallTime) -> State:
        """The state before the first turn: nothing known, nothing wanted."""
        return cls(
            index=index,
            ledger=Ledger.blank(now),
            plan={},
            rule={},
            since=dict.fromkeys(index.settings, wall),
            left_at={},
            breached=frozenset(),
            open_groups=frozenset(),
            avoid_until={},
            verifications={},
            override_state=OverrideState.blank(index),
            frozen={},
            moves=(),
            worn={},
            worn_at=now,
            alarms={},
            situation=None,
            common_causes=NO_CAUSES,
            off=False,
            started=False,
            begun=now,
            now=now,
            wall=wall,
        )

    def path_of(self, address: str) -> str:
        """The planned path of an address."""
        return self.plan.get(address, LOCAL)

    def avoids(self, address: str, site: str) -> bool:
        """Whether the site is not used for the address now, since it did not help lately."""
        return self.avoid_until.get((address, site), self.now) > self.now

    def steers(self) -> Mapping[str, str]:
        """The plan for the actuators: address -> site, of the steered addresses.

        Empty for an agent that does not act (see `plan`).
        """
        return self.plan if self.index.acts else {}

    def event(
        self,
        event: str,
        address: str,
        because: str,
        *,
        path: str | None = None,
        was: str | None = None,
        now: str | None = None,
        rule: str | None = None,
    ) -> Event:
        """An event about an address, by its name in this mode."""
        return Event(
            event=event_name(event, acts=self.index.acts),
            because=because,
            upstream=self.index.settings[address].upstream,
            address=address,
            path=path,
            was=was,
            now=now,
            rule=rule,
        )
