"""`steering demo`: the incident of July 2023 in network namespaces, from its begin to its end.

The zones are signed like com. and net.; the servers, the resolver, the kernel and the agent are
real. Only the internet is small and the time is short. Every time in the closing table is measured:
the kernel's own messages have the times of the routes, the clients have the time of the last failed
answer.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from steering.lab.demo.display import Display, DisplayState, screen
from steering.lab.demo.timeline import Timeline, route_times
from steering.lab.network.sandbox import LabError
from steering.lab.network.topology import EDGE, Topology
from steering.lab.scene import Scene, Settings, seconds
from steering.lab.servers.zone import Fault, FaultKind, Validity, ZoneSpec, sign
from steering.model import LOCAL, Family, Seconds

TABLE = "5353"
FROZEN_FOR: Seconds = 3 * 86_400
"""Age of the local copy: about the time until the first signature of com. and net. expires."""
WAIT_LIMIT: Seconds = 45.0
"""Longest wait for something that normally takes seconds."""


def demo(*, timeline: Path | None = None, embedded: bool = False) -> int:
    """Run the demo; exit code 0 if the incident took its expected course, else 1."""
    missing = Topology.missing()
    if missing:
        print("steering demo can't run here:", file=sys.stderr)
        for what in missing:
            print(f"  {what}", file=sys.stderr)
        return 1
    if timeline is not None and (problem := _unwritable(timeline)):
        print(f"steering demo: {timeline}: {problem}", file=sys.stderr)
        return 1
    try:
        with screen() as display, Scene(embedded=embedded, load=50.0, secure=1.0) as scene:
            measured = DemoRun(scene, display).run()
    except LabError as error:
        print(f"steering demo: {error}", file=sys.stderr)
        return 1
    display.table(measured)
    if timeline is not None:
        try:
            measured.write(timeline)
        except OSError as error:
            print(f"steering demo: {timeline}: {error.strerror}", file=sys.stderr)
            return 1
        print(f"timeline written to {timeline}")
    return 0 if measured.complete else 1


def _unwritable(file: Path) -> str | None:
    """Why the file can't be written; checked before the run and not only at its end."""
    try:
        file.touch()
    except OSError as error:
        return error.strerror
    return None


@dataclass(slots=True)
class DemoRun:
    """The acts of the demo, and what is measured meanwhile."""

    scene: Scene
    display: Display
    timeline: Timeline = field(default_factory=Timeline)
    state: DisplayState = field(default_factory=DisplayState)
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> Timeline:
        """Run all acts; takes about a minute."""
        scene, timeline = self.scene, self.timeline
        self._begin_act("setting up: three sites, signed com. and net., servers, resolver, agent")
        timeline.servers = scene.authorities[LOCAL].kind
        timeline.resolver = scene.resolver.kind
        scene.serve()
        scene.resolver.start()
        scene.clients.start()
        scene.configure(Settings(interval="1s", fast_interval="100ms", hold="10s", clean=60))
        with self._kernel_messages():
            scene.start_agent()
            self._begin_act("healthy: every path answers with good signatures")
            self._wait(10)
            self._begin_act("the local copy is three days old: its first signatures expire (2 %)")
            timeline.first_expired = self._freeze(0.02)
            self._wait(6)
            self._begin_act("more signatures expire: 13 % of the zone")
            self._freeze(0.13)
            self._wait(
                WAIT_LIMIT, until=lambda: len(scene.routes(TABLE)) == len(scene.world.addresses)
            )
            self._begin_act(
                "steered: the same questions to the same addresses reach another instance"
            )
            self._wait(12)
            self._begin_act("the operator brings the local instance up to date")
            timeline.fixed = scene.serve(paths=[LOCAL])
            self._wait(WAIT_LIMIT, until=lambda: not scene.routes(TABLE))
            self._begin_act("back on the local path: all detours are removed")
            self._wait(5)
            self._close()
        return timeline

    def _freeze(self, share: float) -> float:
        """Let the local instance serve its old copy, with this share of signatures expired."""
        scene, now = self.scene, time.time()
        fault = Fault(kind=FaultKind.EXPIRED, share=share, spare_apex=True)
        validity = replace(Validity.since(now), expired_for=1.0)
        zones = [
            sign(_older(scene.specs[zone]), scene.keys[zone], validity, fault)
            for zone in scene.specs
        ]
        scene.authorities[LOCAL].serve(zones)
        return now

    def _begin_act(self, title: str) -> None:
        self.state.act = title
        self._update()

    def _wait(self, longest: Seconds, until: Callable[[], bool] | None = None) -> None:
        """Wait and update the display; end early when `until()` is true."""
        end = time.monotonic() + longest
        while time.monotonic() < end:
            self._update()
            if until is not None and until():
                return
            time.sleep(0.1)
        if until is not None:
            self.state.add_line(f"not within {longest:.0f} s: {self.state.act}")

    def _update(self) -> None:
        """Read the clients' counts and the agent's events and status, and draw them."""
        state, timeline = self.state, self.timeline
        state.elapsed = time.monotonic() - self._started
        for tally in self.scene.clients.tallies():
            state.clients(tally.time, tally.asked, tally.failed)
        for event in self.scene.events():
            state.event(event)
            if event["event"] == "suspected" and timeline.suspected is None:
                timeline.suspected = seconds(event["time"])
            if event["event"] == "confirmed" and timeline.confirmed is None:
                timeline.confirmed = seconds(event["time"])
        if self.scene.agent is not None:
            if not self.scene.agent.running:
                raise LabError(f"the agent ended{self.scene.agent.tail()}")
            with contextlib.suppress(OSError, LabError):  # the agent is not ready yet
                state.status(self.scene.api())
        self.display.draw(state)

    @contextlib.contextmanager
    def _kernel_messages(self) -> Iterator[None]:
        """Log the kernel's messages about routes, with their times."""
        program = self.scene.world.start(
            EDGE, ["ip", "-ts", "monitor", "route"], log="routes.log", env={"TZ": "UTC"}
        )
        try:
            yield
        finally:
            program.stop()

    def _close(self) -> None:
        """Collect the figures that are only known at the end."""
        timeline = self.timeline
        lines = (self.scene.world.work / "routes.log").read_text().splitlines()
        if not self.scene.routes(TABLE):
            timeline.rolled_back = _last_deletion(lines)
        added = route_times(lines, TABLE)
        for family in Family:
            instants = [added.get(a) for a in self.scene.world.addresses if Family.of(a) is family]
            known = [at for at in instants if at is not None]
            if len(known) == len(instants):
                timeline.installed[family] = max(known)
        totals = self.scene.clients.stop()
        timeline.asked, timeline.failed, timeline.last_failure = (
            totals.asked,
            totals.failed,
            totals.last_failure,
        )


def _older(spec: ZoneSpec) -> ZoneSpec:
    return replace(spec, serial=spec.serial - int(FROZEN_FOR))


def _last_deletion(lines: list[str]) -> float | None:
    deleted = [line.replace("Deleted ", "", 1) for line in lines if "] Deleted " in line]
    timeline = route_times(reversed(deleted), TABLE)
    return max(timeline.values(), default=None)
