"""No test is left out of `make test`, and none runs twice."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TARGETS = ("unit", "long", "labs")


def chosen(target: str) -> set[str]:
    """The expressions by which a target chooses tests, at first and once more."""
    text = (ROOT / "Makefile").read_text()
    recipe = re.search(rf"^{target}: setup-test .*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert recipe is not None
    return set(re.findall(r'-m ("[^"]+"|\w+)', recipe[1]))


@pytest.mark.parametrize("target", TARGETS)
def test_a_test_that_failed_is_run_again_by_the_target_that_ran_it(target: str) -> None:
    assert len(chosen(target)) == 1


@pytest.mark.parametrize(("lab", "long"), [*product([True, False], repeat=2)])
def test_every_test_is_run_by_one_target(lab: bool, long: bool) -> None:
    marks = {"lab": lab, "long": long}
    runs = [
        target
        for target in TARGETS
        if eval(chosen(target).pop().strip('"'), {}, marks)  # pytest's grammar is Python's here
    ]
    assert len(runs) == 1


def test_all_of_them_are_run_by_make_test() -> None:
    text = (ROOT / "scripts/test").read_text()
    run = re.findall(r"make --no-print-directory (?:--\S+ )*([a-z ]+?)(?: >|$)", text, re.MULTILINE)
    assert sorted(" ".join(run).split()) == sorted(TARGETS)
