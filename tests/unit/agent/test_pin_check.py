"""A pin without effect is found by the instance that answers; such answers are no evidence."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from steering.agent.bgp import BgpSpeaker
from steering.agent.components import Components
from steering.agent.inputs import Inputs
from steering.agent.pin_check import ALARM_AFTER, ROUTERS_LAG, PinCheck
from steering.model import LOCAL, Kind, Observation, Outcome, Question, Round
from steering.report.metrics import Meters

ADDRESS = "192.0.2.1"
QUESTION = Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA)
TOLD = {ADDRESS: "pao"}


LATER = 2 * ROUTERS_LAG


def answered(at: float = 0.0, /, **by: str | None) -> Round:
    return Round(
        address=ADDRESS,
        question=QUESTION,
        at=at,
        observations=tuple(
            Observation(address=ADDRESS, path=path, outcome=Outcome.SECURE, nsid=nsid)
            for path, nsid in by.items()
        ),
    )


def checked(pins: PinCheck, item: Round, told: Mapping[str, str] | None) -> Round:
    """Asked and answered in the same instant."""
    pins.update(told, item.at)
    return pins.without_strayed(item)


def paths(item: Round) -> set[str]:
    return {o.path for o in item.observations}


def test_the_local_path_that_answers_as_before_counts() -> None:
    pins = PinCheck()
    checked(pins, answered(local="sin1", pao="pao1"), {})
    for _ in range(10):
        assert paths(checked(pins, answered(local="sin1", pao="pao1"), TOLD)) == {LOCAL, "pao"}
    assert not pins.problem


def test_the_first_answer_that_took_the_detour_is_dropped_already() -> None:
    pins = PinCheck()
    checked(pins, answered(local="sin1", pao="pao1"), {})
    for asked in range(1, ALARM_AFTER + 1):
        assert paths(checked(pins, answered(local="pao1", pao="pao1"), TOLD)) == {"pao"}
        assert bool(pins.problem) is (asked == ALARM_AFTER)
    assert ADDRESS in pins.problem
    assert "take the detour, as the same instance" in pins.problem
    assert "restart" not in pins.problem


def test_a_pin_that_works_again_clears_it_and_so_does_the_end_of_the_detour() -> None:
    for mended, told in ((answered(local="sin1"), TOLD), (answered(LATER, local="pao1"), {})):
        pins = PinCheck()
        checked(pins, answered(local="sin1", pao="pao1"), {})
        for _ in range(ALARM_AFTER):
            checked(pins, answered(local="pao1", pao="pao1"), TOLD)
        assert pins.problem
        pins.update(told, 1.0)
        assert LOCAL in paths(checked(pins, mended, told))
        assert not pins.problem


def test_the_same_instance_on_both_paths_is_no_sign() -> None:
    pins = PinCheck()
    checked(pins, answered(local="one", pao="one"), {})
    for _ in range(ALARM_AFTER):
        assert LOCAL in paths(checked(pins, answered(local="one", pao="one"), TOLD))
    assert not pins.problem


@pytest.mark.parametrize("servers", [2, 16, 20, 40, 1000])
def test_an_instance_of_many_servers_on_both_paths_is_no_sign(servers: int) -> None:
    """Some of them are met over one path alone, and there are more than are remembered."""
    pins, draw = PinCheck(), random.Random(servers)

    def some() -> str:
        return f"s{draw.randrange(servers)}"

    for asked in range(2000):
        checked(pins, answered(-3000.0 + asked, local=some(), pao=some()), {})
    kept = 0
    for asked in range(500):
        kept += LOCAL in paths(
            checked(pins, answered(float(asked), local=some(), pao=some()), TOLD)
        )
        assert not pins.problem
    assert kept == 500


@pytest.mark.parametrize("servers", [2, 16, 20, 40, 1000])
def test_many_servers_behind_the_local_path_hide_no_pin_without_effect(servers: int) -> None:
    pins, draw = PinCheck(), random.Random(servers)
    for asked in range(500):
        own = f"sin{draw.randrange(servers)}"
        checked(pins, answered(-600.0 + asked, local=own, pao="pao1"), {})
    for asked in range(50):
        own = f"sin{draw.randrange(servers)}"
        assert LOCAL in paths(checked(pins, answered(float(asked), local=own, pao="pao1"), TOLD))
    for asked in range(50, 60):
        strayed = checked(pins, answered(float(asked), local="pao1", pao="pao1"), TOLD)
        assert LOCAL not in paths(strayed)
    assert pins.problem


def test_a_third_instance_over_the_local_path_counts_for_it() -> None:
    pins = PinCheck()
    checked(pins, answered(local="sin1", pao="pao1"), {})
    for _ in range(ALARM_AFTER):
        assert LOCAL in paths(checked(pins, answered(local="sin2", pao="pao1"), TOLD))
    assert not pins.problem


def test_after_a_start_within_a_detour_answers_of_the_site_s_instance_are_dropped() -> None:
    pins = PinCheck()
    for _ in range(ALARM_AFTER):
        assert paths(checked(pins, answered(local="pao1", pao="pao1"), TOLD)) == {"pao"}
    assert "since the restart it is not known" in pins.problem
    assert "do the routers know" not in pins.problem, "it is not known to be without effect"
    pins.update({}, 1.0)
    checked(pins, answered(LATER, local="pao1"), {})
    checked(pins, answered(LATER, local="pao1", pao="pao1"), TOLD)
    assert not pins.problem, "a moment without the detour shows that both are the same"


def test_answers_without_an_instance_are_kept() -> None:
    pins = PinCheck()
    checked(pins, answered(local=None, pao="pao1"), {})
    assert LOCAL in paths(checked(pins, answered(local=None, pao="pao1"), TOLD))
    assert not pins.problem


def test_instances_of_an_earlier_pin_are_forgotten() -> None:
    """A pin that led to the site while nothing was steered had its instance for the local one."""
    pins = PinCheck()
    checked(pins, answered(local="pao1", pao="pao1"), {})
    pins.forget(["fra"])
    assert paths(checked(pins, answered(local="pao1", pao="pao1"), TOLD)) == {LOCAL, "pao"}
    pins.forget([LOCAL])
    assert paths(checked(pins, answered(local="pao1", pao="pao1"), TOLD)) == {"pao"}
    assert paths(checked(pins, answered(local="sin1", pao="pao1"), TOLD)) == {LOCAL, "pao"}


@pytest.mark.parametrize("asked", [0.5, 1.1])
def test_an_answer_on_its_way_at_the_end_of_a_detour_is_not_noted_as_the_local_path_s(
    asked: float,
) -> None:
    """Asked within the detour, or just after it, when a router's forwarding is still to change."""
    pins = PinCheck()
    checked(pins, answered(local="sin1", pao="pao1"), {})
    pins.update(TOLD, 0.5)
    pins.update({}, 1.0)
    pins.update({}, 1.5)
    assert paths(pins.without_strayed(answered(asked, local="pao1", pao="pao1"))) == {"pao"}
    assert LOCAL in paths(checked(pins, answered(LATER, local="sin1", pao="pao1"), {}))
    assert paths(checked(pins, answered(LATER, local="pao1", pao="pao1"), TOLD)) == {"pao"}


