"""What the budget leaves for the moves of a turn: moves, addresses and load of the sites.

The load allowed at a site is compared with the policies' estimates. Load by dnstap only makes
another site better: a program that writes false dnstap must neither prevent a move nor overload a
site.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from steering.config.configuration import Budget
from steering.index import Index, Settings
from steering.judge.known.ledger import Ledger
from steering.judge.traffic.demand import demand
from steering.model import Instant, Seconds

MINUTE: Seconds = 60.0
BUSY = 1 / 2
"""A site above this part of its allowed load comes after those below."""


class Held(enum.IntEnum):
    """Why a move waits."""

    NOT = 0
    PER_MINUTE = 1
    AT_ONCE = 2
    AT_MOST = 3
    CAPACITY = 4
    GRADUAL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What may be used in this turn."""

    budget: Budget
    minute: int
    """Moves left in this minute."""
    allowed: Mapping[str, float]
    """Site -> queries per second that steered traffic may add to it; infinite: no limit."""
    load: Mapping[str, float]
    """Site -> present load by the policies' estimates, in queries per second."""
    heard_load: Mapping[str, float]
    """Site -> present load by dnstap, where it shows it, in queries per second."""
    ledger: Ledger
    now: Instant

    def demand_of(self, settings: Settings) -> float | None:
        """Queries per second of an address by the policy's estimate; None: there is none, which
        counts as 0.
        """
        return settings.estimate

    def heard_of(self, settings: Settings) -> float | None:
        """Queries per second by dnstap, where it shows them, else the same; None: unknown."""
        return demand(self.ledger, settings, self.now)

    @property
    def busy(self) -> frozenset[str]:
        """Sites with more than half of the allowed load."""
        return self._above(BUSY)

    @property
    def over(self) -> frozenset[str]:
        """Sites with more than the allowed load: it was unknown, or has grown since."""
        return self._above(1.0)

    def _above(self, part: float) -> frozenset[str]:
        """Sites with more than this part of it by the estimates or by dnstap, whichever is more."""
        return frozenset(
            site
            for site, allowed in self.allowed.items()
            if max(self.load[site], self.heard_load[site]) > allowed * part
        )


def room(
    index: Index,
    standing: Mapping[str, str],
    ledger: Ledger,
    moves: tuple[tuple[Instant, int], ...],
    now: Instant,
) -> Room:
    """What may be used.

    Args:
        index: all addresses and sites.
        standing: address -> its site, or the one that an override orders: both use room.
        ledger: by which dnstap shows the demand.
        moves: (instant, number) of the latest moves.
        now: this instant.
    """
    used = sum(number for at, number in moves if now - at < MINUTE)
    load, heard = dict.fromkeys(index.sites, 0.0), dict.fromkeys(index.sites, 0.0)
    for address, site in standing.items():
        settings = index.settings[address]
        load[site] += settings.estimate or 0.0
        heard[site] += demand(ledger, settings, now) or 0.0
    return Room(
        budget=index.budget,
        minute=max(0, index.budget.moves_per_minute - used),
        allowed={site: index.capacity[site] * index.budget.capacity_share for site in index.sites},
        load=load,
        heard_load=heard,
        ledger=ledger,
        now=now,
    )
