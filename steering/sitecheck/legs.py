"""What is asked: each path, from each source, of some addresses; and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from steering.act.kernel.path_check import PathCheck
from steering.config import Policy, Setup
from steering.model import LOCAL, Family, Source
from steering.observe.exchange import Exchange

ADDRESSES = 3
"""So many are asked of a family: one that a site does not reach says nothing of the site."""
ZONES = 2
"""Of an upstream, for the large answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """The way from one source over one path and back."""

    path: str
    family: Family
    source: Source | None
    """None: what the kernel chooses."""
    shown: bool = True
    """It is a row of the table; else it is only asked to be compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of the questions over one leg to one address."""

    address: str
    way: PathCheck
    """After they were asked: the kernel knows then whether the next hop answers."""
    udp: Exchange | None = None
    """The small question; None: it was not asked."""
    tcp: Exchange | None = None
    large: Mapping[str, Exchange] = field(default_factory=dict)
    """By UDP, by what was asked."""
    stream: Exchange | None = None
    """By TCP, all of these together."""
    route_mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that came of asking over one leg."""

    leg: Leg
    sent_from: str | None = None
    """The address that the questions came from."""
    lacking: str = ""
    """Why nothing can be sent from its source on this host; empty: it can."""
    mark: int | None = None
    """What its questions carry."""
    dropped: int = 0
    """Packets that rp_filter dropped on this host while this path alone was asked."""
    tried: Sequence[Tried] = ()
    """Less than was wanted where the time was up."""


def legs(
    setup: Setup, paths: Sequence[str], sources: Mapping[Family, Sequence[Source | None]]
) -> Iterator[Leg]:
    """The rows, the local path first. A family that no site has a next hop for has none.

    Where the resolvers' sources are known, what the kernel chooses is asked beside them: that it
    is answered where they are not says what the far side lacks.
    """
    sites = setup.config.sites
    for path in paths:
        for family in Family:
            hops = [site.next_hop for name, site in sites.items() if path in {LOCAL, name}]
            if any(family in hop for hop in hops) and sample(setup.policies, family):
                known = sources.get(family) or (None,)
                for source in known:
                    yield Leg(path=path, family=family, source=source)
                if None not in known:
                    yield Leg(path=path, family=family, source=None, shown=False)


def sample(policies: Sequence[Policy], family: Family) -> Mapping[str, Sequence[str]]:
    """Some addresses of a family with their zones, of as many upstreams as there are."""
    columns = [
        [(t.address, policy.zones[:ZONES]) for t in policy.targets if t.family is family]
        for policy in policies
    ]
    found: dict[str, Sequence[str]] = {}
    for nth in range(max(map(len, columns), default=0)):
        for column in columns:
            if nth < len(column) and len(found) < ADDRESSES:
                address, zones = column[nth]
                found.setdefault(address, zones)
    return found
