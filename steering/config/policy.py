"""One upstream: its nameservers, what counts as a breach, where to steer."""

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
from steering.config.base import DISTINCT, SOME, FieldError, Section
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
    """Which addresses move together with one that has to move."""

    ADDRESS = "address"
    NAMESERVER = "nameserver"
    UPSTREAM = "upstream"


class Operator(Section):
    """Who runs the servers, and their contact."""

    name: Text = Field(description="Who runs these nameservers.")
    contact: Text | None = Field(
        default=None, description="Whom to contact. It is shown with an alarm."
    )


class Stale(Section):
    """Limits of age that apply whatever the other paths show."""

    serial_lag: (
        Annotated[float, duration("1s", "30d", why="zones are copied in seconds, never in months")]
        | None
    ) = Field(
        default=None,
        description="Stale when the zone is this far behind; compared with other paths if left"
        " out.",
    )
    signature_remaining: (
        Annotated[float, duration("1s", "30d", why="signatures live for days or weeks")] | None
    ) = Field(
        default=None,
        description="Stale when a signature expires sooner than this; compared with other paths if"
        " left out.",
    )


class Breach(Section):
    """When the local path is bad enough to leave it."""

    failure_rate: Annotated[
        float, percentage("0.3%", why="below that a fault looks like the usual noise")
    ] = Field(
        default=0.003, description="The smallest share of bogus answers that the agent acts on."
    )
    on: Annotated[tuple[Counted, ...], SOME, DISTINCT] = Field(
        default=(Counted.BOGUS, Counted.TIMEOUT, Counted.ERROR),
        description="The classes of answers that count. With `stale` the agent acts before the"
        " first answer fails.",
    )
    stale: Stale = Field(default=Stale(), description="When an upstream's data is too old.")


class Recover(Section):
    """When traffic may go back."""

    hold: Annotated[
        float, duration("0s", "7d", why="a fault that lasts longer is not waited out")
    ] = Field(
        default=300.0,
        description="Traffic stays away at least this long after a first breach. Each further"
        " breach doubles it, until a day passes without one.",
    )
    max_hold: Annotated[
        float, duration("0s", "7d", why="a fault that lasts longer is not waited out")
    ] = Field(default=3600.0, description="The longest hold, however often it was doubled.")
    clean: Annotated[int, whole(3, 10**6, why="fewer good answers in a row show nothing")] = Field(
        default=1600, description="Clean answers on the original path before traffic returns."
    )
    gradual: Flag = Field(
        default=True,
        description="Whether one address returns first, and the rest of its group when live answers"
        " have shown that it works.",
    )
    moves_per_day: Annotated[
        int, whole(6, 10**6, why="below that a second fault in a day may be left alone")
    ] = Field(
        default=12,
        description="Most moves of an address in a day, away and back. Near that limit it stays on"
        " its detour for hours, or on the local path where moving did not help.",
    )

    @model_validator(mode="after")
    def _longest(self) -> Self:
        longest, hold = duration_text(self.max_hold), duration_text(self.hold)
        if self.max_hold < self.hold:
            raise FieldError("max_hold", f"is {longest}, wanted at least the hold of {hold}")
        return self


class Steer(Section):
    """Where traffic may go, and how much of it at once."""

    to: Annotated[tuple[Name, ...], DISTINCT] = Field(
        default=(),
        description="Sites to steer to, in order of preference. If left out, all are equal: failing"
        " share, free capacity and round-trip time decide.",
    )
    together: Together = Field(
        default=Together.UPSTREAM,
        description="The group that moves together when enough of it is breached: one `address`,"
        " all addresses of a `nameserver`, or the whole `upstream`.",
    )
    at_most: Annotated[int, whole(1, 10**6, why="with none nothing could be steered")] | None = (
        Field(default=None, description="Most addresses steered at once; no limit if left out.")
    )
    queries_per_second: Annotated[int, whole(1, 10**9, why="queries per second")] | None = Field(
        default=None,
        description="The most queries that this host's resolvers send to all these addresses"
        " together, for the sites' `capacity`. If left out they count as none. The load that dnstap"
        " shows orders sites and raises the alarm `capacity`, but forbids nothing.",
    )


def _once(value: object) -> object:
    """A validator: names that differ only in case or the final dot are not merged."""
    seen: dict[str, str] = {}
    for key in value if isinstance(value, Mapping) else ():
        try:
            name = canonical_name(key)
        except ValueError:
            continue  # reported at its own place
        if name in seen:
            raise FieldError(key, f"is {seen[name]} again, wanted each name once")
        seen[name] = key
    return value


class Policy(Section):
    """One operator's nameservers for some zones, and what to do when they fail from here."""

    upstream: Name = Field(
        description="A name for these nameservers, in the status and the metrics."
    )
    operator: Operator | None = Field(default=None, description="Who runs them.")
    zones: Annotated[tuple[DomainName, ...], SOME, DISTINCT] = Field(
        description="The zones they serve. Only answers signed by these zones count."
    )
    serial: Serial = Field(
        default=Serial.OPAQUE,
        description="What the zones' SOA serials mean: UNIX seconds (`epoch`), YYYYMMDDNN"
        " (`date`) or nothing but an order (`opaque`).",
    )
    nameservers: Annotated[
        Mapping[DomainName, Annotated[tuple[Address, ...], SOME]], BeforeValidator(_once), SOME
    ] = Field(description="The addresses of each nameserver. They are measured and steered.")
    breach: Breach = Field(
        default=Breach(), description="When the local path is bad enough to leave it."
    )
    recover: Recover = Field(default=Recover(), description="When traffic may go back.")
    steer: Steer = Field(default=Steer(), description="Where traffic may go.")
    skew: Annotated[
        float, duration("0s", "1d", why="more would hide the faults that are looked for")
    ] = Field(
        default=0.0,
        description="Tolerance for signature dates. It does not imitate the resolvers' own.",
    )

    _file: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401
        """Keep the file that the policy comes from."""
        if isinstance(context, Place):
            self._file = context.file

    @property
    def file(self) -> Path:
        """The file that it was read from."""
        return self._file

    @property
    def targets(self) -> tuple[Target, ...]:
        """All its addresses, in file order."""
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
