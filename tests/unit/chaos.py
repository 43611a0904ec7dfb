"""Stories out of a number: what may befall an agent, at random, held against what must hold.

A story knows the truth: which path to which address is bad, from when to when. What the agent
may know of it comes through its probes alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos_checks import Checked, need
from chaos_files import Files, changed, files_of, override_of
from chaos_truth import LIFE, NOISE, Fault, Truth, fault_of
from simulation import WALL, Ask

from steering.decide.fast_probing import attention
from steering.decide.messages.explain import explain
from steering.decide.messages.reasons import because
from steering.decide.state import State
from steering.engine import engine
from steering.engine.carry_over import remember
from steering.engine.migrate import migrate
from steering.index import Index
from steering.journal.records import (
    Turn,
    differing,
    digest,
    line,
    pack_batch,
    pack_state,
    unpack_batch,
    unpack_state,
)
from steering.model import LOCAL, Evidence, Failure, Heard, Outcome, Round, Verdict
from steering.override import Override


@dataclass
class Trial(Checked):
    """A simulation that is restarted, reloaded and lied to, of which every turn is checked."""

    draw: random.Random = field(default_factory=random.Random)
    record: list[Turn] = field(default_factory=list)
    start: State | None = None
    records: bool = True
    """Whether what is written down is read again: it doubles the work."""

    def restart(self) -> None:
        """A new agent: what is under way is lost, and nothing is known."""
        turned = getattr(self, "_turned", self.now)
        super().restart()
        self._turned, self._pending = turned, []
        self.begin_anew()
        self._turned = self.now

    def begin_anew(self) -> None:
        """What is checked over time begins anew with the world."""
        self.at, self.last = {}, {}
        if self.memory and abs(WALL + self.clock_error + self._turned - self.memory.at) > 1:
            self.own_moves = []  # the clock was set: when they were is not known
        self.held_since = dict(self.memory.frozen) if self.memory else {}
        self.record, self.start = [], self.state
        self.note_policies()

    def lose_lease(self) -> None:
        """All was taken back by the guard, and the agent begins from nothing."""
        self.state = State.blank(self.index, self.now, WALL + self.now)
        self.installed, self._wanted = {}, attention(self.state)
        self.begin_anew()

    def reload(self, files: Files, tmp: Path) -> None:
        """The agent takes other files."""
        old, self.files = self.files, files
        assert old is not None
        made = Index.of(files.read(tmp))
        rerouted = {
            s for s, (n, *_) in files.sites.items() if s in old.sites and old.sites[s][0] != n
        }
        self.state, ended = migrate(
            self.state, made, self.now, WALL + self.now + self.clock_error, rerouted=rerouted
        )
        self.hear(ended)
        self.index = made
        addresses = set(self.addresses())
        self._slow = {a: self._slow.get(a, self.now) for a in self.addresses()}
        self._wanted = attention(self.state)
        self.at = {a: p for a, p in self.at.items() if a in addresses}
        self.last = {
            (a, p): seen
            for (a, p), seen in self.last.items()
            if a in addresses and p in made.path_number and p not in rerouted
        }
        # A freeze at a path that is gone can't be kept.
        self.held_since = {
            a: f
            for a, f in self.held_since.items()
            if a in addresses and f.path in made.path_number
        }
        self.record, self.start = [], self.state
        self.note_policies()
        if rerouted:
            self._pending = []

    def wait(self, seconds: float) -> None:
        """The process does not run for a while."""
        self.now += seconds
        self.gap, self.pause = self.now, self.pause + seconds
        for address in self._slow:
            self._slow[address] = max(self._slow[address], self.now)

    # --- one turn ---

    def turn(self, rounds: Iterable[Round] = ()) -> None:
        """One turn, held against everything."""
        facts = self.facts(rounds)
        if abs(self.clock_error) > LIFE:  # no recovery is seen by it: as good as a pause
            self.gap, self.pause = self.now, self.pause + self.now - self._turned
        before, self.turns = self.state, self.turns + 1
        after, steps, events = engine.turn(before, facts, self.now)
        for item in facts.rounds:
            for seen in item.observations:
                if not seen.live and seen.verdict is not Verdict.NOTHING:
                    self.last[item.address, seen.path] = (item.at, seen.verdict)
        self.state = after
        self.hear(events)
        self.check(before, after, facts, steps, events)
        if self.records:
            turn = Turn(now=self.now, facts=facts, steps=steps, events=events, plan=digest(after))
            self.record.append(turn)
        self.steps += [(self.now, step) for step in steps]
        self.installed = {
            a: site
            for a, site in after.steers().items()
            if not self.refuses(a) or self.installed.get(a) == site
        }
        self.memory = remember(after)
        self._wanted = attention(after)
        self._turned = self.now

    def _round(
        self, a: int, address: str, paths: set[str], *, live: bool, witnesses: tuple[str, ...] = ()
    ) -> None:
        self.asked += self.draw.random() < 0.5  # else an address may never be asked a witness
        super()._round(a, address, paths, live=live, witnesses=witnesses)

    def traffic(self, seconds: float) -> tuple[Heard, ...]:
        """What the resolvers were told, and by whom."""
        if not self.resolver_rate or seconds <= 0:
            return ()
        told = []
        for target in self.index.targets:
            if self.draw.random() < 0.5:
                continue
            told.append(self._heard(target.address, int(self.resolver_rate * seconds) + 1))
        return tuple(told)

    def _heard(self, address: str, number: int) -> Heard:
        path = self.installed.get(address, LOCAL)
        zone = self.index.settings[address].policy.zones[0]
        counts: dict[Outcome, int] = {}
        failures = []
        for _ in range(min(number, 8)):
            name = f"t{self.draw.randrange(10**6)}.{zone}"
            shown = self.truth.answer(Ask(address=address, path=path, name=name, now=self.now))
            outcome = shown if isinstance(shown, Outcome) else shown.outcome
            if outcome is Outcome.LOCAL_ERROR:
                outcome = Outcome.TIMEOUT
            if self.draw.random() < self.lies:
                name = f"planted{self.draw.randrange(500)}.{zone}"
                outcome = Outcome.EXPIRED
            counts[outcome] = counts.get(outcome, 0) + 1
            if outcome.verdict is Verdict.BOGUS:
                evidence = Evidence(owner=name, rdtype="A", detail="expired")
                failures.append(Failure(name=name, outcome=outcome, evidence=evidence, ask=name))
        lost = counts.get(Outcome.TIMEOUT, 0)
        return Heard(
            address=address,
            path=path,
            at=self._turned,
            answers=sum(counts.values()) - lost,
            counts=counts,
            failures=tuple(failures),
            proved=self.draw.randrange(3),
        )

    def check_record(self) -> None:
        """What was written down comes out again, bit for bit."""
        if not self.records or self.start is None or not self.record:
            return
        state = unpack_state(pack_state(self.start), self.index)
        if self.start.situation is None:
            other = differing(state, self.start)
            need(other is None, f"a world read back is another in {other}")
        for turn in unpack_batch(pack_batch(line(t) for t in self.record)):
            state, steps, events = engine.turn(state, turn.facts, turn.now)
            need(steps == turn.steps, "other steps")
            need(events == turn.events, "other events")
            need(digest(state) == turn.plan, "another plan")
        need(differing(state, self.state) is None, "another world at the end")


@dataclass
class Acts:
    """What may befall the agent of one story."""

    trial: Trial
    draw: random.Random
    tmp: Path
    lasts: float
    number: int = 0
    refused: dict[str, float] = field(default_factory=dict)
    """Address -> until when the actuator refuses it."""

    CALM = ("fault", "fault", "fault", "fault", "restart")
    ALL = (
        *["fault"] * 7,
        *["override"] * 3,
        *["unsaid", "reload", "reload", "off", "restart", "lost_lease", "refuse"],
        *["clock", "gap", "instance", "flap", "taken", "mend"],
    )

    def befall(self, what: str) -> str:
        """Let this happen now; what it was."""
        self.number += 1
        said = getattr(self, what)()
        if what not in ("fault", "flap"):
            self.trial.undisturbed = max(self.trial.undisturbed, self.trial.now)
        return f"{self.trial.now:9.2f} {what} {said if said is not None else ''}"

    @property
    def files(self) -> Files:
        """Those in force."""
        assert self.trial.files is not None
        return self.trial.files

    def begin(self) -> Fault:
        """A steer in force is what most of it befalls: one upstream goes bad, here alone."""
        now = self.trial.now
        fault = fault_of(self.draw, 0, now, 120.0, self.files)
        fault = replace(fault, paths=frozenset({LOCAL}), share=1.0, live=False)
        fault = replace(fault, end=now + self.draw.uniform(20, 120))
        self.trial.truth.faults.append(fault)
        return fault

    def fault(self) -> Fault:
        """Something breaks."""
        fault = fault_of(self.draw, self.number, self.trial.now, self.lasts, self.files)
        self.trial.truth.faults.append(fault)
        return fault

    def flap(self) -> Fault:
        """Something breaks, and works, and breaks."""
        now = self.trial.now
        fault = fault_of(self.draw, self.number, now, self.lasts, self.files)
        for begin in (now + 12.0 * k for k in range(5)):
            self.trial.truth.faults.append(replace(fault, begin=begin, end=begin + 6.0))
        return fault

    def mend(self) -> None:
        """What is broken works again."""
        now, faults = self.trial.now, self.trial.truth.faults
        faults[:] = [replace(f, end=min(f.end, now)) if f.begin < now else f for f in faults]

    def override(self) -> Override:
        """One more."""
        said = override_of(self.draw, self.files, self.number, self.trial.now)
        self.trial.overrides = (*self.trial.overrides, said)
        return said

    def unsaid(self) -> None:
        """Some overrides are taken back."""
        kept = (o for o in self.trial.overrides if self.draw.random() < 0.5)
        self.trial.overrides = tuple(kept)

    def reload(self) -> Files:
        """The files are changed."""
        self.trial.reload(changed(self.draw, self.files), self.tmp)
        self.trial.turn()
        return self.files

    def off(self) -> None:
        """`steering off`, or `on`."""
        self.trial.off = not self.trial.off

    def restart(self) -> None:
        """A new process."""
        self.trial.check_record()
        self.trial.restart()

    def lost_lease(self) -> None:
        """The guard takes all back."""
        self.trial.lose_lease()

    def refuse(self) -> None:
        """The kernel takes no routes for some."""
        now = self.trial.now
        ill = [a for a in self.trial.addresses() if self.draw.random() < 0.5]
        self.refused |= {a: now + self.draw.uniform(2, 30) for a in ill}

    def taken(self) -> None:
        """Somebody flushes our table."""
        self.trial.installed = {}

    def clock(self) -> float:
        """This host's clock is set."""
        error = self.draw.choice([0.0, 30.0, 4000.0, -4000.0])
        self.trial.truth.own_clock = self.trial.clock_error = error
        return error

    def gap(self) -> float:
        """The process does not run for a while."""
        seconds = self.draw.choice([5.0, 60.0, 600.0])
        self.trial.wait(seconds)
        return seconds

    def instance(self) -> None:
        """Another server answers over one path."""
        servers = self.trial.truth.instances
        path = self.draw.choice([LOCAL, *self.files.sites])
        servers[path] = servers.get(path, 0) + 1


