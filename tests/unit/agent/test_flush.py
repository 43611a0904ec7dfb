"""Resolvers that fail, hang or are busy: what is due is done in the end, and nothing waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from steering.act.resolvers.driver import Fault, Kind, Moved, Result
from steering.agent import flush
from steering.agent.flush import Flushing
from steering.agent.flush_due import Due
from steering.config import Flush
from steering.config.resolvers import UnboundControl
from steering.lab.waiting import async_until
from steering.model import Event
from steering.report.metrics import Meters

Flushes = Callable[[Moved], Result]
OK = Result(done=True, said="ok", seconds=0.01)
BAD = Result(done=False, said="error: refused", seconds=0.01)


class Resolver:
    """A driver that answers as it is told, and remembers what it was asked."""

    kind = Kind.UNBOUND

    def __init__(self) -> None:
        self.asked: list[Moved] = []
        self.at: list[float] = []
        self.answer = self.status = OK
        self.hangs = False
        self.helps = True
        self.reached = 0

    async def take_out(self, zone: str) -> Result:
        raise NotImplementedError(zone)

    async def put_back(self, zone: str) -> Result:
        raise NotImplementedError(zone)

    async def is_out(self, zone: str) -> bool | None:
        raise NotImplementedError(zone)

    async def reach(self) -> Result:
        self.reached += 1
        return self.status

    def remembers(self, moved: Moved) -> bool:
        return self.helps and bool(moved.faults)

    async def flush(self, moved: Moved) -> Result:
        self.asked.append(moved)
        self.at.append(time.monotonic())
        await async_until(lambda: not self.hangs)
        return self.answer


class Agent:
    """What Flushing needs of an agent, at a hundred times the pace."""

    def __init__(self, patched: pytest.MonkeyPatch, *resolvers: Resolver) -> None:
        patched.setattr(flush, "AGAIN", (0.05, 0.6))
        patched.setattr(flush, "EVERY", 0.1)
        patched.setattr(flush, "flushing", lambda settings: resolvers if settings else ())
        self.events: list[Event] = []
        self.meters = Meters()
        self.flushing = Flushing(self.meters, self.events.append)
        self.settings: Flush | None = Flush(unbound=UnboundControl())
        self.acts = True
        self.off = False

    def turn(self, *dues: Due) -> None:
        see = SimpleNamespace(see=lambda *_: dues)
        self.flushing._due = see  # type: ignore[assignment]
        state: Any = SimpleNamespace(index=SimpleNamespace(acts=self.acts), off=self.off)
        self.flushing.turn(self.settings, state, (), {})

    async def during(self, story: Callable[[], Any]) -> None:
        """The story, beside the task."""
        task = asyncio.create_task(self.flushing.run())
        try:
            await story()
        finally:
            task.cancel()
            ended = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError)

    def count(self, result: str, kind: str = "unbound") -> float:
        labels = {"resolver": kind, "result": result}
        return self.meters.registry.get_sample_value("steering_flushes_total", labels) or 0.0


def due(upstream: str = "gtld", *zones: str, faults: frozenset[Fault] | None = None) -> Due:
    moved = Moved(
        zones=zones or (f"{upstream}.",),
        faults=frozenset({Fault.BOGUS}) if faults is None else faults,
    )
    return Due(upstream=upstream, moved=moved, after="2 addresses went over pao")


def test_what_is_due_is_done_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver()
    agent = Agent(monkeypatch, resolver)

    async def story() -> None:
        agent.turn(due())
        await async_until(lambda: agent.events)

    asyncio.run(agent.during(story))
    (event,) = agent.events
    assert (event.event, event.upstream) == ("flushed", "gtld")
    assert event.because == "unbound in 10 ms: ok; gtld: 2 addresses went over pao"
    assert agent.count("done") == 1
    assert not agent.flushing.problem


def test_a_turn_waits_for_nothing_and_what_comes_meanwhile_is_done_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hanging, other = Resolver(), Resolver()
    hanging.hangs = True
    agent = Agent(monkeypatch, hanging, other)

    async def story() -> None:
        agent.turn(due("a"))
        await async_until(lambda: hanging.asked and other.asked)
        began = time.monotonic()
        for name in "bcdef":
            agent.turn(due(name))
        assert time.monotonic() - began < 0.5
        await async_until(lambda: {z for m in other.asked for z in m.zones} >= {"b.", "f."})
        assert len(hanging.asked) == 1
        hanging.hangs = False
        await async_until(lambda: len(hanging.asked) == 2)

    asyncio.run(agent.during(story))
    assert hanging.asked[1].zones == ("b.", "c.", "d.", "e.", "f.")


def test_how_often_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver()
    agent = Agent(monkeypatch, resolver)

    async def story() -> None:
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            agent.turn(due())
            await asyncio.sleep(0.005)

    asyncio.run(agent.during(story))
    span = resolver.at[-1] - resolver.at[0]
    assert 5 <= len(resolver.asked) <= flush.AT_ONCE + span / flush.EVERY + 1


def test_one_that_fails_is_an_alarm_until_it_is_done_after_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver()
    resolver.answer = BAD
    agent = Agent(monkeypatch, resolver)

    async def story() -> None:
        agent.turn(due("gtld", "com.", "net."))
        await async_until(lambda: agent.flushing.problem)
        assert agent.flushing.problem == (
            "unbound: error: refused (gtld: 2 addresses went over pao)"
        )
        await async_until(lambda: len(resolver.asked) >= 3)
        assert not agent.events
        resolver.answer = OK
        await async_until(lambda: agent.events)

    asyncio.run(agent.during(story))
    assert not agent.flushing.problem
    assert resolver.asked[-1].zones == ("com.", "net."), "nothing was lost"
    gaps = [after - before for before, after in zip(resolver.at, resolver.at[1:], strict=False)]
    assert gaps[1] > 1.5 * gaps[0], "more and more seldom"
    assert agent.count("failed") >= 3


def test_something_new_does_not_wait_for_the_pause_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver()
    resolver.answer = BAD
    agent = Agent(monkeypatch, resolver)
    monkeypatch.setattr(flush, "AGAIN", (60.0, 60.0))

    async def story() -> None:
        agent.turn(due("a"))
        await async_until(lambda: agent.flushing.problem)
        resolver.answer = OK
        agent.turn(due("b"))
        await async_until(lambda: len(agent.events) == 2)

    asyncio.run(agent.during(story))
    assert resolver.asked[-1].zones == ("a.", "b.")


def test_what_every_resolver_has_forgotten_by_now_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver()
    resolver.answer = BAD
    agent = Agent(monkeypatch, resolver)
    monkeypatch.setattr(flush, "REMEMBERED", 0.3)

    async def story() -> None:
        agent.turn(due())
        await async_until(lambda: agent.flushing.problem)
        await async_until(lambda: not agent.flushing.problem)
        number = len(resolver.asked)
        await asyncio.sleep(0.8)
        assert len(resolver.asked) == number

    asyncio.run(agent.during(story))


@pytest.mark.parametrize("why", ["observe", "off"])
def test_an_agent_that_does_not_act_flushes_nothing(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver()
    agent = Agent(monkeypatch, resolver)
    agent.acts, agent.off = why != "observe", why == "off"

    async def story() -> None:
        agent.turn(due())
        await asyncio.sleep(0.1)

    asyncio.run(agent.during(story))
    assert not resolver.asked
    (event,) = agent.events
    assert event.event == "would_flush"
    assert "unbound would forget" in event.because


@pytest.mark.parametrize("why", ["observe", "off"])
def test_what_waits_to_be_tried_again_is_dropped_once_the_agent_may_not_act(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver()
    resolver.answer = BAD
    agent = Agent(monkeypatch, resolver)

    async def story() -> None:
        agent.turn(due("a"), due("b"))
        await async_until(lambda: agent.flushing.problem)
        agent.acts, agent.off = why != "observe", why == "off"
        agent.turn()
        tried = len(resolver.asked)
        await async_until(lambda: agent.events)
        assert len(resolver.asked) == tried
        assert not agent.flushing.problem, "what is not to be done can't fail"
        agent.acts, agent.off, resolver.answer = True, False, OK
        agent.turn(due("c"))
        await async_until(lambda: len(agent.events) == 3)

    asyncio.run(agent.during(story))
    told = [(event.event, event.upstream) for event in agent.events]
    assert told == [("would_flush", "a"), ("would_flush", "b"), ("flushed", "c")]
    assert resolver.asked[-1].zones == ("c.",)


def test_a_resolver_that_remembers_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver()
    resolver.helps = False
    agent = Agent(monkeypatch, resolver)

    async def story() -> None:
        agent.turn(due())
        await asyncio.sleep(0.1)

    asyncio.run(agent.during(story))
    assert not resolver.asked
    assert not agent.events


def test_a_resolver_that_can_not_be_reached_is_an_alarm_in_calm_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver()
    resolver.status = BAD
    agent = Agent(monkeypatch, resolver)
    monkeypatch.setattr(flush, "TRIED_EVERY", 0.05)

    async def story() -> None:
        agent.turn()
        await async_until(lambda: agent.flushing.problem)
        assert agent.flushing.problem == "unbound: error: refused (tried in calm times)"
        number = resolver.reached
        await async_until(lambda: resolver.reached > number)
        resolver.status = OK
        await async_until(lambda: not agent.flushing.problem)
        resolver.status = resolver.answer = BAD
        await async_until(lambda: agent.flushing.problem)
        agent.turn(due())
        await async_until(lambda: "gtld" in agent.flushing.problem, tell=agent.flushing)
        await async_until(lambda: len(resolver.asked) > 2, tell="it is not given up at once")

    asyncio.run(agent.during(story))
    assert not agent.events


def test_settings_may_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver()
    agent = Agent(monkeypatch, resolver)
    configured, agent.settings = agent.settings, None

    async def story() -> None:
        agent.turn(due())
        await asyncio.sleep(0.05)
        assert not resolver.asked
        agent.settings = configured
        agent.turn(due())
        await async_until(lambda: len(resolver.asked) == 1)
        resolver.answer = BAD
        agent.turn(due())
        await async_until(lambda: agent.flushing.problem)
        agent.settings = None
        agent.turn(due())
        assert not agent.flushing.problem, "what is not configured can't fail"

    asyncio.run(agent.during(story))


def test_a_bug_in_it_ends_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Resolver):
        async def flush(self, moved: Moved) -> Result:
            raise ZeroDivisionError(moved)

    agent = Agent(monkeypatch, Broken())

    async def story() -> None:
        task = asyncio.create_task(agent.flushing.run())
        await asyncio.sleep(0)
        agent.turn(due())
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(task, 5)

    asyncio.run(story())
