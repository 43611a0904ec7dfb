"""The operator's word, by files and by the command, as a real agent obeys it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest
from stage import EXPIRED, QUICK, Stage, on_stage, slack

from steering.lab.servers.zone import Fault, FaultKind
from steering.model import LOCAL, Seconds, WallTime

pytestmark = pytest.mark.lab

SOON: Seconds = 2.0
"""From the file in its place to the routes in the kernel."""


def _override(stage: Stage, *words: str) -> WallTime:
    """Type it; when it was done."""
    stage.scene.steering("override", *words, "--yes", check=True)
    return time.time()


def _add(stage: Stage, name: str, *words: str, until: str = "never") -> WallTime:
    return _override(
        stage, "add", "--name", name, *words, "--until", until, "--reason", "a story", "--by", "us"
    )


def _remove(stage: Stage, name: str) -> WallTime:
    return _override(stage, "remove", name)


def _follows(stage: Stage, wanted: Mapping[str, str], since: WallTime) -> None:
    took = stage.await_routes(wanted) - since
    assert took <= SOON + slack(), f"{took:.1f} s; {stage.story()}"


def _rules(stage: Stage) -> set[str]:
    return {a["rule"] for a in stage.status()["addresses"]}


def _reload_succeeded(stage: Stage) -> bool:
    (line,) = (
        line
        for line in stage.scene.get("/metrics")[1].splitlines()
        if line.startswith("steering_config_last_reload_successful ")
    )
    return float(line.split()[1]) == 1.0


def test_a_word_moves_both_families_and_another_takes_it_back() -> None:
    with on_stage() as stage:
        _follows(stage, stage.through("fra"), _add(stage, "to-fra", "--steer", "fra", "--all"))
        assert _rules(stage) == {"override"}
        assert [o["name"] for o in stage.status()["overrides"]] == ["to-fra"]
        stage.await_event("override_applied", override="to-fra")
        said = stage.scene.steering("override", "list", check=True)
        assert "the running agent uses these" in said
        stage.clients_fine()
        _follows(stage, {}, _remove(stage, "to-fra"))
        assert stage.status()["overrides"] == []
        stage.steady({})


def test_of_two_words_the_last_one_holds_where_both_match() -> None:
    with on_stage() as stage:
        _follows(stage, stage.through("fra"), _add(stage, "a", "--steer", "fra", "--all"))
        one = stage.addresses[0]
        both = {**stage.through("fra"), **stage.through("pao", [one])}
        _follows(stage, both, _add(stage, "b", "--steer", "pao", "--address", one))
        _follows(stage, stage.through("fra"), _remove(stage, "b"))


def test_a_file_that_is_removed_by_hand_is_a_word_too() -> None:
    """However many of the steers it ends: here it is the only one."""
    with on_stage() as stage:
        one = stage.addresses[:1]
        _add(stage, "one", "--steer", "fra", "--address", *one)
        stage.await_routes(stage.through("fra", one))
        (stage.scene.config.parent / "policies/overrides.d/one.yaml").unlink()
        _follows(stage, {}, time.time())
        assert stage.times("config_held") == []


def test_when_its_time_is_over_it_lets_go_by_itself_and_says_so_once() -> None:
    with on_stage() as stage:
        until = int(time.time()) + 8
        utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
        _add(stage, "short", "--steer", "pao", "--all", until=utc)
        stage.await_routes(stage.through("pao"))
        gone = stage.await_routes({})
        assert until <= gone <= until + SOON + slack()
        stage.steady({})
        assert len(stage.times("override_expired")) == 1
        assert "ended" in stage.scene.steering("override", "list", check=True)


def test_a_broken_file_is_told_of_and_the_last_good_ones_stay_in_force() -> None:
    with on_stage() as stage:
        _follows(stage, stage.through("fra"), _add(stage, "good", "--steer", "fra", "--all"))
        folder = stage.scene.config.parent / "policies/overrides.d"
        (folder / "broken.yaml").write_text("overrides:\n  - name: half")
        stage.await_event("config_rejected")
        stage.await_alarm("config")
        assert not _reload_succeeded(stage)
        stage.steady(stage.through("fra"))
        _remove(stage, "broken")
        stage.await_alarm("config", there=False)
        assert _reload_succeeded(stage)
        stage.steady(stage.through("fra"))


@pytest.mark.parametrize("away", [True, False])
def test_what_is_frozen_stays_through_the_death_of_the_agent(away: bool) -> None:
    """Away it stays although all is well here again; here it stays although all is bad."""
    with on_stage() as stage:
        before = stage.through("pao") if away else {}
        after = {} if away else stage.through("pao")
        if away:
            stage.scene.serve(EXPIRED, paths=[LOCAL])
            stage.await_routes(before)
            stage.await_proof()
        _add(stage, "still", "--freeze", "--all")
        stage.until(lambda: _rules(stage), 10, wanted={"override"})
        stage.kill_agent()
        if away:
            stage.scene.serve()
        else:
            stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.scene.start_agent()
        stage.steady(before, questions=60)
        assert _rules(stage) == {"override"}
        _remove(stage, "still")
        stage.await_routes(after)


def test_a_word_against_what_is_measured_is_obeyed_and_shouted_about() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=["fra"])
        stage.await_health("failing", path="fra")
        said = stage.scene.steering(
            "override", "add", "--name", "worse", "--steer", "fra", "--all", "--until", "never",
            "--reason", "a story", "--yes", check=True,
        )  # fmt: skip
        assert "CAUTION: fra is failing for 4 of them" in said
        stage.await_routes(stage.through("fra"))
        stage.await_alarm("override")
        stage.steady(stage.through("fra"))
        _follows(stage, {}, _remove(stage, "worse"))
        stage.await_alarm("override", there=False)


def test_what_may_not_be_used_is_not_used() -> None:
    with on_stage() as stage:
        _add(stage, "not-pao", "--avoid", "pao", "--all")
        stage.await_event("override_applied", override="not-pao")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("fra"))
        stage.clients_fine()


def _metric(stage: Stage, series: str) -> float | None:
    for line in stage.scene.get("/metrics")[1].splitlines():
        if line.startswith(f"{series} "):
            return float(line.split()[1])
    return None


def _seen_by(stage: Stage, alarm: str) -> list[str]:
    return [
        one["by"]
        for a in stage.status()["alarms"]
        if a["name"] == alarm
        for one in a.get("acknowledged", ())
    ]


@pytest.mark.parametrize(
    ("mode", "alarm"),
    [("enforce", "everywhere"), ("rehearse", "everywhere"), ("observe", "uncompared")],
)
def test_an_alarm_that_was_seen_stays_listed_over_a_restart_and_moves_nothing(
    mode: str, alarm: str
) -> None:
    with on_stage(replace(QUICK, mode=mode)) as stage:
        stage.scene.serve(Fault(kind=FaultKind.BAD_SIGNATURE))
        stage.await_alarm(alarm)
        words = ("--for", "2h", "--reason", "a story", "--by", "us")
        said = stage.scene.steering("override", "acknowledge", alarm, *words, "--yes", check=True)
        assert f"ALARM {alarm} for" in said, "what is there now is shown beforehand"
        stage.await_event("alarm_acknowledged", now=alarm)
        assert _seen_by(stage, alarm) == ["us"]
        assert _metric(stage, f'steering_alarm{{name="{alarm}"}}') == 1.0
        assert _metric(stage, f'steering_alarm_acknowledged{{name="{alarm}"}}') == 1.0
        shown = stage.scene.steering("status", check=True)
        # Its end is on a whole second, so for a moment all two hours are left.
        assert re.search("acknowledged by us for another [12] h", " ".join(shown.split()))
        assert max(map(len, shown.splitlines())) <= 80
        assert "acknowledged by us" in " ".join(
            stage.scene.steering("explain", stage.addresses[0], check=True).split()
        )
        stage.kill_agent()
        stage.scene.start_agent()
        stage.await_alarm(alarm)
        stage.until(lambda: _seen_by(stage, alarm), wanted=["us"], every=0.05)
        stage.scene.steering("override", "remove", f"seen-{alarm}", "--yes", check=True)
        stage.await_event("alarm_unacknowledged", was=alarm)
        assert _seen_by(stage, alarm) == []
        assert _metric(stage, f'steering_alarm{{name="{alarm}"}}') == 1.0
        assert stage.scene.routes() == {}
