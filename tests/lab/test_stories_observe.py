"""`mode: observe`: it measures and tells, and cannot write."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from stage import EXPIRED, QUICK, Kernel, everything, on_stage

from steering.agent.restart_state import NAME
from steering.model import LOCAL

pytestmark = pytest.mark.lab


def test_an_incident_in_observe_mode_changes_nothing_and_is_told() -> None:
    with on_stage(replace(QUICK, mode="observe"), agent=False) as stage:
        before = everything(stage)
        kernel = Kernel(stage)
        stage.scene.start_agent()
        stage.await_health("healthy")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_health("suspect")
        stage.until(lambda: stage.about("suspected"), 10, wanted=set(stage.addresses))
        stage.asked_more(15)

        status = stage.status()
        assert status["mode"] == "observe"
        for address in status["addresses"]:
            assert address["steered_to"] is None
            assert address["installed"] == {"kernel": None, "bgp": None}
            assert address["rule"] == "unproven"
            assert "signature expired" in address["because"]
        assert not stage.about("steered")
        assert kernel.lines() == [], "not a route, not a rule, not for a moment"
        assert everything(stage) == before
        run = stage.scene.world.work / "run"
        assert not (run / "lease").exists()
        assert not (run / "guard.lock").exists()
        assert "steering.act.guard" not in stage.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert stage.scene.stop_agent() == 0
        assert everything(stage) == before


def test_bad_here_and_nothing_to_compare_with_is_an_alarm() -> None:
    """Nobody can tell whose fault it is: least of all may that be passed over in silence."""
    with on_stage(replace(QUICK, mode="observe"), agent=False) as stage:
        stage.scene.start_agent()
        stage.await_health("healthy")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_alarm("uncompared")
        because = {a["name"]: a["because"] for a in stage.status()["alarms"]}["uncompared"]
        assert "`mode: observe` probes no site" in because
        said = " ".join(stage.scene.steering("status").split())
        assert "observe (compares nothing, moves nothing)" in said


def test_a_freeze_that_ended_while_an_agent_observed_is_forgotten() -> None:
    with on_stage(replace(QUICK, mode="observe"), agent=False) as stage:
        state = stage.scene.world.work / "state"
        state.mkdir(exist_ok=True)
        file, frozen = state / NAME, {"path": "pao", "by": "hands-off"}
        file.write_text(json.dumps({"at": time.time(), "frozen": {stage.addresses[0]: frozen}}))
        stage.scene.start_agent()
        assert "frozen" not in json.loads(file.read_bytes())
