"""Keeps the copy of the root zone: rounds of asking on the SOA's refresh, each with publishing.

It is a task of its own, and the loop never waits for it: a child process does the work on the zone,
threads that on the disk. Nothing is published where the agent may not act, or its clock is in
doubt. Nothing here takes a copy away: a round that fails leaves everything as it is, and is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from steering.agent.runtime import Runtime
from steering.config import Mode
from steering.config.rootzone import RootZone
from steering.errors import CommandError
from steering.format import from_now, whole_second
from steering.model import LOCAL, Event, Health, Instant, Seconds
from steering.observe.nonce import system_random
from steering.observe.zone.facts import Copy, Source
from steering.report.metrics import Meters
from steering.rootzone.fetch import Outcome, Result, fetch
from steering.rootzone.keep import Kept, directory_of
from steering.rootzone.publish import Published, Step, is_published, publish
from steering.rootzone.targets import target_of
from steering.system.side_thread import aside

LOOK: Final[Seconds] = 1.0
"""How often it looks whether the files have changed, or a round is due."""
RETRY: Final[Seconds] = 900.0
"""After a round that failed, while no copy says how long: the root's own retry."""
STALLED: Final[Seconds] = 900.0
"""A round that takes longer hangs, on a disk or on a control program."""
TOLERATED: Final = 2
"""Rounds in a row without an answer, or while another process is at work, before there is an alarm.
What is refused is told at once."""
BUSY: Final[Seconds] = 60.0
"""Until the next try, where another process is at work: `steering rootzone` by hand."""


@dataclass(slots=True)
class _Progress:
    """What came of the rounds so far."""

    silent: int = 0
    busy: int = 0
    result: Result | None = None
    error: str = ""
    published: dict[str, Published] = field(default_factory=dict)
    """The last publication to each resolver, until one is found to have the copy."""


