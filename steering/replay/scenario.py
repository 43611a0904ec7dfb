"""A story as it is written: upstreams, sites, and what goes wrong when. YAML, checked like
the policies: every problem at once, by file and line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from steering.config import Config, Policy, Probe, Setup, cross_checks
from steering.config.base import FieldError, Section, some
from steering.config.overrides import Entry, moment
from steering.config.problems import ConfigError, Location, Problem, shown, suggestion
from steering.config.types import (
    FilePath,
    Kind,
    Name,
    Place,
    SiteName,
    Text,
    bare,
    duration,
    percentage,
    seconds,
    whole,
)
from steering.config.validate import Validation
from steering.config.yaml_file import Document
from steering.model import LOCAL, Family, Outcome, Override, Seconds, WallTime

ALL = "all"
"""Every path."""

_LONG = duration("0s", "3650d", why="a story is of days")


def _read_moment(value: object, info: ValidationInfo[Place | None]) -> float:
    """A moment of a story: seconds after its beginning, or UNIX seconds."""
    if (number := bare(value, info)) is not None:
        return number
    if isinstance(value, str) and not value[:4].isdigit():
        return seconds(value)
    try:
        return _read_date(value, info)
    except ValueError:
        if not isinstance(value, str):
            raise
    return seconds(value)


def _read_date(value: object, info: ValidationInfo[Place | None]) -> WallTime:
    if (number := bare(value, info)) is not None:
        return number
    if not isinstance(value, str):
        raise ValueError(f"is {shown(value)}, wanted 2023-07-08T21:10:00Z or 10m")  # noqa: TRY004
    return moment(value)


_WORD = "time, or duration after the beginning"
_Moment = Annotated[float, Kind(_WORD, _read_moment, {"type": "string"})]
_Date = Annotated[float, Kind(_WORD, _read_date, {"type": "string"})]


class Spell(Section):
    """Something that is so for a while, to some addresses over some paths."""

    since: _Moment = Field(
        default=0.0, alias="from", description="When it begins; with the story if left out."
    )
    until: _Moment | None = Field(
        default=None, alias="to", description="When it ends; with the story if left out."
    )
    every: Annotated[float, duration("1s", "365d", why="faster is all the time")] | None = Field(
        default=None, description="It comes back so often, counted from `from`."
    )
    lasting: Annotated[float, duration("1s", "365d", why="shorter is nothing")] | None = Field(
        default=None, alias="for", description="How long it lasts each time."
    )
    upstream: Name | None = Field(
        default=None, description="At this upstream; at all, if left out."
    )
    family: Family | None = Field(default=None, description="At addresses of this family.")
    paths: Annotated[tuple[Name, ...], AfterValidator(some)] = Field(
        default=(LOCAL,), description="Over these paths: `local`, sites, or `all`."
    )

    @model_validator(mode="after")
    def _repeats(self) -> Self:
        if (self.every is None) is not (self.lasting is None):
            missing = "for" if self.lasting is None else "every"
            raise FieldError(missing, "is missing, wanted both `every` and `for`, or neither")
        return self


class Fault(Spell):
    """Some of the answers are bad."""

    outcome: Outcome = Field(description="How a bad answer ends.")
    share: Annotated[float, percentage("0%", why="none is no fault")] = Field(
        default=1.0,
        description="Share of the RRsets that are bad, the same ones at every address; for losses"
        " and errors, of the answers.",
    )


class Copy(Spell):
    """An outdated copy of the zones is served: its signatures run out one after the other."""

    of: _Moment = Field(description="When it was last up to date.")


class Instance(Spell):
    """Another anycast instance answers."""

    nsid: Text = Field(description="Its name (RFC 5001).")


class Clock(Section):
    """The agent's own clock is wrong."""

    since: _Moment = Field(alias="from", description="When it jumps.")
    until: _Moment | None = Field(default=None, alias="to", description="When it is right again.")
    ahead: Annotated[float, _LONG] = Field(default=0.0, description="It is fast by.")
    behind: Annotated[float, _LONG] = Field(default=0.0, description="It is slow by.")


class Signatures(Section):
    """How long the signatures are good for, on a copy that is up to date."""

    lifetime: Annotated[float, duration("1m", "365d", why="a zone must be signed")] = Field(
        default=609_000.0, description="Of a fresh one."
    )
    least: Annotated[float, duration("0s", "365d", why="it must be good")] = Field(
        default=293_760.0, description="The shortest remaining time that is seen on a good copy."
    )


class Remote(Section):
    """A remote site."""

    rtt: Annotated[float, duration("1ms", "2s", why="light is faster")] = Field(
        default=0.15, description="Round-trip time through it."
    )


class People(Section):
    """What people achieved by hand, to be shown beside it."""

    ipv4: Annotated[float, _LONG] | None = Field(
        default=None, description="First bad answer to IPv4 rerouted."
    )
    ipv6: Annotated[float, _LONG] | None = Field(
        default=None, description="First bad answer to IPv6 rerouted."
    )


