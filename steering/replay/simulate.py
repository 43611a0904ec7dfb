"""Runs a scenario: the engine against the scenario's nameservers, deterministically.

The agent's own schedule and questions probe what `fast_probing` asks for, at its interval. Answers
come after their round-trip time or the timeout, the resolvers' traffic comes in tallies, and the
actuator carries out each plan at once. There is a turn when something came, as in the agent, and at
least once a second.

`pacing` determines how finely: two days turn by turn would take an hour.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from steering.decide.fast_probing import attention
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.index import Index
from steering.model import (
    LOCAL,
    Attention,
    Event,
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
from steering.replay.pacing import LEAD, Pacing, choose_pacing, leap
from steering.replay.scenario import LoadedScenario
from steering.replay.scenario_answers import ScenarioAnswers

IDLE: Final[Seconds] = 1.0
TALLY: Final[Seconds] = 0.2
"""Seconds between two tallies of the dnstap reader."""
COALESCE: Final[Seconds] = 0.1
"""The least seconds between two turns."""
_EVERY = {Pacing.DETAIL: COALESCE, Pacing.COARSE: IDLE}
BEGINNING: Final[Instant] = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedTurn:
    """One turn of a scenario."""

    at: WallTime
    """The scenario's time; the agent's clock may be wrong."""
    now: Instant
    facts: Facts
    before: State
    after: State
    steps: tuple[Step, ...]
    events: tuple[Event, ...]


class Simulation:
    """Runs one scenario, once."""

    def __init__(self, loaded: LoadedScenario) -> None:
        self.scenario, self.setup = loaded.scenario, loaded.setup
        self.index = Index.of(loaded.setup)
        self.servers = ScenarioAnswers(loaded.scenario, self.index)
        self.asked = 0
        """Questions, each over several paths."""
        self.answers = self.failed = self.would_fail = 0.0
        """Answers to the resolvers: all, the bad ones, and the bad ones without any steer."""
        self._rng = random.Random(f"probes of {loaded.scenario.story}")
        self._now = BEGINNING
        self._state = State.blank(self.index, self._now, self.servers.clock(loaded.scenario.begins))
        self._attention: Mapping[str, Attention] = {}
        self._installed: Mapping[str, str] = {}
        self._pending: list[tuple[Instant, Round]] = []
        self._turned_at = self._quiet_since = self._now
        self._changes = sorted({*self.servers.changes(), loaded.scenario.ends})
        probe = loaded.setup.config.observe.probe
        self._pace = Pace(
            interval=probe.interval, fast_interval=probe.fast_interval, timeout=probe.timeout
        )
        self._schedule = self._new_schedule()
        self._questions = {
            target.address: QuestionSet(
                policy.zones, delegations(policy.zones, policy.nameservers), self._rng
            )
            for policy in loaded.setup.policies
            for target in policy.targets
        }

    def __iter__(self) -> Iterator[SimulatedTurn]:
        """The turns in order."""
        end = BEGINNING + self.scenario.lasts
        while self._now < end:
            quiet = self._now - self._quiet_since
            speed = choose_pacing(
                self._state, self.servers, self.at, quiet=quiet, ahead=self._until_change()
            )
            yield self._leap() if speed is Pacing.LEAP else self._step(_EVERY[speed])

    @property
    def at(self) -> WallTime:
        """The scenario's time."""
        return self.scenario.begins + self._now - BEGINNING

    # --- in detail ---

    def _step(self, every: Seconds) -> SimulatedTurn:
        """Go on to the next turn, question by question. `every`: the least time between turns."""
        while True:
            self._now = max(self._now, self._next(every))
            for due in self._schedule.due(self._now):
                self._ask(due.address, due.paths, due.witnesses, fast=due.fast)
            since = self._now - self._turned_at
            ready = any(at <= self._now for at, _ in self._pending)
            tally = self.scenario.answers > 0 and since >= TALLY - 1e-9
            if since >= every - 1e-9 and (ready or tally or since >= IDLE - 1e-9):
                rounds = tuple(r for at, r in self._pending if at <= self._now)
                self._pending = [(at, r) for at, r in self._pending if at > self._now]
                return self._turn(rounds)

    def _next(self, every: Seconds) -> Instant:
        """When the next event of the simulation is due."""
        ready = min((at for at, _ in self._pending), default=float("inf"))
        idle = self._turned_at + max(every, TALLY if self.scenario.answers else IDLE)
        soonest = min(self._schedule.wake_at, max(ready, self._turned_at + every), idle)
        return max(soonest, self._now)

    def _ask(
        self, address: str, paths: tuple[str, ...], witnesses: tuple[str, ...], *, fast: bool
    ) -> None:
        target = self.index.settings[address].target
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
                self.servers.answer(
                    target, taken if path == LIVE else path, question, self.at, live=path == LIVE
                )
                for path in paths
            ),
        )

    def _turn(self, rounds: tuple[Round, ...]) -> SimulatedTurn:
        before, at = self._state, self.at
        facts = Facts(
            wall=self.servers.clock(at),
            rounds=rounds,
            heard=self._traffic(self._now - self._turned_at),
            installed=dict(self._installed),
            overrides=self.setup.overrides,
        )
        self._state, steps, events = engine.turn(before, facts, self._now)
        if events or steps:
            self._quiet_since = self._now
        self._installed = self._state.steers()
        self._attention = attention(self._state)
        self._schedule.attend(self._attention, self._now)
        self._turned_at = self._now
        return SimulatedTurn(
            at=at,
            now=self._now,
            facts=facts,
            before=before,
            after=self._state,
            steps=steps,
            events=events,
        )

    def _traffic(self, passed: Seconds) -> tuple[Heard, ...]:
        if not self.scenario.answers or passed <= 0:
            return ()
        each = self.scenario.answers * passed / len(self.index.targets)
        tallies = []
        for target in self.index.targets:
            number = int(each + self._rng.random())
            if number:
                path = self._installed.get(target.address, LOCAL)
                self.answers += number
                self.failed += number * self.servers.fault(target, path, self.at).share
                self.would_fail += number * self.servers.fault(target, LOCAL, self.at).share
                tallies.append(self.servers.traffic(target, path, self._turned_at, self.at, number))
        return tuple(tallies)

    # --- by leaps ---

    def _until_change(self) -> Seconds:
        at = self.at
        while self._changes and self._changes[0] <= at:
            self._changes.pop(0)
        return self._changes[0] - at if self._changes else float("inf")

    def _leap(self) -> SimulatedTurn:
        """One leap: every address is asked once over every path."""
        self._now += leap(self._state)
        took = max(self.servers.rtt(path) for path in self.index.paths)
        rounds, self._pending = [r for _, r in self._pending], []
        for target in self.index.targets:
            attended = self._attention.get(target.address)
            paths = (*self.index.paths, LIVE) if attended and attended.live else self.index.paths
            questions = self._questions[target.address]
            question = questions.fast(attended.witnesses) if attended else questions.fresh()
            rounds.append(self._round(target, question, paths))
        self._now += took
        turned = self._turn(tuple(rounds))
        if self._until_change() < LEAD + leap(self._state):
            self._schedule = self._new_schedule()
        return turned

    def _new_schedule(self) -> Schedule:
        """A new schedule, spread over the slow interval from now on."""
        cadence = Schedule(
            [target.address for target in self.index.targets],
            self.index.paths,
            self._pace,
            rng=self._rng,
            now=self._now,
        )
        cadence.attend(self._attention, self._now)
        return cadence
