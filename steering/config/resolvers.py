"""How the agent reaches the resolvers of this site: to take a copy out, and to flush.

A resolver is reached as its operator reaches it: by its own control program, or its control socket.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from steering.config.base import DISTINCT, SOME, Section
from steering.config.types import FilePath, Name, Text, duration

Argv = Annotated[tuple[Text, ...], SOME]
"""A program and its arguments. No shell reads it."""


class ControlSection(Section):
    """What all resolvers have in common."""

    include: FilePath | None = Field(
        default=None,
        description="The file that holds the configuration of the copy and nothing else, included"
        " by the resolver's own. The agent replaces it by a comment to take the copy out, and keeps"
        " its text beside it (`.kept`). Only needed for copies of zones.",
    )
    time_limit: Annotated[
        float, duration("100ms", "1m", why="a resolver answers its control channel at once")
    ] = Field(default=5.0, description="How long each command may take before it is ended.")


class CommandSection(ControlSection):
    """A resolver that is reached by its control program."""

    user: Name | None = Field(
        default=None,
        description="The user that the programs run as, where the agent runs as root. The agent's"
        " own if left out.",
    )


class UnboundControl(CommandSection):
    """Unbound."""

    control: Argv = Field(
        default=("unbound-control",),
        description="`unbound-control`, with options such as `-c` and `-s` where needed.",
    )
    check: Argv = Field(
        default=("unbound-checkconf",),
        description="`unbound-checkconf`, with the resolver's configuration where that is not the"
        " default. It is run before a copy is put back.",
    )


class BindControl(CommandSection):
    """BIND."""

    control: Argv = Field(
        default=("rndc",), description="`rndc`, with options such as `-k` and `-p` where needed."
    )
    check: Argv = Field(
        default=("named-checkconf",),
        description="`named-checkconf`, with the resolver's configuration where that is not the"
        " default. It is run before a copy is put back.",
    )


class PowerDnsControl(CommandSection):
    """PowerDNS Recursor."""

    control: Argv = Field(
        default=("rec_control",),
        description="`rec_control`, with `--config-dir` or `--config-name` where needed.",
    )


class KnotControl(ControlSection):
    """Knot Resolver."""

    sockets: Annotated[tuple[FilePath, ...], SOME, DISTINCT] = Field(
        default=(Path("/run/knot-resolver/control/1"),),
        description="Control sockets of all its instances (`kresd@1`, `kresd@2` and so on).",
    )
    user: Name = Field(
        default="knot-resolver",
        description="The user that the instances run as. A socket of any other user but root is not"
        " used.",
    )


Control = UnboundControl | BindControl | PowerDnsControl | KnotControl
"""How a resolver is reached; its type says which resolver it is."""


class OneResolver(Section):
    """A resolver, by its kind: exactly one of these."""

    unbound: UnboundControl | None = Field(default=None, description="Unbound.")
    bind: BindControl | None = Field(default=None, description="BIND.")
    pdns_recursor: PowerDnsControl | None = Field(
        default=None, alias="pdns-recursor", description="PowerDNS Recursor."
    )
    knot_resolver: KnotControl | None = Field(
        default=None, alias="knot-resolver", description="Knot Resolver."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len([one for one in self._all if one is not None]) != 1:
            raise ValueError(
                "names no single resolver, wanted one of unbound, bind, pdns-recursor and"
                " knot-resolver"
            )
        return self

    @property
    def _all(self) -> tuple[Control | None, ...]:
        return self.unbound, self.bind, self.pdns_recursor, self.knot_resolver

    @property
    def control(self) -> Control:
        """How it is reached."""
        return next(one for one in self._all if one is not None)


class Flush(Section):
    """Which resolvers forget what they remember after a move and after the return; off without."""

    unbound: UnboundControl | None = Field(
        default=None,
        description="Unbound: `flush_bogus` after bogus answers, `flush_infra ADDRESS` of each"
        " moved address that gave no answers.",
    )
    bind: BindControl | None = Field(
        default=None,
        description="BIND: `flushtree ZONE`, only where the signatures of the zone's keys were"
        " bogus.",
    )
    pdns_recursor: PowerDnsControl | None = Field(
        default=None,
        alias="pdns-recursor",
        description="PowerDNS Recursor: `wipe-cache ZONE$` after bogus answers.",
    )