def tell(seed: int, tmp: Path, say: Callable[[str], object] = lambda _: None) -> Trial:
    """Run the story of this number to its end. Raises Broken, or what went wrong."""
    draw = random.Random(seed)
    files = files_of(draw)
    truth = Truth(loss=draw.choice([0.0, 0.0, 0.01, NOISE]))
    trial = Trial(
        files.read(tmp),
        truth.answer,
        step=draw.choice([0.1, 0.25, 0.5, 0.5]),
        truth=truth,
        draw=random.Random(seed + 1),
        files=files,
        records=seed % 4 == 0,
    )
    if draw.random() < 0.4:
        trial.resolver_rate = draw.choice([2.0, 20.0, 200.0])
        trial.lies = draw.choice([0.0, 0.05, 0.5])
    for text in (*(upstream.text for upstream in files.upstreams), files.config):
        say(text)
    calm = draw.random() < 0.4
    if calm and files.budget == "{}" and all(not c for *_, c in files.sites.values()):
        trial.undisturbed = trial.now
    acts = Acts(trial, draw, tmp, lasts=draw.choice([40.0, 90.0]))
    trial.refuses = lambda address: acts.refused.get(address, 0.0) > trial.now
    trial.run(draw.choice([0.0, 2.0, 8.0, 15.0]))
    if draw.random() < 0.6:
        say(f"{trial.now:9.2f} begin {acts.begin()}")
        trial.run(draw.choice([2.0, 5.0, 9.0, 15.0]))
    for _ in range(draw.randint(1, 4) if calm else draw.randint(3, 14)):
        say(acts.befall(draw.choice(Acts.CALM if calm else Acts.ALL)))
        trial.run(draw.choice([0.5, 3.0, 10.0, 25.0]))
    trial.check_record()
    acts.refused.clear()
    say(f"{trial.now:9.2f} all is well")
    _rest(trial)
    return trial


