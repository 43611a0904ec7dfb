"""The agent's senses: what reaches it from outside, kept until a turn asks for it.

Probes, the kernel and the reader of the resolvers' traffic bring news at any time, and ring.
What came over another path than it was meant for says nothing of it, and is left out here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from steering.agent.crew import Crew
from steering.agent.outfit import Outfit
from steering.agent.pins import Pins
from steering.model import Event, Heard, Passed, Round
from steering.observe.bell import Bell
from steering.report.metrics import Meters


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What came in since the last turn."""

    rounds: tuple[Round, ...]
    heard: tuple[Heard, ...]
    passed: tuple[Passed, ...]
    """What became of the questions that this host forwarded."""
    installed: Mapping[str, str]
    """Address to site, as this host's packets go now."""


class Senses:
    """Everything that is heard of the world, by the outfit that is put on."""

    outfit: Outfit

    def __init__(self, meters: Meters, tell: Callable[[Event], None]) -> None:
        self.bell = Bell()
        self.pins = Pins()
        self._rounds: list[Round] = []
        self._meters, self._tell = meters, tell

    def wear(self, outfit: Outfit, crew: Crew) -> None:
        """Hear by this outfit from now on: wake when the kernel or a resolver tells of something.

        What the one before heard by is deaf since `crew.deafen`.
        """
        self.outfit = outfit
        if outfit.hands is not None:
            crew.hear(outfit.hands.kernel.fileno(), self._on_kernel)
            if (speaker := outfit.hands.voice.speaker) is not None:
                crew.hear(speaker.fileno(), speaker.pump)
        if outfit.ears is not None:
            crew.hear(outfit.ears.tap.fileno(), self._on_tap)

    def deliver(self, item: Round) -> None:
        """A round that is over."""
        self._rounds.append(item)
        self.bell.ring()

    def drop(self, ways: Collection[str] = ()) -> None:
        """Forget what was not asked for yet; `ways`: and what was asked over these paths."""
        self._rounds.clear()
        self.pins.forget(ways)
        if self.outfit.forwarding is not None:
            self.outfit.forwarding.reroute(ways, time.monotonic())

    def gather(self) -> News:
        """All that came since it was last asked for."""
        # Rules may have gone while questions were under way. The kernel told of it before
        # anything asked since then could be answered, so what it told is heard first.
        self.hear_kernel()
        rounds, self._rounds = self._rounds, []
        outfit, ears = self.outfit, self.outfit.ears
        told = outfit.hands.voice.told() if outfit.hands is not None else {}
        if ears is not None:
            self._on_tap()
        installed = self.installed()
        rounds = [outfit.ways.over_their_paths(item) for item in rounds]
        self.pins.stand(told, time.monotonic())
        rounds = [self.pins.sift(item) for item in rounds]
        self._meter(rounds)
        heard = ears.hear(installed, time.monotonic()) if ears is not None else ()
        passed = self._passed(installed)
        return News(rounds=tuple(rounds), heard=heard, passed=passed, installed=installed)

    def _passed(self, installed: Mapping[str, str]) -> tuple[Passed, ...]:
        forwarding = self.outfit.forwarding
        if forwarding is None:
            return ()
        forwarding.stand(installed, time.monotonic())
        return forwarding.take()

    def _meter(self, rounds: Iterable[Round]) -> None:
        layout = self.outfit.layout
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
        outfit = self.outfit
        if outfit.claim is None and outfit.hands is not None:
            return outfit.hands.voice.installed()
        return outfit.ways.installed()

    def hear_kernel(self) -> bool:
        """Whether it told of a change; the hands hear of it too."""
        self.outfit.ways.sources = self.outfit.sources.addresses
        changed = self.outfit.ways.changed()
        if changed and self.outfit.hands is not None:
            self.outfit.hands.changed = True
        return changed

    def _on_kernel(self) -> None:
        if self.hear_kernel():
            self.bell.ring()

    def _on_tap(self) -> None:
        assert self.outfit.ears is not None
        for event in self.outfit.ears.listen(time.monotonic()):
            self._tell(event)
        if self.outfit.ears.waiting:
            self.bell.ring()
