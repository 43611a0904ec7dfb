"""Watches the copies of zones that resolvers of this site serve from, and takes them out in time.

A task of its own beside the turns: nothing here waits for a turn, and no turn for it. What it knows
is in a file of its own. `judge.copies` and `decide.copies` think; here is the only clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Driver, NotDoneError
from steering.act.resolvers.unbound import Unbound
from steering.agent.copies_file import CopiesFile, Known
from steering.config import CopyOf, Setup, ZoneCopy
from steering.config.resolvers import BindControl, KnotControl, PowerDnsControl
from steering.copies import FileShown, Look, Real, Shown
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
from steering.model import NEVER, Event, Health, Instant, Seconds
from steering.observe.copies.clients import Clients, ask_clients
from steering.observe.copies.held import CopyFile, by_address, mirrored
from steering.observe.copies.servers import Proven, Servers
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.report.copies import CopyStatus
from steering.report.metrics import Meters
from steering.resolver_drivers import driver_of
from steering.system.wakeup import Wakeup

SOON: Seconds = 1.0
"""Time between two looks while a copy is on its way out or back."""
REWRITE: Seconds = 300.0
"""The file is written at least this often, for the ages in it."""


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


class Copies:
    """All copies of the files in force, and the task that looks at them."""

    def __init__(
        self,
        file: CopiesFile,
        around: Callable[[], Around],
        log_event: Callable[[Event], None],
        meters: Meters,
    ) -> None:
        self._file, self._around, self._log_event = file, around, log_event
        self._meters = meters
        self._zones: dict[str, _Zone] = {}
        self._config: tuple[ZoneCopy, ...] = ()
        self._left: Known = {}
        """What is known of copies that no file names now."""
        self._written_at: Instant = NEVER
        self._wakeup = Wakeup()

    @property
    def status(self) -> tuple[CopyStatus, ...]:
        """Every copy as last looked at."""
        return tuple(one for zone in self._zones.values() for one in zone.status())

    @property
    def problem(self) -> str:
        """What is wrong with the file; empty: nothing."""
        return self._file.problem

    async def run(self) -> None:
        """Look at what is due, until cancelled."""
        self._left = await self._file.read()
        while True:
            around = self._around()
            if around.setup.copies is not self._config:
                self._use(around)
            now = time.monotonic()
            due = [zone for zone in self._zones.values() if zone.due <= now]
            await asyncio.gather(*(self._step(zone) for zone in due))
            pause = min((zone.due for zone in self._zones.values()), default=now + SOON)
            await self._wakeup.wait(min(SOON, max(0.0, pause - time.monotonic())))

    def _use(self, around: Around) -> None:
        """Watch what these files name."""
        known = {**self._left, **self._known()}
        self._config = around.setup.copies
        self._zones = {
            config.zone_copy: _Zone(config, around, known, time.monotonic())
            for config in self._config
        }
        named = self._known().keys()
        for key, (_, course) in known.items():
            if key not in named and key not in self._left and course.phase is not Phase.IN:
                because = f"{'/'.join(key)} is no longer in the files, and stays taken out"
                self._log_event(Event(event="notice", because=because))
        self._left = {key: value for key, value in known.items() if key not in named}

    def _known(self) -> Known:
        return {
            (name, resolver): (one.copy, one.course)
            for name, zone in self._zones.items()
            for resolver, one in zone.resolvers.items()
        }

    async def _step(self, zone: _Zone) -> None:
        """One look at one zone and its copies, and what follows from it."""
        around = self._around()
        await zone.look(around)
        before = {key: (copy.health, course) for key, (copy, course) in self._known().items()}
        elsewhere = any(z is not zone and z.moving for z in self._zones.values())
        leave = Leave(acts=around.acts, off=around.off, elsewhere=elsewhere)
        order, events = zone.decide(leave)
        for event in events:
            self._log_event(event)
        after = {key: (copy.health, course) for key, (copy, course) in self._known().items()}
        now = time.monotonic()
        if before != after or order is not None or now - self._written_at > REWRITE:
            await self._write()
        if order is not None:
            for remedy, done in await zone.carry_out(order):
                result = "done" if done else "refused"
                labels = (zone.config.zone_copy, order.resolver, str(remedy), str(order.act))
                self._meters.copy_actions.labels(*labels, result).inc()
            await self._write()
        zone.due = time.monotonic() + (SOON if zone.moving else zone.config.interval)

    async def _write(self) -> None:
        if self._zones or self._left:
            await self._file.write({**self._left, **self._known()})
            self._written_at = time.monotonic()

    def problems(self) -> Mapping[str, str]:
        """Alarm name -> text, empty where nothing is wrong."""
        return _problems(self.status)


def _problems(each: Sequence[CopyStatus]) -> Mapping[str, str]:
    def some(health: Health, *phases: Phase) -> str:
        return "; ".join(
            f"{one.name}: {one.copy.because}{_held(one)}"
            for one in each
            if one.copy.health is health and one.course.phase in phases
        )

    in_use = (Phase.IN, Phase.LEAVING, Phase.STUCK, Phase.RETURNING, Phase.UNDOING)
    return {
        "copy_stale": some(Health.STALE, *in_use),
        "copy_failing": some(Health.FAILING, *in_use),
        "copy_out": "; ".join(
            f"{one.name} is taken out: {one.copy.because}{_held(one)}"
            for one in each
            if one.course.phase is Phase.OUT
        ),
        "copy_stuck": "; ".join(
            f"{one.name}: {one.course.trouble}" for one in each if one.course.trouble
        ),
    }


def _held(one: CopyStatus) -> str:
    return f"; {one.course.held}" if one.course.held else ""


@dataclass(slots=True, kw_only=True)
class _Resolver:
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


class _Zone:
    """One zone, its servers and all copies of it."""

    def __init__(self, config: ZoneCopy, around: Around, known: Known, now: Instant) -> None:
        self.config = config
        self.due: Instant = now
        self.real = Real()
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
        self.real = replace(real, doubt=real.doubt or around.doubt)
        self.now = time.monotonic()

    async def _look_at(self, one: _Resolver, around: Around, names: Sequence[str]) -> None:
        wall, zone = time.time(), self.config.zone
        address = one.config.address

        async def held() -> Shown | str | None:
            return await by_address(address, zone) if address is not None else None

        async def filed() -> FileShown | None:
            return await one.file.look(around.keys, wall) if one.file is not None else None

        async def out() -> bool | None:
            watched = one.course.phase in (Phase.OUT, Phase.LEAVING)
            return await one.driver.is_out(zone) if watched and _included(one) else None

        shown, file, asked, one.is_out, own = await asyncio.gather(
            held(), filed(), ask_clients(one.clients, zone, names, wall), out(), _own(one, zone)
        )
        if isinstance(one.config.control, KnotControl):
            own = served(asked)  # the cache is where it has its copy; PowerDNS shows its last denial's
        trouble = shown if isinstance(shown, str) else one.file.trouble if one.file else ""
        address_shown = shown if isinstance(shown, Shown) else None
        one.look = Look(address=address_shown, own=own, file=file, asked=asked, trouble=trouble)

    def decide(self, leave: Leave) -> tuple[Order | None, tuple[Event, ...]]:
        """What is to be done now, and what is to be told."""
        events = []
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
            )
            for name, one in self.resolvers.items()
        }
        courses, order, more = decide(self.config.zone_copy, ones, self.real, leave, self.now)
        for name, course in courses.items():
            self.resolvers[name].course = course
        return order, (*events, *more)

    def _limits(self, one: _Resolver) -> Limits:
        return Limits(
            margin=self.config.margin,
            max_age=self.config.max_age,
            interval=self.config.interval,
            refresh=one.config.refresh,
        )

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

    async def _apply(self, one: _Resolver, remedy: Remedy, act: Act) -> tuple[bool, str]:
        zone = self.config.zone
        if remedy is Remedy.DRIVER:
            call = one.driver.take_out if act is Act.TAKE_OUT else one.driver.put_back
            result = await call(zone)
            return result.done, result.said
        argv = one.config.command if act is Act.TAKE_OUT else one.config.restore
        if argv is None:
            return True, "no such command is configured any more"
        try:
            limit = one.config.control.time_limit
            return True, await Command(argv=argv, limit=limit).run()
        except NotDoneError as error:
            return False, str(error)


async def _own(one: _Resolver, zone: str) -> int | None:
    """Serial of what the resolver itself has, where that is seen past its cache."""
    if isinstance(one.driver, Unbound):
        return await one.driver.serial(zone)
    if isinstance(one.config.control, BindControl):
        return await mirrored(one.config.clients[0], zone)
    return None


def _included(one: _Resolver) -> bool:
    return one.config.control.include is not None


def _resolver(
    config: CopyOf, of: ZoneCopy, known: tuple[Copy, Course] | None, now: Instant
) -> _Resolver:
    copy, course = known or (Copy(watched=now), Course())
    remedies = []
    if config.control.include is not None:
        remedies.append(Remedy.DRIVER)
    if config.command is not None:
        remedies.append(Remedy.COMMAND)
    return _Resolver(
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
