"""An override: an operator's order for some addresses, until it ends."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from steering.model import Family, Target, WallTime


class Action(enum.StrEnum):
    """What an override does with the addresses it matches."""

    STEER = "steer"  # through a site, whatever was measured
    LOCAL = "local"  # no detour
    FREEZE = "freeze"  # the path of now stays
    AVOID = "avoid"  # any path but through this site
    ACKNOWLEDGE = "acknowledge"  # an alarm was seen: no path changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which addresses an override covers. What is left out matches everything."""

    upstream: str | None = None
    nameserver: str | None = None
    address: str | None = None
    family: Family | None = None
    site: str | None = None
    """The site whose agent is to obey: one file may be given to all agents."""

    @property
    def narrow(self) -> bool:
        """Whether it covers some addresses, and not all."""
        return any((self.upstream, self.nameserver, self.address, self.family))

    def covers(self, target: Target, *, here: str) -> bool:
        """Whether it covers this address, for the agent of the site `here`."""
        return all(
            wanted is None or wanted == there
            for wanted, there in (
                (self.upstream, target.upstream),
                (self.nameserver, target.nameserver),
                (self.address, target.address),
                (self.family, target.family),
                (self.site, here),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """An operator's order for some addresses, until it ends."""

    name: str
    match: Match
    action: Action
    to: str | None
    """The site, for STEER and AVOID."""
    until: WallTime | None
    """None: it never ends."""
    reason: str
    by: str
    alarm: str | None = None
    """The name of the alarm, for ACKNOWLEDGE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """The path of an address when a freeze began."""

    path: str
    by: str
    """Name of the override that froze it. A freeze by another override begins anew."""
