"""The remote sites that upstream traffic can be sent through."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from steering import bounds, next_hop
from steering.config.addresses import Address, Interface, Role
from steering.config.base import Section
from steering.config.problems import shown
from steering.config.scalars import Place, Scalar, Whole, Word
from steering.model import LOCAL, Family

SiteName = Annotated[str, Word(reserved={LOCAL: "the name of the path without a detour"})]


class Return(enum.StrEnum):
    """How answers to questions through a site come back."""

    PATH = "path"
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop(Scalar[str]):
    """A next hop, as text (`steering.next_hop`)."""

    family: Family

    word: ClassVar[str] = "address, {dev} or {via, dev}"

    def read(self, value: object, place: Place | None, /) -> str:
        match value:
            case list() | tuple():
                raise ValueError(
                    f"is {shown(list(value))}, wanted one next hop: for two routers an address that"
                    " they share (VRRP), or an interface"
                )
            case Mapping():
                if not {"dev"} <= value.keys() <= {"via", "dev"}:
                    raise ValueError(f"is {shown(dict(value))}, wanted dev, or via and dev")
                dev = Interface(bound=True).read(value["dev"], place)
                if dev == "lo":
                    raise ValueError("lo is this host itself, wanted the link to the remote site")
                via = self._link_local(value["via"]) if "via" in value else None
                return next_hop.written(via, dev) or ""
        if "%" in (text := str(value)) or text.lower().startswith("fe80:"):
            via, _, dev = text.partition("%")
            form = f'{{via: "{via}", dev: {dev or "INTERFACE"}}}'
            raise ValueError(f"{shown(value)} is link-local on an interface, wanted {form}")
        return Address(role=Role.NEXT_HOP, family=self.family).read(value, place)

    def _link_local(self, value: object) -> str:
        try:
            via = ipaddress.ip_address(value if isinstance(value, str) else "")
        except ValueError:
            raise ValueError(
                f"via: {shown(value)} is no address, wanted a link-local one"
            ) from None
        if self.family is Family.IPV4 or via.version == 4 or not via.is_link_local:
            raise ValueError(f"via: {via} is not link-local in IPv6, wanted the address alone")
        if because := bounds.unfit(via, link_local=True):
            raise ValueError(f"via: {via} {because}")
        return str(via)

    def write(self, value: str) -> str | Mapping[str, str]:
        via, dev = next_hop.parts(value)
        if dev is None:
            return value
        return {"dev": dev} if via is None else {"via": via, "dev": dev}

    def schema(self) -> Mapping[str, object]:
        dev = Interface(bound=True).schema()
        only = {"type": "object", "additionalProperties": False}
        forms = [
            Address(role=Role.NEXT_HOP, family=self.family).schema(),
            {**only, "properties": {"dev": dev}, "required": ["dev"]},
        ]
        if self.family is Family.IPV6:
            via = {"type": "string", "format": "ipv6"}
            both = {"via": via, "dev": dev}
            forms.append({**only, "properties": both, "required": ["via", "dev"]})
        return {"anyOf": forms}


class NextHop(Section):
    """The router, or the tunnel, that leads to a remote site."""

    ipv4: Annotated[str, Hop(family=Family.IPV4)] | None = Field(
        default=None,
        description="Next hop of the IPv4 host routes: an address on a link of this host, or"
        " `{dev: tun0}` where the interface alone says where packets go.",
    )
    ipv6: Annotated[str, Hop(family=Family.IPV6)] | None = Field(
        default=None,
        description='The same for IPv6; also `{via: "fe80::1", dev: eth1}` for a router that is'
        " known by a link-local address.",
    )

    @property
    def by_family(self) -> Mapping[Family, str]:
        """Those there are."""
        hops = {Family.IPV4: self.ipv4, Family.IPV6: self.ipv6}
        return {family: hop for family, hop in hops.items() if hop is not None}


class Announced(NextHop):
    """A next hop as routers are told of it."""

    ipv4: Annotated[str, Address(role=Role.NEXT_HOP, family=Family.IPV4)] | None = Field(
        default=None, description="Next hop of the IPv4 host routes."
    )
    ipv6: Annotated[str, Address(role=Role.NEXT_HOP, family=Family.IPV6)] | None = Field(
        default=None, description="Next hop of the IPv6 host routes."
    )


def _reachable(hop: NextHop) -> NextHop:
    if hop.ipv4 is None and hop.ipv6 is None:
        raise ValueError("names no address, wanted ipv4, ipv6 or both")
    return hop


class Site(Section):
    """One remote site that this one can send upstream traffic through."""

    hops: Annotated[NextHop, AfterValidator(_reachable)] = Field(
        alias="next_hop", description="How packets get there, by address family: one or both."
    )
    capacity: Annotated[int, Whole(low=1, high=10**9, why="queries per second")] | None = Field(
        default=None,
        description="Queries per second that may be sent there; no limit if left out, nor for"
        " policies without `steer.queries_per_second`.",
    )

    returns: Return = Field(
        default=Return.PATH,
        alias="return",
        description="How answers to questions through the site come back: by the link they went"
        " by, or by any. With `path`, an answer by UDP that comes in by another link is passed"
        " over, where the local path has another link than the site.",
    )

    @property
    def next_hop(self) -> Mapping[Family, str]:
        """The next hop of each family that has one."""
        return self.hops.by_family
