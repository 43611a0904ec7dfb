"""The agent's inputs: what arrives from outside, kept until a turn collects it.

Probes, the kernel and the dnstap reader bring news at any time, and wake the loop. Answers that
came over another path than intended are no evidence for it, and are dropped here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from steering.agent.components import Components
from steering.agent.pin_check import PinCheck
from steering.agent.tasks import Tasks
from steering.facts import Passed
from steering.model import Event, Heard, Round
from steering.report.metrics import Meters
from steering.system.wakeup import Wakeup


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What arrived since the last turn."""

    rounds: tuple[Round, ...]
    heard: tuple[Heard, ...]
    """What dnstap shows of the resolvers' traffic."""
    passed: tuple[Passed, ...]
    """What became of the questions that this host forwarded."""
    installed: Mapping[str, str]
    """Address to site, as this host's packets go now."""


class Inputs:
    """Collects everything that arrives through the components in use."""

    components: Components

    def __init__(self, meters: Meters, log_event: Callable[[Event], None]) -> None:
        self.wakeup = Wakeup()
        self.pin_check = PinCheck()
        self._rounds: list[Round] = []
        self._meters, self._log_event = meters, log_event

    def use(self, components: Components, tasks: Tasks) -> None:
        """Read from these components from now on: wake when the kernel or a resolver has news.

        `tasks.stop_reading` has ended the reading from those before.
        """
        self.components = components
        if components.actuators is not None:
            tasks.on_readable(components.actuators.kernel.fileno(), self._on_kernel)
            if (speaker := components.actuators.bgp.speaker) is not None:
                tasks.on_readable(speaker.fileno(), speaker.pump)
        if components.dnstap is not None:
            tasks.on_readable(components.dnstap.reader.fileno(), self._on_dnstap)

    def deliver(self, item: Round) -> None:
        """Take a round that is over."""
        self._rounds.append(item)
        self.wakeup.ring()

    def drop(self, paths: Collection[str] = ()) -> None:
        """Drop what no turn has collected; and what other parts know of these paths."""
        self._rounds.clear()
        self.pin_check.forget(paths)
        if self.components.forwarding is not None:
            self.components.forwarding.reroute(paths, time.monotonic())

    def gather(self) -> Received:
        """All that arrived since the last call."""
        # Rules may have been removed while probes were under way. The kernel's message about that
        # is older than any answer to a later probe, so its messages are read first.
        self.kernel_changed()
        rounds, self._rounds = self._rounds, []
        components, dnstap = self.components, self.components.dnstap
        announced = components.actuators.bgp.announced() if components.actuators is not None else {}
        if dnstap is not None:
            self._on_dnstap()
        installed = self.installed()
        rounds = [components.kernel_paths.over_their_paths(item) for item in rounds]
        self.pin_check.update(announced, time.monotonic())
        rounds = [self.pin_check.without_strayed(item) for item in rounds]
        self._observe_rtt(rounds)
        heard = dnstap.evidence(installed, time.monotonic()) if dnstap is not None else ()
        passed = self._passed(installed)
        return Received(rounds=tuple(rounds), heard=heard, passed=passed, installed=installed)

    def _passed(self, installed: Mapping[str, str]) -> tuple[Passed, ...]:
        forwarding = self.components.forwarding
        if forwarding is None:
            return ()
        forwarding.note_installed(installed, time.monotonic())
        return forwarding.take()

    def _observe_rtt(self, rounds: Iterable[Round]) -> None:
        known = self.components.index.settings
        for item in rounds:
            settings = known.get(item.address)
            if settings is None:
                continue  # asked before the files changed
            for seen in item.observations:
                if seen.rtt is not None and not seen.live:
                    self._meters.rtt.labels(settings.upstream, seen.path).observe(seen.rtt)

    def installed(self) -> Mapping[str, str]:
        """Address to site, as this host's packets go: by its own table, else by the routers."""
        components = self.components
        if components.claim is None and components.actuators is not None:
            return components.actuators.bgp.installed()
        return components.kernel_paths.installed()

    def kernel_changed(self) -> bool:
        """Whether the kernel reported a change. Passes that on to the actuators."""
        self.components.kernel_paths.sources = self.components.sources.addresses
        changed = self.components.kernel_paths.changed()
        if changed and self.components.actuators is not None:
            self.components.actuators.changed = True
        return changed

    def _on_kernel(self) -> None:
        if self.kernel_changed():
            self.wakeup.ring()

    def _on_dnstap(self) -> None:
        assert self.components.dnstap is not None
        for event in self.components.dnstap.read(time.monotonic()):
            self._log_event(event)
        if self.components.dnstap.has_news:
            self.wakeup.ring()
