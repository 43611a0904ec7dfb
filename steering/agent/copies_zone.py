"""One zone with its servers and all copies of it: looked at, decided about, acted on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Driver, result
from steering.act.resolvers.include import holds_comment
from steering.act.resolvers.unbound import Unbound
from steering.agent.copies_file import Known
from steering.config import CopyOf, Setup, ZoneCopy
from steering.config.resolvers import BindControl, KnotControl, PowerDnsControl
from steering.copies import FileShown, Look, Real, Shown, Way
from steering.decide.copies import decide
from steering.decide.copy_course import (
    Act,
    Course,
    Leave,
    One,
    Order,
    Phase,
    Remedy,
    carried_out,
)
from steering.judge.copies import Copy, Limits, Moment, judge, served
from steering.judge.known.zone_copies import NO_HISTORY, ZoneHistory, newer
from steering.model import Event, Instant, WallTime
from steering.observe.copies.clients import Clients, ask_clients
from steering.observe.copies.held import CopyFile, by_address, mirrored
from steering.observe.copies.servers import Proven, Servers
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.report.copies import CopyStatus
from steering.resolver_drivers import driver_of

_CONFIRMED = 4
"""Names that were denied and are confirmed at one look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the agent has in force now, as far as copies need it."""

    setup: Setup
    keys: KeyStore
    signatures: Signatures
    acts: bool
    off: bool
    doubt: str
    """Why the clock is in doubt; empty: it is not."""
    proven: Callable[[str], Sequence[Proven]]
    """Zone -> what probes saw of it over every path."""
    servers: Callable[[str], Sequence[str]]
    """Zone -> the addresses of the policies that have it."""


@dataclass(slots=True, kw_only=True)
class WatchedResolver:
    """One resolver that serves from a copy."""

    config: CopyOf
    copy: Copy
    course: Course
    driver: Driver
    remedies: tuple[Remedy, ...]
    file: CopyFile | None
    clients: Clients
    look: Look = field(default_factory=Look)
    is_out: bool | None = None
    configured: bool = True
    """False: `include` holds our comment in place of the copy, for sure."""


class WatchedZone:
    """One zone, its servers and all copies of it."""

    def __init__(self, config: ZoneCopy, around: Around, known: Known, now: Instant) -> None:
        self.config = config
        self.due: Instant = now
        self.real = Real()
        self._history = NO_HISTORY
        self.now: Instant = now
        """Of the latest look."""
        self._servers = Servers(
            config.zone,
            config.servers or around.servers(config.zone),
            names=config.names,
        )
        self.resolvers = {
            name: _resolver(one, config, known.get((config.zone_copy, name)), now)
            for name, one in config.resolvers.items()
        }

    @property
    def moving(self) -> bool:
        """Whether one of its copies is on its way out or back."""
        return any(one.course.phase.moving for one in self.resolvers.values())

    def status(self) -> list[CopyStatus]:
        """Each of its copies."""
        return [
            CopyStatus(
                zone_copy=self.config.zone_copy,
                zone=self.config.zone,
                resolver=name,
                kind=str(one.driver.kind),
                copy=one.copy,
                course=one.course,
                look=one.look,
                real=self.real,
                remedies=one.remedies,
            )
            for name, one in self.resolvers.items()
        ]

    async def look(self, around: Around) -> None:
        """See what the servers and all copies show now."""
        wall = time.time()
        zone = self.config.zone
        names = self._servers.names()
        servers = self._servers.look(
            around.keys, around.signatures, around.proven(zone), time.monotonic(), wall
        )
        resolvers = (self._look_at(one, around, names) for one in self.resolvers.values())
        real, _ = await asyncio.gather(servers, asyncio.gather(*resolvers))
        await self._confirm_denied(around, wall)
        self.now = time.monotonic()
        self._history = _learned(self._history, real.serial, self.now)
        self.real = replace(real, history=self._history.serials)

    async def _confirm_denied(self, around: Around, wall: WallTime) -> None:
        """A name that is denied may have been removed since it was learned, or never been there."""
        looks = [one.look for one in self.resolvers.values()]
        denied = {asked.name for look in looks for asked in look.asked if asked.way is Way.DENIED}
        there = {
            name
            for name in sorted(denied)[:_CONFIRMED]
            if await self._servers.has(name, around.keys, around.signatures, wall)
        }
        for one in self.resolvers.values() if denied - there else ():
            asked = tuple(
                replace(each, way=Way.GOOD)
                if each.way is Way.DENIED and each.name not in there
                else each
                for each in one.look.asked
            )
            one.look = replace(one.look, asked=asked)

    async def _look_at(self, one: WatchedResolver, around: Around, names: Sequence[str]) -> None:
        wall, zone = time.time(), self.config.zone
        address = one.config.address

        async def held() -> Shown | str | None:
            return await by_address(address, zone) if address is not None else None

        async def filed() -> FileShown | None:
            return await one.file.look(around.keys, wall) if one.file is not None else None

        async def out() -> bool | None:
            watched = one.course.phase in (Phase.OUT, Phase.LEAVING)
            return await one.driver.is_out(zone) if watched and _included(one) else None

        async def configured() -> bool:
            control = one.config.control
            if control.include is None or one.course.phase is not Phase.OUT:
                return True
            return not await holds_comment(control.include, control.time_limit)

        shown, file, asked, one.is_out, own, one.configured = await asyncio.gather(
            held(),
            filed(),
            ask_clients(one.clients, zone, names, wall),
            out(),
            _own(one, zone),
            configured(),
        )
        if isinstance(one.config.control, KnotControl):
            own = served(
                asked
            )  # the cache is where it has its copy; PowerDNS shows its last denial's
        trouble = shown if isinstance(shown, str) else one.file.trouble if one.file else ""
        address_shown = shown if isinstance(shown, Shown) else None
        one.look = Look(address=address_shown, own=own, file=file, asked=asked, trouble=trouble)

    def decide(self, leave: Leave, doubt: str) -> tuple[Order | None, tuple[Event, ...]]:
        """What is to be done now, and what is to be told. `doubt`: why the clock may be wrong."""
        events = []
        self.real = replace(self.real, doubt=self.real.doubt or doubt)
        wall = time.time()
        for name, one in self.resolvers.items():
            moment = Moment(now=self.now, wall=wall, out=one.course.out)
            before = one.copy
            one.copy = judge(before, one.look, self.real, self._limits(one), moment)
            if one.copy.health is not before.health:
                events.append(
                    Event(
                        event="copy_health",
                        because=one.copy.because,
                        was=before.health.word,
                        now=one.copy.health.word,
                        more={"copy": self.config.zone_copy, "resolver": name},
                    )
                )
        ones = {
            name: One(
                copy=one.copy,
                look=one.look,
                course=one.course,
                remedies=one.remedies,
                is_out=one.is_out,
                configured=one.configured,
            )
            for name, one in self.resolvers.items()
        }
        courses, order, more = decide(self.config.zone_copy, ones, self.real, leave, self.now)
        for name, course in courses.items():
            self.resolvers[name].course = course
        return order, (*events, *more)

    def _limits(self, one: WatchedResolver) -> Limits:
        return Limits(
            margin=self.config.margin,
            max_age=self.config.max_age,
            interval=self.config.interval,
            refresh=one.config.refresh,
        )

    def withdraw(self, order: Order, before: Course, why: str) -> Event:
        """What was ordered is not to be done after all. Returns what is to be told."""
        one = self.resolvers[order.resolver]
        one.course = replace(before, held=f"it stays as it is: {why}")
        more = {"copy": self.config.zone_copy, "resolver": order.resolver}
        return Event(event="copy_held", because=one.course.held, more=more)

    async def carry_out(self, order: Order) -> list[tuple[Remedy, bool]]:
        """Do what was ordered. Returns which remedy was done."""
        one = self.resolvers[order.resolver]
        results = [
            (remedy, *await self._apply(one, remedy, order.act)) for remedy in order.remedies
        ]
        one.course = carried_out(
            one.course,
            order,
            time.monotonic(),
            done=all(done for _, done, _ in results),
            said="; ".join(said for _, done, said in results if not done),
        )
        return [(remedy, done) for remedy, done, _ in results]

    async def _apply(self, one: WatchedResolver, remedy: Remedy, act: Act) -> tuple[bool, str]:
        zone = self.config.zone
        if remedy is Remedy.DRIVER:
            call = one.driver.take_out if act is Act.TAKE_OUT else one.driver.put_back
            ended = await call(zone)
            return ended.done, ended.said
        argv = one.config.command if act is Act.TAKE_OUT else one.config.restore
        if argv is None:
            return True, "no such command is configured any more"
        ended = await result(Command(argv=argv, limit=one.config.control.time_limit).run())
        return ended.done, ended.said


def _learned(history: ZoneHistory, serial: int | None, now: Instant) -> ZoneHistory:
    """The serials of late, with the newest of now. If all servers went back, so does this."""
    if serial is None:
        return history
    kept = tuple((known, at) for known, at in history.serials if not newer(known, serial))
    return ZoneHistory(serials=kept).learn(serial, now)


async def _own(one: WatchedResolver, zone: str) -> int | None:
    """Serial of what the resolver itself has, where that is seen past its cache."""
    if isinstance(one.driver, Unbound):
        return await one.driver.serial(zone)
    if isinstance(one.config.control, BindControl):
        return await mirrored(one.config.clients[0], zone)
    return None


def _included(one: WatchedResolver) -> bool:
    return one.config.control.include is not None


def _resolver(
    config: CopyOf, of: ZoneCopy, known: tuple[Copy, Course] | None, now: Instant
) -> WatchedResolver:
    copy, course = known or (Copy(watched=now), Course())
    remedies = []
    if config.control.include is not None:
        remedies.append(Remedy.DRIVER)
    if config.command is not None:
        remedies.append(Remedy.COMMAND)
    return WatchedResolver(
        config=config,
        copy=copy,
        course=course,
        driver=driver_of(config.control),
        remedies=tuple(remedies),
        file=CopyFile(config.file, of.zone) if config.file is not None else None,
        clients=Clients(
            direct=config.clients,
            through=config.through,
            denial_shows=not isinstance(config.control, PowerDnsControl),
        ),
    )
