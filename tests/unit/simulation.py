"""A simulated internet for the pure part: answers by a story, time by a counter."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from steering.config import Setup, load
from steering.decide.fast_probing import attention
from steering.decide.state import State
from steering.engine import engine
from steering.engine.carry_over import remember
from steering.facts import Facts, Memory
from steering.index import Index
from steering.judge.known.recovery import Hold
from steering.model import (
    LOCAL,
    Event,
    Evidence,
    Family,
    Health,
    Heard,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
    Step,
)
from steering.override import Override
from steering.remedies import OF_ADDRESSES

WALL = 1_700_000_000.0

CONFIG = """\
site: sin
sites:
  pao: {next_hop: {ipv4: 10.255.1.2, ipv6: "fd00:ff:1::2"}}
  fra: {next_hop: {ipv4: 10.255.2.2, ipv6: "fd00:ff:2::2"}}
observe: {probe: {interval: 1s, fast_interval: 100ms, timeout: 1s}}
policies: policies
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question under way: to whom, how it really went, what, when."""

    address: str
    path: str
    """Where the packet went, whatever it was meant to measure."""
    name: str
    now: float
    live: bool = False
    source: str = ""
    tcp: bool = False

    @property
    def local(self) -> bool:
        """Went without a detour."""
        return self.path == LOCAL

    @property
    def v6(self) -> bool:
        """Over IPv6."""
        return ":" in self.address

    def unlucky(self, share: float, salt: str = "") -> bool:
        """One of so many names, the same ones at every address, path and time."""
        return _draw(f"{self.name}{salt}") < share

    def lost(self, share: float, salt: str = "") -> bool:
        """One of so many packets, independently."""
        return _draw(f"{self.name}{self.address}{self.path}{self.now}{self.live}{salt}") < share


def _draw(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An answer with more in it than its outcome."""

    outcome: Outcome = Outcome.SECURE
    serial: int | None = None
    expires: float | None = None
    nsid: str | None = None
    judged: bool = True
    detail: str = ""
    large: int = 0
    stalled: bool = False


Answer = Callable[[Ask], Outcome | Shown]


def policy(name: str = "gtld", letters: int = 3, net: int = 5, more: str = "") -> str:
    """A policy of so many nameservers with an address of each family, below 192.<net>."""
    servers = "\n".join(
        f'  {chr(97 + i)}.{name}.example.: [192.{net}.{i}.30, "2001:db8:{net}::{i}:30"]'
        for i in range(letters)
    )
    recover = "" if "recover:" in more else "recover: {hold: 10s, max_hold: 60s, clean: 20}\n"
    return f"upstream: {name}\nzones: [{name}.]\n{recover}nameservers:\n{servers}\n{more}"


def setup(tmp: Path, *policies: str, config: str = CONFIG) -> Setup:
    """A configuration read from real files."""
    (tmp / "policies").mkdir(exist_ok=True)
    (tmp / "steering.yaml").write_text(config)
    for number, text in enumerate(policies or (policy(),)):
        (tmp / "policies" / f"{number}.yaml").write_text(text)
    return load(tmp / "steering.yaml")


def _sent(seen: Observation, source: str, *, tcp: bool) -> Observation:
    """As the prober tells it: who would have no stream may answer all the same."""
    said = seen.judged and not (tcp and seen.outcome is Outcome.TIMEOUT)
    if (source, tcp, said) == (seen.source, seen.tcp, seen.judged):
        return seen
    return replace(seen, source=source, tcp=tcp, judged=said)


