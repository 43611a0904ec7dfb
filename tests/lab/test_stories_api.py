"""What outside programs are written against: the API, the metrics, the commands."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from stage import EXPIRED, QUICK, Stage, on_stage

from steering.lab.agent import STATUS_PORT
from steering.lab.network.sandbox import PYTHON
from steering.lab.network.topology import EDGE
from steering.model import LOCAL, Family, Health, Outcome

pytestmark = pytest.mark.lab

STATUS = {
    "site", "mode", "off", "clock", "version", "time", "addresses", "sites",
    "overrides", "alarms", "zones",
}  # fmt: skip
ADDRESS = {
    "upstream", "nameserver", "address", "family", "paths", "steered_to", "installed", "since",
    "rule", "because",
}  # fmt: skip
PATH = {
    "health", "failure_rate", "samples", "serial_lag_s", "signature_remaining_s", "rtt_ms",
    "nsid", "outcomes",
}  # fmt: skip
METRICS = {
    "steering_mode": {"mode"},
    "steering_observations": {"upstream", "address", "path", "source", "outcome"},
    "steering_failure_ratio": {"upstream", "address", "path"},
    "steering_health": {"upstream", "address", "path", "state"},
    "steering_serial_lag_seconds": {"upstream", "zone", "address", "path"},
    "steering_signature_remaining_seconds": {"upstream", "zone", "address", "path"},
    "steering_probe_rtt_seconds": {"upstream", "path"},
    "steering_desired": {"upstream", "address", "family", "site"},
    "steering_installed": {"actuator", "upstream", "address", "family", "site"},
    "steering_decisions": {"rule"},
    "steering_actions": {"actuator", "action", "result"},
    "steering_action_seconds": set(),
    "steering_detection_seconds": set(),
    "steering_config_last_reload_successful": set(),
    "steering_turn_seconds": set(),
    "steering_build_info": {"version"},
}
"""Those of the contract that this version's parts can have, with their labels."""


@pytest.fixture(scope="module")
def incident() -> Iterator[Stage]:
    """A stage in the middle of an incident."""
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_event("proved")
        stage.asked_more(9)
        yield stage


def _command(stage: Stage, *words: str) -> tuple[int, str, str]:
    argv = [PYTHON, "-m", "steering", words[0], "--config", str(stage.scene.config), *words[1:]]
    done = stage.scene.world.run(EDGE, argv, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_status_has_exactly_the_keys_of_the_contract(incident: Stage) -> None:
    status = incident.status()
    assert set(status) == STATUS
    assert (status["site"], status["mode"], status["off"]) == ("sin", "enforce", False)
    assert status["clock"] == "ok"
    assert [a["address"] for a in status["addresses"]] == list(incident.addresses)
    for address in status["addresses"]:
        assert set(address) == ADDRESS
        assert list(address["paths"]) == ["local", "pao", "fra"]
        for path in address["paths"].values():
            assert set(path) == PATH
            assert path["health"] in {h.word for h in Health}
            assert set(path["outcomes"]) <= set(Outcome)
            assert sum(path["outcomes"].values()) == path["samples"] > 0
        assert address["steered_to"] == "pao"
        assert address["installed"] == {"kernel": "pao", "bgp": None}
        assert address["paths"]["local"]["signature_remaining_s"] < 0
        assert address["paths"]["pao"]["signature_remaining_s"] > 600_000
        assert address["paths"]["pao"]["nsid"] == "ns1-pao"


def test_the_metrics_parse_and_carry_the_names_of_the_contract(incident: Stage) -> None:
    code, body = incident.scene.get("/metrics")
    assert code == 200
    families = {family.name: family for family in text_string_to_metric_families(body)}
    for name, labels in METRICS.items():
        family = families[name]
        assert family.documentation
        assert family.samples, name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels, sample
    assert "steering_alarm" in families, "described, though no alarm lasts"
    installed = families["steering_installed"].samples
    assert {s.labels["address"] for s in installed} == set(incident.addresses)
    states = families["steering_health"].samples
    for address in incident.addresses:
        mine = [s for s in states if s.labels["address"] == address and s.labels["path"] == "local"]
        assert [(s.labels["state"], s.value) for s in mine] == [("failing", 1)], "and no other"
    counted = {s.name for s in families["steering_observations"].samples}
    assert counted == {"steering_observations_total"}


def test_probes_of_the_orchestrator_are_answered(incident: Stage) -> None:
    assert incident.scene.get("/healthz") == (200, "ok\n")
    assert incident.scene.get("/readyz") == (200, "ok\n")
    assert incident.scene.get("/")[0] == 200
    assert incident.scene.get("/api/v2/status")[0] == 404


def test_the_commands_show_the_same_as_the_api(incident: Stage) -> None:
    code, text, errors = _command(incident, "status", "--json")
    assert (code, errors) == (0, "")
    assert set(json.loads(text)) == STATUS
    code, text, _ = _command(incident, "status")
    assert code == 0
    assert "4 over pao" in text
    assert all(address in text for address in incident.addresses)
    one = incident.addresses[1]
    code, text, _ = _command(incident, "explain", one, "--json")
    assert code == 0
    explained = json.loads(text)
    assert set(explained) >= ADDRESS | {"rules", "evidence"}
    assert [r["name"] for r in explained["rules"] if r["decides"]] == ["steer"]
    assert "expired" in explained["evidence"]["local"]["because"]
    code, text, _ = _command(incident, "explain", one)
    assert code == 0
    assert "=> 10. steer" in text


def test_commands_that_ask_for_nonsense_say_so(incident: Stage) -> None:
    code, text, errors = _command(incident, "explain", "192.0.2.77")
    assert (code, text) == (2, "")
    assert "192.0.2.77 is in no policy" in errors
    code, _, errors = _command(incident, "explain", "a.gtld-servers.net")
    assert code == 2
    assert "is not an address" in errors


def test_commands_without_an_agent_fail_with_a_hint() -> None:
    with on_stage(agent=False) as stage:
        for words in (["status"], ["status", "--json"], ["explain", stage.addresses[0]]):
            code, text, errors = _command(stage, *words)
            assert (code, text) == (1, "")
            assert "no agent answers at" in errors
            assert "run/status.sock" in errors
        code, text, _ = _command(stage, "check")
        assert code == 0
        assert "fine: 1 upstream, 4 addresses, 2 remote sites" in text


def test_who_took_the_port_first_neither_keeps_the_agent_from_starting_nor_is_believed() -> None:
    with on_stage(replace(QUICK, dnstap=True), agent=False) as stage:
        squatter = stage.scene.world.socket(EDGE, Family.IPV4, socket.SOCK_STREAM)
        with squatter:
            squatter.bind(("127.0.0.1", STATUS_PORT))
            squatter.listen()
            agent = stage.scene.start_agent(ready=False)
            stage.until(lambda: "ALARM status" in stage.scene.steering("status"))
            said = " ".join(stage.scene.steering("status").split())
            assert "can't be listened on: Address already in use" in said
            assert agent.running
        stage.scene.await_ready()
        stage.await_alarm("status", there=False)
        runtime = stage.scene.world.work / "run"
        for name in ("status.sock", "tap"):
            (runtime / name).unlink()
            stage.until((runtime / name).exists, tell=name)
        stage.until(lambda: _command(stage, "status")[0], wanted=0)
        assert agent.running
