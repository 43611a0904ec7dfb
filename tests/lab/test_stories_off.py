"""The off switch, with whoever is dead."""

from __future__ import annotations

import signal
import time

import pytest
from stage import (
    EXPIRED,
    Kernel,
    Stage,
    add_foreign,
    everything,
    foreign,
    on_stage,
    ours,
    slack,
)

from steering.lab.network.sandbox import PYTHON
from steering.model import LOCAL, Seconds

pytestmark = pytest.mark.lab

GONE: Seconds = 1.0
"""From the word to nothing of ours left, the start of the command included."""


def _switch_off(stage: Stage) -> Seconds:
    """Seconds from the call to the end of the command; nothing of ours is left then."""
    started = time.monotonic()
    said = stage.scene.steering("off", "--reason", "a story", check=True)
    took = time.monotonic() - started
    assert said.startswith("off: everything taken back")
    assert ours(stage) == []
    assert took <= GONE + slack(), took
    return took


def test_off_takes_everything_back_and_keeps_it_off_until_on() -> None:
    with on_stage() as stage:
        add_foreign(stage)
        others = foreign(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        _switch_off(stage)
        kernel = Kernel(stage)
        stage.steady({})
        assert kernel.lines() == [], "it stays away"
        assert everything(stage) == others
        status = stage.status()
        assert status["off"] is True
        assert {a["rule"] for a in status["addresses"]} == {"off"}
        assert stage.scene.steering("on", check=True) == "on again\n"
        stage.await_routes(stage.through("pao"))
        assert stage.status()["off"] is False
        for site in ("pao", "fra"):
            for address in stage.status()["addresses"]:
                outcomes = address["paths"][site]["outcomes"]
                assert "expired" not in outcomes, "an answer that took another path was counted"
        stage.clients_fine()


def test_off_works_with_the_agent_dead_and_outlasts_a_restart() -> None:
    with on_stage() as stage:
        others = foreign(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.kill_agent()
        _switch_off(stage)
        assert everything(stage) == others
        kernel = Kernel(stage)
        stage.scene.start_agent()
        stage.steady({})
        assert kernel.lines() == []
        assert stage.status()["off"] is True
        stage.scene.steering("on", check=True)
        stage.await_routes(stage.through("pao"))


def test_off_works_with_the_guard_dead() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.kill_guard()
        _switch_off(stage)
        stage.steady({})
        assert ours(stage) == []


def test_off_works_with_both_dead_and_a_configuration_that_no_longer_parses() -> None:
    with on_stage() as stage:
        others = foreign(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.kill_agent()
        stage.kill_guard()
        with stage.scene.config.open("a") as file:
            file.write("sitez: {}\n")
        _switch_off(stage)
        assert everything(stage) == others


def test_off_and_on_say_what_was() -> None:
    with on_stage() as stage:
        assert stage.scene.steering("on", check=True) == "was on already\n"
        _switch_off(stage)
        _switch_off(stage)
        record = (stage.scene.world.work / "state" / "off").read_text()
        assert "a story" in record
        assert stage.scene.steering("on", check=True) == "on again\n"
        stage.until(lambda: ours(stage) != [], 5, tell="the rules are back")


def test_off_by_another_configuration_names_the_agents_that_go_on() -> None:
    with on_stage() as stage:
        scene, work = stage.scene, stage.scene.world.work
        scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        first, own, text = scene.agent, scene.config, scene.config.read_text()
        second = text.replace(f"{work}/run", f"{work}/run-2").replace(f"{work}/state", f"{work}/2")
        scene.config = own.with_name("second.yaml")
        scene.config.write_text(second)
        code, said = _off(stage)
        assert code == 1, said
        assert "everything taken back" not in said
        assert "steering: table 5353: process " in said
        assert f"steering run --config {own}) acts on it by another configuration" in said
        stage.until(lambda: set(scene.routes()), wanted=set(stage.addresses))  # by either site
        # A second agent beside the first, with numbers of its own: each is switched off by its
        # own configuration.
        scene.steering("on", check=True)
        numbers = "act: {kernel: {table: 6000, priority: 6000, mark: 0x1000, mask: 0xf000}}\n"
        scene.config.write_text(second.replace(":9353", ":9354") + numbers)
        agent = scene.start_agent(ready=False)
        try:
            stage.until(lambda: "lookup 6000" in stage.sh("ip rule"))
            code, said = _off(stage)
            assert code == 0, said
            assert f"{own}) acts on table 5353 by another configuration: it is not" in said
            assert "lookup 6000" not in stage.sh("ip rule")
            stage.until(lambda: set(scene.routes()), wanted=set(stage.addresses))
        finally:
            agent.signal(signal.SIGKILL)
            agent.wait(10.0)
            scene.agent, scene.config = first, own


def _off(stage: Stage) -> tuple[int, str]:
    """The exit code of `steering off`, and all it says."""
    words = f"{PYTHON} -m steering off --config {stage.scene.config}"
    *lines, code = stage.sh(f"({words} 2>&1) && echo 0 || echo $?").splitlines()
    return int(code), "\n".join(lines)
