"""A simulation whose resolvers' traffic is heard."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from simulation import Ask, Simulation

from steering.model import LOCAL, Evidence, Failure, Heard, Outcome

UNIVERSE = 5000
"""RRsets that the traffic asks for."""


@dataclass
class Listening(Simulation):
    """The simulation with resolvers that ask `rate` questions a second."""

    rate: float = 200.0
    idle: float = 0.2
    denials: bool = True
    """The failing names are no names to ask, but second looks find some."""
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    heard: Callable[[Listening, float], tuple[Heard, ...]] | None = None

    def traffic(self, seconds: float) -> tuple[Heard, ...]:
        if self.heard is not None:
            return self.heard(self, seconds)
        asked = Counter(
            self.rng.choice(self.index.targets).address for _ in range(round(self.rate * seconds))
        )
        return tuple(self._heard(address, number) for address, number in asked.items())

    def _heard(self, address: str, number: int) -> Heard:
        path = self.installed.get(address, LOCAL)
        zone = self.index.settings[address].policy.zones[0]
        failing = []
        for _ in range(number):
            name = f"rr{self.rng.randrange(UNIVERSE)}.{zone}"
            shown = self.answer(Ask(address=address, path=path, name=name, now=self.now))
            if shown is Outcome.EXPIRED:
                failing.append(name)
        return heard(address, failing, path=path, good=number - len(failing), at=self.now)


def failure(name: str, outcome: Outcome = Outcome.EXPIRED) -> Failure:
    evidence = Evidence(owner=name, rdtype="NSEC3", detail="signature expired")
    return Failure(name=name, outcome=outcome, evidence=evidence, ask=name)


def heard(
    address: str,
    failing: list[str],
    *,
    path: str = LOCAL,
    good: int = 0,
    lost: int = 0,
    at: float = 1000.0,
) -> Heard:
    counts = {Outcome.SECURE: good, Outcome.EXPIRED: len(failing), Outcome.TIMEOUT: lost}
    return Heard(
        address=address,
        path=path,
        at=at,
        answers=good + len(failing),
        counts={outcome: number for outcome, number in counts.items() if number},
        failures=tuple(failure(name) for name in failing[:32]),
    )
