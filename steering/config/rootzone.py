"""The copy of the root zone that the agent keeps, and the resolvers that it gives it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from steering.config.address_types import ResolverAddress
from steering.config.base import DISTINCT, SOME, Section
from steering.config.resolvers import OneResolver
from steering.config.types import FilePath, Name, duration

SOURCES = ("192.0.32.132", "192.0.47.132", "2620:0:2d0:202::132", "2620:0:2830:202::132")
"""xfr.lax.dns.icann.org and xfr.cjr.dns.icann.org, which ICANN runs for this."""


class Publish(OneResolver):
    """A resolver that is given the copy: exactly one of the kinds, and where its file is."""

    file: FilePath = Field(
        description="The file that the resolver reads the zone from. The agent replaces it."
    )
    address: ResolverAddress | None = Field(
        default=None,
        description="Where its clients ask it. After each reload it is asked there for names at the"
        " end of the zone, and gets the file before back if it does not know them. Not asked if"
        " left out.",
    )


class RootZone(Section):
    """A good copy of the root zone, kept in `rootzone` under `state`."""

    sources: Annotated[tuple[ResolverAddress, ...], SOME, DISTINCT] = Field(
        default=SOURCES,
        description="Servers that give the root zone by AXFR. All are asked for its serial, and the"
        " one with the newest for the zone. Those of ICANN's zone transfer service if left out.",
    )
    interval: Annotated[
        float, duration("1s", "1d", why="the root changes twice a day, and its copies last a week")
    ] = Field(
        default=60.0,
        description="The least time between two rounds of asking, whatever the SOA says. The SOA's"
        " refresh counts if it is longer, after a failure its retry.",
    )
    publish: Mapping[Name, Publish] = Field(
        default={}, description="The resolvers that are given each new copy, by names of your own."
    )
