"""The addresses that the resolvers of this host send from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from steering.config.address_types import IPv4Source, IPv6Source
from steering.config.base import DISTINCT, Section
from steering.model import Family, Source


def _few(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    if len(sources) > MOST:
        raise ValueError(f"lists {len(sources)} sources, wanted at most {MOST}")
    return sources


MOST = 16
"""Sources of a family. They take turns, and each must have a result within seconds."""


class ResolverSources(Section):
    """The addresses that the resolvers of this host send from, where they choose them."""

    ipv4: Annotated[tuple[IPv4Source, ...], DISTINCT, AfterValidator(_few)] = Field(
        default=(), description="Sources of IPv4 queries, addresses of this host."
    )
    ipv6: Annotated[tuple[IPv6Source, ...], DISTINCT, AfterValidator(_few)] = Field(
        default=(), description="Sources of IPv6 queries, addresses of this host."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.ipv4 and not self.ipv6:
            raise ValueError("names no source, wanted ipv4, ipv6 or both")
        return self

    @property
    def by_family(self) -> Mapping[Family, tuple[Source, ...]]:
        """The sources of each family that has some."""
        both = {Family.IPV4: self.ipv4, Family.IPV6: self.ipv6}
        return {family: sources for family, sources in both.items() if sources}
