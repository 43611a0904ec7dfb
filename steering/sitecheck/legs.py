"""What is asked (each path, from each source, some addresses), and the results: values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from steering.act.kernel.path_check import PathCheck
from steering.config import Policy, Setup
from steering.model import LOCAL, Family, Source
from steering.observe.exchange import Exchange

ADDRESSES = 3
"""Addresses asked of each family: several, since a site may fail to reach one of them."""
ZONES = 2
"""Zones of an upstream that are asked for the large answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One source, one path and one family: one row of the table."""

    path: str
    family: Family
    source: Source | None
    """None: the kernel chooses it."""
    shown: bool = True
    """It is a row of the table; otherwise it is asked only for comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The results of the questions over one leg to one address."""

    address: str
    check: PathCheck
    """Checked after the questions: then the kernel knows whether the next hop answers."""
    udp: Exchange | None = None
    """The small question; None: it was not asked."""
    tcp: Exchange | None = None
    large: Mapping[str, Exchange] = field(default_factory=dict)
    """The large questions by UDP, by name."""
    stream: Exchange | None = None
    """The large questions by TCP, all together."""
    route_mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All results of one leg."""

    leg: Leg
    sent_from: str | None = None
    """The source address of the questions."""
    lacking: str = ""
    """Why this host can't send from the source; empty: it can."""
    mark: int | None = None
    """The mark of its questions."""
    dropped: int = 0
    """Packets that rp_filter dropped on this host while only this path was asked."""
    tried: Sequence[Tried] = ()
    """Incomplete if there was not enough time."""


def legs(
    setup: Setup, paths: Sequence[str], sources: Mapping[Family, Sequence[Source | None]]
) -> Iterator[Leg]:
    """The legs, the local path first. A family for which no site has a next hop has none.

    If the resolvers' sources are known, the kernel's choice is asked as well, for comparison: if
    only that is answered, the far side has no route back to the resolvers' sources.
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
    """Some addresses of a family with their zones, from as many upstreams as possible."""
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
