"""The remote sites that upstream traffic can be sent through."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from steering.config.address_types import IPv4NextHop, IPv4Router, IPv6NextHop, IPv6Router
from steering.config.base import Section
from steering.config.types import whole
from steering.model import Family


class Return(enum.StrEnum):
    """How answers to probes through a site come back."""

    PATH = "path"
    ANY = "any"


class NextHop(Section):
    """The router, or the tunnel, that leads to a remote site."""

    ipv4: IPv4NextHop | None = Field(
        default=None,
        description="Next hop of the IPv4 host routes: an address on a link of this host, or"
        " `{dev: tun0}` where the interface alone determines where packets go.",
    )
    ipv6: IPv6NextHop | None = Field(
        default=None,
        description='The same for IPv6; also `{via: "fe80::1", dev: eth1}` for a router with a'
        " link-local address.",
    )

    @property
    def by_family(self) -> Mapping[Family, str]:
        """The next hops that are configured."""
        hops = {Family.IPV4: self.ipv4, Family.IPV6: self.ipv6}
        return {family: hop for family, hop in hops.items() if hop is not None}


class Announced(NextHop):
    """A next hop as it is announced to routers."""

    ipv4: IPv4Router | None = Field(default=None, description="Next hop of the IPv4 host routes.")
    ipv6: IPv6Router | None = Field(default=None, description="Next hop of the IPv6 host routes.")


def _reachable(hop: NextHop) -> NextHop:
    if hop.ipv4 is None and hop.ipv6 is None:
        raise ValueError("names no address, wanted ipv4, ipv6 or both")
    return hop


class Site(Section):
    """One remote site that this one can send upstream traffic through."""

    hops: Annotated[NextHop, AfterValidator(_reachable)] = Field(
        alias="next_hop", description="How packets get there, for one or both address families."
    )
    capacity: Annotated[int, whole(1, 10**9, why="queries per second")] | None = Field(
        default=None,
        description="Queries per second that may be sent there. No limit if left out, nor for"
        " policies without `steer.queries_per_second`.",
    )

    returns: Return = Field(
        default=Return.PATH,
        alias="return",
        description="How answers to probes through the site come back: `path`, by the link that the"
        " probe left by, or `any`. With `path`, a UDP answer that arrives by another link is"
        " ignored, where the local path and the site have different links.",
    )

    @property
    def next_hop(self) -> Mapping[Family, str]:
        """The next hop of each family that has one."""
        return self.hops.by_family
