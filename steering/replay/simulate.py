"""A story run: the engine against the story's internet, deterministically.

The agent's own cadence and questions ask what `fast_probing` wants at the interval it wants,
answers come after their round-trip time or the timeout, the resolvers' traffic comes in
tallies, and the actuator does at once what the plan says. A turn is run when there is news,
as the agent runs it, and at least once a second.

How finely, `pacing` says: a story of two days turn by turn would take an hour.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from steering.decide.fast_probing import attention
from steering.decide.state import State
from steering.engine import engine
from steering.layout import Layout
from steering.model import (
    LOCAL,
    Attention,
    Event,
    Facts,
    Heard,
    Instant,
    Outcome,
    Question,
    Round,
    Seconds,
    Step,
    Target,
    WallTime,
)
from steering.observe.probe.questions import QuestionSet, delegations
from steering.observe.probe.schedule import LIVE, Pace, Schedule
from steering.replay.pacing import LEAD, Pacing, leap, pace
from steering.replay.scenario import LoadedScenario
from steering.replay.scenario_answers import ScenarioAnswers

IDLE: Final[Seconds] = 1.0
TALLY: Final[Seconds] = 0.2
"""The reader of dnstap hands over what it has this often."""
COALESCE: Final[Seconds] = 0.1
"""The least time between two turns."""
_EVERY = {Pacing.DETAIL: COALESCE, Pacing.STROLL: IDLE}
BEGINNING: Final[Instant] = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turned:
    """One turn of a story."""

    at: WallTime
    """The story's time: the agent's clock may be wrong."""
    now: Instant
    facts: Facts
    before: State
    after: State
    steps: tuple[Step, ...]
    events: tuple[Event, ...]


class Simulation:
    """Runs one story, once."""

    def __init__(self, told: LoadedScenario) -> None:
        self.story, self.setup = told.story, told.setup
        self.layout = Layout.of(told.setup)
        self.internet = ScenarioAnswers(told.story, self.layout)
        self.asked = 0
        """Questions, each over some paths."""
        self.answers = self.failed = self.would_fail = 0.0
        """Of the resolvers: got, bad ones among them, and bad ones had nothing been steered."""
        self._rng = random.Random(f"probes of {told.story.story}")
        self._now = BEGINNING
        self._world = State.blank(self.layout, self._now, self.internet.clock(told.story.begins))
        self._wanted: Mapping[str, Attention] = {}
        self._installed: dict[str, str] = {}
        self._pending: list[tuple[Instant, Round]] = []
        self._turned = self._happened = self._now
        self._changes = sorted({*self.internet.changes(), told.story.ends})
        probe = told.setup.config.observe.probe
        self._pace = Pace(
            interval=probe.interval, fast_interval=probe.fast_interval, timeout=probe.timeout
        )
        self._cadence = self._begin_asking()
        self._questions = {
            target.address: QuestionSet(
                policy.zones, delegations(policy.zones, policy.nameservers), self._rng
            )
            for policy in told.setup.policies
            for target in policy.targets
        }

    def __iter__(self) -> Iterator[Turned]:
        """The turns, one after the other."""
        end = BEGINNING + self.story.lasts
        while self._now < end:
            quiet = self._now - self._happened
            speed = pace(
                self._world, self.internet, self.at, quiet=quiet, ahead=self._until_change()
            )
            yield self._leap() if speed is Pacing.LEAP else self._walk(_EVERY[speed])

    @property
    def at(self) -> WallTime:
        """The story's time."""
        return self.story.begins + self._now - BEGINNING

    # --- in detail ---

    def _walk(self, every: Seconds) -> Turned:
        """On to the next turn, question by question; turns are so far apart at the least."""
        while True:
            self._now = max(self._now, self._next(every))
            for due in self._cadence.due(self._now):
                self._ask(due.address, due.paths, due.witnesses, fast=due.fast)
            since = self._now - self._turned
            ready = any(at <= self._now for at, _ in self._pending)
            tally = self.story.answers > 0 and since >= TALLY - 1e-9
            if since >= every - 1e-9 and (ready or tally or since >= IDLE - 1e-9):
                rounds = tuple(r for at, r in self._pending if at <= self._now)
                self._pending = [(at, r) for at, r in self._pending if at > self._now]
                return self._turn(rounds)

    def _next(self, every: Seconds) -> Instant:
        """When something happens next."""
        ready = min((at for at, _ in self._pending), default=float("inf"))
        idle = self._turned + max(every, TALLY if self.story.answers else IDLE)
        soonest = min(self._cadence.wake_at, max(ready, self._turned + every), idle)
        return max(soonest, self._now)

    def _ask(
        self, address: str, paths: tuple[str, ...], witnesses: tuple[str, ...], *, fast: bool
    ) -> None:
        target = self.layout.targets[self.layout.row[address]]
        questions = self._questions[address]
        question = questions.fast(witnesses) if fast else questions.fresh()
        item = self._round(target, question, paths)
        lost = any(seen.outcome is Outcome.TIMEOUT for seen in item.observations)
        took = max((seen.rtt or 0.0 for seen in item.observations), default=0.0)
        self._pending.append((self._now + (self._pace.timeout if lost else took), item))

    def _round(self, target: Target, question: Question, paths: tuple[str, ...]) -> Round:
        self.asked += 1
        taken = self._installed.get(target.address, LOCAL)
        return Round(
            address=target.address,
            question=question,
            at=self._now,
            observations=tuple(
                self.internet.answer(
                    target, taken if path == LIVE else path, question, self.at, live=path == LIVE
                )
                for path in paths
            ),
        )

    def _turn(self, rounds: tuple[Round, ...]) -> Turned:
        before, at = self._world, self.at
        facts = Facts(
            wall=self.internet.clock(at),
            rounds=rounds,
            heard=self._traffic(self._now - self._turned),
            installed=dict(self._installed),
            overrides=self.setup.overrides,
        )
        self._world, steps, events = engine.turn(before, facts, self._now)
        if events or steps:
            self._happened = self._now
        self._installed = self._world.steers()
        self._wanted = attention(self._world)
        self._cadence.attend(self._wanted, self._now)
        self._turned = self._now
        return Turned(
            at=at,
            now=self._now,
            facts=facts,
            before=before,
            after=self._world,
            steps=steps,
            events=events,
        )

    def _traffic(self, passed: Seconds) -> tuple[Heard, ...]:
        if not self.story.answers or passed <= 0:
            return ()
        each = self.story.answers * passed / len(self.layout.targets)
        heard = []
        for target in self.layout.targets:
            number = int(each + self._rng.random())
            if number:
                path = self._installed.get(target.address, LOCAL)
                self.answers += number
                self.failed += number * self.internet.ill(target, path, self.at).share
                self.would_fail += number * self.internet.ill(target, LOCAL, self.at).share
                heard.append(self.internet.traffic(target, path, self._turned, self.at, number))
        return tuple(heard)

    # --- by leaps ---

    def _until_change(self) -> Seconds:
        at = self.at
        while self._changes and self._changes[0] <= at:
            self._changes.pop(0)
        return self._changes[0] - at if self._changes else float("inf")

    def _leap(self) -> Turned:
        """One leap: every address asked once over every path."""
        self._now += leap(self._world)
        took = max(self.internet.rtt(path) for path in self.layout.paths)
        rounds, self._pending = [r for _, r in self._pending], []
        for target in self.layout.targets:
            attended = self._wanted.get(target.address)
            paths = (*self.layout.paths, LIVE) if attended and attended.live else self.layout.paths
            questions = self._questions[target.address]
            question = questions.fast(attended.witnesses) if attended else questions.fresh()
            rounds.append(self._round(target, question, paths))
        self._now += took
        turned = self._turn(tuple(rounds))
        if self._until_change() < LEAD + leap(self._world):
            self._cadence = self._begin_asking()
        return turned

    def _begin_asking(self) -> Schedule:
        """The timelines, spread over the slow interval from now on."""
        cadence = Schedule(
            [target.address for target in self.layout.targets],
            self.layout.paths,
            self._pace,
            rng=self._rng,
            now=self._now,
        )
        cadence.attend(self._wanted, self._now)
        return cadence
