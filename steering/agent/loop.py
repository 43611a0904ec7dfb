"""The agent: drives the stages. Facts in, a turn, the plan out, again.

What it leaves to others: all thinking (`engine`), all writing (`act`), all asking
(`observe`). It holds the only clock. A bug anywhere ends the process; what it installed
then stays for the lease, for a successor to adopt, and no longer.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from steering import engine
from steering.act.bgp.speaking import Speaking
from steering.act.off import OffSwitch
from steering.agent import parts, standing
from steering.agent.crew import Crew
from steering.agent.hands import Acted
from steering.agent.notebook import Notebook
from steering.agent.outfit import Lasting, Outfit
from steering.agent.parts import CannotRun
from steering.agent.pins import Pins
from steering.agent.reload import Ended, Reload, Version
from steering.agent.troubles import Troubles
from steering.config import Fingerprint, Setup
from steering.decide.attention import attention
from steering.model import Done, Event, Facts, Instant, Round, Seconds
from steering.observe.anchors import AnchorError
from steering.observe.bell import Bell
from steering.relay import relay
from steering.replay.journal import kept
from steering.report.events import Log, timestamp
from steering.report.metrics import Meters
from steering.report.notify import notify
from steering.report.snapshot import Snapshot
from steering.world import World

IDLE: Seconds = 1.0
"""Longest time between two turns: in each the lease is renewed."""


class Agent:
    """One agent, from the checks before its start to its end. `run` serves until a signal."""

    def __init__(self, setup: Setup, log: Log, path: Path, fingerprint: Fingerprint) -> None:
        """Checks everything that can be checked first. Raises CannotRun.

        `path` is the configuration, `fingerprint` that of the files before `setup` was read.
        """
        self.log = log
        self.version = _version(setup, fingerprint)
        config = setup.config
        self.meters = Meters()
        self.snapshot: Snapshot | None = None
        self.meters.watch(lambda: self.snapshot)
        self.troubles = Troubles()
        self.switch = OffSwitch(state=config.state, runtime=config.runtime)
        self.notebook = Notebook(config.state)
        self.pins = Pins()
        self._rounds: list[Round] = []
        self._bell = Bell()
        self._lasting = Lasting(
            switch=self.switch,
            registry=self.meters.registry,
            snapshot=lambda: self.snapshot,
            deliver=self._deliver,
        )
        self.outfit = self._first_outfit()
        self.world = World.blank(self.outfit.layout, time.monotonic(), time.time())
        self.reload = Reload(path, self, self.meters)
        self.journal = kept(None, self.version.setup.config)

    def _first_outfit(self) -> Outfit:
        """By what was in force before a restart; where that can't be had any more, by the files."""
        files, self.version = self.version, standing.take_up(self.version)
        if self.version is files:
            return Outfit(files, self._lasting)
        try:
            outfit = Outfit(self.version, self._lasting)
        except CannotRun:
            self.version = files
            return Outfit(files, self._lasting)
        because = "the files are others than before the restart: taken up as by a running agent"
        self.tell(Event(event="notice", because=because))
        return outfit

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What is installed then stays for the lease."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload.look_now)
        self.outfit.adopt()
        standing.spend(self.version.setup.config.runtime)
        self._tell_of(self.outfit)
        if self.notebook.found:
            self.tell(Event(event="notice", because=self.notebook.found))
        self.crew = Crew()
        self._hear()
        self.turn()  # pins the paths before the first question is asked
        self._leave_version()
        self._set_going(None)
        self.tell(Event(event="config_loaded", because=self._summary()))
        notify("READY=1")
        self.crew.put("turns", self._turns())
        self.crew.put("files", self.reload.run())
        self.crew.put("stop", stop.wait())
        try:
            await self.crew.work()  # a bug in one of them ends the agent here
        finally:
            notify("STOPPING=1")
            self.crew.deafen()
            self.outfit.close()
            if self.journal is not None:
                self.journal.close()
        self.tell(Event(event="stopped", because=self._farewell()))

    async def _turns(self) -> None:
        """The loop: wait for news, think, act, tell."""
        while True:
            if await self._bell.wait(IDLE):
                # What comes at about the same time comes along.
                await asyncio.sleep(min(0.1, max(0.01, self.outfit.layout.fast_interval / 4)))
                self._bell.hush()
            self.turn()

    def turn(self) -> None:
        """One turn, carried out and told."""
        self._mind_lost_lease()
        started = now = time.monotonic()
        facts, hands = self._facts(), self.outfit.hands
        before = self.world
        self.world, steps, events = engine.turn(before, facts, now)
        self.meters.turn_seconds.observe(time.monotonic() - started)
        installed = facts.installed
        if hands is not None:
            self.notebook.keep(self.world)
            acted = hands.act(self.world.steers(), off=self.world.off, moved=bool(steps))
            self._count(acted, now)
            installed = self.outfit.ways.installed()
        if self.journal is not None:
            setup, after = self.version.setup, self.world
            self.journal.note(
                setup, facts, now, before=before, after=after, steps=steps, events=events
            )
            events += self.journal.news()
        if hands is not None:  # after the journal: no replay could come to these
            events += hands.voice.news()
        for event in events:
            self.tell(event)
        if self._hear_kernel():
            self._bell.ring()
        self.outfit.prober.attend(attention(self.world))
        self._publish(installed, now)
        notify("WATCHDOG=1")

    def _facts(self) -> Facts:
        # Rules may have gone while questions were under way. The kernel told of it before
        # anything asked since then could be answered, so what it told is heard first.
        self._hear_kernel()
        rounds, self._rounds = self._rounds, []
        ears, ways = self.outfit.ears, self.outfit.ways
        if ears is not None:
            self._on_tap()
        installed = self._installed()
        rounds = [ways.over_their_paths(item) for item in rounds]
        if (hands := self.outfit.hands) is not None and hands.voice.speaker is not None:
            told = hands.voice.installed()
            rounds = [self.pins.sift(item, told) for item in rounds]
        self._time(rounds)
        heard = ears.hear(installed, time.monotonic()) if ears is not None else ()
        return replace(self._standing(installed), rounds=tuple(rounds), heard=heard)

    def _standing(self, installed: Mapping[str, str]) -> Facts:
        """What is so without any news."""
        hands = self.outfit.hands
        if hands is not None and hands.owes:
            installed = {}  # what a lost lease left is to go, not to be adopted
        return Facts(
            wall=time.time(),
            installed=installed,
            off=self.switch.engaged(),
            overrides=self.version.setup.overrides,
            memory=None if self.world.started else self.notebook.memory,
        )

    @property
    def steers(self) -> Collection[str]:
        """The addresses that are steered."""
        return self.world.steers().keys()

    def ended_by(self, version: Version) -> Ended:
        """What of the steers in force another version would end with its first turn.

        Both versions are thought through on paper: only what the files do counts, and not what
        the next turn does anyway.
        """
        if self.outfit.hands is None:
            return Ended(gone=(), of=0)  # nothing is in force
        now, facts = time.monotonic(), self._standing(self._installed())
        stay = engine.turn(self.world, facts, now)[0].steers()
        left: Collection[str] = ()
        if parts.acts(version.setup.config):
            moved, _ = self._relayed(version, now)
            facts = replace(facts, overrides=version.setup.overrides)
            left = engine.turn(moved, facts, now)[0].steers().keys()
        return Ended(gone=tuple(sorted(stay.keys() - left)), of=len(stay))

    def take(self, version: Version, *, anew: bool) -> None:
        """Go by another version; `anew`: there is more to it than other overrides.

        Raises CannotRun where that can't be, and then nothing has changed.
        """
        if anew:
            self._change(version)
        self.version = version
        self.turn()  # pins the paths before the first question is asked over them
        self._leave_version()

    def _leave_version(self) -> None:
        runtime = self.version.setup.config.runtime
        if self.outfit.hands is not None:
            standing.leave(runtime, self.version)
        else:
            standing.spend(runtime)

    def _change(self, version: Version) -> None:
        was, config = self.outfit, version.setup.config
        for key in ("state", "runtime"):
            if getattr(config, key) != getattr(was.setup.config, key):
                raise CannotRun(2, f"{key}: can't be changed while the agent runs: restart it")
        outfit = Outfit(version, self._lasting, was)
        self.crew.deafen()
        outfit.succeed(was)
        self.outfit = outfit
        self._hear()
        rerouted = parts.rerouted(was.setup.config, config)
        self.world, ended = self._relayed(version, time.monotonic())
        self.journal = kept(self.journal, config)
        for event in ended:
            self.tell(event)
        self._tell_of(outfit)
        if outfit.ways is not was.ways or rerouted:
            self._rounds.clear()  # asked by marks or pins that led elsewhere
        self.pins.forget(rerouted)
        gone = was.layout.row.keys() - outfit.layout.row.keys()
        self.meters.forget(gone, was.layout.paths)
        self.meters.forget(was.layout.row, was.layout.column.keys() - outfit.layout.column.keys())
        self._set_going(was)

    def _relayed(self, version: Version, now: Instant) -> tuple[World, tuple[Event, ...]]:
        rerouted = parts.rerouted(self.version.setup.config, version.setup.config)
        return relay(self.world, version.layout, now, time.time(), rerouted=rerouted)

    def _set_going(self, was: Outfit | None) -> None:
        """Have everything done that this outfit is for and `was` did not do."""
        outfit, crew = self.outfit, self.crew
        crew.put("probes", outfit.prober.run())
        if was is None or was.keys is not outfit.keys:
            crew.put("keys", outfit.keys.run())
        if outfit.ears is None:
            crew.end("second look")
        elif was is None or was.ears is None:
            crew.put("second look", outfit.ears.look.run())
        if was is None or was.server is not outfit.server:
            outfit.server.start()
            if was is not None:  # it ends within half a second
                asyncio.get_running_loop().run_in_executor(None, was.server.close)

    def _hear(self) -> None:
        """Wake when the kernel or a resolver tells of something."""
        if self.outfit.hands is not None:
            self.crew.hear(self.outfit.hands.kernel.fileno(), self._on_kernel)
            if (speaker := self.outfit.hands.voice.speaker) is not None:
                self.crew.hear(speaker.fileno(), speaker.pump)
        if self.outfit.ears is not None:
            self.crew.hear(self.outfit.ears.tap.fileno(), self._on_tap)

    def _installed(self) -> Mapping[str, str]:
        """Address to site, as this host's packets go: by its own table, else by the routers."""
        outfit = self.outfit
        if outfit.claim is None and outfit.hands is not None:
            return outfit.hands.voice.installed()
        return outfit.ways.installed()

    def _mind_lost_lease(self) -> None:
        """Where the lease ran out, all is taken back: begin from nothing.

        What was believed then is old, and what was wanted then is not wanted any more.
        """
        hands = self.outfit.hands
        because = hands.lost_lease() if hands is not None else None
        if because is None:
            return
        self._rounds.clear()
        self.world = World.blank(self.outfit.layout, time.monotonic(), time.time())
        self.tell(Event(event="lease_lost", because=f"{because}: starting over"))

    def _hear_kernel(self) -> bool:
        """Whether anything changed."""
        changed = self.outfit.ways.changed()
        if changed and self.outfit.hands is not None:
            self.outfit.hands.changed = True
        return changed

    def _time(self, rounds: Iterable[Round]) -> None:
        for seen in (o for item in rounds for o in item.observations):
            if seen.rtt is not None and not seen.live:
                self.meters.rtt.labels(seen.address, seen.path).observe(seen.rtt)

    def _count(self, acted: Acted, now: Instant) -> None:
        for actuator, results in (("kernel", acted.results), ("bgp", acted.told)):
            for result in results:
                became = "done" if isinstance(result, Done) else "refused"
                self.meters.actions.labels(actuator, result.action, became).inc()
        for result in acted.results if self.outfit.claim else acted.told:
            if isinstance(result, Done):
                self.meters.action_seconds.observe(result.seconds)
                if result.action == "remove":
                    continue  # perhaps of an address that no policy names any more
                row = self.outfit.layout.row.get(result.address)
                if row is None:
                    continue  # told to routers when a policy still named it
                first = float(self.world.ledger.first_bad[row])
                proof = self.world.proofs.get(row)
                # A route that came back is no detection. NaN: none was bad.
                if proof is not None and not proof.proved and first <= now:
                    self.meters.detection_seconds.observe(now - first)

    def _matters(self, now: Instant) -> dict[str, str]:
        """What is the matter with the agent's own means: name of the alarm to text."""
        own: dict[str, str] = {}
        hands, ears = self.outfit.hands, self.outfit.ears
        if hands is not None and hands.troubles:
            own["kernel"] = "; ".join(hands.troubles[:3])
        if hands is not None and hands.voice.troubles:
            own["bgp"] = "; ".join(hands.voice.troubles[:3])
        if self.pins.trouble:
            own["pins"] = self.pins.trouble
        if hungry := self.outfit.keys.troubles:
            own["keys"] = "; ".join(f"{zone}: {why}" for zone, why in sorted(hungry.items()))
        if ears is not None and (deaf := ears.troubles(now)):
            own["dnstap"] = deaf
        if self.notebook.trouble:
            own["state"] = self.notebook.trouble
        if self.reload.rejected:
            own["config"] = self.reload.rejected
        if self.reload.held:
            own["config_held"] = self.reload.held
        if mute := self.log.trouble(now):
            own["log"] = mute
        if self.journal is not None and self.journal.trouble:
            own["journal"] = self.journal.trouble
        if self.world.off:
            own["off"] = self._who_switched_off()
        return own

    def _publish(self, installed: Mapping[str, str], now: Instant) -> None:
        for event in self.troubles.settle(self._matters(now), self.world.wall):
            self.tell(event)
        self.snapshot = Snapshot(
            mode=str(self.version.setup.config.mode),
            world=self.world,
            installed=installed,
            alarms={**self.troubles.alarms, **self.world.alarms},
            ready=bool((self.world.ledger.counts[:, :, 0].sum(axis=0) > 0).all()),
            turned_at=now,
            hearing=ears.hearing() if (ears := self.outfit.ears) is not None else None,
            events_lost=self.log.lost,
            journal_lost=self.journal.lost if self.journal is not None else 0,
            speaking=self._speaking(),
        )

    def _speaking(self) -> Speaking | None:
        hands = self.outfit.hands
        speaking = hands.voice.report() if hands is not None else None
        for seconds in speaking.acknowledged if speaking is not None else ():
            self.meters.bgp_acknowledged.observe(seconds)
        return speaking

    def _deliver(self, item: Round) -> None:
        self._rounds.append(item)
        self._bell.ring()

    def _on_kernel(self) -> None:
        if self._hear_kernel():
            self._bell.ring()

    def _on_tap(self) -> None:
        assert self.outfit.ears is not None
        for event in self.outfit.ears.listen(time.monotonic()):
            self.tell(event)
        if self.outfit.ears.waiting:
            self._bell.ring()

    def tell(self, event: Event) -> None:
        """Something for the log."""
        self.log.write(event, time.time())

    def _tell_of(self, outfit: Outfit) -> None:
        """What was found on this host when the outfit was put on."""
        for notice in outfit.notices:
            self.tell(Event(event="notice", because=notice))
        for trouble in outfit.left:
            self.tell(Event(event="leftover", because=str(trouble)))

    def _who_switched_off(self) -> str:
        record = self.switch.record()
        if record is None:
            return "switched off"
        return f"switched off by {record.by} at {timestamp(record.time)}: {record.reason or '-'}"

    def _farewell(self) -> str:
        lease = f"for {self.version.setup.config.lease:g} s, then the guard takes it back"
        shown = self.snapshot
        told = shown.speaking.announced if shown and shown.speaking else {}
        left = len({**(shown.installed if shown else {}), **told})
        return (
            f"{left} steered addresses stay as they are {lease}; `steering off` does at once"
            if self.outfit.hands and left
            else "nothing is steered"
        )

    def _summary(self) -> str:
        setup, layout = self.version.setup, self.outfit.layout
        hands = self.outfit.hands
        ways = ["kernel routes"] if hands and hands.kernel.claim.sites else []
        ways += ["BGP"] if hands and hands.voice.speaker else []
        kernel = " and ".join(ways) or "no actuator"
        return (
            f"{setup.config.site}, {setup.config.mode}: {len(layout.targets)} addresses of "
            f"{len(setup.policies)} upstreams over {len(layout.paths)} paths, {kernel}"
        )


def _version(setup: Setup, fingerprint: Fingerprint) -> Version:
    try:
        return Version.of(setup, fingerprint)
    except AnchorError as error:
        raise CannotRun(2, str(error)) from error