@dataclass
class Simulation:
    """Runs the engine against a story, with an actuator that does what it is told.

    Time goes from one thing that happens to the next, in steps of `step` at least. There is a
    turn for every answer while anything is in question. In peace one that says what the last
    one over its path said waits for the next turn, as an agent with more to do would have it.
    """

    setup: Setup
    answer: Answer
    step: float = 0.1
    idle: float = 1.0
    """A turn is run at least this often."""
    now: float = 1000.0
    clock_error: float = 0.0
    off: bool = False
    sources: Mapping[Family, tuple[str, ...]] = field(default_factory=dict)
    """What the resolvers send from, and the questions in turns."""
    tcp_every: int = 0
    """Of so many rounds one goes by TCP; 0: none does."""
    overrides: tuple[Override, ...] = ()
    refuses: Callable[[str], bool] = lambda address: False  # noqa: ARG005
    installed: dict[str, str] = field(default_factory=dict)
    events: list[tuple[float, Event]] = field(default_factory=list)
    steps: list[tuple[float, Step]] = field(default_factory=list)
    asked: int = 0
    rtt: float = 0.02

    def __post_init__(self) -> None:
        self.index = Index.of(self.setup)
        self._knows: State | Memory | None = None
        self.restart()
        spread = self.index.interval / max(1, len(self.index.targets))
        self._slow = {t.address: self.now + i * spread for i, t in enumerate(self.index.targets)}
        self._fast: dict[str, float] = {}
        self._pending: list[tuple[float, Round, bool]] = []
        """When it is there, an answer, and whether it is news."""
        self._way = "", False
        """Where the question under way is sent from, and whether by TCP."""

    @property
    def memory(self) -> Memory | None:
        """What the agent remembers over a restart."""
        if isinstance(self._knows, State):
            self._knows = remember(self._knows)
        return self._knows

    @memory.setter
    def memory(self, memory: Memory | None) -> None:
        self._knows = memory

    def restart(self) -> None:
        """A new agent, that knows what is remembered alone; what is installed stays."""
        self.state = State.blank(self.index, self.now, WALL + self.now)
        self._wanted = attention(self.state)
        self._turned = self.now
        self._watched_until = math.inf
        self._said: dict[tuple[str, str], tuple[object, ...]] = {}

    def run(self, seconds: float) -> Self:
        """Let so much time pass."""
        end = round(self.now + seconds, 6)
        while self.now < end:
            self._advance(end)
        if ready := self._ready():
            self.turn(ready)
        return self

    def until(self, condition: Callable[[], bool], limit: float) -> float:
        """Run until it holds; the seconds that took. Fails after `limit` seconds."""
        begun = self.now
        while not condition():
            assert self.now - begun < limit, f"still not so after {limit} s"
            self._advance(begun + limit)
        return self.now - begun

    def _advance(self, end: float) -> None:
        self.now = round(min(end, max(self.now + self.step, self._next())), 6)
        self._ask()
        watched = self.now < self._watched_until
        if self.now - self._turned >= self.idle or any(
            at <= self.now and (new or watched) for at, _, new in self._pending
        ):
            self.turn(self._ready())

    def _ready(self) -> list[Round]:
        """The answers that are there by now, taken."""
        ready = [item for at, item, _ in self._pending if at <= self.now]
        self._pending = [waits for waits in self._pending if waits[0] > self.now]
        return ready

    def facts(self, rounds: Iterable[Round]) -> Facts:
        """All there is to know for a turn."""
        return Facts(
            wall=WALL + self.now + self.clock_error,
            rounds=tuple(rounds),
            heard=self.traffic(self.now - self._turned),
            installed=dict(self.installed),
            sources=self.sources,
            off=self.off,
            overrides=self.overrides,
            memory=None if self.state.started else self.memory,
        )

    def turn(self, rounds: Iterable[Round] = ()) -> None:
        """One turn, its plan carried out at once."""
        facts = self.facts(rounds)
        self.state, steps, events = engine.turn(self.state, facts, self.now)
        for name, alarm in self.state.alarms.items():  # an acknowledgement may be of some of them
            assert bool(alarm.about) == (name in OF_ADDRESSES), name
        self.events += [(self.now, event) for event in events]
        self.steps += [(self.now, step) for step in steps]
        self.installed = {
            a: site
            for a, site in self.state.steers().items()
            if not self.refuses(a) or self.installed.get(a) == site
        }
        self._knows = self.state
        self._wanted = attention(self.state)
        self._turned = self.now
        self._watched_until = self._in_question()

    def _in_question(self) -> float:
        """Until when every answer may matter: while somebody is curious, on trial or to prove."""
        ledger, verifications = self.state.ledger, self.state.verifications.values()
        known = ledger.addresses.values()
        trials = any(one.trial for one in known)
        trials |= any(one.trial for one in ledger.groups.values())
        if trials or not all(proof.proved for proof in verifications):
            return math.inf
        return max((one.curious_until for one in known), default=-math.inf)

    def traffic(self, seconds: float) -> tuple[Heard, ...]:  # noqa: ARG002 - there is none
        """What was heard of the resolvers' traffic in so much time."""
        return ()

    def told(self, event: str) -> list[tuple[float, Event]]:
        """The events of one kind, each with its instant."""
        return [(at, e) for at, e in self.events if e.event == event]

    def moves(self) -> list[tuple[float, Step]]:
        """The steps away from the local path."""
        return [(at, s) for at, s in self.steps if s.now]

    def health(self, address: str, path: str = LOCAL) -> Health:
        """What is believed of one key."""
        return self.state.ledger.path(address, path).health

    def holds(self) -> dict[str, Hold]:
        """The holds of those that were breached lately."""
        known = self.state.ledger.addresses.items()
        return {address: one.hold for address, one in known if one.hold is not None}

    def rule(self, address: str) -> int:
        """The number of the rule in force."""
        return self.state.rule[address]

    def addresses(self, family: Family | None = None) -> list[str]:
        """Those of one family, or all."""
        return [t.address for t in self.index.targets if family in (None, t.family)]

    def _next(self) -> float:
        fast = [self._due(address) for address in self._wanted]
        ready = [at for at, _, _ in self._pending if at > self.now]
        return min([*self._slow.values(), *fast, *ready, self._turned + self.idle])

    def _due(self, address: str) -> float:
        """When it may be asked again that is attended."""
        gap = max(self.index.fast_interval, self._wanted[address].every)
        return round(self._fast.get(address, -math.inf) + gap, 6)

    def _ask(self) -> None:
        for a, address in enumerate(self.index.settings):
            due = self._wanted.get(address)
            live = due is not None and due.live
            if self._slow[address] <= self.now:
                self._slow[address] += self.index.interval
                self._round(a, address, set(self.index.paths), live=live)
            elif due is not None and self._due(address) <= self.now:
                self._fast[address] = self.now
                self._round(a, address, set(due.paths), live=live, witnesses=due.witnesses)

    def _round(
        self, a: int, address: str, paths: set[str], *, live: bool, witnesses: tuple[str, ...] = ()
    ) -> None:
        self.asked += 1
        settings = self.index.settings[address]
        zone = settings.policy.zones[0]
        count = self._count(address)
        if witnesses and count % 2:
            name, kind = witnesses[count // 2 % len(witnesses)], Kind.WITNESS
        else:
            name, kind = f"n{self.asked}.{zone}", Kind.DENIAL
        question = Question(zone=zone, name=name, rdtype="A", kind=kind)
        sources = self.sources.get(settings.family, ("",))
        source = sources[(count + a) % len(sources)]
        tcp = bool(self.tcp_every) and count % self.tcp_every == 0
        self._way = source, tcp
        seen = [self._observe(address, path, name) for path in sorted(paths)]
        if live:
            taken = self.installed.get(address, LOCAL)
            seen.append(self._observe(address, taken, name, live=True))
        seen = [_sent(one, source, tcp=tcp) for one in seen]
        slow = any(o.outcome is Outcome.TIMEOUT for o in seen)
        ready = self.now + (self.index.timeout if slow else self.rtt)
        item = Round(address=address, question=question, at=self.now, observations=tuple(seen))
        self._pending.append((ready, item, self._is_news(seen)))

    def _count(self, address: str) -> int:  # noqa: ARG002 - it may be of each by itself
        """By which fresh names and those asked again take turns."""
        return self.asked

    def _is_news(self, seen: list[Observation]) -> bool:
        """Whether any of them says what the one before it did not."""
        said = {(o.address, o.path): (o.outcome, o.judged, o.nsid) for o in seen}
        new = not said.items() <= self._said.items()
        self._said |= said
        return new

    def _observe(self, address: str, path: str, name: str, *, live: bool = False) -> Observation:
        source, tcp = self._way
        ask = Ask(
            address=address,
            path=path,
            name=name,
            now=self.now,
            live=live,
            source=source,
            tcp=tcp,
        )
        return self._seen(address, path, name, self.answer(ask), live=live)

    def _seen(
        self, address: str, path: str, name: str, shown: Outcome | Shown, *, live: bool
    ) -> Observation:
        if isinstance(shown, Outcome):
            shown = Shown(outcome=shown)
        came = shown.outcome not in (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
        return Observation(
            address=address,
            path="live" if live else path,
            live=live,
            outcome=shown.outcome,
            judged=shown.judged,
            reached=came or shown.stalled,
            stalled=shown.stalled,
            large=shown.large if came else 0,
            rtt=self.rtt if came else None,
            nsid=shown.nsid,
            serial=shown.serial,
            expires=shown.expires,
            detail=shown.detail,
            evidence=Evidence(owner=name, rdtype="NSEC3", detail="signature expired")
            if shown.outcome is Outcome.EXPIRED
            else None,
        )
