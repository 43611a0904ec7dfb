"""A part of `make contract`: odd answers, and whether we say of each what four validators say."""

from __future__ import annotations

from collections import Counter

import pytest
from contract.case import KINDS
from contract.heard import Heard
from contract.lab import absent
from contract.report import failures, table
from contract.resolvers import VALIDATORS
from contract.run import run
from contract.words import Sum, Word, letters

from steering.lab.network.sandbox import missing

pytestmark = pytest.mark.lab

SEED = 1
EACH = 4
"""Cases of each kind of mutation."""


def test_we_say_of_odd_answers_what_four_validators_say() -> None:
    if lacks := (*missing(), *absent(VALIDATORS)):
        pytest.skip(f"not installed: {', '.join(lacks)}")
    heard: list[Heard] = []
    tally = run(range(EACH * len(KINDS)), SEED, each=lambda one, _lab: heard.append(one))
    assert not tally.apart, "\n".join(["", *failures(tally, SEED), *table(tally)])
    assert {one.kind for one in heard} == set(KINDS)
    # It can't pass over validators that refuse or accept whatever they are given.
    sums = tally.sums
    assert sums[Sum.ALL_SECURE.value] > len(KINDS) // 2
    assert sums[Sum.ALL_REFUSED.value] > len(KINDS) // 2
    for at, validator in enumerate(VALIDATORS):
        words = Counter(letters(one.words)[at] for one in heard)
        assert min(words[letter] for letter in "Sax") > 2, (validator.name, words)
    ours = Counter(one.ours for one in heard)
    assert min(ours[Word.ACCEPTED], ours[Word.REFUSED]) > len(KINDS), ours
    untouched = [one for one in heard if one.kind == "untouched" and "+" not in one.label]
    assert untouched
    assert all(one.ours.good for one in untouched)
    assert all(word.good for one in untouched for word in one.words.values())
