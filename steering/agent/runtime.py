"""What the agent goes by: a version of the files, the outfit made from it, the world on its layout.

Here is how one version follows another: which steers that would end, thought through on paper,
and how it is done without touching what both of them want.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from steering.agent import from_config, in_force
from steering.agent.components import Components, Lasting
from steering.agent.from_config import CannotRunError
from steering.agent.inputs import Inputs
from steering.agent.reload import Ended, Version
from steering.agent.restart_state import RestartState
from steering.agent.tasks import Tasks
from steering.decide.state import State
from steering.engine import engine
from steering.engine.migrate import migrate
from steering.journal.journal import journal_for
from steering.model import Event, Facts, Instant
from steering.report.metrics import Meters


@contextlib.contextmanager
def _trial(how: str) -> Iterator[None]:
    """An error in here is the version's fault: nothing has been changed. Raises CannotRunError.

    A version is anybody's text. That nobody thought of it ends no agent that runs by another.
    """
    try:
        yield
    except CannotRunError:
        raise
    except Exception as error:
        because = f"these files can't be {how}: {type(error).__name__}: {error}"
        raise CannotRunError(1, because) from error


def _made(version: Version, lasting: Lasting, was: Components | None = None) -> Components:
    """All that is built from a version. Raises CannotRunError, and then keeps nothing open."""
    with _trial("made use of"):
        return Components(version, lasting, was)


class Runtime:
    """The version in force and all that follows from it (a `reload.Taker`)."""

    tasks: Tasks

    def __init__(
        self,
        files: Version,
        lasting: Lasting,
        *,
        restart_state: RestartState,
        inputs: Inputs,
        meters: Meters,
        tell: Callable[[Event], None],
        turn: Callable[[], None],
    ) -> None:
        """Begin with these files, or with what was in force before a restart.

        `turn` is the agent's: a version is in force when one was done by it. Raises CannotRunError
        where something can't be had on this host.
        """
        self.tell = tell
        self._lasting, self._notebook, self._senses = lasting, restart_state, inputs
        self._meters, self._turn = meters, turn
        self._left = False
        """The version in force is left for whoever is started within the lease."""
        self.version, self.components = self._begin(files)
        self.state = State.blank(self.components.layout, time.monotonic(), time.time())
        self.journal = journal_for(None, self.version.setup.config)

    def _begin(self, files: Version) -> tuple[Version, Components]:
        before = in_force.take_up(files)
        if before is not files:
            try:
                components = _made(before, self._lasting)
            except CannotRunError:
                pass  # what can't be had any more is not gone on with
            else:
                because = "the files have changed over the restart: taken up as in a running agent"
                self.tell(Event(event="notice", because=because))
                return before, components
        return files, _made(files, self._lasting)

    def start(self, tasks: Tasks) -> None:
        """Take hold of what is installed, and do the first turn. Raises CannotRunError."""
        self.tasks = tasks
        self.components.adopt()
        in_force.spend(self._runtime)
        self._tell_of(self.components)
        self._senses.use(self.components, tasks)
        self._turn()  # pins the paths before the first question is asked
        self._set_going(None)

    def close(self) -> None:
        """Give back what is open. Takes nothing out of the kernel: the lease does."""
        self.tasks.stop_reading()
        self.components.close()
        if self.journal is not None:
            self.journal.close()

    def facts(self) -> Facts:
        """All there is to know for a turn."""
        news = self._senses.gather()
        return replace(
            self._standing(news.installed),
            rounds=news.rounds,
            heard=news.heard,
            passed=news.passed,
        )

    def _standing(self, installed: Mapping[str, str]) -> Facts:
        """What is so without any news."""
        actuators, forwarding = self.components.actuators, self.components.forwarding
        if not self.state.started and self.components.claim is not None:
            installed = (
                self.components.ways.routes()
            )  # what nothing goes by is adopted all the same
        if actuators is not None and actuators.removal_pending:
            installed = {}  # what a lost lease left is to go, not to be adopted
        return Facts(
            wall=time.time(),
            installed=installed,
            sources=self.components.sources.named,
            forwarded=forwarding.in_use if forwarding is not None else {},
            bypassed=self.components.ways.past(),
            off=self._lasting.switch.engaged() or self._lasting.kept_off(),
            overrides=self.version.setup.overrides,
            memory=None if self.state.started else self._notebook.memory,
        )

    def handle_lost_lease(self) -> None:
        """Where the lease ran out, all is taken back: begin from nothing.

        What was believed then is old, and what was wanted then is not wanted any more.
        """
        actuators = self.components.actuators
        because = actuators.lost_lease() if actuators is not None else None
        if because is None:
            return
        self._senses.drop()
        self.state = State.blank(self.components.layout, time.monotonic(), time.time())
        self.tell(Event(event="lease_lost", because=f"{because}: starting over"))

    @property
    def steers(self) -> Collection[str]:
        """The addresses that are steered."""
        return self.state.steers().keys()

    def ended_by(self, version: Version) -> Ended:
        """What of the steers in force another version would end with its first turn.

        Both versions are thought through on paper: only what the files do counts, and not what
        the next turn does anyway. Raises CannotRunError where a turn by the other one fails.
        """
        now, facts = time.monotonic(), self._standing(self._senses.installed())
        stay = engine.turn(self.state, facts, now)[0].steers()
        left = self._on_paper(version, facts, now).steers().keys()
        return Ended(gone=tuple(sorted(stay.keys() - left)), of=len(stay))

    def _on_paper(self, version: Version, facts: Facts, now: Instant) -> State:
        """The world after the first turn by another version. Raises CannotRunError."""
        facts = replace(facts, overrides=version.setup.overrides)
        with _trial("thought through"):
            return engine.turn(self._relayed(version, now)[0], facts, now)[0]

    def take(self, version: Version, *, anew: bool) -> None:
        """Go by another version; `anew`: there is more to it than other overrides.

        Raises CannotRunError where that can't be, and then nothing has changed.
        """
        in_force.spend(self._runtime)  # whoever comes after a death in here goes by the files
        self._left = False
        # What it brings about in the engine is met on paper first, where it ends nothing.
        self._on_paper(version, self._standing(self._senses.installed()), time.monotonic())
        if anew:
            self._change(version)
        self.version = version
        self._turn()  # pins the paths before the first question is asked over them

    def stand(self) -> None:
        """Leave the version in force for whoever is started within the lease: it may go on."""
        if self._left:
            return
        self._left = True
        if self.components.actuators is not None:
            in_force.leave(self._runtime, self.version)
        else:
            in_force.spend(self._runtime)  # nobody is steered, so there is no lease

    def _change(self, version: Version) -> None:
        was, config = self.components, version.setup.config
        for key in ("state", "runtime"):
            if getattr(config, key) != getattr(was.setup.config, key):
                raise CannotRunError(2, f"{key}: can't be changed while the agent runs: restart it")
        components = _made(version, self._lasting, was)
        self.tasks.stop_reading()
        components.succeed(was)
        self.components = components
        self._senses.use(components, self.tasks)
        rerouted = from_config.rerouted(was.setup.config, config)
        self.state, ended = self._relayed(version, time.monotonic())
        self.journal = journal_for(self.journal, config)
        for event in ended:
            self.tell(event)
        self._tell_of(components)
        if components.ways is not was.ways or rerouted:
            self._senses.drop(rerouted)  # asked by marks or pins that led elsewhere
        before, after = (
            {target.upstream for target in one.layout.targets} for one in (was, components)
        )
        self._meters.forget(before - after, was.layout.paths)
        self._meters.forget(before, was.layout.column.keys() - components.layout.column.keys())
        self._set_going(was)

    def _relayed(self, version: Version, now: Instant) -> tuple[State, tuple[Event, ...]]:
        rerouted = from_config.rerouted(self.version.setup.config, version.setup.config)
        return migrate(self.state, version.layout, now, time.time(), rerouted=rerouted)

    def _set_going(self, was: Components | None) -> None:
        """Have everything done that this outfit is for and `was` did not do."""
        components, tasks = self.components, self.tasks
        tasks.put("probes", components.prober.run())
        tasks.put("sources", components.sources.run())
        if components.forwarding is not None:
            tasks.put("forwarding", components.forwarding.run())
        else:
            tasks.end("forwarding")
        if was is None or was.keys is not components.keys:
            tasks.put("keys", components.keys.run())
        if components.dnstap is None:
            tasks.end("second look")
        elif was is None or was.dnstap is None:
            tasks.put("second look", components.dnstap.look.run())

    @property
    def _runtime(self) -> Path:
        return self.version.setup.config.runtime

    def _tell_of(self, components: Components) -> None:
        """What was found on this host when the outfit was put on."""
        for notice in components.notices:
            self.tell(Event(event="notice", because=notice))
        for trouble in components.left:
            self.tell(Event(event="leftover", because=str(trouble)))
