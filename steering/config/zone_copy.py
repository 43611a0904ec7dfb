"""A zone of which resolvers of this site serve their own copy: how it is watched and taken out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr, model_validator

from steering.config.address_types import ResolverAddress
from steering.config.base import DISTINCT, SOME, FieldError, Section
from steering.config.resolvers import Argv, OneResolver
from steering.config.types import DomainName, FilePath, Name, Place, duration


class CopyOf(OneResolver):
    """One resolver that serves from a copy: where the copy is seen, and what takes it out."""

    settings: FilePath | None = Field(
        default=None,
        description="The resolver's own configuration, for the warnings of `steering check`.",
    )
    file: FilePath | None = Field(
        default=None,
        description="The zone's file that it serves from. It is verified whenever it changes. A"
        " copy that was taken out is put back once a new one is in this file.",
    )
    address: ResolverAddress | None = Field(
        default=None,
        description="Address of the local server that holds the copy: the resolver's own, or that"
        " of an authoritative server beside it. It is asked for serial and signature dates.",
    )
    clients: Annotated[tuple[ResolverAddress, ...], SOME, DISTINCT] = Field(
        description="The addresses by which clients use this resolver."
    )
    through: Annotated[tuple[ResolverAddress, ...], DISTINCT] = Field(
        default=(),
        description="The forwarders and nodes between it and clients: they are asked as well"
        " whether a copy is out.",
    )
    refresh: (
        Annotated[float, duration("1s", "7d", why="no copy may live longer than that unrenewed")]
        | None
    ) = Field(
        default=None,
        description="How often the resolver fetches its copy, where that is not the refresh of the"
        " zone's SOA: PowerDNS (`refreshPeriod`) and Knot Resolver (`interval`) do it once a day.",
    )
    command: Argv | None = Field(
        default=None,
        description="A command that takes the copy out, tried where the resolver's `include` is not"
        " set or did not help.",
    )
    restore: Argv | None = Field(
        default=None, description="The command that undoes `command`. Wanted with it."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.file is None and self.address is None:
            raise ValueError("shows no copy, wanted its file, the address of its server, or both")
        if (self.command is None) != (self.restore is None):
            lacks, there = ("restore", "command") if self.command else ("command", "restore")
            raise FieldError(lacks, f"is missing, wanted with {there}")
        return self


class ZoneCopy(Section):
    """A zone of which resolvers of this site serve their own copy."""

    zone_copy: Name = Field(description="A name for it, in the status and the metrics.")
    zone: DomainName = Field(default=".", description="The zone. It has to be signed.")
    servers: Annotated[tuple[ResolverAddress, ...], DISTINCT] = Field(
        default=(),
        description="Nameservers of the zone, which copies are compared with. If left out, those of"
        " the policies for this zone.",
    )
    interval: Annotated[
        float, duration("200ms", "1h", why="slower finds it late, faster is rude")
    ] = Field(default=60.0, description="Time between two looks at the zone's servers and copies.")
    margin: Annotated[float, duration("1s", "30d", why="signatures live for days or weeks")] = (
        Field(
            default=86_400.0,
            description="A copy is taken out so long before the first of its signatures ends. At"
            " most half of what the signatures at the zone's servers have left at any time.",
        )
    )
    max_age: (
        Annotated[float, duration("1s", "30d", why="no zone expires later than that")] | None
    ) = Field(
        default=None,
        description="The longest time since the copy was last proven new, if it is to be shorter"
        " than the expire of the zone's SOA.",
    )
    names: Annotated[tuple[DomainName, ...], DISTINCT] = Field(
        default=(),
        description="Names in the zone, some of them at its end, to ask resolvers for. Found"
        " automatically where the zone has NSEC records, as the root has.",
    )
    resolvers: Annotated[Mapping[Name, CopyOf], SOME] = Field(
        description="The resolvers of this site that serve from a copy, by names of your choice."
    )

    _file: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401
        """Keep the file that it comes from."""
        if isinstance(context, Place):
            self._file = context.file

    @model_validator(mode="after")
    def _within(self) -> Self:
        for name in self.names:
            if self.zone != "." and not name.endswith(f".{self.zone}"):
                raise FieldError("names", f"{name} is not below {self.zone}")
        return self

    @property
    def file(self) -> Path:
        """The file that it was read from."""
        return self._file
