"""A simulated internet for the pure part: answers by a story, time by a counter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from steering import engine
from steering.config import Setup, load
from steering.decide.attention import attention
from steering.layout import Layout
from steering.model import (
    LOCAL,
    Event,
    Evidence,
    Facts,
    Family,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
    Step,
)
from steering.world import World

Answer = Callable[[str, str, str, float], Outcome]
"""(address, path, name asked, instant) -> outcome. The path is where the packet really went."""

WALL = 1_700_000_000.0

CONFIG = """\
site: sin
sites:
  pao: {next_hop: {ipv4: 10.255.1.2, ipv6: "fd00:ff:1::2"}}
  fra: {next_hop: {ipv4: 10.255.2.2, ipv6: "fd00:ff:2::2"}}
observe: {probe: {interval: 1s, fast_interval: 100ms, timeout: 1s}}
policies: policies
"""


def policy(name: str = "gtld", letters: int = 3, net: int = 5, more: str = "") -> str:
    """A policy of so many nameservers with an address of each family, below 192.<net>."""
    servers = "\n".join(
        f'  {chr(97 + i)}.{name}.example.: [192.{net}.{i}.30, "2001:db8:{net}::{i}:30"]'
        for i in range(letters)
    )
    return (
        f"upstream: {name}\nzones: [{name}.]\n"
        "recover: {hold: 10s, max_hold: 60s, clean: 20}\n"
        f"nameservers:\n{servers}\n{more}"
    )


def setup(tmp: Path, *policies: str, config: str = CONFIG) -> Setup:
    """A configuration read from real files."""
    (tmp / "policies").mkdir(exist_ok=True)
    (tmp / "steering.yaml").write_text(config)
    for number, text in enumerate(policies or (policy(),)):
        (tmp / "policies" / f"{number}.yaml").write_text(text)
    return load(tmp / "steering.yaml")


@dataclass
class Simulation:
    """Runs the engine against a story, with an actuator that does what it is told."""

    setup: Setup
    answer: Answer
    step: float = 0.05
    now: float = 1000.0
    off: bool = False
    refuses: Callable[[str], bool] = lambda address: False  # noqa: ARG005
    installed: dict[str, str] = field(default_factory=dict)
    events: list[tuple[float, Event]] = field(default_factory=list)
    steps: list[tuple[float, Step]] = field(default_factory=list)
    asked: int = 0
    rtt: float = 0.02

    def __post_init__(self) -> None:
        self.layout = Layout.of(self.setup)
        self.world = World.blank(self.layout, self.now, WALL + self.now)
        spread = self.layout.interval / max(1, len(self.layout.targets))
        self._slow = {t.address: self.now + i * spread for i, t in enumerate(self.layout.targets)}
        self._fast: dict[str, float] = {}
        self._pending: list[tuple[float, Round]] = []

    def run(self, seconds: float) -> Simulation:
        """Let so much time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now = round(self.now + self.step, 6)
            self._ask()
            ready = [r for at, r in self._pending if at <= self.now]
            self._pending = [(at, r) for at, r in self._pending if at > self.now]
            self.turn(ready)
        return self

    def turn(self, rounds: Iterable[Round] = ()) -> None:
        """One turn, its plan carried out at once."""
        facts = Facts(
            wall=WALL + self.now, rounds=tuple(rounds), installed=dict(self.installed), off=self.off
        )
        self.world, steps, events = engine.turn(self.world, facts, self.now)
        self.events += [(self.now, event) for event in events]
        self.steps += [(self.now, step) for step in steps]
        wanted = self.world.steers()
        self.installed = {
            a: site
            for a, site in wanted.items()
            if not self.refuses(a) or self.installed.get(a) == site
        }

    def told(self, event: str) -> list[tuple[float, Event]]:
        """The events of one kind, each with its instant."""
        return [(at, e) for at, e in self.events if e.event == event]

    def health(self, address: str, path: str = LOCAL) -> str:
        """What is believed of one key."""
        from steering.model import Health

        return Health(
            int(self.world.ledger.health[self.layout.row[address], self.layout.column[path]])
        ).word

    def addresses(self, family: Family | None = None) -> list[str]:
        """Those of one family, or all."""
        return [t.address for t in self.layout.targets if family in (None, t.family)]

    def _ask(self) -> None:
        wanted = attention(self.world)
        for target in self.layout.targets:
            address = target.address
            due = wanted.get(address)
            if self._slow[address] <= self.now:
                self._slow[address] += self.layout.interval
                self._round(address, set(self.layout.paths), live=due is not None and due.live)
            elif due is not None and self._fast.get(address, 0.0) <= self.now:
                self._fast[address] = self.now + self.layout.fast_interval
                self._round(address, set(due.paths), live=due.live)

    def _round(self, address: str, paths: set[str], *, live: bool) -> None:
        self.asked += 1
        name = f"n{self.asked}.{self.setup.policies[0].zones[0]}"
        question = Question(
            zone=self.setup.policies[0].zones[0], name=name, rdtype="A", kind=Kind.DENIAL
        )
        seen = [self._observe(address, path, name) for path in sorted(paths)]
        if live:
            taken = self.installed.get(address, LOCAL)
            seen.append(self._observe(address, taken, name, live=True))
        slow = any(o.outcome is Outcome.TIMEOUT for o in seen)
        ready = self.now + (self.layout.timeout if slow else self.rtt)
        item = Round(address=address, question=question, at=self.now, observations=tuple(seen))
        self._pending.append((ready, item))

    def _observe(self, address: str, path: str, name: str, *, live: bool = False) -> Observation:
        outcome = self.answer(address, path, name, self.now)
        came = outcome not in (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
        dated = outcome is Outcome.EXPIRED
        return Observation(
            address=address,
            path="live" if live else path,
            live=live,
            outcome=outcome,
            reached=came,
            rtt=self.rtt if came else None,
            evidence=Evidence(owner=name, rdtype="NSEC3", detail="signature expired")
            if dated
            else None,
        )
