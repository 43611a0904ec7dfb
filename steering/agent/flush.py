"""Has the resolvers forget what keeps their clients failing after a move, beside the agent's loop.

After each turn `turn` notes what is due (`flush_due`). Tasks of their own, one for each resolver,
have it done: whatever a resolver does, the loop does not wait for it. How often is bounded; what
comes in between is done at once with the next. A flush that fails is an alarm and is tried again,
more and more seldom, for as long as the longest memory of a resolver lasts and the agent may act:
what waits when `mode` or the off switch forbids it is dropped, and told. In calm times each
resolver is asked now and then whether it can be reached at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from steering.act.resolvers.driver import Driver, Moved
from steering.agent.flush_due import REMEMBERED, Due, FlushDue
from steering.config import Flush
from steering.decide.state import State
from steering.model import Event, Instant, Round, Seconds
from steering.report.metrics import Meters
from steering.resolver_drivers import flushing

AT_ONCE: Final = 3
"""Flushes that may follow each other at once."""
EVERY: Final[Seconds] = 10.0
"""Time for which one more is allowed."""
TRIED_EVERY: Final[Seconds] = 300.0
"""How often it is tried whether a resolver can be reached, in calm times."""
AGAIN: Final[tuple[Seconds, Seconds]] = 5.0, 60.0
"""Pause after a flush that failed: the first one, doubled each time, and the longest."""


@dataclass(slots=True)
class _Resolver:
    """One resolver, and what it is to forget."""

    driver: Driver
    waiting: list[Due] = field(default_factory=list)
    """What was not done yet, in order."""
    came: asyncio.Event = field(default_factory=asyncio.Event)
    level: float = 0.0
    """Flushes in a bucket of `AT_ONCE`, which one leaves in `EVERY`: as of `begun`."""
    begun: Instant = float("-inf")
    """When the latest flush began."""
    tried: Instant = float("-inf")
    """When it was last tried whether it can be reached."""
    problem: str = ""
    """What went wrong with the latest flush, or why it can't be reached; empty: nothing."""
    failures: int = 0
    """Flushes in a row that failed."""
    failing_since: Instant = 0.0

    def allowed_at(self) -> Instant:
        """When the next flush may begin."""
        return self.begun + max(0.0, self.level - (AT_ONCE - 1)) * EVERY

    def begins(self, now: Instant) -> None:
        """Counts one that begins now."""
        self.level = max(0.0, self.level - (now - self.begun) / EVERY) + 1
        self.begun = now


class Flushing:
    """All resolvers that are flushed. It lasts as long as the agent."""

    def __init__(self, meters: Meters, log_event: Callable[[Event], None]) -> None:
        self._meters, self._log_event = meters, log_event
        self._due = FlushDue()
        self._settings: Flush | None = None
        self._resolvers: tuple[_Resolver, ...] = ()
        self._changed = asyncio.Event()
        self._may_act = False
        """Whether `mode` and the off switch allow it, as of the latest turn."""

    @property
    def problem(self) -> str:
        """Which flushes failed; empty: none."""
        return "; ".join(
            f"{one.driver.kind}: {one.problem}" for one in self._resolvers if one.problem
        )

    def turn(
        self,
        settings: Flush | None,
        state: State,
        rounds: Iterable[Round],
        installed: Mapping[str, str],
    ) -> None:
        """Notes what is due after a turn, by the settings in force. Waits for nothing."""
        self._may_act = state.index.acts and not state.off
        if settings != self._settings:
            self._use(settings)
        if not self._resolvers:
            return
        for due in self._due.see(state, rounds, installed):
            for one in self._resolvers:
                if one.driver.remembers(due.moved):
                    self._add(one, due)

    async def run(self) -> None:
        """Has the resolvers do it, until it is cancelled. A bug in it ends the agent."""
        while True:
            self._changed.clear()
            works = [asyncio.create_task(self._work(one)) for one in self._resolvers]
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait([changed, *works], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (changed, *works):
                    task.cancel()
                ended = await asyncio.gather(changed, *works, return_exceptions=True)
            for error in ended:
                if isinstance(error, Exception):
                    raise error

    def _use(self, settings: Flush | None) -> None:
        self._settings = settings
        self._resolvers = tuple(_Resolver(driver) for driver in flushing(settings))
        self._changed.set()

    def _add(self, one: _Resolver, due: Due) -> None:
        if self._may_act:
            one.waiting.append(due)
            one.came.set()
        else:
            self._leave_out(one, due)

    def _leave_out(self, one: _Resolver, due: Due) -> None:
        because = f"{one.driver.kind} would forget what it remembers: {due.after}"
        self._log_event(Event(event="would_flush", because=because, upstream=due.upstream))

    async def _work(self, one: _Resolver) -> None:
        while True:
            if not await _within(one.tried + TRIED_EVERY - time.monotonic(), one.came):
                await self._try(one)
                continue
            await asyncio.sleep(max(0.0, one.allowed_at() - time.monotonic()))
            one.came.clear()
            done, one.waiting = one.waiting, []
            if not self._may_act:
                one.problem, one.failures = "", 0
                for due in done:
                    self._leave_out(one, due)
                continue
            one.begins(time.monotonic())
            if await self._flush(one, done) or self._given_up(one):
                continue
            one.waiting[:0] = done
            first, longest = AGAIN
            await _within(min(longest, first * 2 ** min(10, one.failures - 1)), one.came)
            one.came.set()

    async def _try(self, one: _Resolver) -> None:
        """In calm times: an operator should not learn in an incident that it can't be reached."""
        one.tried = time.monotonic()
        came = await one.driver.reach()
        one.problem = "" if came.done else f"{came.said} (tried in calm times)"

    async def _flush(self, one: _Resolver, dues: list[Due]) -> bool:
        """Has it forget all of this at once; whether it did."""
        kind = one.driver.kind
        came = await one.driver.flush(_together(dues))
        after = "; ".join(dict.fromkeys(f"{due.upstream}: {due.after}" for due in dues))
        self._meters.flushes.labels(str(kind), "done" if came.done else "failed").inc()
        if not came.done:
            if not one.failures:
                one.failing_since = time.monotonic()
            one.failures += 1
            one.problem = f"{came.said} ({after})"
            return False
        one.problem, one.failures = "", 0
        self._meters.flush_seconds.labels(str(kind)).observe(came.seconds)
        for upstream in dict.fromkeys(due.upstream for due in dues):
            because = f"{kind} in {came.seconds * 1000:.0f} ms: {came.said}; {after}"
            self._log_event(Event(event="flushed", because=because, upstream=upstream))
        return True

    def _given_up(self, one: _Resolver) -> bool:
        """Whether what could not be flushed has by now been forgotten anyway."""
        if time.monotonic() - one.failing_since < REMEMBERED:
            return False
        one.problem, one.failures = "", 0
        return True


async def _within(seconds: Seconds, event: asyncio.Event) -> bool:
    """Whether the event comes within so many seconds."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            return await event.wait()
    except TimeoutError:
        return False


def _together(dues: list[Due]) -> Moved:
    """All of them as one."""
    return Moved(
        zones=tuple(dict.fromkeys(zone for due in dues for zone in due.moved.zones)),
        silent=tuple(dict.fromkeys(address for due in dues for address in due.moved.silent)),
        faults=frozenset(fault for due in dues for fault in due.moved.faults),
    )
