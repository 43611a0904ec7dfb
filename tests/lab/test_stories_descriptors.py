"""An agent that may have few descriptors, or has none left, lives on."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from stage import EXPIRED, on_stage

from steering.model import LOCAL
from steering.system.descriptors import LEAST

pytestmark = pytest.mark.lab


def test_with_the_least_of_descriptors_it_measures_and_moves() -> None:
    with on_stage(prefix=("prlimit", f"--nofile={LEAST}:{LEAST}")) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_event("proved")
        # Nobody answers: each question holds its socket for the whole timeout.
        for authority in stage.scene.authorities.values():
            authority.stop()
        agent = stage.scene.agent
        assert agent is not None
        stage.asked_more(9, meanwhile=lambda: agent.running)
        assert len(list(Path(f"/proc/{agent.pid}/fd").iterdir())) <= LEAST
        assert "kernel" not in stage.alarms()


def test_without_a_descriptor_left_it_waits_for_one_and_goes_on() -> None:
    with on_stage() as stage:
        agent = stage.scene.agent
        assert agent is not None
        was = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (3, was[1]))
        try:
            # Nothing can be opened: no question is asked, no answer is rendered.
            stage.until(lambda: stage.scene.get("/api/v1/status")[0], 20, wanted=503)
            stage.scene.config.touch()
            for _ in range(5):
                assert stage.scene.get("/healthz") == (200, "ok\n")
                assert stage.scene.get("/metrics")[0] == 503
        finally:
            resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, was)
        assert agent.running
        stage.asked_more(9)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))


def test_with_fewer_it_says_so_and_does_not_start() -> None:
    with on_stage(agent=False) as stage:
        few = LEAST - 1
        agent = stage.scene.start_agent(prefix=("prlimit", f"--nofile={few}:{few}"), ready=False)
        assert agent.wait(30.0) == 1
        assert f"nofile: {few} descriptors are allowed, wanted at least {LEAST}" in agent.tail()
