"""The agent: drives the stages. Facts in, a turn, the plan out, again.

What it leaves to others: all thinking (`engine`), all writing (`act`), all asking
(`observe`); what it goes by (`runtime`) and what reaches it (`inputs`). It holds the only
clock. A bug anywhere ends the process; what it installed then stays for the lease, for a
successor to adopt, and no longer.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from steering.act.bgp.status import BgpStatus
from steering.act.off_switch import OffSwitch
from steering.agent import in_force, messages
from steering.agent.action_metrics import count
from steering.agent.components import Lasting
from steering.agent.inputs import Inputs
from steering.agent.own_alarms import OwnAlarms, matters, sources_trouble
from steering.agent.reload import Reload, Version
from steering.agent.restart_state import RestartState
from steering.agent.runtime import Runtime
from steering.agent.state_off import StateOff
from steering.agent.tasks import Tasks
from steering.config import Fingerprint, Setup
from steering.decide.acknowledge import Acknowledged, acknowledge
from steering.decide.fast_probing import attention
from steering.engine import engine
from steering.model import Event, Family, Instant, Seconds
from steering.observe.strays import Strays
from steering.report.grouping import EventGrouping
from steering.report.http.answers import answer
from steering.report.http.ipc import Answer
from steering.report.http.service import Service
from steering.report.log import Log
from steering.report.metrics import Meters
from steering.report.sd_notify import notify
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
        """Checks everything that can be checked first. Raises CannotRunError, or AnchorError.

        `path` is the configuration, `fingerprint` that of the files before `setup` was read.
        """
        config, self.log = setup.config, log
        self.meters = Meters()
        self.snapshot: Snapshot | None = None
        self.meters.watch(lambda: self.snapshot)
        self.troubles = OwnAlarms()
        self.gathering = EventGrouping()
        self.switch = OffSwitch(state=config.state, runtime=config.runtime)
        self.kept_off = StateOff(
            state=config.state, runtime=config.runtime, leased=in_force.leased(config.runtime)
        )
        self.restart_state = RestartState(config.state)
        memory = self.restart_state.memory
        self.acknowledged = Acknowledged(spent=memory.spent if memory is not None else frozenset())
        self.strays = Strays()
        self.kept_off.wait(ANSWERED)
        self.inputs = Inputs(self.meters, self.tell)
        self.runtime = Runtime(
            Version.of(setup, fingerprint),
            Lasting(
                switch=self.switch,
                kept_off=lambda: self.kept_off.off,
                deliver=self.inputs.deliver,
                strays=self.strays,
            ),
            restart_state=self.restart_state,
            inputs=self.inputs,
            meters=self.meters,
            tell=self.tell,
            turn=self.turn,
        )
        self.reload = Reload(path, self.runtime, self.meters)
        self.service = Service(config.runtime, config.state, self._answer)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What is installed then stays for the lease."""
        loop, stop, tasks = asyncio.get_running_loop(), asyncio.Event(), Tasks()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload.look_now)
        if self.restart_state.found:
            self.tell(Event(event="notice", because=self.restart_state.found))
        loop.add_reader(self.service.fileno(), lambda: self.service.pump(time.monotonic()))
        self.runtime.start(tasks)
        self.tell(Event(event="config_loaded", because=messages.summary(self.runtime.components)))
        notify("READY=1")
        tasks.put("turns", self._turns())
        tasks.put("files", self.reload.run())
        tasks.put("stop", stop.wait())
        try:
            await tasks.work()  # a bug in one of them ends the agent here
        finally:
            notify("STOPPING=1")
            loop.remove_reader(self.service.fileno())
            self.service.close()
            self.kept_off.close()
            self.restart_state.settle(GOODBYE)
            self.runtime.close()
        self.tell(
            Event(event="stopped", because=messages.stopped(self.runtime.components, self.snapshot))
        )

    async def _turns(self) -> None:
        """The loop: wait for news, think, act, tell."""
        wakeup = self.inputs.wakeup
        while True:
            if await wakeup.wait(IDLE):
                # What comes at about the same time comes along.
                await asyncio.sleep(
                    min(0.1, max(0.01, self.runtime.components.layout.fast_interval / 4))
                )
                wakeup.clear()
            self.turn()

    def turn(self) -> None:
        """One turn, carried out and told."""
        runtime = self.runtime
        runtime.handle_lost_lease()
        started = now = time.monotonic()
        facts, before, components = runtime.facts(), runtime.state, runtime.components
        runtime.state, steps, events = engine.turn(before, facts, now)
        after, actuators, installed = runtime.state, components.actuators, facts.installed
        self.meters.turn_seconds.observe(time.monotonic() - started)
        # Before the deed: none is done that is not counted, unless the disk hangs.
        self.restart_state.keep(after, moved=bool(steps), spent=self.acknowledged.spent)
        if actuators is not None:
            acted = actuators.act(after.steers(), off=after.off, moved=bool(steps))
            count(self.meters, acted, after, now, by_kernel=components.claim is not None)
            installed = components.ways.installed()
        if (journal := runtime.journal) is not None:
            setup = runtime.version.setup
            journal.note(setup, facts, now, before=before, after=after, steps=steps, events=events)
            events += journal.news()
        if actuators is not None:  # after the journal: no replay could come to these
            events += (*actuators.bgp.news(), *actuators.external_changes.news(now))
        for event, addresses in self.gathering.of(events, now):
            self.log.write(event, time.time(), addresses)
        for unread in HERE.news(now):
            self.tell(_dropped(unread))
        if self.inputs.kernel_changed():
            self.inputs.wakeup.ring()
        components.prober.attend(attention(after))
        self._publish(installed, now)
        notify("WATCHDOG=1")

    def _publish(self, installed: Mapping[str, str], now: Instant) -> None:
        state, components, journal = (
            self.runtime.state,
            self.runtime.components,
            self.runtime.journal,
        )
        self.service.tend(self.runtime.version.setup.config.status, now)
        for event in self.troubles.settle(self._matters(now), state.wall, state.alarms):
            self.tell(event)
        alarms = {**self.troubles.alarms, **state.alarms}
        self.acknowledged, seen = acknowledge(self.acknowledged, state.override_state, alarms, now)
        for event in seen:
            self.tell(event)
        self.snapshot = Snapshot(
            mode=str(self.runtime.version.setup.config.mode),
            state=state,
            installed=installed,
            alarms=alarms,
            acknowledged=self.acknowledged,
            ready=bool((state.ledger.counts[:, :, 0].sum(axis=0) > 0).all()),
            turned_at=now,
            dnstap=components.dnstap.hearing() if components.dnstap is not None else None,
            events_lost=self.log.lost,
            journal_lost=journal.lost if journal is not None else 0,
            bgp=self._speaking(),
            put_back=dict(components.actuators.external_changes.counts)
            if components.actuators is not None
            else {},
            unreadable=HERE.counts,
            strays={(path, str(why)): n for (path, why), n in self.strays.counts.items()},
        )
        self.service.turned(now, ready=self.snapshot.ready)

    def _matters(self, now: Instant) -> Mapping[str, str]:
        """What is the matter with the agent's own means: name of the alarm to text, or to none."""
        journal, state = self.runtime.journal, self.runtime.state
        steered = {Family.of(address) for address in state.wanted()}
        return {
            **matters(self.runtime.components, now, off=state.off, steered=steered),
            "pins": self.inputs.pins.trouble,
            "return": self.strays.trouble,
            "sources": sources_trouble(self.runtime.components),
            "state": self.restart_state.trouble or self.kept_off.trouble(now),
            "config": self.reload.trouble(now),
            "config_held": self.reload.held,
            "status": self.service.trouble,
            "log": self.log.trouble(now),
            "journal": journal.trouble if journal is not None else "",
            "off": self._why_off() if state.off else "",
        }

    def _why_off(self) -> str:
        return self.kept_off.unknown or messages.switched_off(self.switch)

    def _speaking(self) -> BgpStatus | None:
        actuators = self.runtime.components.actuators
        speaking = actuators.bgp.report() if actuators is not None else None
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