def test_a_link_that_is_lost_ends_no_detour() -> None:
    pins = PinCheck()
    checked(pins, answered(local="sin1", pao="pao1"), {})
    pins.update(TOLD, 0.0)
    for turn in range(1, 10):
        strayed = answered(turn * ROUTERS_LAG, local="pao1", pao="pao1")
        assert paths(checked(pins, strayed, None)) == {"pao"}
    assert paths(checked(pins, answered(10 * ROUTERS_LAG, local="pao1"), {})) == set()
    assert paths(checked(pins, answered(12 * ROUTERS_LAG, local="pao1"), {})) == {LOCAL}


def test_a_detour_by_another_site_still_has_answers_of_the_first_one() -> None:
    pins = PinCheck()
    checked(pins, answered(local="sin1", pao="pao1", fra="fra1"), {})
    pins.update(TOLD, 0.0)
    for instance in ("pao1", "fra1"):
        assert not paths(checked(pins, answered(0.1, local=instance), {ADDRESS: "fra"}))


def test_what_was_on_its_way_when_bgp_was_switched_off_is_checked_too(tmp_path: Path) -> None:
    nobody = BgpSpeaker(tmp_path, may_speak=lambda: True)
    actuators = SimpleNamespace(bgp=nobody)
    kernel_paths = SimpleNamespace(changed=bool, installed=dict, over_their_paths=lambda item: item)
    inputs = Inputs(Meters(), lambda _event: None)
    inputs.components = cast(
        "Components",
        SimpleNamespace(
            dnstap=None,
            actuators=actuators,
            claim=object(),
            kernel_paths=kernel_paths,
            sources=SimpleNamespace(addresses=frozenset()),
            index=SimpleNamespace(settings={}),
            forwarding=None,
        ),
    )
    now = time.monotonic()
    routers = SimpleNamespace(announced=lambda: TOLD)
    for bgp, local in ((nobody, "sin1"), (routers, "pao1"), (nobody, "pao1")):
        actuators.bgp = bgp
        inputs.deliver(answered(now, local=local, pao="pao1"))
        [item] = inputs.gather().rounds
        assert (LOCAL in paths(item)) is (local == "sin1")