class Scenario(Section):
    """One story."""

    story: Text = Field(description="What it is about.")
    begins: _Date = Field(description="RFC 3339, with an offset.")
    lasts: Annotated[float, duration("1s", "365d", why="it has to end")] = Field(
        description="How long it is."
    )
    site: SiteName = Field(default="here", description="The agent's own site.")
    sites: Mapping[SiteName, Remote] = Field(description="The remote sites.")
    policies: tuple[FilePath, ...] = Field(
        default=(), description="Files of policies, relative to this one."
    )
    upstreams: tuple[Policy, ...] = Field(
        default=(), description="Policies written out here, in the same words."
    )
    answers: Annotated[int, whole(0, 10**6, why="a host has no more")] = Field(
        default=1000,
        description="Answers per second that the resolvers get and dnstap shows, over all"
        " addresses; 0: there is no dnstap.",
    )
    probe: Probe = Field(default=Probe(), description="How often the agent asks for itself.")
    signatures: Signatures = Field(default=Signatures(), description="How long they live.")
    faults: tuple[Fault, ...] = Field(default=(), description="What is bad.")
    copies: tuple[Copy, ...] = Field(default=(), description="What is outdated.")
    instances: tuple[Instance, ...] = Field(default=(), description="Who answers instead.")
    clock: tuple[Clock, ...] = Field(default=(), description="When the agent's clock is wrong.")
    overrides: tuple[Entry, ...] = Field(
        default=(), description="Overrides in force, as in `overrides.yaml`."
    )
    people: People = Field(default=People(), description="What people achieved by hand.")

    @property
    def ends(self) -> WallTime:
        """When it is over."""
        return self.begins + self.lasts

    def when(self, moment_: float) -> WallTime:
        """UNIX seconds of a moment of the story."""
        return moment_ if moment_ > _YEARS else self.begins + moment_

    def spoken(self) -> tuple[Override, ...]:
        """The overrides as values."""
        return tuple(entry.override() for entry in self.overrides)


_YEARS: Seconds = 3650 * 86_400.0
"""More than this after its beginning is no moment of a story: it is a date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScenario:
    """A story, and the setup of the agent in it."""

    story: Scenario
    setup: Setup


def tell(file: Path, *, policies: Path | None = None) -> LoadedScenario:
    """Read a story and the policies it names.

    Args:
        file: the story.
        policies: a directory of policies to take instead of the story's.

    Raises:
        ConfigError: with all problems of all files, by file and line.
    """
    file = Path(os.path.abspath(file))  # noqa: PTH100
    reading = Validation()
    document = reading.document(file)
    story = reading.checked(Scenario, document) if document else None
    if story is None or document is None:
        raise reading.refusal()
    if policies and not policies.is_dir():
        message = "is no directory, wanted one of policies"
        raise ConfigError((Problem(file=policies, line=1, path="", message=message),))
    files = sorted(policies.glob("*.yaml")) if policies else list(story.policies)
    written = () if policies else story.upstreams
    known: list[_Known] = [(document, ("upstreams", at), one) for at, one in enumerate(written)]
    for one in files:
        if one.name == "overrides.yaml":
            continue
        found = reading.document(one)
        policy = reading.checked(Policy, found) if found else None
        if found and policy:
            known.append((found, (), policy))
    reading.problems.extend(_misfits(story, document, known))
    if reading.problems:
        raise reading.refusal()
    return LoadedScenario(story=story, setup=_setup(story, [policy for _, _, policy in known]))


_Known = tuple[Document, Location, Policy]


def _misfits(story: Scenario, document: Document, known: Sequence[_Known]) -> Iterator[Problem]:
    """What only shows between the parts of a story."""
    if not known:
        yield document.problem((), "has no upstream, wanted `policies` or `upstreams`")
    names = tuple(policy.upstream for _, _, policy in known)
    paths = (LOCAL, *story.sites, ALL)
    for key in ("faults", "copies", "instances"):
        for at, spell in enumerate(getattr(story, key)):
            if spell.upstream not in (None, *names):
                message = (
                    f"{spell.upstream} is no upstream here, {suggestion(spell.upstream, names)}"
                )
                yield document.problem((key, at, "upstream"), message)
            for place, path in enumerate(spell.paths):
                if path not in paths:
                    message = f"{path} is no path here, {suggestion(path, paths)}"
                    yield document.problem((key, at, "paths", place), message)
    for at, entry in enumerate(story.overrides):
        if entry.to is not None and entry.to not in story.sites:
            message = f"{entry.to} is no remote site, {suggestion(entry.to, tuple(story.sites))}"
            yield document.problem(("overrides", at, "to"), message)
    for found, location, policy in known:
        for where, message in cross_checks.wrong_sites(policy.steer.to, tuple(story.sites)):
            yield found.problem((*location, *where), message)
    of = {id(policy): (found, location) for found, location, policy in known}
    for policy, (where, message) in cross_checks.wrong_between(tuple(p for _, _, p in known)):
        found, location = of[id(policy)]
        yield found.problem((*location, *where), message)


def _setup(story: Scenario, policies: Sequence[Policy]) -> Setup:
    """The agent's configuration: what a story leaves open is as by default."""
    hops = {
        name: {"next_hop": {"ipv4": f"10.255.{at}.2", "ipv6": f"fd00:ff:{at:x}::2"}}
        for at, name in enumerate(story.sites, start=1)
    }
    config = Config.model_validate(
        {"site": story.site, "sites": hops, "observe": {"probe": story.probe.model_dump()}}
    )
    return Setup(config=config, policies=tuple(policies), overrides=story.spoken())
