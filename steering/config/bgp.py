"""Steering by BGP: who we are, whom we tell, and what is said with each route."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from steering.config.addresses import Address, Role
from steering.config.base import MisfitError, Section, distinct, some
from steering.config.problems import shown
from steering.config.scalars import FilePath, Place, Scalar, Whole, Word
from steering.config.site import Announced, SiteName
from steering.config.units import Duration
from steering.model import Family

_AS = Whole(low=1, high=2**32 - 1, why="AS numbers have 32 bits (RFC 6793), and 0 is nobody's")
USER = "steering-bgp"
"""What `systemd/steering-bgp.conf` makes."""
_PORT = Whole(low=1, high=0xFFFF, why="TCP's ports")


@dataclass(frozen=True, slots=True, kw_only=True)
class Community(Scalar[str]):
    """A community, of as many numbers as its kind has."""

    parts: int
    bits: int

    @property
    def word(self) -> str:  # type: ignore[override]
        """What the reference calls it."""
        return "community" if self.parts == 2 else "large community"

    def read(self, value: object, _place: Place | None, /) -> str:
        wanted = ":".join(["64512", "5353", "1"][: self.parts])
        numbers = value.split(":") if isinstance(value, str) else []
        if len(numbers) != self.parts or not all(re.fullmatch("[0-9]{1,10}", n) for n in numbers):
            raise ValueError(f"is {shown(value)}, wanted {self.parts} numbers ({wanted}), quoted")
        if any(int(n) >> self.bits for n in numbers):
            raise ValueError(f"is {value}, wanted numbers of {self.bits} bits each")
        return ":".join(str(int(n)) for n in numbers)

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": "^[0-9]+" + ":[0-9]+" * (self.parts - 1) + "$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyName(Scalar[Family]):
    """An address family."""

    word: ClassVar[str] = "ipv4, ipv6"

    def read(self, value: object, _place: Place | None, /) -> Family:
        try:
            return Family(str(value))
        except ValueError:
            raise ValueError(f"is {shown(value)}, wanted ipv4 or ipv6") from None

    def schema(self) -> Mapping[str, object]:
        return {"enum": [str(family) for family in Family]}


class Neighbor(Section):
    """A router, or a route reflector, that the routes are announced to."""

    address: Annotated[str, Address(role=Role.NEIGHBOR)] = Field(
        description="Address of the neighbour, of either family: both families' routes go over it."
    )
    peer_as: Annotated[int, _AS] = Field(description="AS number of the neighbour.")
    port: Annotated[int, _PORT] = Field(default=179, description="TCP port of the neighbour.")
    local_address: Annotated[str, Address(role=Role.NEIGHBOR)] | None = Field(
        default=None,
        description="Our address on this session; by the route to the neighbour if left out.",
    )
    password_file: Annotated[Path, FilePath()] | None = Field(
        default=None,
        description="File with the password of TCP MD5 (RFC 2385), which only its owner may"
        " read, relative to this file; none if left out.",
    )
    hold_time: Annotated[
        float,
        Duration(low="3s", high="18h", why="RFC 4271 section 4.2 allows no less, or two octets"),
    ] = Field(
        default=9.0,
        description="After this time of silence each side takes the other for dead. Whole seconds.",
    )
    families: Annotated[
        tuple[Annotated[Family, FamilyName()], ...],
        AfterValidator(some),
        AfterValidator(distinct),
    ] = Field(default=tuple(Family), description="Families whose routes are announced.")
    passive: bool = Field(
        default=False, description="Wait for the neighbour to connect; needs `listen`."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hold_time % 1:
            raise MisfitError("hold_time", f"is {self.hold_time}s, wanted whole seconds")
        ours = self.local_address
        if ours is not None and Family.of(ours) is not Family.of(self.address):
            raise MisfitError("local_address", f"is {ours}, wanted one of the neighbour's family")
        return self


class Bgp(Section):
    """How routers are told. The speaker is ExaBGP 5.0, a process of its own."""

    local_as: Annotated[int, _AS] = Field(description="Our AS number.")
    router_id: Annotated[str, Address(role=Role.NEIGHBOR, family=Family.IPV4)] = Field(
        description="Our BGP identifier, an IPv4 address that no other speaker uses."
    )
    neighbors: Annotated[tuple[Neighbor, ...], AfterValidator(some)] = Field(
        description="The routers that are told, all of them the same."
    )
    local_preference: Annotated[int, Whole(low=0, high=2**32 - 1, why="it has 32 bits")] = Field(
        default=500,
        description="LOCAL_PREF of the routes, above that of the ordinary ones (usually 100)."
        " Not sent to a neighbour of another AS (RFC 4271 section 5.1.5).",
    )
    med: Annotated[int, Whole(low=0, high=2**32 - 1, why="it has 32 bits")] | None = Field(
        default=None, description="MULTI_EXIT_DISC of the routes; none if left out."
    )
    communities: Annotated[
        tuple[Annotated[str, Community(parts=2, bits=16)], ...], AfterValidator(distinct)
    ] = Field(default=(), description="Communities of the routes (RFC 1997).")
    large_communities: Annotated[
        tuple[Annotated[str, Community(parts=3, bits=32)], ...], AfterValidator(distinct)
    ] = Field(default=(), description="Large communities of the routes (RFC 8092).")
    no_export: bool = Field(
        default=True,
        description="Whether NO_EXPORT (RFC 1997) keeps the routes within the neighbours' AS.",
    )
    next_hop: Mapping[SiteName, Announced] = Field(
        default={},
        validate_default=False,
        description="Next hops as the routers know them, by site; the site's own if left out, where"
        " that is an address.",
    )
    listen: Annotated[int, _PORT] | None = Field(
        default=None,
        description="Port on which neighbours may connect to us; only we connect if left out.",
    )
    exabgp: Annotated[Path, FilePath()] | None = Field(
        default=None,
        description="The `exabgp` program; the package beside this one if left out.",
    )
    user: Annotated[str, Word()] = Field(
        default=USER,
        description="Whom the speaker runs as, where the agent runs as root: a user that nothing"
        " else runs as. Where there is none, the speaker does not start.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        addresses = [neighbor.address for neighbor in self.neighbors]
        for address in addresses:
            if addresses.count(address) > 1:
                raise MisfitError("neighbors", f"{address} is there twice, wanted each once")
        if self.listen is None and any(neighbor.passive for neighbor in self.neighbors):
            raise MisfitError("listen", "is missing, wanted a port: a neighbour is passive")
        return self
