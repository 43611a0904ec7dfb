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

from steering import engine
from steering.agent import parts, standing
from steering.agent.crew import Crew
from steering.agent.notebook import Notebook
from steering.agent.outfit import Lasting, Outfit
from steering.agent.parts import CannotRun
from steering.agent.reload import Ended, Version
from steering.agent.senses import Senses
from steering.model import Event, Facts, Instant
from steering.relay import relay
from steering.replay.journal import kept
from steering.report.metrics import Meters
from steering.world import World


@contextlib.contextmanager
def _trial(how: str) -> Iterator[None]:
    """What goes wrong in here is the version's fault: nothing has been changed. Raises CannotRun.

    A version is anybody's text. That nobody thought of it ends no agent that runs by another.
    """
    try:
        yield
    except CannotRun:
        raise
    except Exception as error:
        because = f"these files can't be {how}: {type(error).__name__}: {error}"
        raise CannotRun(1, because) from error


def _made(version: Version, lasting: Lasting, was: Outfit | None = None) -> Outfit:
    """All that is built from a version. Raises CannotRun, and has given back what it had made."""
    with _trial("made use of"):
        return Outfit(version, lasting, was)


class Regime:
    """The version in force and all that follows from it (a `reload.Taker`)."""

    crew: Crew

    def __init__(
        self,
        files: Version,
        lasting: Lasting,
        *,
        notebook: Notebook,
        senses: Senses,
        meters: Meters,
        tell: Callable[[Event], None],
        turn: Callable[[], None],
    ) -> None:
        """Begin with these files, or with what was in force before a restart.

        `turn` is the agent's: a version is in force when one was done by it. Raises CannotRun
        where something can't be had on this host.
        """
        self.tell = tell
        self._lasting, self._notebook, self._senses = lasting, notebook, senses
        self._meters, self._turn = meters, turn
        self._left = False
        """The version in force is left for whoever is started within the lease."""
        self.version, self.outfit = self._begin(files)
        self.world = World.blank(self.outfit.layout, time.monotonic(), time.time())
        self.journal = kept(None, self.version.setup.config)

    def _begin(self, files: Version) -> tuple[Version, Outfit]:
        before = standing.take_up(files)
        if before is not files:
            try:
                outfit = _made(before, self._lasting)
            except CannotRun:
                pass  # what can't be had any more is not gone on with
            else:
                because = "the files have changed over the restart: taken up as in a running agent"
                self.tell(Event(event="notice", because=because))
                return before, outfit
        return files, _made(files, self._lasting)

    def start(self, crew: Crew) -> None:
        """Take hold of what is installed, and do the first turn. Raises CannotRun."""
        self.crew = crew
        self.outfit.adopt()
        standing.spend(self._runtime)
        self._tell_of(self.outfit)
        self._senses.wear(self.outfit, crew)
        self._turn()  # pins the paths before the first question is asked
        self._set_going(None)

    def close(self) -> None:
        """Give back what is open. Takes nothing out of the kernel: the lease does."""
        self.crew.deafen()
        self.outfit.close()
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
        hands, forwarding = self.outfit.hands, self.outfit.forwarding
        if not self.world.started and self.outfit.claim is not None:
            installed = self.outfit.ways.routes()  # what nothing goes by is adopted all the same
        if hands is not None and hands.owes:
            installed = {}  # what a lost lease left is to go, not to be adopted
        return Facts(
            wall=time.time(),
            installed=installed,
            sources=self.outfit.sources.named,
            forwarded=forwarding.in_use if forwarding is not None else {},
            bypassed=self.outfit.ways.past(),
            off=self._lasting.switch.engaged() or self._lasting.kept_off(),
            overrides=self.version.setup.overrides,
            memory=None if self.world.started else self._notebook.memory,
        )

    def mind_lost_lease(self) -> None:
        """Where the lease ran out, all is taken back: begin from nothing.

        What was believed then is old, and what was wanted then is not wanted any more.
        """
        hands = self.outfit.hands
        because = hands.lost_lease() if hands is not None else None
        if because is None:
            return
        self._senses.drop()
        self.world = World.blank(self.outfit.layout, time.monotonic(), time.time())
        self.tell(Event(event="lease_lost", because=f"{because}: starting over"))

    @property
    def steers(self) -> Collection[str]:
        """The addresses that are steered."""
        return self.world.steers().keys()

    def ended_by(self, version: Version) -> Ended:
        """What of the steers in force another version would end with its first turn.

        Both versions are thought through on paper: only what the files do counts, and not what
        the next turn does anyway. Raises CannotRun where the other one can't be thought through.
        """
        now, facts = time.monotonic(), self._standing(self._senses.installed())
        stay = engine.turn(self.world, facts, now)[0].steers()
        left = self._on_paper(version, facts, now).steers().keys()
        return Ended(gone=tuple(sorted(stay.keys() - left)), of=len(stay))

    def _on_paper(self, version: Version, facts: Facts, now: Instant) -> World:
        """The world after the first turn by another version. Raises CannotRun."""
        facts = replace(facts, overrides=version.setup.overrides)
        with _trial("thought through"):
            return engine.turn(self._relayed(version, now)[0], facts, now)[0]

    def take(self, version: Version, *, anew: bool) -> None:
        """Go by another version; `anew`: there is more to it than other overrides.

        Raises CannotRun where that can't be, and then nothing has changed.
        """
        standing.spend(self._runtime)  # whoever comes after a death in here goes by the files
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
        if self.outfit.hands is not None:
            standing.leave(self._runtime, self.version)
        else:
            standing.spend(self._runtime)  # nobody is steered, so there is no lease

    def _change(self, version: Version) -> None:
        was, config = self.outfit, version.setup.config
        for key in ("state", "runtime"):
            if getattr(config, key) != getattr(was.setup.config, key):
                raise CannotRun(2, f"{key}: can't be changed while the agent runs: restart it")
        outfit = _made(version, self._lasting, was)
        self.crew.deafen()
        outfit.succeed(was)
        self.outfit = outfit
        self._senses.wear(outfit, self.crew)
        rerouted = parts.rerouted(was.setup.config, config)
        self.world, ended = self._relayed(version, time.monotonic())
        self.journal = kept(self.journal, config)
        for event in ended:
            self.tell(event)
        self._tell_of(outfit)
        if outfit.ways is not was.ways or rerouted:
            self._senses.drop(rerouted)  # asked by marks or pins that led elsewhere
        before, after = (
            {target.upstream for target in one.layout.targets} for one in (was, outfit)
        )
        self._meters.forget(before - after, was.layout.paths)
        self._meters.forget(before, was.layout.column.keys() - outfit.layout.column.keys())
        self._set_going(was)

    def _relayed(self, version: Version, now: Instant) -> tuple[World, tuple[Event, ...]]:
        rerouted = parts.rerouted(self.version.setup.config, version.setup.config)
        return relay(self.world, version.layout, now, time.time(), rerouted=rerouted)

    def _set_going(self, was: Outfit | None) -> None:
        """Have everything done that this outfit is for and `was` did not do."""
        outfit, crew = self.outfit, self.crew
        crew.put("probes", outfit.prober.run())
        crew.put("sources", outfit.sources.run())
        if outfit.forwarding is not None:
            crew.put("forwarding", outfit.forwarding.run())
        else:
            crew.end("forwarding")
        if was is None or was.keys is not outfit.keys:
            crew.put("keys", outfit.keys.run())
        if outfit.ears is None:
            crew.end("second look")
        elif was is None or was.ears is None:
            crew.put("second look", outfit.ears.look.run())

    @property
    def _runtime(self) -> Path:
        return self.version.setup.config.runtime

    def _tell_of(self, outfit: Outfit) -> None:
        """What was found on this host when the outfit was put on."""
        for notice in outfit.notices:
            self.tell(Event(event="notice", because=notice))
        for trouble in outfit.left:
            self.tell(Event(event="leftover", because=str(trouble)))
