"""The agent's senses: what reaches it from outside, kept until a turn asks for it.

Probes, the kernel and the reader of the resolvers' traffic bring news at any time, and ring.
What came over another path than it was meant for says nothing of it, and is left out here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from steering.agent.components import Components
from steering.agent.pin_check import PinCheck
from steering.agent.tasks import Tasks
from steering.model import Event, Heard, Passed, Round
from steering.report.metrics import Meters
from steering.system.wakeup import Wakeup


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What came in since the last turn."""

    rounds: tuple[Round, ...]
    heard: tuple[Heard, ...]
    passed: tuple[Passed, ...]
    """What became of the questions that this host forwarded."""
    installed: Mapping[str, str]
    """Address to site, as this host's packets go now."""


class Inputs:
    """Everything that is heard of the world, by the outfit that is put on."""

    components: Components

    def __init__(self, meters: Meters, tell: Callable[[Event], None]) -> None:
        self.wakeup = Wakeup()
        self.pins = PinCheck()
        self._rounds: list[Round] = []
        self._meters, self._tell = meters, tell

    def use(self, components: Components, tasks: Tasks) -> None:
        """Hear by this outfit from now on: wake when the kernel or a resolver tells of something.

        What the one before heard by is deaf since `tasks.stop_reading`.
        """
        self.components = components
        if components.actuators is not None:
            tasks.hear(components.actuators.kernel.fileno(), self._on_kernel)
            if (speaker := components.actuators.bgp.speaker) is not None:
                tasks.hear(speaker.fileno(), speaker.pump)
        if components.dnstap is not None:
            tasks.hear(components.dnstap.tap.fileno(), self._on_tap)

    def deliver(self, item: Round) -> None:
        """A round that is over."""
        self._rounds.append(item)
        self.wakeup.ring()

    def drop(self, ways: Collection[str] = ()) -> None:
        """Forget what was not asked for yet; `ways`: and what was asked over these paths."""
        self._rounds.clear()
        self.pins.forget(ways)
        if self.components.forwarding is not None:
            self.components.forwarding.reroute(ways, time.monotonic())

    def gather(self) -> Received:
        """All that came since it was last asked for."""
        # Rules may have gone while questions were under way. The kernel told of it before
        # anything asked since then could be answered, so what it told is heard first.
        self.kernel_changed()
        rounds, self._rounds = self._rounds, []
        components, dnstap = self.components, self.components.dnstap
        told = components.actuators.bgp.told() if components.actuators is not None else {}
        if dnstap is not None:
            self._on_tap()
        installed = self.installed()
        rounds = [components.ways.over_their_paths(item) for item in rounds]
        self.pins.stand(told, time.monotonic())
        rounds = [self.pins.sift(item) for item in rounds]
        self._meter(rounds)
        heard = dnstap.hear(installed, time.monotonic()) if dnstap is not None else ()
        passed = self._passed(installed)
        return Received(rounds=tuple(rounds), heard=heard, passed=passed, installed=installed)

    def _passed(self, installed: Mapping[str, str]) -> tuple[Passed, ...]:
        forwarding = self.components.forwarding
        if forwarding is None:
            return ()
        forwarding.note_installed(installed, time.monotonic())
        return forwarding.take()

    def _meter(self, rounds: Iterable[Round]) -> None:
        layout = self.components.layout
        for item in rounds:
            row = layout.row.get(item.address)
            if row is None:
                continue  # asked before the files changed
            upstream = layout.targets[row].upstream
            for seen in item.observations:
                if seen.rtt is not None and not seen.live:
                    self._meters.rtt.labels(upstream, seen.path).observe(seen.rtt)

    def installed(self) -> Mapping[str, str]:
        """Address to site, as this host's packets go: by its own table, else by the routers."""
        components = self.components
        if components.claim is None and components.actuators is not None:
            return components.actuators.bgp.installed()
        return components.ways.installed()

    def kernel_changed(self) -> bool:
        """Whether it told of a change; the hands hear of it too."""
        self.components.ways.sources = self.components.sources.addresses
        changed = self.components.ways.changed()
        if changed and self.components.actuators is not None:
            self.components.actuators.changed = True
        return changed

    def _on_kernel(self) -> None:
        if self.kernel_changed():
            self.wakeup.ring()

    def _on_tap(self) -> None:
        assert self.components.dnstap is not None
        for event in self.components.dnstap.listen(time.monotonic()):
            self._tell(event)
        if self.components.dnstap.waiting:
            self.wakeup.ring()