class KeptRoot:
    """The task. It lasts as long as the agent, whatever the files say."""

    def __init__(
        self, runtime: Runtime, log_event: Callable[[Event], None], meters: Meters
    ) -> None:
        self._runtime, self._log_event, self._meters = runtime, log_event, meters
        self._due: Instant = -1.0
        self._began: Instant | None = None
        self._settings: RootZone | None = None
        self._now = _Progress()

    def problem(self, now: Instant) -> str:
        """What is wrong, for the alarm `rootzone`; empty: nothing."""
        if self._settings is None:
            return ""
        if self._began is not None and now - self._began > STALLED:
            return "the round that is under way does not end: a disk or a control program hangs"
        found, wall = self._now, time.time()
        parts = [found.error]
        result = found.result
        if result is not None and not result.good:
            tolerated = result.outcome is Outcome.SILENT and found.silent < TOLERATED
            parts.append("" if tolerated else f"{result.outcome}: {result.because}")
            parts.append("" if tolerated else _what_is_left(result.copy, wall))
        parts += [
            f"{one.name} does not have it: {one.step}: {one.because}"
            for one in found.published.values()
            if not one.good
        ]
        return "; ".join(filter(None, parts))

    async def run(self) -> None:
        """Runs rounds when they are due, until it is cancelled."""
        while True:
            settings = self._runtime.version.setup.config.rootzone
            if settings != self._settings:
                self._settings, self._now, self._due = settings, _Progress(), -1.0
            if settings is not None and time.monotonic() >= self._due:
                self._began = time.monotonic()
                pause = await self._round(settings)
                self._began = None
                self._due = time.monotonic() + pause
            await asyncio.sleep(LOOK)

    async def _round(self, settings: RootZone) -> Seconds:
        """One round. Returns the pause until the next."""
        kept = Kept(directory_of(self._runtime.version.setup.config.state))
        self._now.error = ""
        lock = kept.locked()
        try:
            await aside(lock.__enter__)
            # At the agent's end it is not let go here: a disk that hangs would hold that up.
            try:
                await self._work(kept, settings)
            except OSError as error:
                self._now.error = _said(error, kept)
            await aside(partial(lock.__exit__, None, None, None))
        except CommandError as error:
            self._now.busy += 1
            self._now.error = str(error) if self._now.busy >= TOLERATED else ""
            return BUSY
        except OSError as error:
            self._now.error = _said(error, kept)
        self._now.busy = 0
        result = self._now.result
        copy = result.copy if result is not None else None
        refresh, retry = (copy.facts.refresh, copy.facts.retry) if copy else (RETRY, RETRY)
        good = result is not None and result.good and not self._now.error
        return max(settings.interval, refresh if good else retry)

    async def _work(self, kept: Kept, settings: RootZone) -> None:
        anchors = self._runtime.version.key_sources.anchors
        before = await aside(kept.copy)
        again = any(one.step is Step.SPOILED for one in self._now.published.values())
        sources = [one for address in settings.sources for one in self._ways(address)]
        result = await fetch(kept, sources, anchors, time.time(), again=again)
        self._meters.rootzone_rounds.labels(str(result.outcome)).inc()
        if result.copy is not None:
            self._meters.rootzone_best_before.set(result.copy.best_before())
        self._told(result, before)
        silent = result.outcome is Outcome.SILENT
        self._now.silent = self._now.silent + 1 if silent else 0
        self._now.result = result
        await self._publish(kept, settings, result.copy)

    def _ways(self, address: str) -> list[Source]:
        """How to reach a source: as all traffic goes, or where that is bad over healthy sites.

        Only the addresses of policies have paths that are known, and marks that lead there.
        """
        state, components = self._runtime.state, self._runtime.components
        plain = [Source(address=address)]
        claim = components.claim
        if address not in state.index.settings or claim is None or address in state.plan:
            return plain
        if state.ledger.path(address).health in {Health.HEALTHY, Health.UNKNOWN}:
            return plain
        sites = [path for path in state.index.paths if path != LOCAL]
        marked = [
            Source(address=address, mark=claim.mark_of(site), path=site)
            for site in sites
            if state.ledger.path(address, site).health is Health.HEALTHY
        ]
        return [*marked, *plain]

    async def _publish(self, kept: Kept, settings: RootZone, copy: Copy | None) -> None:
        """Gives the copy to each resolver that does not have it yet."""
        if copy is None or not self._may_act():
            return
        anchors = self._runtime.version.key_sources.anchors
        for name, target_settings in settings.publish.items():
            if not self._may_act():
                return
            target = target_of(name, target_settings)
            if await aside(partial(is_published, kept, copy, target)):
                self._now.published.pop(name, None)
                continue
            before = self._now.published.get(name)
            target = replace(target, may_act=self._may_act)
            done = await publish(kept, copy, target, anchors, time.time(), rng=system_random())
            self._now.published[name] = done
            self._meters.rootzone_published.labels(name, str(done.step)).inc()
            if before is None or (before.step, before.serial) != (done.step, done.serial):
                self._log_event(_published(done))

    def _may_act(self) -> bool:
        state = self._runtime.state
        enforces = self._runtime.version.setup.config.mode is Mode.ENFORCE
        return enforces and not state.off and "clock" not in state.alarms

    def _told(self, result: Result, before: Copy | None) -> None:
        """Logs a new copy, and a failure that is another than the last."""
        last = self._now.result
        if result.outcome is Outcome.NEW and result.copy is not None:
            was = None if before is None else str(before.facts.serial)
            self._log_event(
                Event(
                    event="rootzone_renewed",
                    because=f"from {result.copy.source}, verified; best before"
                    f" {whole_second(result.copy.best_before())}",
                    was=was,
                    now=str(result.copy.facts.serial),
                )
            )
        elif not result.good and (last is None or last.outcome is not result.outcome):
            self._log_event(
                Event(event="rootzone_not_renewed", because=f"{result.outcome}: {result.because}")
            )


def _said(error: OSError, kept: Kept) -> str:
    return f"{error.filename or kept.directory}: {error.strerror or error}"


def _what_is_left(copy: Copy | None, wall: float) -> str:
    if copy is None:
        return "there is no copy"
    return f"the copy at hand is best before {from_now(copy.best_before() - wall)}"


def _published(done: Published) -> Event:
    if done.good:
        because = done.because or "it answers names at the end of the zone"
        return Event(
            event="rootzone_published", because=f"{done.name}: {because}", now=str(done.serial)
        )
    return Event(
        event="rootzone_not_published", because=f"{done.name}: {done.step}: {done.because}"
    )
