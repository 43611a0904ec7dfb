"""The scenario file: upstreams, sites, and their faults over time. It is YAML, checked like the
policies: all problems at once, by file and line.
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
from steering.model import LOCAL, Family, Outcome, Seconds, WallTime
from steering.override import Override

ALL = "all"
"""Every path."""

_LONG = duration("0s", "3650d", why="a scenario lasts some days")


def _read_moment(value: object, info: ValidationInfo[Place | None]) -> float:
    """A time in a scenario: seconds after its beginning, or UNIX seconds."""
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


class Period(Section):
    """A condition that holds for a time, for some addresses over some paths."""

    since: _Moment = Field(
        default=0.0, alias="from", description="When it begins; by default at the beginning."
    )
    until: _Moment | None = Field(
        default=None, alias="to", description="When it ends; by default at the end."
    )
    every: Annotated[float, duration("1s", "365d", why="faster is all the time")] | None = Field(
        default=None, description="The interval at which it repeats, from `from` on."
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


class Fault(Period):
    """Some answers are bad."""

    outcome: Outcome = Field(description="How a bad answer ends.")
    share: Annotated[float, percentage("0%", why="none is no fault")] = Field(
        default=1.0,
        description="Share of the RRsets that are bad, the same ones at every address; for losses"
        " and errors, of the answers.",
    )


class Copy(Period):
    """An outdated copy of the zones is served: its signatures expire one after the other."""

    of: _Moment = Field(description="When it was last up to date.")


class Instance(Period):
    """Another anycast instance answers."""

    nsid: Text = Field(description="Its name (RFC 5001).")


class Clock(Section):
    """The agent's clock is wrong."""

    since: _Moment = Field(alias="from", description="When it jumps.")
    until: _Moment | None = Field(default=None, alias="to", description="When it is right again.")
    ahead: Annotated[float, _LONG] = Field(default=0.0, description="It is fast by.")
    behind: Annotated[float, _LONG] = Field(default=0.0, description="It is slow by.")


class Signatures(Section):
    """The validity of signatures on an up-to-date copy."""

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
    """What operators achieved by hand, for comparison."""

    ipv4: Annotated[float, _LONG] | None = Field(
        default=None, description="First bad answer to IPv4 rerouted."
    )
    ipv6: Annotated[float, _LONG] | None = Field(
        default=None, description="First bad answer to IPv6 rerouted."
    )


class Scenario(Section):
    """One scenario."""

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
        default=(), description="Policies in this file, with the same keys."
    )
    answers: Annotated[int, whole(0, 10**6, why="a host has no more")] = Field(
        default=1000,
        description="Answers per second that the resolvers get and dnstap shows, over all"
        " addresses; 0: there is no dnstap.",
    )
    probe: Probe = Field(default=Probe(), description="How often the agent probes.")
    signatures: Signatures = Field(default=Signatures(), description="Their validity.")
    faults: tuple[Fault, ...] = Field(default=(), description="Which answers are bad, and when.")
    copies: tuple[Copy, ...] = Field(default=(), description="Where copies are outdated.")
    instances: tuple[Instance, ...] = Field(default=(), description="Where others answer.")
    clock: tuple[Clock, ...] = Field(default=(), description="When the agent's clock is wrong.")
    overrides: tuple[Entry, ...] = Field(
        default=(), description="Overrides in force, as in `overrides.yaml`."
    )
    people: People = Field(default=People(), description="What operators achieved by hand.")

    @property
    def ends(self) -> WallTime:
        """When it ends, in UNIX seconds."""
        return self.begins + self.lasts

    def when(self, moment_: float) -> WallTime:
        """UNIX seconds of a time in the scenario."""
        return moment_ if moment_ > _YEARS else self.begins + moment_

    def override_values(self) -> tuple[Override, ...]:
        """The overrides as values."""
        return tuple(entry.override() for entry in self.overrides)


