"""Steering by BGP: our own speaker, its neighbours, and the attributes of the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from steering import bounds
from steering.config.address_types import Address, Community, FamilyName, IPv4, LargeCommunity
from steering.config.base import DISTINCT, SOME, FieldError, Section
from steering.config.site import Announced
from steering.config.types import FilePath, Name, SiteName, duration, whole
from steering.model import Family

_AS = Annotated[
    int, whole(1, bounds.U32, why="AS numbers have 32 bits (RFC 6793), and 0 is reserved")
]
_PORT = Annotated[int, whole(1, 0xFFFF, why="these are the TCP ports")]
_U32 = Annotated[int, whole(0, bounds.U32, why="it has 32 bits")]
USER = "steering-bgp"
"""The user that `systemd/steering-bgp.conf` creates."""


class Neighbor(Section):
    """A router, or a route reflector, that the routes are announced to."""

    address: Address = Field(
        description="Address of the neighbour, of either family: both families' routes go over it."
    )
    peer_as: _AS = Field(description="AS number of the neighbour.")
    port: _PORT = Field(default=179, description="TCP port of the neighbour.")
    local_address: Address | None = Field(
        default=None,
        description="Our address on this session; chosen by the route to the neighbour if left"
        " out.",
    )
    password_file: FilePath | None = Field(
        default=None,
        description="File with the password of TCP MD5 (RFC 2385), relative to this file. Only its"
        " owner may read it. No password if left out.",
    )
    hold_time: Annotated[
        float, duration("3s", "18h", why="RFC 4271 section 4.2: at least 3 s, in two octets")
    ] = Field(
        default=9.0,
        description="After this time without a message each side closes the session. Whole"
        " seconds.",
    )
    families: Annotated[tuple[FamilyName, ...], SOME, DISTINCT] = Field(
        default=tuple(Family), description="Families whose routes are announced."
    )
    passive: bool = Field(
        default=False, description="Wait for the neighbour to connect; needs `listen`."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hold_time % 1:
            raise FieldError("hold_time", f"is {self.hold_time}s, wanted whole seconds")
        ours = self.local_address
        if ours is not None and Family.of(ours) is not Family.of(self.address):
            raise FieldError("local_address", f"is {ours}, wanted one of the neighbour's family")
        return self


class Bgp(Section):
    """How routes are announced to routers. The speaker is ExaBGP 5.0, a separate process."""

    local_as: _AS = Field(description="Our AS number.")
    router_id: IPv4 = Field(
        description="Our BGP identifier, an IPv4 address that no other speaker uses."
    )
    neighbors: Annotated[tuple[Neighbor, ...], SOME] = Field(
        description="The routers. The same routes are announced to all of them."
    )
    local_preference: _U32 = Field(
        default=500,
        description="LOCAL_PREF of the routes, above that of the normal ones (usually 100)."
        " Not sent to a neighbour of another AS (RFC 4271 section 5.1.5).",
    )
    med: _U32 | None = Field(
        default=None, description="MULTI_EXIT_DISC of the routes; none if left out."
    )
    communities: Annotated[tuple[Community, ...], DISTINCT] = Field(
        default=(), description="Communities of the routes (RFC 1997)."
    )
    large_communities: Annotated[tuple[LargeCommunity, ...], DISTINCT] = Field(
        default=(), description="Large communities of the routes (RFC 8092)."
    )
    no_export: bool = Field(
        default=True,
        description="Whether NO_EXPORT (RFC 1997) keeps the routes within the neighbours' AS.",
    )
    next_hop: Mapping[SiteName, Announced] = Field(
        default={},
        validate_default=False,
        description="Next hops to announce, by site. If left out, the site's own next hop, where"
        " that is an address.",
    )
    listen: _PORT | None = Field(
        default=None,
        description="Port on which neighbours may connect to us. If left out, only we connect.",
    )
    exabgp: FilePath | None = Field(
        default=None,
        description="The `exabgp` program; the package beside this one if left out.",
    )
    user: Name = Field(
        default=USER,
        description="The user that the speaker runs as, where the agent runs as root. Nothing else"
        " may run as this user. Without such a user the speaker does not start.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        addresses = [neighbor.address for neighbor in self.neighbors]
        for address in addresses:
            if addresses.count(address) > 1:
                raise FieldError("neighbors", f"{address} is listed twice, wanted each once")
        if self.listen is None and any(neighbor.passive for neighbor in self.neighbors):
            raise FieldError("listen", "is missing, wanted a port: a neighbour is passive")
        return self
