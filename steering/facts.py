"""What a turn gets to decide by: all that was measured and read since the one before it."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.model import Family, Heard, Round, Seconds, WallTime
from steering.override import Frozen, Override


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """How many breaches an address had without a calm day between them, and when the last was."""

    number: int
    since: Seconds
    """How long before `Memory.at` the latest breach began."""
    ended: Seconds
    """How long before `Memory.at` the latest breach ended; while it lasts, began."""

    def __post_init__(self) -> None:
        if self.number < 1 or not (_is_length(self.since) and _is_length(self.ended)):
            raise ValueError(f"{self}: there is no such history of breaches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """Through which site an address is steered, and how long before `Memory.at` that began."""

    site: str
    ago: Seconds

    def __post_init__(self) -> None:
        if not _is_length(self.ago):
            raise ValueError(f"{self}: there is no such time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the next agent needs and can't measure. Raises ValueError for impossible values."""

    at: WallTime
    frozen: Mapping[str, Frozen] = field(default_factory=dict)
    """By address."""
    worn: Mapping[str, float] = field(default_factory=dict)
    """Address -> penalty of its recent moves (RFC 2439 figure of merit)."""
    breaches: Mapping[str, Breaches] = field(default_factory=dict)
    moves: tuple[tuple[Seconds, int], ...] = ()
    """(how long before `at`, how many addresses changed their path) for the last minute."""
    steered: Mapping[str, Steered] = field(default_factory=dict)
    """By address."""
    spent: frozenset[str] = frozenset()
    """Acknowledgements whose alarms have ended, by their content (`acknowledge`)."""

    def __post_init__(self) -> None:
        for address in (*self.frozen, *self.worn, *self.breaches, *self.steered):
            if str(ipaddress.ip_address(address)) != address:
                raise ValueError(f"{address!r} is no address in canonical form")
        if not (
            math.isfinite(self.at)
            and all(map(_is_length, self.worn.values()))
            and all(_is_length(ago) and number >= 0 for ago, number in self.moves)
        ):
            raise ValueError("it has numbers that are negative or not finite")


def _is_length(number: float) -> bool:
    return math.isfinite(number) and number >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """A source behind this host whose queries it forwards: a pod, a container, another host."""

    source: str
    """Its source address as packets arrive here."""
    translated: str = ""
    """The source address after this host's NAT on the local path; empty: not translated."""
    carried: bool = False
    """By the configuration, every site carries its packets as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What became of the queries that this host forwarded from one source to one address."""

    address: str
    path: str
    """The path that they took."""
    source: str
    answered: int = 0
    lost: int = 0
    """Queries without an answer after `observe.forwarded.WAITS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was measured and read since the last turn."""

    wall: WallTime
    rounds: tuple[Round, ...] = ()
    heard: tuple[Heard, ...] = ()
    """Counts of the resolvers' traffic, from dnstap."""
    installed: Mapping[str, str] = field(default_factory=dict)
    """Address -> site, as the kernel has it now: always read, never remembered."""
    sources: Mapping[Family, tuple[str, ...]] = field(default_factory=dict)
    """What the resolvers of this host send from, as far as it is known. In a family that is left
    out, the kernel chooses the address."""
    bypassed: frozenset[str] = frozenset()
    """Addresses to which this host's packets go past any steer, by another program's rule."""
    forwarded: Mapping[Family, tuple[Forwarded, ...]] = field(default_factory=dict)
    """Sources that send through this host, as far as they are seen."""
    passed: tuple[Passed, ...] = ()
    """What became of their queries."""
    off: bool = False
    overrides: tuple[Override, ...] = ()
    """In the order of the files; those that have ended or match nothing are among them."""
    memory: Memory | None = None
    """The memory of an earlier agent: in the first turn only."""