_YEARS: Seconds = 3650 * 86_400.0
"""A larger number is not a time after the beginning but a date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedScenario:
    """A scenario, and the setup of the agent in it."""

    scenario: Scenario
    setup: Setup


def load_scenario(file: Path, *, policies: Path | None = None) -> LoadedScenario:
    """Read a scenario and the policies that it names.

    Args:
        file: the scenario.
        policies: a directory of policies to use instead of the scenario's.

    Raises:
        ConfigError: with all problems of all files, by file and line.
    """
    file = Path(os.path.abspath(file))  # noqa: PTH100
    reading = Validation()
    document = reading.document(file)
    scenario = reading.checked(Scenario, document) if document else None
    if scenario is None or document is None:
        raise reading.refusal()
    if policies and not policies.is_dir():
        message = "is no directory, wanted one of policies"
        raise ConfigError((Problem(file=policies, line=1, path="", message=message),))
    files = sorted(policies.glob("*.yaml")) if policies else list(scenario.policies)
    written = () if policies else scenario.upstreams
    known: list[_LoadedPolicy] = [
        (document, ("upstreams", at), one) for at, one in enumerate(written)
    ]
    for one in files:
        if one.name == "overrides.yaml":
            continue
        found = reading.document(one)
        if found and "zone_copy" in found.values:
            continue  # no part of a story
        policy = reading.checked(Policy, found) if found else None
        if found and policy:
            known.append((found, (), policy))
    reading.problems.extend(_inconsistencies(scenario, document, known))
    if reading.problems:
        raise reading.refusal()
    setup = _setup(scenario, [policy for _, _, policy in known])
    return LoadedScenario(scenario=scenario, setup=setup)


_LoadedPolicy = tuple[Document, Location, Policy]


def _inconsistencies(
    scenario: Scenario, document: Document, known: Sequence[_LoadedPolicy]
) -> Iterator[Problem]:
    """Problems between the parts of a scenario."""
    if not known:
        yield document.problem((), "has no upstream, wanted `policies` or `upstreams`")
    names = tuple(policy.upstream for _, _, policy in known)
    paths = (LOCAL, *scenario.sites, ALL)
    for key in ("faults", "copies", "instances"):
        for at, period in enumerate(getattr(scenario, key)):
            if period.upstream not in (None, *names):
                message = (
                    f"{period.upstream} is no upstream here, {suggestion(period.upstream, names)}"
                )
                yield document.problem((key, at, "upstream"), message)
            for place, path in enumerate(period.paths):
                if path not in paths:
                    message = f"{path} is no path here, {suggestion(path, paths)}"
                    yield document.problem((key, at, "paths", place), message)
    for at, entry in enumerate(scenario.overrides):
        if entry.to is not None and entry.to not in scenario.sites:
            message = f"{entry.to} is no remote site, {suggestion(entry.to, tuple(scenario.sites))}"
            yield document.problem(("overrides", at, "to"), message)
    for found, location, policy in known:
        for where, message in cross_checks.wrong_sites(policy.steer.to, tuple(scenario.sites)):
            yield found.problem((*location, *where), message)
    of = {id(policy): (found, location) for found, location, policy in known}
    for policy, (where, message) in cross_checks.wrong_between(tuple(p for _, _, p in known)):
        found, location = of[id(policy)]
        yield found.problem((*location, *where), message)


def _setup(scenario: Scenario, policies: Sequence[Policy]) -> Setup:
    """The agent's configuration: defaults for everything that a scenario does not set."""
    hops = {
        name: {"next_hop": {"ipv4": f"10.255.{at}.2", "ipv6": f"fd00:ff:{at:x}::2"}}
        for at, name in enumerate(scenario.sites, start=1)
    }
    config = Config.model_validate(
        {"site": scenario.site, "sites": hops, "observe": {"probe": scenario.probe.model_dump()}}
    )
    return Setup(config=config, policies=tuple(policies), overrides=scenario.override_values())
