"""A pin that does not hold is seen by who answers, and what it brought is no evidence."""

from __future__ import annotations

from steering.agent.pins import SURE, Pins
from steering.model import LOCAL, Kind, Observation, Outcome, Question, Round

ADDRESS = "192.0.2.1"
QUESTION = Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA)
TOLD = {ADDRESS: "pao"}


def answered(**by: str | None) -> Round:
    return Round(
        address=ADDRESS,
        question=QUESTION,
        at=0.0,
        observations=tuple(
            Observation(address=ADDRESS, path=path, outcome=Outcome.SECURE, nsid=nsid)
            for path, nsid in by.items()
        ),
    )


def paths(item: Round) -> set[str]:
    return {o.path for o in item.observations}


def test_the_local_path_that_answers_as_before_is_believed() -> None:
    pins = Pins()
    pins.sift(answered(local="sin1", pao="pao1"), {})
    for _ in range(10):
        assert paths(pins.sift(answered(local="sin1", pao="pao1"), TOLD)) == {LOCAL, "pao"}
    assert not pins.trouble


def test_the_first_answer_that_took_the_detour_is_left_out_already() -> None:
    pins = Pins()
    pins.sift(answered(local="sin1", pao="pao1"), {})
    for asked in range(1, SURE + 1):
        assert paths(pins.sift(answered(local="pao1", pao="pao1"), TOLD)) == {"pao"}
        assert bool(pins.trouble) is (asked == SURE)
    assert ADDRESS in pins.trouble
    assert "take the detour, the same instance" in pins.trouble
    assert "restart" not in pins.trouble


def test_a_pin_that_is_mended_clears_it_and_so_does_the_end_of_the_detour() -> None:
    for mended, told in ((answered(local="sin1"), TOLD), (answered(local="pao1"), {})):
        pins = Pins()
        pins.sift(answered(local="sin1", pao="pao1"), {})
        for _ in range(SURE):
            pins.sift(answered(local="pao1", pao="pao1"), TOLD)
        assert pins.trouble
        assert LOCAL in paths(pins.sift(mended, told))
        assert not pins.trouble


def test_the_same_instance_on_both_paths_is_no_sign() -> None:
    pins = Pins()
    pins.sift(answered(local="one", pao="one"), {})
    for _ in range(SURE):
        assert LOCAL in paths(pins.sift(answered(local="one", pao="one"), TOLD))
    assert not pins.trouble


def test_a_third_instance_is_the_local_path_s_own_affair() -> None:
    pins = Pins()
    pins.sift(answered(local="sin1", pao="pao1"), {})
    for _ in range(SURE):
        assert LOCAL in paths(pins.sift(answered(local="sin2", pao="pao1"), TOLD))
    assert not pins.trouble


def test_who_starts_within_a_detour_believes_no_answer_of_the_site_s_instance() -> None:
    pins = Pins()
    for _ in range(SURE):
        assert paths(pins.sift(answered(local="pao1", pao="pao1"), TOLD)) == {"pao"}
    assert "since the restart it can't be told" in pins.trouble
    assert "known to the routers?" not in pins.trouble, "nobody knows that it does not work"
    pins.sift(answered(local="pao1"), {})
    pins.sift(answered(local="pao1", pao="pao1"), TOLD)
    assert not pins.trouble, "a moment without the detour tells that both are the same"


def test_silence_about_the_instance_tells_nothing() -> None:
    pins = Pins()
    pins.sift(answered(local=None, pao="pao1"), {})
    assert LOCAL in paths(pins.sift(answered(local=None, pao="pao1"), TOLD))
    assert not pins.trouble


def test_who_answered_to_another_pin_says_nothing_of_this_one() -> None:
    """A pin that led to the site while nothing was steered had its instance for the local one."""
    pins = Pins()
    pins.sift(answered(local="pao1", pao="pao1"), {})
    pins.forget(["fra"])
    assert paths(pins.sift(answered(local="pao1", pao="pao1"), TOLD)) == {LOCAL, "pao"}
    pins.forget([LOCAL])
    assert paths(pins.sift(answered(local="pao1", pao="pao1"), TOLD)) == {"pao"}
    assert paths(pins.sift(answered(local="sin1", pao="pao1"), TOLD)) == {LOCAL, "pao"}
