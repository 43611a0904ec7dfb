"""One upstream: whose servers these are, what counts as a breach, where to steer."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    model_validator,
)

from steering.config.address_types import Address
from steering.config.base import DISTINCT, SOME, MisfitError, Section
from steering.config.types import (
    DomainName,
    Flag,
    Name,
    Place,
    Text,
    canonical_name,
    duration,
    duration_text,
    percentage,
    whole,
)
from steering.model import Family, Target


class Serial(enum.StrEnum):
    """What the SOA serials of the zones mean."""

    EPOCH = "epoch"  # UNIX seconds of the edit: staleness is absolute
    DATE = "date"  # YYYYMMDDNN
    OPAQUE = "opaque"  # only their order means something


class Counted(enum.StrEnum):
    """A class of answers that can make a breach."""

    BOGUS = "bogus"
    TIMEOUT = "timeout"
    ERROR = "error"
    STALE = "stale"


class Together(enum.StrEnum):
    """How much moves when one address has to."""

    ADDRESS = "address"
    NAMESERVER = "nameserver"
    UPSTREAM = "upstream"


class Operator(Section):
    """Who runs the servers, and whom to tell."""

    name: Text = Field(description="Who runs these nameservers.")
    contact: Text | None = Field(
        default=None, description="Whom to tell: it is printed beside an alarm."
    )


class Stale(Section):
    """Limits of age that hold whatever the other paths show."""

    serial_lag: (
        Annotated[float, duration("1s", "30d", why="zones are copied in seconds, never in months")]
        | None
    ) = Field(
        default=None,
        description="Stale when the zone is this far behind; by what other paths show if left out.",
    )
    signature_remaining: (
        Annotated[float, duration("1s", "30d", why="signatures live for days or weeks")] | None
    ) = Field(
        default=None,
        description="Stale when a signature runs out sooner than this; by what other paths show"
        " if left out.",
    )


class Breach(Section):
    """When the local path is bad enough to leave it."""

    failure_rate: Annotated[
        float, percentage("0.3%", why="below that a fault is not told from the usual noise")
    ] = Field(default=0.003, description="The least share of bogus answers worth acting on.")
    on: Annotated[tuple[Counted, ...], SOME, DISTINCT] = Field(
        default=(Counted.BOGUS, Counted.TIMEOUT, Counted.ERROR),
        description="The classes that count. With `stale` the agent acts before the first answer"
        " fails.",
    )
    stale: Stale = Field(default=Stale(), description="When an upstream's data is too old.")


class Recover(Section):
    """When traffic may go back."""

    hold: Annotated[
        float, duration("0s", "7d", why="a fault that lasts longer is not waited out")
    ] = Field(
        default=300.0,
        description="Traffic stays away at least this long after a first breach; doubled for each"
        " further one until a day passes without.",
    )
    max_hold: Annotated[
        float, duration("0s", "7d", why="a fault that lasts longer is not waited out")
    ] = Field(default=3600.0, description="The longest hold, however often it was doubled.")
    clean: Annotated[int, whole(3, 10**6, why="fewer good answers in a row prove nothing")] = Field(
        default=1600, description="Clean answers on the original path before traffic returns."
    )
    gradual: Flag = Field(
        default=True,
        description="One address first, and the rest of what moves together when live answers"
        " have shown that it does well.",
    )
    moves_per_day: Annotated[
        int, whole(6, 10**6, why="below that a second fault in a day may be left alone")
    ] = Field(
        default=12,
        description="Most moves of an address in a day, away and back; near that it stays on its"
        " detour for hours, or where moving did not help, on the local path.",
    )

    @model_validator(mode="after")
    def _longest(self) -> Self:
        longest, hold = duration_text(self.max_hold), duration_text(self.hold)
        if self.max_hold < self.hold:
            raise MisfitError("max_hold", f"is {longest}, wanted at least the hold of {hold}")
        return self


class Steer(Section):
    """Where traffic may go, and how much of it at once."""

    to: Annotated[tuple[Name, ...], DISTINCT] = Field(
        default=(),
        description="Sites to steer to, the best liked first. If left out, all are alike: failing"
        " share, room and round-trip time decide.",
    )
    together: Together = Field(
        default=Together.UPSTREAM,
        description="What moves together when enough of it is breached: one `address`, all"
        " addresses of a `nameserver`, or the whole `upstream`.",
    )
    at_most: Annotated[int, whole(1, 10**6, why="none at all is no steering")] | None = Field(
        default=None, description="Most addresses steered at once; no limit if left out."
    )
    queries_per_second: Annotated[int, whole(1, 10**9, why="queries per second")] | None = Field(
        default=None,
        description="The most queries that this host's resolvers send to all these addresses"
        " together, for the sites' `capacity`. If left out they count as none, whatever dnstap"
        " shows: that orders sites, raises the alarm `capacity`, and forbids nothing.",
    )


def _once(value: object) -> object:
    """Keeps names that differ only in case or the final dot from becoming one unnoticed."""
    seen: dict[str, str] = {}
    for key in value if isinstance(value, Mapping) else ():
        try:
            name = canonical_name(key)
        except ValueError:
            continue  # reported at its own place
        if name in seen:
            raise MisfitError(key, f"is {seen[name]} again, wanted each name once")
        seen[name] = key
    return value


class Policy(Section):
    """One operator's nameservers for some zones, and what to do when they go bad from here."""

    upstream: Name = Field(
        description="A name for these nameservers, in the status and the metrics."
    )
    operator: Operator | None = Field(default=None, description="Who runs them.")
    zones: Annotated[tuple[DomainName, ...], SOME, DISTINCT] = Field(
        description="The zones they serve. Only answers signed by these count for or against them."
    )
    serial: Serial = Field(
        default=Serial.OPAQUE,
        description="What the zones' SOA serials mean: UNIX seconds (`epoch`), YYYYMMDDNN"
        " (`date`) or nothing but an order (`opaque`).",
    )
    nameservers: Annotated[
        Mapping[DomainName, Annotated[tuple[Address, ...], SOME]], BeforeValidator(_once), SOME
    ] = Field(description="Each nameserver's addresses: what is measured and steered.")
    breach: Breach = Field(
        default=Breach(), description="When the local path is bad enough to leave it."
    )
    recover: Recover = Field(default=Recover(), description="When traffic may go back.")
    steer: Steer = Field(default=Steer(), description="Where traffic may go.")
    skew: Annotated[float, duration("0s", "1d", why="more would forgive the faults looked for")] = (
        Field(
            default=0.0,
            description="Tolerance for signature dates. A resolver's own grace is not imitated.",
        )
    )

    _file: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401
        """Remember where the policy came from."""
        if isinstance(context, Place):
            self._file = context.file

    @property
    def file(self) -> Path:
        """The file it was read from."""
        return self._file

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every address of it, in file order."""
        return tuple(
            Target(
                upstream=self.upstream,
                nameserver=nameserver,
                address=address,
                family=Family.of(address),
            )
            for nameserver, addresses in self.nameservers.items()
            for address in addresses
        )
