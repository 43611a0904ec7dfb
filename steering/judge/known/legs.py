"""A leg: the path from one source over one site and back, and what became of probes over it.

How they are counted, and why, is in `reach`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from steering.model import Family, Outcome, Target

LOST = 8
"""Unanswered probes in a row after which a usable leg is lost: if a tenth of all packets get lost,
this happens once in a hundred million probes."""
AT_FIRST = 3
"""So many are enough if nothing was ever answered."""
BACK = 3
"""Answers in a row after which a lost leg is usable again."""
FORGOTTEN = 500
"""Smaller answers since a large one was lost or came, after which its loss is forgotten: the
nameservers may not have such answers any more."""
ADDRESSES = 3
"""Addresses that these probes must be spread over, if there are so many."""
SILENT = (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
"""Outcomes of probes without an answer. Whatever the cause, a resolver's query would end alike."""


class LegState(enum.StrEnum):
    """What is known of one leg."""

    USABLE = "usable"
    LOST = "lost"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True, order=True)
class Leg:
    """The path from one source over one site and back, by one transport."""

    site: str
    family: Family
    source: str
    """Empty: the address that the kernel chooses."""
    tcp: bool
    large: str = ""
    """The upstream whose large answers it is about; empty: other answers, of any upstream."""

    @property
    def sender(self) -> str:
        """The source as text: `kernel` if the kernel chooses it."""
        return self.source or "kernel"

    @property
    def partial(self) -> bool:
        """Whether it concerns only a part of a resolver's queries: TCP, or large answers."""
        return self.tcp or bool(self.large)

    @property
    def any_size(self) -> Leg:
        """The same for answers that are not large."""
        return replace(self, large="")

    def concerns(self, target: Target) -> bool:
        """Whether queries to this address may take it."""
        return self.family is target.family and self.large in ("", target.upstream)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What became of the latest probes over a leg."""

    state: LegState = LegState.UNTRIED
    came: int = 0
    """Answers in a row."""
    lost: int = 0
    """Probes in a row without one."""
    asked: frozenset[str] = frozenset()
    """Addresses that these were sent to."""
    least: int = 0
    """Octets of the smallest of the lost large answers, by its size over the local path."""
    most: int = 0
    """Octets of the largest answer that came meanwhile, or would have been as large here."""
    beside: int = 0
    """Smaller answers since the latest loss; 1 if any came before it."""

    def answered(self, octets: int = 0) -> Reach:
        """After one more answer; `octets`: its size if it is large."""
        if octets < self.least:
            return replace(self.smaller(), most=max(self.most, octets))
        if self.came == BACK:
            return self
        came = self.came + 1
        if self.state is LegState.LOST and came < BACK:
            return Reach(state=LegState.LOST, came=came, least=self.least)
        return Reach(state=LegState.USABLE, came=came)

    def unanswered(self, address: str, addresses: int, octets: int = 0) -> Reach:
        """After one more probe without an answer, to this address of `addresses`."""
        before = self
        if self.most >= octets > 0:  # one as large came meanwhile
            if self.state is LegState.LOST:
                return self
            before = replace(self, lost=0, asked=frozenset(), least=0, most=0)
        after = replace(
            before,
            came=0,
            lost=min(before.lost + 1, LOST),
            asked=before.asked | {address},
            least=min(octets, before.least or octets),
            beside=min(before.beside, 1),
        )
        enough = LOST if self.state is LegState.USABLE else AT_FIRST
        is_lost = after.lost >= enough and len(after.asked) >= min(ADDRESSES, addresses)
        if is_lost and (after.beside or not octets):
            return replace(after, state=LegState.LOST)
        return after

    def smaller(self, here: int = 0) -> Reach:
        """After an answer that is smaller than the lost ones; `here`: its octets over the local
        path, if it is large there.
        """
        if self.state is not LegState.LOST and not self.lost:
            return self
        if here >= self.least or self.beside + 1 == FORGOTTEN:
            # The nameservers reached by the site, or all by now, give smaller answers.
            return Reach(state=LegState.USABLE) if self.state is LegState.USABLE else NOTHING
        if self.state is not LegState.LOST and not self.beside:
            # During these losses perhaps no answer of any size came.
            return Reach(state=self.state, beside=1)
        return replace(self, beside=self.beside + 1, most=max(self.most, here))


NOTHING = Reach()
"""What is known of a leg that no probe took."""


@dataclass(frozen=True, slots=True)
class SiteReach:
    """What is known of the path from a source over a site and back."""

    leg: Leg
    transport: str
    """`udp` or `tcp`; `large`: large answers by either."""
    state: LegState
