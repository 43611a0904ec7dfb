"""The configuration in force: the files as read, the components built from them, the state.

Here one version of the files replaces another. First both versions run one turn without any
effect, which shows the steers that the new one would end. Then the change is made without
touching the routes that both versions want.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from steering import from_config
from steering.agent.components import Components, Lasting
from steering.agent.inputs import Inputs
from steering.agent.reload import Ended, Version
from steering.agent.restart_state import RestartState
from steering.agent.tasks import Tasks
from steering.decide.state import State
from steering.engine import engine
from steering.engine.migrate import migrate
from steering.errors import CannotRunError
from steering.facts import Facts
from steering.journal.journal import journal_for
from steering.model import LOCAL, Event, Instant
from steering.report.metrics import Meters


@contextlib.contextmanager
def _fault_of_files(step: str) -> Iterator[None]:
    """Turn any error in here into CannotRunError: nothing has been changed yet.

    The files may hold anything. An error that was not foreseen must not end a running agent.
    """
    try:
        yield
    except CannotRunError:
        raise
    except Exception as error:
        because = f"these files can't be used: {step} failed: {type(error).__name__}: {error}"
        raise CannotRunError(1, because) from error


def _built(version: Version, lasting: Lasting, was: Components | None = None) -> Components:
    """The components of a version. Raises CannotRunError, and then leaves nothing open."""
    with _fault_of_files("building from them"):
        return Components(version, lasting, was)


class Runtime:
    """The version in force, its components and the state (a `reload.Applier`)."""

    tasks: Tasks

    def __init__(
        self,
        files: Version,
        lasting: Lasting,
        *,
        restart_state: RestartState,
        inputs: Inputs,
        meters: Meters,
        log_event: Callable[[Event], None],
        turn: Callable[[], None],
    ) -> None:
        """Begin with these files. Raises CannotRunError where this host lacks something.

        `turn` runs one turn of the agent.
        """
        self.log_event = log_event
        self._lasting, self._restart_state, self._inputs = lasting, restart_state, inputs
        self._meters, self._turn = meters, turn
        self.version, self.components = files, _built(files, lasting)
        self.state = State.blank(self.components.index, time.monotonic(), time.time())
        self.journal = journal_for(None, self.version.setup.config)

    def start(self, tasks: Tasks) -> None:
        """Adopt what is installed, and run the first turn. Raises CannotRunError."""
        self.tasks = tasks
        self.components.adopt()
        with contextlib.suppress(OSError):  # agents of version 0.1.0 begin with it
            (self.version.setup.config.runtime / "in-force").unlink()
        self._log_notices(self.components)
        self._inputs.use(self.components, tasks)
        self._log_dropped()
        self._turn()  # installs the rules of the paths before the first probe
        self._start_tasks(None)

    def close(self) -> None:
        """Close what is open. Removes nothing from the kernel: the lease does."""
        self.tasks.stop_reading()
        self.components.close()
        if self.journal is not None:
            self.journal.close()

    def facts(self) -> Facts:
        """All facts for a turn."""
        received = self._inputs.gather()
        return replace(
            self._lasting_facts(received.installed),
            rounds=received.rounds,
            heard=received.heard,
            passed=received.passed,
        )

    def _lasting_facts(self, installed: Mapping[str, str]) -> Facts:
        """The facts that hold without any news."""
        actuators, forwarding = self.components.actuators, self.components.forwarding
        if not self.state.started and self.components.claim is not None:
            # At the start also routes that no packets use now are adopted.
            steers = actuators is None or not actuators.table_was_a_site
            installed = self.components.kernel_paths.routes() if steers else {}
        if actuators is not None and actuators.removal_pending:
            installed = {}  # what a lost lease left is to be removed, not adopted
        return Facts(
            wall=time.time(),
            installed=installed,
            sources=self.components.sources.named,
            forwarded=forwarding.in_use if forwarding is not None else {},
            bypassed=self.components.kernel_paths.past_steers(),
            off=self._lasting.switch.engaged() or self._lasting.state_off(),
            overrides=self.version.setup.overrides,
            memory=None if self.state.started else self._restart_state.memory,
        )

    def _log_dropped(self) -> None:
        """Log the steers that these files have no place for. The first turn ends them.

        The engine is not told of the steers of a former claim, and can't name an address that no
        policy has.
        """
        components = self.components
        installed = self._lasting_facts(self._inputs.installed()).installed
        former = components.actuators.former_steers() if components.actuators is not None else {}
        for address, site in sorted({**former, **installed}.items()):
            if address not in components.allowed:
                why = "no policy names this address"
            elif address not in installed:
                why = "these files have no such site, or another table or next hop for it"
            else:
                continue
            because = f"found installed within its lease; removed, as {why}"
            self.log_event(
                Event(
                    event="released",
                    because=because,
                    address=address,
                    path=LOCAL,
                    was=site,
                    now=LOCAL,
                )
            )

    def handle_lost_lease(self) -> None:
        """After the lease ran out all routes are removed: start over with an empty state.

        The measurements and the plan of before are too old to be used.
        """
        actuators = self.components.actuators
        because = actuators.lost_lease() if actuators is not None else None
        if because is None:
            return
        self._inputs.drop()
        self.state = State.blank(self.components.index, time.monotonic(), time.time())
        self.log_event(Event(event="lease_lost", because=f"{because}: starting over"))

    @property
    def steers(self) -> Collection[str]:
        """The addresses that are steered."""
        return self.state.steers().keys()

    def ended_by(self, version: Version) -> Ended:
        """Which of the steers in force another version would end with its first turn.

        Both versions run a turn without effect. So only the difference of the files counts, and
        not what the next turn does anyway. Raises CannotRunError where a turn by the other fails.
        """
        now, facts = time.monotonic(), self._lasting_facts(self._inputs.installed())
        stay = engine.turn(self.state, facts, now)[0].steers()
        left = self._trial_turn(version, facts, now).steers().keys()
        return Ended(gone=tuple(sorted(stay.keys() - left)), of=len(stay))

    def _trial_turn(self, version: Version, facts: Facts, now: Instant) -> State:
        """The state after a first turn by another version. Raises CannotRunError."""
        facts = replace(facts, overrides=version.setup.overrides)
        with _fault_of_files("a first turn"):
            return engine.turn(self._migrated(version, now)[0], facts, now)[0]

    def apply(self, version: Version, *, rebuild: bool) -> None:
        """Put another version in force; `rebuild`: more has changed than overrides.

        Raises CannotRunError where that is not possible, and then nothing has changed.
        """
        # An error in the engine shows in a turn without effect, where it ends nothing.
        self._trial_turn(version, self._lasting_facts(self._inputs.installed()), time.monotonic())
        if rebuild:
            self._change(version)
        self.version = version
        self._turn()  # installs the rules of the paths before the first probe over them
        if rebuild:
            gc.collect()  # what is replaced refers to itself, and is not looked for otherwise

    def _change(self, version: Version) -> None:
        was, config = self.components, version.setup.config
        for key in ("state", "runtime"):
            if getattr(config, key) != getattr(was.setup.config, key):
                raise CannotRunError(2, f"{key}: can't be changed while the agent runs: restart it")
        components = _built(version, self._lasting, was)
        self.tasks.stop_reading()
        components.take_over(was)
        self.components = components
        self._inputs.use(components, self.tasks)
        rerouted = from_config.rerouted(was.setup.config, config)
        self.state, ended = self._migrated(version, time.monotonic())
        self.journal = journal_for(self.journal, config)
        for event in ended:
            self.log_event(event)
        self._log_notices(components)
        if components.kernel_paths is not was.kernel_paths or rerouted:
            self._inputs.drop(rerouted)  # asked by marks or pins that led elsewhere
        before, after = (
            {target.upstream for target in one.index.targets} for one in (was, components)
        )
        self._meters.forget(before - after, was.index.paths)
        self._meters.forget(before, set(was.index.paths) - set(components.index.paths))
        self._start_tasks(was)

    def _migrated(self, version: Version, now: Instant) -> tuple[State, tuple[Event, ...]]:
        rerouted = from_config.rerouted(self.version.setup.config, version.setup.config)
        return migrate(self.state, version.index, now, time.time(), rerouted=rerouted)

    def _start_tasks(self, was: Components | None) -> None:
        """Start the tasks of these components that `was` did not have, and end the others."""
        components, tasks = self.components, self.tasks
        tasks.start("probes", components.prober.run())
        tasks.start("sources", components.sources.run())
        if components.forwarding is not None:
            tasks.start("forwarding", components.forwarding.run())
        else:
            tasks.stop("forwarding")
        if was is None or was.keys is not components.keys:
            tasks.start("keys", components.keys.run())
        if components.dnstap is None:
            tasks.stop("verify traffic")
        elif was is None or was.dnstap is None:
            tasks.start("verify traffic", components.dnstap.verifier.run())

    def _log_notices(self, components: Components) -> None:
        """What was found on this host when the components were built."""
        for notice in components.notices:
            self.log_event(Event(event="notice", because=notice))
        for problem in components.leftovers:
            self.log_event(Event(event="leftover", because=str(problem)))
