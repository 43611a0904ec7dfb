"""Whose turn it is: all sources, by both transports, and one that gets nothing only seldom."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from steering.model import Family, Source, Target
from steering.observe.probe.rotation import Rotation

ONE, TWO, THREE = (Source(address=f"10.0.{i}.53") for i in range(3))
WHOM = Target(upstream="x", nameserver="a.x.", address="192.5.6.30", family=Family.IPV4)


def rotation(*sources: Source | None) -> Rotation:
    return Rotation(lambda family: sources if family is Family.IPV4 else (), [WHOM.address])


def turns(made: Rotation, number: int, *, unanswered: Source | None = None) -> list[Source | None]:
    """So many rounds; nothing comes back to `unanswered`."""
    drawn = []
    for _ in range(number):
        source = made.source(WHOM)
        any_reply = unanswered is None or source != unanswered
        made.finished(WHOM, source, any_reply=any_reply, answered=any_reply)
        drawn.append(source)
    return drawn


def test_without_sources_the_kernel_chooses() -> None:
    assert turns(rotation(), 3) == [None] * 3


def test_the_sources_take_turns() -> None:
    assert Counter(turns(rotation(None, ONE, TWO), 30)) == {None: 10, ONE: 10, TWO: 10}


@pytest.mark.parametrize("sources", [(ONE, TWO), (TWO, ONE), (None, ONE, TWO, THREE)])
def test_one_that_gets_nothing_is_asked_from_seldom_and_has_its_turns_back_once_it_does(
    sources: tuple[Source | None, ...],
) -> None:
    made = rotation(*sources)
    turns(made, 200, unanswered=TWO)
    later = Counter(turns(made, 320, unanswered=TWO))
    assert later[TWO] == 20
    assert sum(later.values()) - later[TWO] == 300
    again = Counter(turns(made, 320))
    assert again[TWO] > 320 / len(sources) * 0.9


def test_where_nothing_comes_back_to_any_they_all_have_their_turns() -> None:
    made = rotation(ONE, TWO)
    for _ in range(100):
        made.finished(WHOM, made.source(WHOM), any_reply=False, answered=False)
    assert Counter(turns(made, 2)) == {ONE: 1, TWO: 1}


@pytest.mark.parametrize(("fast", "part"), [(False, 7), (True, 31)])
def test_tcp_is_tried_in_a_part_of_the_rounds_of_each_source(fast: bool, part: int) -> None:
    made = rotation(ONE, TWO)
    turns(made, 2)
    tried = Counter(s for _ in range(320) for s in (ONE, TWO) if made.by_tcp(WHOM, s, fast=fast))
    assert tried[ONE] == tried[TWO]
    assert 320 // part <= tried[ONE] <= 320 // part + 3


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("number", [2, 3, 4, 8, 12, 13, 16, 26, 30])
def test_every_address_has_its_turn_by_tcp(fast: bool, number: int) -> None:
    """Addresses come one after the other, and so do transports: never in step with each other."""
    every = [replace(WHOM, address=f"192.0.2.{n}") for n in range(number)]
    made = Rotation(lambda _family: (), [target.address for target in every])
    for target in every:
        made.finished(target, None, any_reply=True, answered=True)
    tried = Counter(t.address for _ in range(100) for t in every if made.by_tcp(t, None, fast=fast))
    assert tried.keys() == {target.address for target in every}
    assert max(tried.values()) - min(tried.values()) <= 3


def test_tcp_is_not_tried_where_datagrams_are_not_answered() -> None:
    made = rotation(ONE)
    assert not any(made.by_tcp(WHOM, ONE, fast=False) for _ in range(100))
    turns(made, 1)
    assert made.by_tcp(WHOM, ONE, fast=False)
    turns(made, 1, unanswered=ONE)
    assert not any(made.by_tcp(WHOM, ONE, fast=False) for _ in range(100))
