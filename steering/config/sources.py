"""What the resolvers of this host send from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from steering.config.addresses import Address, Interface, Role
from steering.config.base import Section
from steering.config.problems import shown
from steering.config.scalars import Place, Scalar
from steering.model import Family, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Scalar[Source]):
    """A source: its address, or {address, interface} where sockets are bound to a link or a VRF."""

    family: Family

    word: ClassVar[str] = "address or {address, interface}"

    def read(self, value: object, place: Place | None, /) -> Source:
        if isinstance(value, Source):
            return value
        address, interface = value, None
        if isinstance(value, Mapping):
            if not {"address"} <= value.keys() <= {"address", "interface"}:
                raise ValueError(f"is {shown(dict(value))}, wanted address and interface")
            address, interface = value["address"], value.get("interface")
        found = Address(role=Role.NEIGHBOR, family=self.family).read(address, place)
        if interface is not None:
            interface = Interface(bound=True).read(interface, place)
        return Source(address=found, interface=interface)

    def write(self, value: Source) -> str | Mapping[str, str]:
        if value.interface is None:
            return value.address
        return {"address": value.address, "interface": value.interface}

    def schema(self) -> Mapping[str, object]:
        address = Address(role=Role.NEIGHBOR, family=self.family).schema()
        properties = {"address": address, "interface": Interface(bound=True).schema()}
        bound = {
            "type": "object",
            "properties": properties,
            "required": ["address"],
            "additionalProperties": False,
        }
        return {"anyOf": [address, bound]}


def _once(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Each once: rounds take them in turns."""
    for source in sources:
        if sources.count(source) > 1:
            raise ValueError(f"{source} is listed twice, wanted each once")
    if len(sources) > MOST:
        raise ValueError(f"lists {len(sources)} sources, wanted at most {MOST}")
    return sources


MOST = 16
"""Sources of a family: they take turns, and each has to be heard of within seconds."""


class ResolverSources(Section):
    """What the resolvers of this host send from, where they choose it themselves."""

    ipv4: Annotated[
        tuple[Annotated[Source, From(family=Family.IPV4)], ...], AfterValidator(_once)
    ] = Field(default=(), description="Sources of IPv4 questions, addresses of this host.")
    ipv6: Annotated[
        tuple[Annotated[Source, From(family=Family.IPV6)], ...], AfterValidator(_once)
    ] = Field(default=(), description="Sources of IPv6 questions, addresses of this host.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.ipv4 and not self.ipv6:
            raise ValueError("names no source, wanted ipv4, ipv6 or both")
        return self

    @property
    def by_family(self) -> Mapping[Family, tuple[Source, ...]]:
        """Those there are."""
        both = {Family.IPV4: self.ipv4, Family.IPV6: self.ipv6}
        return {family: sources for family, sources in both.items() if sources}
