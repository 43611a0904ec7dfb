"""The agent: collects facts, runs one turn, carries out the plan, and starts again.

The engine decides, `act` writes, `observe` probes. `runtime` holds the configuration in force,
`inputs` what has arrived. The agent has the only clock. A bug anywhere ends the process. What it
installed then stays until the lease ends, unless a new agent adopts it before.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from steering.act.bgp.status import BgpStatus
from steering.act.lease import leased
from steering.act.off_switch import OffSwitch
from steering.agent import own_alarms
from steering.agent.action_metrics import count
from steering.agent.components import Lasting
from steering.agent.copies import Copies
from steering.agent.copies_around import around
from steering.agent.copies_file import CopiesFile
from steering.agent.flush import Flushing
from steering.agent.inputs import Inputs
from steering.agent.notifications import Notifications
from steering.agent.own_alarms import OwnAlarms
from steering.agent.reload import Reload, Version
from steering.agent.restart_state import RestartState
from steering.agent.rootzone import KeptRoot
from steering.agent.runtime import Runtime
from steering.agent.state_off import StateOff
from steering.agent.tasks import Tasks
from steering.config import Fingerprint, Setup
from steering.decide.fast_probing import attention
from steering.decide.overrides.acknowledge import Acknowledged, acknowledge
from steering.engine import engine
from steering.index import Index
from steering.model import Event, Family, Instant, Seconds
from steering.observe.strays import Strays
from steering.report.grouping import EventGrouping
from steering.report.http.answers import answer
from steering.report.http.ipc import Answer
from steering.report.http.service import Service
from steering.report.log import Log
from steering.report.metrics import Meters
from steering.report.page.history import History
from steering.report.sd_notify import notify
from steering.report.snapshot import Snapshot
from steering.system.unreadable import HERE, Unread

IDLE: Seconds = 1.0
"""Longest time between two turns."""
STATE_WAIT: Seconds = 1.0
"""How long the start waits for the off switch in `state`, after it has waited for the memory."""
END_WAIT: Seconds = 1.0
"""How long the end waits for the last write of the memory."""
COLLECTIONS = 10_000, 10, 1_000
"""Thresholds of the garbage collector (`gc`). The state has many values and no cycles: a look at
all of them takes longer than a turn and finds nothing, so it is rare; after a reload, which leaves
cycles, `Runtime` asks for one."""


class Agent:
    """One agent, from the checks before its start to its end. `run` serves until a signal."""

    def __init__(self, setup: Setup, log: Log, path: Path, fingerprint: Fingerprint) -> None:
        """Checks everything that can be checked first. Raises CannotRunError, or AnchorError.

        `path` is the configuration, `fingerprint` that of the files before `setup` was read.
        """
        config, self.log = setup.config, log
        self.meters = Meters()
        self.snapshot: Snapshot | None = None
        self._measured: tuple[Index, Instant] | None = None
        """The index, and the start of the state, with which every local path was measured."""
        self.meters.watch(lambda: self.snapshot)
        self.own_alarms = OwnAlarms()
        self.grouping = EventGrouping()
        self.history = History()
        self.notifications = Notifications(self.meters)
        self.switch = OffSwitch(state=config.state, runtime=config.runtime)
        self.state_off = StateOff(
            state=config.state, runtime=config.runtime, leased=leased(config.runtime)
        )
        self.restart_state = RestartState(config.state)
        memory = self.restart_state.memory
        self.acknowledged = Acknowledged(spent=memory.spent if memory is not None else frozenset())
        self.strays = Strays()
        self.state_off.wait(STATE_WAIT)
        self.inputs = Inputs(self.meters, self.log_event)
        self.runtime = Runtime(
            Version.of(setup, fingerprint),
            Lasting(
                switch=self.switch,
                state_off=lambda: self.state_off.off,
                deliver=self.inputs.deliver,
                strays=self.strays,
            ),
            restart_state=self.restart_state,
            inputs=self.inputs,
            meters=self.meters,
            log_event=self.log_event,
            turn=self.turn,
        )
        self.reload = Reload(path, self.runtime, self.meters)
        self.copies = Copies(
            CopiesFile(config.state),
            lambda: around(self.runtime),
            self.log_event,
            self.meters,
        )
        self.flushing = Flushing(self.meters, self.log_event)
        self.rootzone = KeptRoot(self.runtime, self.log_event, self.meters)
        self.service = Service(config.runtime, config.state, self._answer)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What is installed then stays for the lease."""
        gc.set_threshold(*COLLECTIONS)
        loop, stop, tasks = asyncio.get_running_loop(), asyncio.Event(), Tasks()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload.check_now)
        if self.restart_state.start_problem:
            self.log_event(Event(event="notice", because=self.restart_state.start_problem))
        loop.add_reader(self.service.fileno(), lambda: self.service.pump(time.monotonic()))
        self.runtime.start(tasks)
        started = own_alarms.summary(self.runtime.components)
        self.log_event(Event(event="config_loaded", because=started))
        notify("READY=1")
        tasks.start("turns", self._turns())
        tasks.start("files", self.reload.run())
        tasks.start("flush", self.flushing.run())
        tasks.start("copies", self.copies.run())
        tasks.start("rootzone", self.rootzone.run())
        tasks.start("stop", stop.wait())
        try:
            await tasks.run()  # a bug in one of them ends the agent here
        finally:
            notify("STOPPING=1")
            loop.remove_reader(self.service.fileno())
            self.service.close()
            self.state_off.close()
            self.restart_state.flush(END_WAIT)
            self.notifications.close(END_WAIT)
            self.runtime.close()
        ended = own_alarms.stopped(self.runtime.components, self.snapshot)
        self.log_event(Event(event="stopped", because=ended))

    async def _turns(self) -> None:
        """Wait for input, then run a turn; again and again."""
        wakeup = self.inputs.wakeup
        while True:
            if await wakeup.wait(IDLE):
                # Input that arrives at about the same time is handled in the same turn.
                await asyncio.sleep(
                    min(0.1, max(0.01, self.runtime.components.index.fast_interval / 4))
                )
                wakeup.clear()
            self.turn()

    def turn(self) -> None:
        """One turn: decide, carry out, log, publish."""
        runtime = self.runtime
        runtime.handle_lost_lease()
        started = now = time.monotonic()
        facts, before, components = runtime.facts(), runtime.state, runtime.components
        runtime.state, steps, events = engine.turn(before, facts, now)
        after, actuators, installed = runtime.state, components.actuators, facts.installed
        self.meters.turn_seconds.observe(time.monotonic() - started)
        # Saved before it is carried out: no move is made uncounted, unless the disk hangs.
        self.restart_state.save(after, moved=bool(steps), spent=self.acknowledged.spent)
        if actuators is not None:
            acted = actuators.act(after.steers(), off=after.off, moved=bool(steps))
            count(self.meters, acted, after, now, by_kernel=components.claim is not None)
            installed = components.kernel_paths.installed()
        if (journal := runtime.journal) is not None:
            setup = runtime.version.setup
            journal.note(setup, facts, now, before=before, after=after, steps=steps, events=events)
            events += journal.news()
        if actuators is not None:  # after the journal: a replay can't reproduce these events
            events += (*actuators.bgp.events(), *actuators.external_changes.events(now))
        for event, addresses in self.grouping.of(events, now):
            self._write(event, addresses)
        for unread in HERE.news(now):
            self.log_event(_dropped(unread))
        if self.inputs.kernel_changed():
            self.inputs.wakeup.ring()
        components.prober.attend(attention(after))
        self.flushing.turn(runtime.version.setup.config.flush, after, facts.rounds, installed)
        self._publish(installed, now)
        notify("WATCHDOG=1")

    def _publish(self, installed: Mapping[str, str], now: Instant) -> None:
        """Update alarms and the snapshot that status and metrics show."""
        state, components = self.runtime.state, self.runtime.components
        journal, version = self.runtime.journal, self.runtime.version
        config = version.setup.config
        self.service.tend(config.status, now, config.status_names)
        for event in self.own_alarms.update(self._problems(now), state.wall, state.alarms):
            self.log_event(event)
        alarms = {**self.own_alarms.alarms, **state.alarms}
        self.acknowledged, seen = acknowledge(self.acknowledged, state.override_state, alarms, now)
        for event in seen:
            self.log_event(event)
        self.snapshot = Snapshot(
            mode=str(version.setup.config.mode),
            state=state,
            installed=installed,
            alarms=alarms,
            acknowledged=self.acknowledged,
            ready=self._ready(),
            turned_at=now,
            dnstap=components.dnstap.status() if components.dnstap is not None else None,
            events_lost=self.log.lost,
            journal_lost=journal.lost if journal is not None else 0,
            bgp=self._bgp_status(),
            put_back=dict(components.actuators.external_changes.counts)
            if components.actuators is not None
            else {},
            unreadable=HERE.counts,
            strays={(path, str(why)): n for (path, why), n in self.strays.counts.items()},
            copies=self.copies.status,
        )
        self.service.turned(now, ready=self.snapshot.ready)
        self.notifications.tell(self.snapshot, config, now)
        self.history.turned(state)

    def _ready(self) -> bool:
        """Whether the local path of every address was measured."""
        state = self.runtime.state
        present = state.index, state.begun
        if self._measured != present and all(
            state.ledger.path(address).counts for address in state.index.settings
        ):
            self._measured = present  # and stays so
        return self._measured == present

    def _problems(self, now: Instant) -> Mapping[str, str]:
        """What is wrong with the agent itself: alarm name -> text, empty where nothing is."""
        journal, state = self.runtime.journal, self.runtime.state
        components = self.runtime.components
        steered = {Family.of(address) for address in state.plan}
        return {
            **own_alarms.component_problems(components, now, off=state.off, steered=steered),
            **self.copies.problems(),
            "pins": self.inputs.pin_check.problem,
            "return": self.strays.trouble,
            "sources": own_alarms.sources_problem(components),
            "state": self.restart_state.problem
            or self.state_off.problem(now)
            or self.copies.problem,
            "config": self.reload.problem(now),
            "config_held": self.reload.held,
            "flush": self.flushing.problem,
            "rootzone": self.rootzone.problem(now),
            "status": self.service.trouble,
            "log": self.log.trouble(now),
            "notify": self.notifications.problem,
            "journal": journal.trouble if journal is not None else "",
            "off": self._why_off() if state.off else "",
        }

    def _why_off(self) -> str:
        return self.state_off.unknown or own_alarms.switched_off(self.switch)

    def _bgp_status(self) -> BgpStatus | None:
        actuators = self.runtime.components.actuators
        status = actuators.bgp.status() if actuators is not None else None
        for seconds in status.acknowledged if status is not None else ():
            self.meters.bgp_acknowledged.observe(seconds)
        return status

    def _answer(self, key: str) -> Answer:
        """An HTTP response; runs in a forked copy of this process."""
        return answer(key, self.snapshot, self.history, self.meters.registry)

    def log_event(self, event: Event) -> None:
        """Write one event to the log, with the time of now."""
        self._write(event)

    def _write(self, event: Event, addresses: Sequence[str] = ()) -> None:
        wall = time.time()
        self.log.write(event, wall, addresses)
        self.history.happened(event, wall, addresses)


def _dropped(unread: Unread) -> Event:
    return Event(
        event="unreadable",
        because=str(unread),
        more={"where": unread.where, "size": unread.size, "octets": unread.octets},
    )
