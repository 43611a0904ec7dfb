"""`steering demo`: July 2023 happens in network namespaces, and ends by itself.

The zones are signed like com. and net., the servers, the resolver, the kernel and the agent
are real; only the internet is small and time is short. Every instant of the closing table is
measured: the kernel's own messages say when a route was there, the clients say when an
answer last failed.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from steering.lab.display import Picture, Show, screen
from steering.lab.sandbox import LabError
from steering.lab.scene import Scene, Settings, seconds
from steering.lab.timeline import Timeline, first_told
from steering.lab.topology import EDGE, Topology
from steering.lab.zone import Fault, FaultKind, Validity, ZoneSpec, sign
from steering.model import LOCAL, Family, Seconds

TABLE = "5353"
FROZEN_FOR: Seconds = 3 * 86_400
"""Age of the local copy: about as long as com. and net. take until the first signature ends."""
PATIENCE: Seconds = 45.0
"""Longest wait for something that should happen within seconds."""


def demo(*, timeline: Path | None = None, embedded: bool = False) -> int:
    """Play the story; exit code 0 if it went as it should, 1 if not."""
    missing = Topology.missing()
    if missing:
        print("steering demo can't run here:", file=sys.stderr)
        for what in missing:
            print(f"  {what}", file=sys.stderr)
        return 1
    if timeline is not None and (trouble := _unwritable(timeline)):
        print(f"steering demo: {timeline}: {trouble}", file=sys.stderr)
        return 1
    try:
        with screen() as show, Scene(embedded=embedded, load=50.0, secure=1.0) as scene:
            told = Story(scene, show).play()
    except LabError as error:
        print(f"steering demo: {error}", file=sys.stderr)
        return 1
    show.table(told)
    if timeline is not None:
        try:
            told.write(timeline)
        except OSError as error:
            print(f"steering demo: {timeline}: {error.strerror}", file=sys.stderr)
            return 1
        print(f"timeline written to {timeline}")
    return 0 if told.complete else 1


def _unwritable(file: Path) -> str | None:
    """Why nothing can be written there: better said before the story than at its end."""
    try:
        file.touch()
    except OSError as error:
        return error.strerror
    return None


@dataclass(slots=True)
class Story:
    """The acts, and what is seen meanwhile."""

    scene: Scene
    show: Show
    told: Timeline = field(default_factory=Timeline)
    picture: Picture = field(default_factory=Picture)
    _started: float = field(default_factory=time.monotonic)

    def play(self) -> Timeline:
        """All acts, in about a minute."""
        scene, told = self.scene, self.told
        self._act("setting the stage: three sites, com. and net. signed, servers, resolver, agent")
        told.servers = scene.authorities[LOCAL].kind
        told.resolver = scene.resolver.kind
        scene.serve()
        scene.resolver.start()
        scene.clients.start()
        scene.configure(Settings(interval="1s", fast_interval="100ms", hold="10s", clean=60))
        with self._kernel_messages():
            scene.start_agent()
            self._act("all is well: every path answers with good signatures")
            self._wait(10)
            self._act("the local copy froze three days ago: its first signatures run out (2 %)")
            told.first_expired = self._freeze(0.02)
            self._wait(6)
            self._act("more signatures run out: 13 % of the zone, and nobody has called anybody")
            self._freeze(0.13)
            self._wait(
                PATIENCE, until=lambda: len(scene.routes(TABLE)) == len(scene.world.addresses)
            )
            self._act("steered: the same questions, the same addresses, another instance")
            self._wait(12)
            self._act("the operator brings the local instance up to date")
            told.fixed = scene.serve(paths=[LOCAL])
            self._wait(PATIENCE, until=lambda: not scene.routes(TABLE))
            self._act("back on the local path: nothing is left of the detour")
            self._wait(5)
            self._close()
        return told

    def _freeze(self, share: float) -> float:
        """Let the local instance serve its old copy, in which this share has expired."""
        scene, now = self.scene, time.time()
        fault = Fault(kind=FaultKind.EXPIRED, share=share, spare_apex=True)
        validity = replace(Validity.since(now), expired_for=1.0)
        zones = [
            sign(_older(scene.specs[zone]), scene.keys[zone], validity, fault)
            for zone in scene.specs
        ]
        scene.authorities[LOCAL].serve(zones)
        return now

    def _act(self, title: str) -> None:
        self.picture.act = title
        self._look()

    def _wait(self, longest: Seconds, until: Callable[[], bool] | None = None) -> None:
        """Let time pass, and show it; end early when `until()` is true."""
        end = time.monotonic() + longest
        while time.monotonic() < end:
            self._look()
            if until is not None and until():
                return
            time.sleep(0.1)
        if until is not None:
            self.picture.note(f"not within {longest:.0f} s: {self.picture.act}")

    def _look(self) -> None:
        """Take in what the clients and the agent say, and draw."""
        picture, told = self.picture, self.told
        picture.elapsed = time.monotonic() - self._started
        for tally in self.scene.clients.tallies():
            picture.clients(tally.time, tally.asked, tally.failed)
        for event in self.scene.events():
            picture.event(event)
            if event["event"] == "suspected" and told.suspected is None:
                told.suspected = seconds(event["time"])
            if event["event"] == "confirmed" and told.confirmed is None:
                told.confirmed = seconds(event["time"])
        if self.scene.agent is not None:
            if not self.scene.agent.running:
                raise LabError(f"the agent ended{self.scene.agent.tail()}")
            with contextlib.suppress(OSError, LabError):  # not up yet
                picture.status(self.scene.api())
        self.show.draw(picture)

    @contextlib.contextmanager
    def _kernel_messages(self) -> Iterator[None]:
        """What the kernel tells of routes, with its time, as a log."""
        program = self.scene.world.start(
            EDGE, ["ip", "-ts", "monitor", "route"], log="routes.log", env={"TZ": "UTC"}
        )
        try:
            yield
        finally:
            program.stop()

    def _close(self) -> None:
        """The figures that are only known at the end."""
        told = self.told
        lines = (self.scene.world.work / "routes.log").read_text().splitlines()
        if not self.scene.routes(TABLE):
            told.rolled_back = _last_deletion(lines)
        added = first_told(lines, TABLE)
        for family in Family:
            instants = [added.get(a) for a in self.scene.world.addresses if Family.of(a) is family]
            known = [at for at in instants if at is not None]
            if len(known) == len(instants):
                told.installed[family] = max(known)
        totals = self.scene.clients.stop()
        told.asked, told.failed, told.last_failure = (
            totals.asked,
            totals.failed,
            totals.last_failure,
        )


def _older(spec: ZoneSpec) -> ZoneSpec:
    return replace(spec, serial=spec.serial - int(FROZEN_FOR))


def _last_deletion(lines: list[str]) -> float | None:
    deleted = [line.replace("Deleted ", "", 1) for line in lines if "] Deleted " in line]
    told = first_told(reversed(deleted), TABLE)
    return max(told.values(), default=None)
