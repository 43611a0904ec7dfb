"""A `state` that hangs, is full or is gone: lease, guard and moves go by `runtime` alone."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from frozen import Folder, state_that_freezes
from kernelhost import guards
from stage import EXPIRED, QUICK, Stage, on_stage, ours, slack

from steering.act.lease import Lease, boot_time
from steering.lab.network.topology import EDGE
from steering.model import LOCAL, Seconds

pytestmark = pytest.mark.lab

SHORT = replace(QUICK, lease="3s")
LATEST: Seconds = 1.0
"""From the end of the lease to nothing of ours left."""
TOLD: Seconds = 4.0
"""In which an agent that is told to end does so."""

Harm = Callable[[Stage, Folder], None]


def _hang(_stage: Stage, folder: Folder) -> None:
    folder.freeze()


def _fill(stage: Stage, folder: Folder) -> None:
    stage.scene.world.run(EDGE, ["mount", "-t", "tmpfs", "-o", "size=8k", "lab", str(folder.path)])
    stage.sh(f"cat /dev/zero > {folder.path}/fill || true")


def _remove(_stage: Stage, folder: Folder) -> None:
    shutil.rmtree(folder.behind)


@contextmanager
def steering(settings: object = SHORT) -> Iterator[tuple[Stage, Folder]]:
    """An agent that steers everything, with its `state` on a folder that can be frozen."""
    with on_stage(settings, agent=False) as stage, state_that_freezes(stage) as folder:  # type: ignore[arg-type]
        stage.scene.start_agent()
        stage.await_health("healthy", path="pao")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        yield stage, folder


def lease_of(stage: Stage) -> Lease:
    return Lease(stage.scene.world.work / "run")


@pytest.mark.parametrize("harm", [_hang, _fill, _remove], ids=["hung", "full", "gone"])
def test_routes_are_taken_back_when_the_lease_is_over_whatever_state_does(harm: Harm) -> None:
    with steering() as (stage, folder):
        harm(stage, folder)
        stage.asked_more(6, meanwhile=lambda: stage.scene.routes() == stage.through("pao"))
        assert stage.scene.agent is not None
        stage.scene.agent.signal(signal.SIGKILL)
        lease = lease_of(stage).read()
        assert lease is not None
        stage.until(lambda: not ours(stage), every=0.01)
        late = boot_time() - lease.deadline
        print(f"taken back {late:.2f} s after the lease")
        assert 0 <= late <= LATEST + slack()


def test_an_agent_goes_on_with_a_state_that_hangs_and_says_so() -> None:
    with steering() as (stage, folder):
        folder.freeze()
        stage.await_alarm("state", "journal")
        stage.scene.serve(paths=[LOCAL])
        started = time.monotonic()
        stage.await_routes({})  # a way back is a move, and waits for the memory
        stage.await_health("healthy")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        print(f"there and back in {time.monotonic() - started:.1f} s")
        because = next(a["because"] for a in stage.status()["alarms"] if a["name"] == "state")
        assert "before it was written" in because
        assert not stage.times("lease_lost")
        folder.thaw()
        stage.await_alarm("state", there=False)
        memory = folder.behind / "memory.json"
        stage.until(lambda: '"moves"' in memory.read_text())


def test_an_agent_whose_state_hangs_ends_when_it_is_told_and_another_goes_on() -> None:
    """What is left of its process waits in the kernel for its files there, and holds nothing."""
    with steering(replace(QUICK, lease="30s")) as (stage, folder):
        folder.freeze()
        stage.asked_more(6)
        assert stage.scene.agent is not None
        started = time.monotonic()
        stage.scene.agent.signal(signal.SIGTERM)
        stage.await_event("stopped")
        took = time.monotonic() - started
        print(f"ended within {took:.2f} s")
        assert took <= TOLD + slack()
        stage.heard.clear()
        stage.scene.start_agent()
        stage.await_about("adopted")
        stage.await_alarm("state")
        stage.steady(stage.through("pao"))
        assert "off" not in stage.alarms(), "within a lease it is known that it is on"
        assert not stage.times("lease_lost")


def test_where_state_does_not_answer_nobody_knows_whether_it_is_off() -> None:
    with on_stage(QUICK, agent=False) as stage, state_that_freezes(stage) as folder:
        (folder.behind / "off").write_text('{"time": 1.7e9, "by": "noc", "reason": "ticket 4711"}')
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        folder.freeze()
        stage.scene.start_agent()
        stage.await_alarm("off")
        because = next(a["because"] for a in stage.status()["alarms"] if a["name"] == "off")
        assert "it is not known whether this host was switched off" in because
        stage.asked_more(30, meanwhile=lambda: not stage.scene.routes())
        folder.thaw()
        stage.until(lambda: "ticket 4711" in str(stage.status()["alarms"]))
        stage.asked_more(10, meanwhile=lambda: not stage.scene.routes())
        stage.scene.steering("on", check=True)
        stage.await_routes(stage.through("pao"))


def test_a_runtime_that_is_wiped_is_made_again_and_no_route_goes() -> None:
    with on_stage(SHORT) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        run = stage.scene.world.work / "run"
        guard = run / "guard.lock"
        first = guard.read_text()
        for whole in (False, True):
            for entry in [run] if whole else list(run.iterdir()):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            stage.until(lambda: not lease_of(stage).expired(), 3.0 + slack())
            stage.until(partial(_another, guard, first), 5.0 + slack())
            first = guard.read_text()
            stage.asked_more(20, meanwhile=lambda: stage.scene.routes() == stage.through("pao"))
            stage.until(
                lambda: len(guards(run)), 5.0 + slack(), wanted=1, tell="the old one leaves"
            )
        assert not stage.times("lease_lost")
        stage.kill_agent()
        stage.until(lambda: not ours(stage), 5.0 + slack())


def _another(lock: Path, than: str) -> bool:
    """Whether another process has written itself down as the guard."""
    return lock.exists() and lock.read_text() not in {"", than}
