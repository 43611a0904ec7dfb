"""The off switch, with whoever is dead."""

from __future__ import annotations

import time

import pytest
from stage import EXPIRED, Kernel, Stage, add_foreign, everything, foreign, on_stage, ours, slack

from steering.lab.sandbox import poll
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
        assert poll(lambda: ours(stage) != [], timeout=5), "the rules are back"
