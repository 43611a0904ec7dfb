"""Kills at the worst moments: what stays, what goes, and what a successor makes of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from stage import (
    EXPIRED,
    QUICK,
    Kernel,
    Stage,
    add_foreign,
    dump,
    everything,
    foreign,
    on_stage,
    ours,
    slack,
)

from steering.act.lease import Lease, LeaseState
from steering.model import LOCAL

pytestmark = pytest.mark.lab

SHORT = replace(QUICK, lease="2s")


def test_an_agent_killed_fifty_times_at_random_moments_leaves_the_right_steers() -> None:
    rng = random.Random(20230708)
    with on_stage() as stage:
        add_foreign(stage)
        others = foreign(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        # The first lives are long enough to get somewhere, and to be cut off anywhere.
        lives = [rng.uniform(0, 4) for _ in range(5)] + [rng.uniform(0, 0.9) for _ in range(45)]
        deleted: list[str] = []
        kernel: Kernel | None = None
        for life in lives:
            time.sleep(life)  # the random moment itself
            stage.kill_agent()
            if kernel is None and stage.scene.routes() == stage.through("pao"):
                kernel = Kernel(stage)
            stage.scene.start_agent(ready=False)
        stage.scene.await_ready()
        stage.await_routes(stage.through("pao"))
        if kernel is not None:
            deleted = [line for line in kernel.steers() if "Deleted" in line]
        assert not deleted, "once there, no successor took a route out"
        stage.await_health("healthy", path="pao")
        stage.steady(stage.through("pao"))
        assert foreign(stage) == others
        for lines in everything(stage).values():
            assert len(lines) == len(set(lines)), "nothing twice"
        steers = [line for line in ours(stage) if "table 5353 " in line and "via" in line]
        assert len(steers) == len(stage.addresses)
        stage.clients_fine()
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})
        assert foreign(stage) == others


def test_a_restart_within_the_lease_touches_nothing() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        before = dump(stage)
        kernel = Kernel(stage)
        for end in (stage.kill_agent, stage.scene.stop_agent):
            end()
            stage.scene.start_agent()
            stage.await_about("adopted")
            stage.steady(stage.through("pao"))
            explained = stage.scene.steering("explain", stage.addresses[0])
            assert "penalty 1.0 of recent moves" in explained, "by an agent that is dead"
            stage.heard.clear()
        assert dump(stage) == before
        assert kernel.lines() == []


Kill = Callable[[Stage], None]


def _agent_first(stage: Stage) -> None:
    stage.kill_agent()
    stage.kill_guard()


def _guard_first(stage: Stage) -> None:
    stage.kill_guard()
    stage.kill_agent()


def test_a_killed_agent_s_guard_takes_everything_back_when_the_lease_is_over() -> None:
    with on_stage(SHORT, agent=False) as stage:
        add_foreign(stage)
        before = everything(stage)
        stage.scene.start_agent()
        stage.await_health("healthy", path="pao")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.kill_agent()
        killed = time.monotonic()
        stage.until(lambda: ours(stage), 3.0 + slack(), wanted=[])
        assert time.monotonic() - killed > 0.9, "not before: a successor may come"
        assert everything(stage) == before


def test_agents_that_die_young_one_after_the_other_keep_nothing_beyond_the_lease() -> None:
    with on_stage(replace(QUICK, lease="8s"), agent=False) as stage:
        stage.scene.start_agent()
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        lease = Lease(stage.scene.world.work / "run")

        def differs(was: LeaseState | None) -> bool:
            return lease.read() != was

        stage.kill_agent()
        killed = time.monotonic()
        lives = 0
        while stage.scene.routes():
            assert time.monotonic() - killed < 8.5 + slack(), "nobody measures, and it is kept"
            adopted = partial(differs, lease.read())
            stage.scene.start_agent(ready=False)
            stage.until(adopted, every=0.01)
            stage.kill_agent()
            lives += 1
        assert lives > 1
        assert time.monotonic() - killed > 5.0, "not before: one of them might have lived"
        stage.scene.start_agent()
        stage.await_routes(stage.through("pao"))


@pytest.mark.parametrize("kill", [_agent_first, _guard_first], ids=["agent-first", "guard-first"])
def test_with_agent_and_guard_dead_the_next_agent_takes_everything_back(kill: Kill) -> None:
    with on_stage(SHORT, agent=False) as stage:
        add_foreign(stage)
        others = foreign(stage)
        stage.scene.start_agent()
        stage.await_health("healthy", path="pao")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        kill(stage)
        lease = time.monotonic() + 2.5
        stage.scene.serve(paths=[LOCAL])  # nobody saw that the fault ended
        stage.until(lambda: time.monotonic() > lease or not stage.scene.routes())
        stage.scene.start_agent(ready=False)
        # At once, and not after a recovery that nobody has begun to measure.
        stage.await_routes({}, within=4.0 + slack())
        assert not stage.about("adopted")
        stage.scene.await_ready()
        stage.await_health("healthy")
        stage.steady({})
        assert foreign(stage) == others


def test_a_killed_guard_is_replaced_and_the_steers_stay() -> None:
    with on_stage(SHORT) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        kernel = Kernel(stage)
        lock = stage.scene.world.work / "run" / "guard.lock"
        first = lock.read_text()
        stage.kill_guard()
        stage.until(lambda: lock.read_text() not in ("", first), 5.0 + slack())
        stage.steady(stage.through("pao"))
        assert kernel.lines() == []
        stage.kill_agent()
        stage.until(lambda: not ours(stage), 4.0 + slack(), tell="the second one guards as well")


def test_a_stopped_agent_leaves_the_host_as_it_was_before() -> None:
    """A whole life: start, incident, way back, stop. Bit for bit the same table of routes."""
    with on_stage(SHORT, agent=False) as stage:
        add_foreign(stage)
        before = everything(stage)
        stage.scene.start_agent()
        stage.await_health("healthy", path="pao")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})
        assert stage.scene.stop_agent() == 0
        stage.until(
            lambda: everything(stage), 4.0 + slack(), wanted=before, tell=lambda: ours(stage)
        )
