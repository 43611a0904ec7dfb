"""The agent: drives the stages. Facts in, a turn, the plan out, again.

What it leaves to others: all thinking (`engine`), all writing (`act`), all asking
(`observe`). It holds the only clock. A bug anywhere ends the process; what it installed
then stays for the lease, for a successor to adopt, and no longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterable, Mapping

from steering import engine, parts
from steering.act.bgp.speaking import Speaking
from steering.act.off import OffSwitch
from steering.act.preflight import Fault, preflight
from steering.act.reader import KernelReader, Trouble
from steering.alone import Alone
from steering.config import Mode, Setup
from steering.decide.attention import attention
from steering.ears import Ears
from steering.hands import Acted, Hands
from steering.layout import Layout
from steering.model import Done, Event, Facts, Instant, Round, Seconds
from steering.observe.anchors import AnchorError
from steering.observe.probe import Prober
from steering.observe.second import SecondLook
from steering.observe.signatures import Signatures
from steering.parts import CannotRun
from steering.report.events import Log, timestamp
from steering.report.http import Server
from steering.report.metrics import Meters
from steering.report.notify import notify
from steering.report.snapshot import Snapshot
from steering.troubles import Troubles
from steering.ways import Ways
from steering.world import World

IDLE: Seconds = 1.0
"""Longest time between two turns: in each the lease is renewed."""


class Agent:
    """One agent, from the checks before its start to its end. `run` serves until a signal."""

    def __init__(self, setup: Setup, log: Log) -> None:
        """Checks everything that can be checked first. Raises CannotRun."""
        self.setup, self.log = setup, log
        config = setup.config
        self.layout = Layout.of(setup)
        self.world = World.blank(self.layout, time.monotonic(), time.time())
        self.meters = Meters()
        self.meters.reload_ok.set(1)
        self.snapshot: Snapshot | None = None
        self.meters.watch(lambda: self.snapshot)
        self.switch = OffSwitch(state=config.state, runtime=config.runtime)
        self.allowed = parts.addresses_of(setup)
        self.claim = parts.claim_of(config)
        self.troubles = Troubles()
        self._rounds: list[Round] = []
        self._wake = asyncio.Event()
        signatures = Signatures()
        try:
            self.keys = parts.key_store(setup, signatures)
        except AnchorError as error:
            raise CannotRun(2, str(error)) from error
        self.reader, self.hands = self._take_hold()
        self.ears = self._listen(SecondLook(self.keys))
        self.ways = Ways(self.reader, acting=self.hands is not None)
        self.prober = Prober(
            self.layout.targets,
            parts.asked_of(setup.policies),
            parts.probed_paths(self.claim if self.ways.marked else None),
            parts.pace_of(config),
            keys=self.keys,
            signatures=signatures,
            deliver=self._deliver,
            gateway_dead=self.ways.gateway_dead,
            leads=self.ways.leads,
        )
        try:
            self.server = Server(
                config.status.host, config.status.port, lambda: self.snapshot, self.meters.registry
            )
        except OSError as error:
            raise CannotRun(
                1,
                f"status: {config.status.host} port {config.status.port} can't be listened on: "
                f"{error.strerror}; wanted a free address and port",
            ) from error

    def _take_hold(self) -> tuple[KernelReader | None, Hands | None]:
        config, claim = self.setup.config, self.claim
        if config.mode is Mode.OBSERVE:
            return (KernelReader(claim) if claim else None), None
        speaker = parts.speaker_of(config, lambda: not self.switch.engaged())
        if claim is None:
            if speaker is None:
                return None, None
            return None, Hands(config, parts.NOTHING, self.switch, self.allowed, speaker)
        complaints = preflight(claim, self.allowed, state=config.state, runtime=config.runtime)
        fatal = [c for c in complaints if c.kind is not Fault.NOTICE]
        if fatal:
            raise CannotRun(max(int(c.kind) for c in fatal), *(str(c) for c in fatal))
        for notice in complaints:
            self._tell(Event(event="notice", because=str(notice)))
        hands = Hands(config, claim, self.switch, self.allowed, speaker)
        return hands.kernel, hands

    def _listen(self, look: SecondLook) -> Ears | None:
        places = parts.places_of(self.setup.config)
        if not places:
            return None
        try:
            return Ears(self.layout, places, look)
        except LookupError as error:
            raise CannotRun(2, f"observe.dnstap_group: {error.args[0]}") from error
        except OSError as error:
            raise CannotRun(1, f"observe.dnstap: {error}") from error

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What is installed then stays for the lease."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        with contextlib.closing(Alone()) as alone:
            if self.hands:
                alone.hold(self.setup.config.runtime, self.hands.kernel.claim.table)
                for trouble in _adopt(self.hands):
                    self._tell(Event(event="leftover", because=str(trouble)))
                loop.add_reader(self.hands.kernel, self._on_kernel)
                if self.hands.speaker:
                    loop.add_reader(self.hands.speaker, self.hands.speaker.pump)
            if self.ears:
                loop.add_reader(self.ears.tap, self._on_tap)
            self.turn()  # pins the paths before the first question is asked
            self.server.start()
            self._tell(Event(event="config_loaded", because=self._summary()))
            notify("READY=1")
            tasks = [
                asyncio.create_task(work, name=name)
                for name, work in (
                    ("probes", self.prober.run()),
                    ("keys", self.keys.run()),
                    ("turns", self._turns()),
                    ("stop", stop.wait()),
                    *([("second look", self.ears.look.run())] if self.ears else ()),
                )
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # a bug in one of them ends the agent here
            finally:
                notify("STOPPING=1")
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if self.hands:
                    loop.remove_reader(self.hands.kernel)
                    if self.hands.speaker:
                        loop.remove_reader(self.hands.speaker)
                if self.ears:
                    loop.remove_reader(self.ears.tap)
                self.close()
        self._tell(Event(event="stopped", because=self._farewell()))

    def close(self) -> None:
        """Give back sockets and the port. Takes nothing out of the kernel: the lease does."""
        self.server.close()
        if self.ears is not None:
            self.ears.close()
        if self.reader is not None:
            self.reader.close()
        if self.hands is not None and self.hands.speaker is not None:
            self.hands.speaker.close()

    async def _turns(self) -> None:
        """The loop: wait for news, think, act, tell."""
        coalesce = min(0.1, max(0.01, self.layout.fast_interval / 4))
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), IDLE)
                await asyncio.sleep(coalesce)
            self._wake.clear()
            self.turn()

    def turn(self) -> None:
        """One turn, carried out and told."""
        self._mind_lost_lease()
        started = now = time.monotonic()
        facts = self._facts()
        self.world, steps, events = engine.turn(self.world, facts, now)
        self.meters.turn_seconds.observe(time.monotonic() - started)
        installed = facts.installed
        if self.hands is not None:
            acted = self.hands.act(self.world.steers(), off=self.world.off, moved=bool(steps))
            self._count(acted, now)
            installed = self.ways.installed()
            if self.hands.speaker is not None:
                events = (*events, *self.hands.speaker.news())
        for event in events:
            self._tell(event)
        if self._hear_kernel():
            self._wake.set()
        self.prober.attend(attention(self.world))
        self._publish(installed, now)
        notify("WATCHDOG=1")

    def _facts(self) -> Facts:
        # Rules may have gone while questions were under way. The kernel told of it before
        # anything asked since then could be answered, so what it told is heard first.
        self._hear_kernel()
        rounds, self._rounds = self._rounds, []
        if self.ears is not None:
            self._on_tap()
        installed = self._installed()
        rounds = [self.ways.over_their_paths(item) for item in rounds]
        self._time(rounds)
        return Facts(
            wall=time.time(),
            rounds=tuple(rounds),
            heard=self.ears.hear(installed, time.monotonic()) if self.ears is not None else (),
            installed=installed,
            off=self.switch.engaged(),
        )

    def _installed(self) -> Mapping[str, str]:
        """Address to site, as this host's packets go: by its own table, else by the routers."""
        if self.claim is None and self.hands is not None and self.hands.speaker is not None:
            return self.hands.speaker.installed()
        return self.ways.installed()

    def _mind_lost_lease(self) -> None:
        """Where the lease ran out, all is taken back: begin from nothing.

        What was believed then is old, and what was wanted then is not wanted any more.
        """
        because = self.hands.lost_lease() if self.hands is not None else None
        if because is None:
            return
        self._rounds.clear()
        self.world = World.blank(self.layout, time.monotonic(), time.time())
        self._tell(Event(event="lease_lost", because=f"{because}: starting over"))

    def _hear_kernel(self) -> bool:
        """Whether anything changed."""
        changed = self.ways.changed()
        if changed and self.hands is not None:
            self.hands.changed = True
        return changed

    def _time(self, rounds: Iterable[Round]) -> None:
        for seen in (o for item in rounds for o in item.observations):
            if seen.rtt is not None and not seen.live:
                self.meters.rtt.labels(seen.address, seen.path).observe(seen.rtt)

    def _count(self, acted: Acted, now: Instant) -> None:
        for actuator, results in (("kernel", acted.results), ("bgp", acted.told)):
            for result in results:
                done = "done" if isinstance(result, Done) else "refused"
                self.meters.actions.labels(actuator, result.action, done).inc()
        for result in acted.results if self.claim else acted.told:
            if isinstance(result, Done):
                self.meters.action_seconds.observe(result.seconds)
                if result.action == "remove":
                    continue  # perhaps of an address that no policy names any more
                row = self.layout.row[result.address]
                first = float(self.world.ledger.first_bad[row])
                proof = self.world.proofs.get(row)
                # A route that came back is no detection. NaN: none was bad.
                if proof is not None and not proof.proved and first <= now:
                    self.meters.detection_seconds.observe(now - first)

    def _matters(self, now: Instant) -> dict[str, str]:
        """What is the matter with the agent's own means: name of the alarm to text."""
        own: dict[str, str] = {}
        if self.hands is not None and self.hands.troubles:
            own["kernel"] = "; ".join(self.hands.troubles[:3])
        if self.hands is not None and self.hands.untold:
            own["bgp"] = "; ".join(self.hands.untold[:3])
        if hungry := self.keys.troubles:
            own["keys"] = "; ".join(f"{zone}: {why}" for zone, why in sorted(hungry.items()))
        if self.ears is not None and (deaf := self.ears.troubles(now)):
            own["dnstap"] = deaf
        if mute := self.log.trouble(now):
            own["log"] = mute
        if self.world.off:
            own["off"] = self._who_switched_off()
        return own

    def _publish(self, installed: Mapping[str, str], now: Instant) -> None:
        for event in self.troubles.settle(self._matters(now), self.world.wall):
            self._tell(event)
        self.snapshot = Snapshot(
            mode=str(self.setup.config.mode),
            world=self.world,
            installed=installed,
            alarms={**self.troubles.alarms, **self.world.alarms},
            ready=bool((self.world.ledger.counts[:, :, 0].sum(axis=0) > 0).all()),
            turned_at=now,
            hearing=self.ears.hearing() if self.ears is not None else None,
            events_lost=self.log.lost,
            speaking=self._speaking(),
        )

    def _speaking(self) -> Speaking | None:
        if self.hands is None or self.hands.speaker is None:
            return None
        speaking = self.hands.speaker.report()
        for seconds in speaking.acknowledged:
            self.meters.bgp_acknowledged.observe(seconds)
        return speaking

    def _deliver(self, item: Round) -> None:
        self._rounds.append(item)
        self._wake.set()

    def _on_kernel(self) -> None:
        if self._hear_kernel():
            self._wake.set()

    def _on_tap(self) -> None:
        assert self.ears is not None
        for event in self.ears.listen(time.monotonic()):
            self._tell(event)
        if self.ears.waiting:
            self._wake.set()

    def _tell(self, event: Event) -> None:
        self.log.write(event, time.time())

    def _who_switched_off(self) -> str:
        record = self.switch.record()
        if record is None:
            return "switched off"
        return f"switched off by {record.by} at {timestamp(record.time)}: {record.reason or '-'}"

    def _farewell(self) -> str:
        lease = f"for {self.setup.config.lease:g} s, then the guard takes it back"
        left = len(self._installed())
        return (
            f"{left} steered addresses stay as they are {lease}; `steering off` does at once"
            if self.hands and left
            else "nothing is steered"
        )

    def _summary(self) -> str:
        config = self.setup.config
        acting = ["kernel routes"] if self.hands and self.claim else []
        acting += ["BGP"] if self.hands and self.hands.speaker else []
        kernel = " and ".join(acting) or "no actuator"
        return (
            f"{config.site}, {config.mode}: {len(self.layout.targets)} addresses of "
            f"{len(self.setup.policies)} upstreams over {len(self.layout.paths)} paths, {kernel}"
        )


def _adopt(hands: Hands) -> tuple[Trouble, ...]:
    try:
        return hands.adopt()
    except OSError as error:
        raise CannotRun(
            1, f"runtime: no lease or no guard can be had: {error}; nothing is installed anew"
        ) from error
