"""Another `runtime` over a restart: one lease follows the other, and one guard."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import kernelhost
import pytest
from stage import EXPIRED, PATIENCE, QUICK, Kernel, Stage, on_stage, ours, slack

from steering.act.lease import Lease
from steering.model import LOCAL

pytestmark = pytest.mark.lab


def guards(work: Path) -> dict[str, int]:
    """Which directories have a guard, and its process as seen from here."""
    folders = (work / "run", work / "elsewhere")
    return {folder.name: pid for folder in folders for pid in kernelhost.guards(folder)}


def move(stage: Stage, to: str) -> None:
    """Another `runtime` in the configuration."""
    config, work = stage.scene.config, stage.scene.world.work
    text = config.read_text()
    (now,) = [line for line in text.splitlines() if line.startswith("runtime:")]
    config.write_text(text.replace(now, f"runtime: {work}/{to}"))


@pytest.mark.parametrize("length", ["30s", "4s"])
def test_a_restart_with_another_runtime_touches_no_route_and_leaves_one_guard(length: str) -> None:
    with on_stage(replace(QUICK, lease=length)) as stage:
        work = stage.scene.world.work
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        kernel = Kernel(stage)
        stage.kill_agent()
        move(stage, "elsewhere")
        stage.scene.start_agent(ready=length == "30s")
        if length == "30s":
            stage.await_about("adopted")
        stage.until(lambda: set(guards(work)), wanted={"elsewhere"})
        stage.scene.await_ready()  # 4 s: the old agent's routes may still be there before
        stage.await_routes(stage.through("pao"))
        since = len(kernel.lines())
        # The old guard took back what the new agent installed, twice a second.
        later = time.monotonic() + 6.0
        stage.asked_more(20, meanwhile=lambda: stage.scene.routes() == stage.through("pao"))
        while time.monotonic() < later:
            assert stage.scene.routes() == stage.through("pao")
            time.sleep(0.05)
        assert kernel.lines()[since:] == []
        if length == "30s":
            assert kernel.lines() == []
        assert not Lease(work / "elsewhere").expired()
        stage.kill_agent()
        stage.until(lambda: not ours(stage), float(length[:-1]) + 2.0 + slack())


def test_an_old_guard_that_is_stopped_is_ended_as_well() -> None:
    with on_stage(replace(QUICK, lease="30s")) as stage:
        work = stage.scene.world.work
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        os.kill(guards(work)["run"], signal.SIGSTOP)
        stage.kill_agent()
        move(stage, "elsewhere")
        stage.scene.start_agent()
        stage.until(lambda: set(guards(work)), wanted={"elsewhere"})
        stage.steady(stage.through("pao"))


def test_while_the_old_agent_lives_the_new_one_does_not_start_and_its_guard_stays() -> None:
    with on_stage(replace(QUICK, lease="30s")) as stage:
        work = stage.scene.world.work
        first = stage.scene.agent
        guard = guards(work)["run"]
        move(stage, "elsewhere")
        config = stage.scene.config
        config.write_text(config.read_text().replace("9353", "9354"))
        second = stage.scene.start_agent(ready=False)
        assert second.wait(PATIENCE) == 1
        assert "another agent runs on table 5353" in second.tail()
        assert guards(work) == {"run": guard}
        assert first is not None
        assert first.running
        stage.scene.agent = first