def _rest(trial: Trial) -> None:
    """All is well again, and nobody says anything: everything comes home, and is silent."""
    trial.truth.faults = [
        replace(f, end=min(f.end, trial.now)) for f in trial.truth.faults if f.begin < trial.now
    ]
    trial.truth.own_clock = trial.clock_error = 0.0
    trial.overrides, trial.off, trial.lies, trial.resolver_rate = (), False, 0.0, 0.0
    assert trial.files is not None
    moves = trial.index.budget.moves_per_minute
    limit = trial.lasting + 120 + 60 * (2 * len(trial.index.settings) / moves)
    patient = all(u.moves_per_day >= 100 for u in trial.files.upstreams)

    def quiet() -> bool:
        return not trial.state.plan and not trial.state.alarms

    begun, still = trial.now, 0
    while still < 20 and trial.now - begun < limit:
        trial.run(1.0)
        still = still + 1 if quiet() else 0
    trial.turn()
    for address in trial.index.settings:
        need(explain(trial.state, address), "nothing to explain")
        need(because(trial.state, address), "nothing to say")
    need(
        quiet() or not patient,
        f"not at rest after {limit:.0f} s: {trial.state.steers()} {trial.state.alarms}",
    )
    if patient:
        trial.steps.clear()
        trial.run(30)
        need(not trial.steps, f"not at rest: {trial.steps}")
    trial.check_record()
