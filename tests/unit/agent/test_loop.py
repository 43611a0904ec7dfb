"""The agent's loop: in which order one turn is carried out, what it publishes, how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from etc import place
from simulation import CONFIG, policy

from steering.act.bgp.status import BgpStatus
from steering.agent import loop
from steering.agent.actuators import Acted, Actuators
from steering.agent.loop import Agent
from steering.config import fingerprint, load
from steering.decide.fast_probing import attention
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.model import Done, Event, Kind, Observation, Outcome, Question, Round, Step
from steering.report.http.ipc import Answer
from steering.report.log import Log
from steering.system.output import Output
from steering.system.unreadable import HERE, Where

Turned = tuple[State, tuple[Step, ...], tuple[Event, ...]]


class FakeService:
    """HTTP that serves nobody."""

    trouble = ""

    def __init__(self, _runtime: Path, _state: Path, answer: Callable[[str], Answer]) -> None:
        self.answer = answer
        self.descriptor = os.eventfd(0)
        self.turns: list[bool] = []

    def fileno(self) -> int:
        return self.descriptor

    def tend(self, _at: object, _now: float, _names: object) -> None: ...

    def turned(self, _now: float, *, ready: bool) -> None:
        self.turns.append(ready)

    def pump(self, _now: float) -> None: ...

    def close(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1


class FakeActuators:
    """Actuators that write down when they are called."""

    removal_pending = table_was_a_site = changed = False
    notices = problems = former_claims = ()
    lost: str | None = None

    def __init__(self, order: list[str]) -> None:
        self.order, self.plans = order, list[dict[str, str]]()
        self.kernel = SimpleNamespace(claim=SimpleNamespace(sites={}), fileno=lambda: -1)
        self.external_changes = SimpleNamespace(counts={"route": 3}, events=self._external)
        self.bgp = SimpleNamespace(
            speaker=None,
            problems=(),
            announced=dict,
            events=lambda: (),
            status=lambda: self.status,
        )
        self.status: BgpStatus | None = None
        self.acted: tuple[Done, ...] = ()

    def _external(self, _now: float) -> tuple[Event, ...]:
        self.order.append("external changes")
        return (Event(event="put_back", because="one route"),)

    def act(self, plan: dict[str, str], *, off: bool, moved: bool) -> Acted:
        self.order.append("act")
        self.plans.append(dict(plan))
        assert not off
        assert not moved
        return Acted(by_kernel=self.acted, by_bgp=())

    def close(self) -> None: ...

    def former_steers(self) -> dict[str, str]:
        return {}

    def lost_lease(self) -> str | None:
        lost, self.lost = self.lost, None
        return lost


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Event]) -> Iterator[Agent]:
    """An agent that only watches, and asks nobody."""

    async def idle(_prober: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("steering.observe.probe.prober.Prober.run", idle)
    monkeypatch.setattr("steering.observe.dnssec.keys.key_store.KeyStore.run", idle)
    monkeypatch.setattr(loop, "Service", FakeService)
    text = f"{CONFIG}mode: observe\nruntime: {tmp_path}\nstate: {tmp_path}\njournal: off\n"
    config = place(tmp_path, text, gtld=policy(letters=1))
    log = Log(Output(-1), readable=False)
    monkeypatch.setattr(Log, "write", lambda _log, event, *_: told.append(event))
    made = Agent(load(config), log, config, fingerprint(config))
    yield made
    made.state_off.close()
    made.restart_state.flush(1.0)
    made.runtime.components.actuators = None  # which a test may have put there
    made.runtime.components.close()
    if cast("FakeService", made.service).descriptor >= 0:
        made.service.close()


@pytest.fixture
def begun(agent: Agent) -> Agent:
    """One that reads from its components."""
    agent.inputs.use(agent.runtime.components, cast("Any", SimpleNamespace(on_readable=None)))
    return agent


def acting(agent: Agent, order: list[str]) -> FakeActuators:
    """Gives the agent something to act with, from now on."""
    actuators = FakeActuators(order)
    agent.runtime.components.actuators = cast("Actuators", actuators)
    return actuators


def answered(address: str, **more: Any) -> Round:  # noqa: ANN401
    seen = Observation(address=address, path="local", outcome=Outcome.SECURE, rtt=0.02)
    question = Question(kind=Kind.SOA, zone="gtld.", name="gtld.", rdtype="SOA")
    return Round(
        address=address,
        question=question,
        at=time.monotonic(),
        observations=(replace(seen, **more),),
    )


def test_a_turn_is_saved_before_it_is_carried_out_and_carried_out_before_it_is_told(
    begun: Agent, monkeypatch: pytest.MonkeyPatch, told: list[Event]
) -> None:
    order: list[str] = []
    journalled: list[tuple[Event, ...]] = []
    actuators = acting(begun, order)

    class Journal:
        lost, trouble = 4, "the journal is full"

        def note(self, *_: object, events: tuple[Event, ...], **__: object) -> None:
            order.append("journal")
            journalled.append(events)

        def news(self) -> tuple[Event, ...]:
            return (Event(event="notice", because="a new file"),)

    monkeypatch.setattr(begun.restart_state, "save", lambda *_, **__: order.append("save"))
    begun.runtime.journal = cast("Any", Journal())
    begun.turn()
    assert order == ["save", "act", "journal", "external changes"]
    names = [event.event for event in told]
    assert names.index("notice") < names.index("put_back")
    assert {"notice", "put_back"}.isdisjoint(event.event for event in journalled[0])
    assert begun.snapshot is not None
    assert begun.snapshot.journal_lost == 4
    assert begun.snapshot.put_back == {"route": 3}
    assert begun.snapshot.alarms["journal"].because.startswith("the journal is full")
    assert actuators.plans == [{}]


def test_without_actuators_and_journal_a_turn_only_looks(begun: Agent, told: list[Event]) -> None:
    begun.turn()
    snapshot = begun.snapshot
    assert snapshot is not None
    assert (snapshot.put_back, snapshot.journal_lost, snapshot.bgp) == ({}, 0, None)
    assert snapshot.installed == {}
    assert snapshot.state is begun.runtime.state
    assert snapshot.mode == "observe"
    assert snapshot.turned_at <= begun.runtime.state.now + 1
    assert "put_back" not in {event.event for event in told}


def test_the_alarms_of_the_agent_and_those_of_the_engine_are_published_and_told_once(
    begun: Agent, monkeypatch: pytest.MonkeyPatch, told: list[Event]
) -> None:
    monkeypatch.setattr(type(begun.service), "trouble", "the port is taken")
    begun.turn()
    begun.turn()
    assert begun.snapshot is not None
    assert begun.snapshot.alarms["status"].because.startswith("the port is taken")
    assert begun.snapshot.alarms.keys() >= begun.runtime.state.alarms.keys()
    raised = [e.because for e in told if e.event == "alarm_raised"]
    assert sum(because.startswith("the port is taken") for because in raised) == 1


def test_each_problem_has_its_own_alarm(begun: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """One fault at a time: its text is under its name, and nothing else is there."""
    faults: list[tuple[str, object, str]] = [
        ("pins", begun.inputs.pin_check, "problem"),
        ("return", begun.strays, "trouble"),
        ("sources", begun.runtime.components.sources, "trouble"),
        ("state", begun.restart_state, "problem"),
        ("status", begun.service, "trouble"),
        ("bypassed", begun.runtime.components.kernel_paths, "bypassed"),
    ]
    usual = {name for name, text in begun._problems(time.monotonic()).items() if text}
    for name, part, attribute in faults:
        assert name not in usual
        with monkeypatch.context() as patch:
            patch.setattr(type(part), attribute, f"the {name} fault", raising=False)
            found = {key: text for key, text in begun._problems(time.monotonic()).items() if text}
        assert found.keys() - usual == {name}
        assert f"the {name} fault" in found[name]
    monkeypatch.setattr(begun.reload, "held", "the held fault")
    assert begun._problems(time.monotonic())["config_held"] == "the held fault"
    for name, part in (("config", begun.reload), ("log", begun.log), ("state", begun.state_off)):
        with monkeypatch.context() as patch:
            method = "trouble" if name == "log" else "problem"
            patch.setattr(type(part), method, lambda _self, _now: "at fault")
            assert begun._problems(time.monotonic())[name] == "at fault"


def test_who_switched_it_off_is_an_alarm_and_why_it_counts_as_off_comes_first(
    begun: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun.switch.engage(by="noc", reason="maintenance")
    begun.turn()
    assert begun.runtime.state.off
    assert "noc" in begun._problems(time.monotonic())["off"]
    monkeypatch.setattr(type(begun.state_off), "unknown", "not read yet")
    assert begun._problems(time.monotonic())["off"] == "not read yet"
    begun.switch.release()
    monkeypatch.undo()
    begun.turn()
    assert not begun._problems(time.monotonic())["off"]


def test_it_is_ready_when_every_local_path_was_measured_and_stays_so(begun: Agent) -> None:
    addresses = list(begun.runtime.components.index.settings)
    ready: list[bool] = []
    for address in addresses:
        begun.turn()
        assert begun.snapshot is not None
        ready.append(begun.snapshot.ready)
        begun.inputs.deliver(answered(address))
    begun.turn()
    assert begun.snapshot is not None
    assert ready == [False] * len(addresses)
    assert begun.snapshot.ready
    state = begun.runtime.state
    begun.runtime.state = replace(state, ledger=replace(state.ledger, paths={}))
    assert begun._ready(), "it was measured"
    begun.runtime.state = replace(begun.runtime.state, begun=state.begun + 1)
    assert not begun._ready(), "after a lost lease it begins anew"
    assert cast("FakeService", begun.service).turns == [*ready, True]


def test_the_time_of_an_answer_is_counted_if_it_took_the_path_that_it_was_meant_for(
    begun: Agent,
) -> None:
    address = next(iter(begun.runtime.components.index.settings))
    for item in (
        answered(address),
        answered(address, live=True),
        answered(address, rtt=None, outcome=Outcome.TIMEOUT),
        answered("192.0.2.99"),
    ):
        begun.inputs.deliver(item)
    received = begun.inputs.gather()
    assert [item.address for item in received.rounds] == [address] * 3 + ["192.0.2.99"]
    text = begun.meters.registry
    assert (
        text.get_sample_value(
            "steering_probe_rtt_seconds_count", {"upstream": "gtld", "path": "local"}
        )
        == 1
    )
    assert begun.inputs.gather().rounds == ()


def test_the_delays_of_a_speaker_are_counted_once_each(begun: Agent) -> None:
    actuators = acting(begun, [])
    actuators.status = BgpStatus(
        sessions={},
        wanted=0,
        announced={},
        updates=0,
        starts=1,
        acknowledged=(0.5, 1.5),
        version="4.2",
        linked=True,
        read=0,
    )
    begun.turn()
    assert begun.snapshot is not None
    assert begun.snapshot.bgp == actuators.status
    sample = begun.meters.registry.get_sample_value
    assert sample("steering_bgp_acknowledge_seconds_count") == 2


def test_what_could_not_be_read_is_an_event_with_its_size(begun: Agent, told: list[Event]) -> None:
    with HERE.reading(Where.HTTP, b"abc"):
        raise ValueError("odd")
    begun.turn()
    (event,) = (one for one in told if one.event == "unreadable")
    assert event.more == {"where": Where.HTTP, "size": 3, "octets": b"abc".hex()}
    assert "ValueError" in event.because


def test_a_change_in_the_kernel_wakes_the_next_turn(
    begun: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    actuators = acting(begun, [])
    begun.turn()
    begun.inputs.wakeup.clear()
    begun.turn()
    assert not begun.inputs.wakeup._rung
    assert not actuators.changed
    monkeypatch.setattr(begun.runtime.components.kernel_paths, "changed", lambda: True)
    begun.turn()
    assert begun.inputs.wakeup._rung
    assert actuators.changed


def test_the_prober_is_told_what_needs_attention_after_each_turn(
    begun: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    attended: list[object] = []
    monkeypatch.setattr(begun.runtime.components.prober, "attend", attended.append)
    begun.turn()
    assert attended == [attention(begun.runtime.state)]


def test_a_lost_lease_is_handled_before_the_facts_are_collected(
    begun: Agent, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    actuators = acting(begun, [])
    actuators.lost = "no turn for longer than the lease"
    begun.inputs.deliver(answered(next(iter(begun.runtime.components.index.settings))))
    seen: list[Facts] = []
    real = engine.turn

    def turn(state: State, facts: Facts, now: float) -> Turned:
        seen.append(facts)
        return real(state, facts, now)

    monkeypatch.setattr(engine, "turn", turn)
    begun.turn()
    assert [event.event for event in told].count("lease_lost") == 1
    assert seen[0].rounds == (), "an answer of before says nothing about now"


def test_a_turn_comes_once_a_second_and_shortly_after_news(
    begun: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    slept: list[float] = []
    news = iter([False, True])

    async def wait(longest: float) -> bool:
        waits.append(longest)
        return next(news)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        begun.inputs.wakeup.ring()

    turns: list[bool] = []

    def turn() -> None:
        turns.append(begun.inputs.wakeup._rung)
        if len(turns) == 2:
            raise InterruptedError

    monkeypatch.setattr(begun.inputs.wakeup, "wait", wait)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(begun, "turn", turn)
    with pytest.raises(InterruptedError):
        asyncio.run(begun._turns())
    assert waits == [1.0, 1.0]
    assert slept == [0.025], "a quarter of the fast interval, 100 ms"
    assert turns == [False, False], "news of meanwhile is of this turn"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_a_signal_and_closes_what_it_opened(
    agent: Agent,
    told: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    notified: list[str] = []
    thresholds: list[tuple[int, ...]] = []
    monkeypatch.setattr(loop, "notify", notified.append)
    monkeypatch.setattr(gc, "set_threshold", lambda *numbers: thresholds.append(numbers))
    closed: list[str] = []
    for name, part in (("components", agent.runtime.components), ("switch", agent.state_off)):

        def close(name: str = name, close: Callable[[], None] = part.close) -> None:
            closed.append(name)
            close()

        monkeypatch.setattr(part, "close", close)
    monkeypatch.setattr(agent.restart_state, "flush", lambda _: closed.append("memory"))

    async def run() -> None:
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
        await asyncio.wait_for(agent.run(), 20.0)

    asyncio.run(run())
    assert thresholds == [loop.COLLECTIONS]
    assert notified[:1] == ["WATCHDOG=1"], "the first turn is over before it says that it is ready"
    assert notified[1] == "READY=1"
    assert notified[-1] == "STOPPING=1"
    assert cast("FakeService", agent.service).descriptor == -1
    assert sorted(closed) == ["components", "memory", "switch"]
    names = [event.event for event in told]
    assert names.count("config_loaded") == names.count("stopped") == 1
    assert names[-1] == "stopped"
    assert told[-1].because == "nothing is steered"


def test_a_bug_in_a_task_ends_the_agent_and_is_not_hidden(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, told: list[Event]
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(agent, "_turns", broken)
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(agent.run())
    assert cast("FakeService", agent.service).descriptor == -1
    assert "stopped" not in {event.event for event in told}, "it did not stop: it failed"


class FakeDnstap:
    """Traffic that the test makes up."""

    has_news = False

    def __init__(self) -> None:
        self.reader = SimpleNamespace(fileno=lambda: 41)
        self.verifier = SimpleNamespace()
        self.told: list[Event] = []
        self.asked: list[dict[str, str]] = []

    def read(self, _now: float) -> tuple[Event, ...]:
        told, self.told = tuple(self.told), []
        return told

    def evidence(self, installed: dict[str, str], _now: float) -> tuple[str, ...]:
        self.asked.append(dict(installed))
        return ("heard",)

    def status(self) -> str:
        return "status"

    def problem(self, _now: float) -> str:
        return "no socket was read"

    def close(self) -> None: ...


def test_traffic_is_read_before_it_is_collected_and_wakes_the_loop(
    agent: Agent, told: list[Event]
) -> None:
    dnstap, calls = FakeDnstap(), dict[int, Callable[[], None]]()
    agent.runtime.components.dnstap = cast("Any", dnstap)
    tasks = SimpleNamespace(on_readable=lambda number, call: calls.update({number: call}))
    agent.inputs.use(agent.runtime.components, cast("Any", tasks))
    dnstap.told = [Event(event="dnstap", because="a writer left")]
    agent.inputs.wakeup.clear()
    calls[41]()
    assert [event.because for event in told] == ["a writer left"]
    assert not agent.inputs.wakeup._rung
    dnstap.has_news = True
    calls[41]()
    assert agent.inputs.wakeup._rung
    dnstap.told = [Event(event="dnstap", because="another")]
    received = agent.inputs.gather()
    assert received.heard == ("heard",)
    assert dnstap.asked == [received.installed]
    assert told[-1].because == "another"
    assert agent._problems(time.monotonic())["dnstap"] == "no socket was read"


def test_news_of_the_kernel_and_of_the_speaker_are_read_when_they_come(agent: Agent) -> None:
    actuators, calls = acting(agent, []), dict[int, Callable[[], None]]()
    pumped: list[bool] = []
    actuators.kernel.fileno = lambda: 42
    actuators.bgp.speaker = SimpleNamespace(fileno=lambda: 43, pump=lambda: pumped.append(True))
    tasks = SimpleNamespace(on_readable=lambda number, call: calls.update({number: call}))
    agent.inputs.use(agent.runtime.components, cast("Any", tasks))
    assert calls.keys() == {42, 43}
    calls[43]()
    assert pumped == [True]
    paths = cast("Any", agent.runtime.components.kernel_paths)
    for changed in (False, True):
        agent.inputs.wakeup.clear()
        paths.changed = lambda changed=changed: changed
        calls[42]()
        assert agent.inputs.wakeup._rung == actuators.changed == changed


def test_what_this_host_forwarded_is_collected_with_the_routes_of_then(agent: Agent) -> None:
    noted: list[dict[str, str]] = []
    forwarding = SimpleNamespace(
        note_installed=lambda installed, _now: noted.append(dict(installed)),
        take=lambda: ("passed",),
        reroute=lambda paths, _now: noted.append(dict.fromkeys(paths, "gone")),
        trouble="",
        in_use={},
    )
    agent.runtime.components.forwarding = cast("Any", forwarding)
    agent.inputs.use(agent.runtime.components, cast("Any", SimpleNamespace()))
    assert cast("Any", agent.inputs.gather().passed) == ("passed",)
    assert noted == [{}]
    agent.inputs.deliver(answered("192.0.2.1"))
    agent.inputs.drop(["pao"])
    assert noted == [{}, {"pao": "gone"}]
    assert agent.inputs.gather().rounds == ()
    agent.runtime.components.forwarding = None
    assert agent.inputs.gather().passed == ()
    agent.inputs.drop()


def test_an_agent_by_bgp_alone_has_installed_what_the_routers_were_sent(agent: Agent) -> None:
    actuators = acting(agent, [])
    actuators.bgp.installed = lambda: {"192.0.2.1": "pao"}
    agent.inputs.use(agent.runtime.components, cast("Any", SimpleNamespace(on_readable=print)))
    assert agent.inputs.installed() == {}, "the kernel's table decides"
    agent.runtime.components.claim = None
    assert agent.inputs.installed() == {"192.0.2.1": "pao"}
