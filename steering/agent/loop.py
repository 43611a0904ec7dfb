"""The agent: drives the stages. Facts in, a turn, the plan out, again.

What it leaves to others: all thinking (`engine`), all writing (`act`), all asking
(`observe`); what it goes by (`regime`) and what reaches it (`senses`). It holds the only
clock. A bug anywhere ends the process; what it installed then stays for the lease, for a
successor to adopt, and no longer.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from steering import engine
from steering.act.bgp.speaking import Speaking
from steering.act.off import OffSwitch
from steering.agent import standing, words
from steering.agent.counting import count
from steering.agent.crew import Crew
from steering.agent.notebook import Notebook
from steering.agent.outfit import Lasting
from steering.agent.regime import Regime
from steering.agent.reload import Reload, Version
from steering.agent.senses import Senses
from steering.agent.state_off import StateOff
from steering.agent.troubles import Troubles, matters, sources_trouble
from steering.config import Fingerprint, Setup
from steering.decide.acknowledge import Acknowledged, acknowledge
from steering.decide.attention import attention
from steering.model import Event, Family, Instant, Seconds
from steering.observe.strays import Strays
from steering.report.events import Log
from steering.report.gather import Gathering
from steering.report.http.answers import answer
from steering.report.http.letters import Answer
from steering.report.http.service import Service
from steering.report.metrics import Meters
from steering.report.notify import notify
from steering.report.snapshot import Snapshot
from steering.system.unreadable import HERE, Unread

IDLE: Seconds = 1.0
"""Longest time between two turns."""
ANSWERED: Seconds = 1.0
"""How long an agent that starts waits for `state`, once it has waited for the memory in there."""
GOODBYE: Seconds = 1.0
"""How long one that ends waits for what is still to be written there."""


class Agent:
    """One agent, from the checks before its start to its end. `run` serves until a signal."""

    def __init__(self, setup: Setup, log: Log, path: Path, fingerprint: Fingerprint) -> None:
        """Checks everything that can be checked first. Raises CannotRun, or AnchorError.

        `path` is the configuration, `fingerprint` that of the files before `setup` was read.
        """
        config, self.log = setup.config, log
        self.meters = Meters()
        self.snapshot: Snapshot | None = None
        self.meters.watch(lambda: self.snapshot)
        self.troubles = Troubles()
        self.gathering = Gathering()
        self.switch = OffSwitch(state=config.state, runtime=config.runtime)
        self.kept_off = StateOff(
            state=config.state, runtime=config.runtime, leased=standing.leased(config.runtime)
        )
        self.notebook = Notebook(config.state)
        memory = self.notebook.memory
        self.acknowledged = Acknowledged(spent=memory.spent if memory is not None else frozenset())
        self.strays = Strays()
        self.kept_off.wait(ANSWERED)
        self.senses = Senses(self.meters, self.tell)
        self.regime = Regime(
            Version.of(setup, fingerprint),
            Lasting(
                switch=self.switch,
                kept_off=lambda: self.kept_off.off,
                deliver=self.senses.deliver,
                strays=self.strays,
            ),
            notebook=self.notebook,
            senses=self.senses,
            meters=self.meters,
            tell=self.tell,
            turn=self.turn,
        )
        self.reload = Reload(path, self.regime, self.meters)
        self.service = Service(config.runtime, config.state, self._answer)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What is installed then stays for the lease."""
        loop, stop, crew = asyncio.get_running_loop(), asyncio.Event(), Crew()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload.look_now)
        if self.notebook.found:
            self.tell(Event(event="notice", because=self.notebook.found))
        loop.add_reader(self.service.fileno(), lambda: self.service.pump(time.monotonic()))
        self.regime.start(crew)
        self.tell(Event(event="config_loaded", because=words.summary(self.regime.outfit)))
        notify("READY=1")
        crew.put("turns", self._turns())
        crew.put("files", self.reload.run())
        crew.put("stop", stop.wait())
        try:
            await crew.work()  # a bug in one of them ends the agent here
        finally:
            notify("STOPPING=1")
            loop.remove_reader(self.service.fileno())
            self.service.close()
            self.kept_off.close()
            self.notebook.settle(GOODBYE)
            self.regime.close()
        self.tell(Event(event="stopped", because=words.farewell(self.regime.outfit, self.snapshot)))

    async def _turns(self) -> None:
        """The loop: wait for news, think, act, tell."""
        bell = self.senses.bell
        while True:
            if await bell.wait(IDLE):
                # What comes at about the same time comes along.
                await asyncio.sleep(
                    min(0.1, max(0.01, self.regime.outfit.layout.fast_interval / 4))
                )
                bell.hush()
            self.turn()

    def turn(self) -> None:
        """One turn, carried out and told."""
        regime = self.regime
        regime.mind_lost_lease()
        started = now = time.monotonic()
        facts, before, outfit = regime.facts(), regime.world, regime.outfit
        regime.world, steps, events = engine.turn(before, facts, now)
        after, hands, installed = regime.world, outfit.hands, facts.installed
        self.meters.turn_seconds.observe(time.monotonic() - started)
        # Before the deed: none is done that is not counted, unless the disk hangs.
        self.notebook.keep(after, moved=bool(steps), spent=self.acknowledged.spent)
        if hands is not None:
            acted = hands.act(after.steers(), off=after.off, moved=bool(steps))
            count(self.meters, acted, after, now, by_kernel=outfit.claim is not None)
            installed = outfit.ways.installed()
        if (journal := regime.journal) is not None:
            setup = regime.version.setup
            journal.note(setup, facts, now, before=before, after=after, steps=steps, events=events)
            events += journal.news()
        if hands is not None:  # after the journal: no replay could come to these
            events += (*hands.voice.news(), *hands.meddling.news(now))
        for event, addresses in self.gathering.of(events, now):
            self.log.write(event, time.time(), addresses)
        for unread in HERE.news(now):
            self.tell(_dropped(unread))
        if self.senses.hear_kernel():
            self.senses.bell.ring()
        outfit.prober.attend(attention(after))
        self._publish(installed, now)
        notify("WATCHDOG=1")

    def _publish(self, installed: Mapping[str, str], now: Instant) -> None:
        world, outfit, journal = self.regime.world, self.regime.outfit, self.regime.journal
        self.service.tend(self.regime.version.setup.config.status, now)
        for event in self.troubles.settle(self._matters(now), world.wall, world.alarms):
            self.tell(event)
        alarms = {**self.troubles.alarms, **world.alarms}
        self.acknowledged, seen = acknowledge(self.acknowledged, world.orders, alarms, now)
        for event in seen:
            self.tell(event)
        self.snapshot = Snapshot(
            mode=str(self.regime.version.setup.config.mode),
            world=world,
            installed=installed,
            alarms=alarms,
            acknowledged=self.acknowledged,
            ready=bool((world.ledger.counts[:, :, 0].sum(axis=0) > 0).all()),
            turned_at=now,
            hearing=outfit.ears.hearing() if outfit.ears is not None else None,
            events_lost=self.log.lost,
            journal_lost=journal.lost if journal is not None else 0,
            speaking=self._speaking(),
            put_back=dict(outfit.hands.meddling.counts) if outfit.hands is not None else {},
            unreadable=HERE.counts,
            strays={(path, str(why)): n for (path, why), n in self.strays.counts.items()},
        )
        self.service.turned(now, ready=self.snapshot.ready)

    def _matters(self, now: Instant) -> Mapping[str, str]:
        """What is the matter with the agent's own means: name of the alarm to text, or to none."""
        journal, world = self.regime.journal, self.regime.world
        steered = {Family.of(address) for address in world.wanted()}
        return {
            **matters(self.regime.outfit, now, off=world.off, steered=steered),
            "pins": self.senses.pins.trouble,
            "return": self.strays.trouble,
            "sources": sources_trouble(self.regime.outfit),
            "state": self.notebook.trouble or self.kept_off.trouble(now),
            "config": self.reload.trouble(now),
            "config_held": self.reload.held,
            "status": self.service.trouble,
            "log": self.log.trouble(now),
            "journal": journal.trouble if journal is not None else "",
            "off": self._why_off() if world.off else "",
        }

    def _why_off(self) -> str:
        return self.kept_off.unknown or words.switched_off(self.switch)

    def _speaking(self) -> Speaking | None:
        hands = self.regime.outfit.hands
        speaking = hands.voice.report() if hands is not None else None
        for seconds in speaking.acknowledged if speaking is not None else ():
            self.meters.bgp_acknowledged.observe(seconds)
        return speaking

    def _answer(self, key: str) -> Answer:
        """What is answered over HTTP, in a copy of this process."""
        return answer(key, self.snapshot, self.meters.registry)

    def tell(self, event: Event) -> None:
        """Something for the log."""
        self.log.write(event, time.time())


def _dropped(unread: Unread) -> Event:
    return Event(
        event="unreadable",
        because=str(unread),
        more={"where": unread.where, "size": unread.size, "octets": unread.octets},
    )
