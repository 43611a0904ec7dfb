"""The journal of a real agent: run again it gives what happened, and its faults cost nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from routed import await_told, behind_a_router, through
from stage import EXPIRED, QUICK, Stage, on_stage

from steering.act.bgp import process
from steering.format import timestamp
from steering.model import LOCAL

pytestmark = pytest.mark.lab


def journal(stage: Stage) -> Path:
    return stage.scene.world.work / "state" / "journal.sqlite"


def steering(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steering", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_an_incident_with_a_killed_agent_a_reload_and_a_switch_is_replayed_bit_for_bit() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        stage.kill_agent()
        stage.scene.start_agent()
        stage.await_event("adopted")
        policy = stage.scene.config.parent / "policies" / "gtld-servers.yaml"
        policy.write_text(policy.read_text().replace("clean: 20", "clean: 30"))
        stage.until(lambda: len(stage.times("config_loaded")) > 2, 30)
        running = steering("replay", journal(stage))
        assert running.returncode == 0, running.stdout[-2000:] + running.stderr
        stage.scene.serve()
        stage.await_routes({})
        stage.scene.steering("off", check=True)
        stage.await_event("switched_off")
        stage.scene.stop_agent()
        told = steering("replay", journal(stage), "--json")
        assert told.returncode == 0, told.stdout[-2000:] + told.stderr
        found = json.loads(told.stdout)
        assert found["difference"] is None
        assert [i["moves"] for i in found["incidents"] if i["moves"]] == [4]
        names = [event["event"] for event in found["events"]]
        assert {"steered", "proved", "adopted", "released", "switched_off"} <= set(names)
        steered = stage.times("steered")[0]
        words = ["explain", stage.addresses[0], "--at", timestamp(steered + 1)]
        explained = steering(*words, "--journal", journal(stage))
        assert explained.returncode == 0, explained.stderr
        assert "path pao;" in explained.stdout


def test_with_bgp_on_it_holds_what_the_engine_told_and_is_replayed_bit_for_bit() -> None:
    with behind_a_router() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        stage.await_proof()
        speaker = (stage.scene.world.work / "run" / process.LOCK).read_text().split()[0]
        stage.sh(f"kill -9 {int(speaker)}")  # the sessions go down and come up again
        stage.until(lambda: {"started", "ended"} <= speakers(stage))
        await_told(stage, through(stage, "pao"))
        stage.kill_agent()
        stage.scene.start_agent()
        stage.await_about("adopted")
        stage.scene.serve(paths=[LOCAL])
        await_told(stage, {})
        stage.await_about("released")
        stage.scene.stop_agent()
        told = steering("replay", journal(stage), "--json")
        assert told.returncode == 0, told.stdout[-2000:] + told.stderr
        found = json.loads(told.stdout)
        assert found["difference"] is None
        assert found["turns"] > 20
        names = {event["event"] for event in found["events"]}
        assert {"confirmed", "steered", "proved", "adopted", "recovered", "released"} <= names
        assert {"bgp_session", "bgp_speaker"} <= {event["event"] for event in stage.listen()}
        assert not {name for name in names if name.startswith("bgp")}, "no replay comes to these"


def speakers(stage: Stage) -> set[str]:
    """What became of speakers so far."""
    return {event["now"] for event in stage.listen() if event["event"] == "bgp_speaker"}


def test_a_full_disk_costs_the_journal_and_not_the_agent() -> None:
    with on_stage(QUICK, agent=False) as stage:
        state = journal(stage).parent
        state.mkdir()
        mount = f'mount -t tmpfs -o size=96k tmpfs {state} && exec "$@"'
        stage.scene.start_agent(prefix=["unshare", "-m", "sh", "-ec", mount, "sh"])
        stage.await_event("journal")
        stage.await_alarm("journal")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        metrics = stage.scene.get("/metrics")[1]
        (lost,) = re.findall(r"(?m)^steering_journal_lost_total (\S+)$", metrics)
        assert float(lost) > 0
        stage.scene.steering("off", check=True)
        stage.await_routes({})
        assert stage.scene.stop_agent() == 0


def test_a_full_disk_costs_what_is_remembered_and_says_so_until_there_is_room() -> None:
    with on_stage(replace(QUICK, more="journal: off"), agent=False) as stage:
        state = journal(stage).parent
        state.mkdir()
        mount = f'mount -t tmpfs -o nr_inodes=16 tmpfs {state} && exec "$@"'
        agent = stage.scene.start_agent(prefix=["unshare", "-m", "sh", "-ec", mount, "sh"])

        def inside(line: str) -> str:
            words = ["nsenter", "-m", "-t", str(agent.pid), "sh", "-c", line]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout

        inside(f"i=0; while ( : > {state}/fill$i ); do i=$((i+1)); done 2>/dev/null")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_alarm("state")
        stage.await_proof()
        inside(f"rm {state}/fill*")
        stage.await_alarm("state", there=False)
        assert '"worn"' in inside(f"cat {state}/memory.json")
