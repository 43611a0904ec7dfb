"""Watches the copies of zones that resolvers of this site serve from, and takes them out in time.

A task of its own beside the turns: nothing here waits for a turn, and no turn for it. What it knows
is in a file of its own. `judge.copies` and `decide.copies` think; here is the only clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from steering.agent.copies_file import CopiesFile, Known
from steering.agent.copies_zone import Around, WatchedZone
from steering.config import ZoneCopy
from steering.decide.copy_course import Leave, Phase
from steering.judge.copies import BAD_LOOKS
from steering.judge.copies import some as asked_of
from steering.model import NEVER, Event, Health, Instant, Seconds
from steering.report.copies import CopyStatus
from steering.report.metrics import Meters

SOON: Seconds = 1.0
"""Time between two looks while a copy is on its way out or back."""
REWRITE: Seconds = 300.0
"""The file is written at least this often, for the ages in it."""
FINISH: Seconds = 60.0
"""How long changed files wait for what is being done by the former ones."""


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
        self._zones: dict[str, WatchedZone] = {}
        self._config: tuple[ZoneCopy, ...] = ()
        self._left: Known = {}
        """What is known of copies that no file names now."""
        self._written_at: Instant = NEVER

    @property
    def status(self) -> tuple[CopyStatus, ...]:
        """Every copy as last looked at."""
        return tuple(one for zone in self._zones.values() for one in zone.status())

    @property
    def problem(self) -> str:
        """What is wrong with the file; empty: nothing."""
        return self._file.problem

    async def run(self) -> None:
        """Look at what is due, each zone in a task of its own, until cancelled."""
        self._left = await self._file.read()
        steps: dict[WatchedZone, asyncio.Task[None]] = {}
        try:
            while True:
                around = self._around()
                if around.setup.copies is not self._config:
                    if steps:  # what is being done is not done by two at once
                        await asyncio.wait(steps.values(), timeout=FINISH)
                    await _ended(steps)
                    self._use(self._around())
                now = time.monotonic()
                for zone in self._zones.values():
                    if zone.due <= now and zone not in steps:
                        steps[zone] = asyncio.create_task(self._step(zone))
                resting = (zone.due for zone in self._zones.values() if zone not in steps)
                pause = min(SOON, max(0.0, min(resting, default=now + SOON) - time.monotonic()))
                await _over(steps, pause)
        finally:
            await _ended(steps)

    def _use(self, around: Around) -> None:
        """Watch what these files name."""
        known = {**self._left, **self._known()}
        self._config = around.setup.copies
        self._zones = {
            config.zone_copy: WatchedZone(config, around, known, time.monotonic())
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

    async def _step(self, zone: WatchedZone) -> None:
        """One look at one zone and its copies, and what follows from it."""
        await zone.look(self._around())
        around = self._around()  # what was set during the look is in force
        if around.setup.copies is not self._config:
            return
        before = {key: (copy.health, course) for key, (copy, course) in self._known().items()}
        elsewhere = any(z is not zone and z.moving for z in self._zones.values())
        leave = Leave(acts=around.acts, off=around.off, elsewhere=elsewhere)
        order, events = zone.decide(leave, around.doubt)
        for event in events:
            self._log_event(event)
        after = {key: (copy.health, course) for key, (copy, course) in self._known().items()}
        now = time.monotonic()
        if before != after or order is not None or now - self._written_at > REWRITE:
            await self._write()
        if order is not None and (why := self._forbidden(zone)):
            _, course = before[zone.config.zone_copy, order.resolver]
            self._log_event(zone.withdraw(order, course, why))
            await self._write()
        elif order is not None:
            for remedy, done in await zone.carry_out(order):
                result = "done" if done else "refused"
                labels = (zone.config.zone_copy, order.resolver, str(remedy), str(order.act))
                self._meters.copy_actions.labels(*labels, result).inc()
            await self._write()
        zone.due = time.monotonic() + (SOON if zone.moving else zone.config.interval)

    def _forbidden(self, zone: WatchedZone) -> str:
        """Why what was decided may not be done any more; empty: it may be."""
        around = self._around()
        if around.setup.copies is not self._config:
            return "the files have changed"
        doubt = "" if zone.real.doubt else around.doubt  # an old doubt is decided about
        return Leave(acts=around.acts, off=around.off).forbids() or doubt

    async def _write(self) -> None:
        if self._zones or self._left:
            await self._file.write({**self._left, **self._known()})
            self._written_at = time.monotonic()

    def problems(self) -> Mapping[str, str]:
        """Alarm name -> text, empty where nothing is wrong."""
        return _problems(self.status)


async def _over(steps: dict[WatchedZone, asyncio.Task[None]], pause: Seconds) -> None:
    """Waits for the first to end, at most so long. A bug in one of them ends the agent."""
    if not steps:
        await asyncio.sleep(pause)
    else:
        await asyncio.wait(steps.values(), timeout=pause, return_when=asyncio.FIRST_COMPLETED)
    for zone in [zone for zone, step in steps.items() if step.done()]:
        steps.pop(zone).result()


async def _ended(steps: dict[WatchedZone, asyncio.Task[None]]) -> None:
    """Ends them as the end of the process would: what each was about to do is written down."""
    for step in steps.values():
        step.cancel()
    ended = await asyncio.gather(*steps.values(), return_exceptions=True)
    steps.clear()
    for error in ended:
        if isinstance(error, Exception):
            raise error


def _problems(each: Sequence[CopyStatus]) -> Mapping[str, str]:
    def some(health: Health, *phases: Phase) -> str:
        return "; ".join(
            f"{one.name}: {one.copy.because}{_held(one)}"
            for one in each
            if one.copy.health is health and one.course.phase in phases
        )

    def before(one: CopyStatus) -> bool:
        return one.copy.before_looks >= BAD_LOOKS

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
            f"{one.name}: {one.course.trouble}{_refused(one)}" for one in each if one.course.trouble
        ),
        "copy_forwarder": "; ".join(
            f"{one.name} itself answers well, and before it names fail: {asked_of(one.copy.before)}"
            for one in filter(before, each)
        ),
    }


def _refused(one: CopyStatus) -> str:
    """What stands in the way of putting it back, where clients are served worse without it."""
    undoing = one.course.phase is Phase.UNDOING and one.course.refused
    return f"; it can't be put back: {one.course.refused}" if undoing else ""


def _held(one: CopyStatus) -> str:
    return f"; {one.course.held}" if one.course.held else ""
