"""Settings of the speaker, its neighbours, and the attributes of routes: values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steering.act.kernel.diff import unfit
from steering.model import Family

NO_EXPORT = "no-export"
"""The well-known community as ExaBGP writes it."""
WELL_KNOWN = {
    "65535:65281": NO_EXPORT,
    "65535:65282": "no-advertise",
    "65535:65283": "no-export-subconfed",
    "65535:65284": "no-peer",
    "65535:666": "blackhole",
}
"""Those that ExaBGP 5.0 always lists by name (RFC 1997, 3765, 7999)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """The attributes of one host route."""

    next_hop: str
    local_preference: int | None = None
    med: int | None = None
    communities: frozenset[str] = frozenset()
    large_communities: frozenset[str] = frozenset()


Table = Mapping[str, Attributes]
"""Address -> attributes, of host routes only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One neighbour, identified by its address: no two neighbours share one."""

    address: str
    peer_as: int
    port: int = 179
    local_address: str | None = None
    """None: the one on the route to the neighbour."""
    password_file: Path | None = None
    hold_time: int = 9
    families: tuple[Family, ...] = tuple(Family)
    passive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpSettings:
    """All settings of the speaker."""

    local_as: int
    router_id: str
    peers: tuple[Peer, ...]
    next_hops: Mapping[str, Mapping[Family, str]] = field(hash=False)
    """Site -> its next hop of each family, as announced to the routers."""
    local_preference: int | None = None
    med: int | None = None
    communities: frozenset[str] = frozenset({NO_EXPORT})
    large_communities: frozenset[str] = frozenset()
    listen: int | None = None
    exabgp: Path | None = None
    """The program; None: the package in this Python environment."""
    user: str = "steering-bgp"

    def attributes(self, address: str, site: str) -> Attributes:
        """The attributes for one address. Raises KeyError if the site lacks the family."""
        return Attributes(
            next_hop=self.next_hops[site][Family.of(address)],
            local_preference=self.local_preference,
            med=self.med,
            communities=frozenset(WELL_KNOWN.get(one, one) for one in self.communities),
            large_communities=self.large_communities,
        )

    def site_of(self, next_hop: str) -> str | None:
        """The site with this next hop; None if there is none."""
        for site, hops in self.next_hops.items():
            if next_hop in hops.values():
                return site
        return None

    def objection(
        self, address: str, site: str, *, allowed: Collection[str], own: Collection[str]
    ) -> str | None:
        """Why this address must never be announced through this site; None if it may.

        The last check before the speaker: only host routes of the policies' addresses, and never
        one that the routers need to reach a site or to talk BGP with this host.
        """
        if because := unfit(address, allowed=allowed, own=own):
            return because
        if (taken := self.site_of(address)) is not None:
            return f"it is the next hop of {taken}"
        if any(address in {peer.address, peer.local_address} for peer in self.peers):
            return "it is an end of a BGP session"
        if Family.of(address) not in self.next_hops.get(site, {}):
            return f"site {site} has no {Family.of(address)} next hop"
        return None
