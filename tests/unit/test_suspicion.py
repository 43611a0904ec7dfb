"""A suspicion ends, and nothing but a fault of the local path alone becomes one that moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from simulation import CONFIG, Ask, policy, setup
from test_hearsay import Listening, heard

from steering.judge.doubt import LONGEST
from steering.judge.hearsay import QUIET
from steering.model import Heard, Outcome

SHIPPED = CONFIG.replace(
    "interval: 1s, fast_interval: 100ms", "interval: 10s, fast_interval: 200ms"
)
"""The cadence of an agent that nothing else is told."""
LOSSES = policy(letters=2, more="breach: {on: [bogus, timeout, error]}\n")


def good(ask: Ask) -> Outcome:
    return Outcome.SECURE


def only_here(ask: Ask) -> Outcome:
    """No remote path answers: there is nobody to be compared with."""
    return Outcome.SECURE if ask.local else Outcome.TIMEOUT


def every_ten_seconds(story: Listening) -> bool:
    return int(story.now) % 10 == 0


def lost(story: Listening, seconds: float) -> tuple[Heard, ...]:
    """The resolvers lose half of what they ask; a tally comes every ten seconds."""
    if not every_ten_seconds(story):
        return ()
    return tuple(heard(a, [], good=30, lost=30, at=story.now) for a in story.addresses())


def fresh_names(story: Listening, seconds: float) -> tuple[Heard, ...]:
    """Somebody has a new name fail at each address, every second."""
    return tuple(
        heard(a, [f"new{story.rng.random()}.gtld."], good=5, at=story.now)
        for a in story.addresses()
    )


# --- what the resolvers' traffic alone says ----------------------------------------------------


@pytest.mark.parametrize("answer", [good, only_here])
@pytest.mark.parametrize("config", [CONFIG, SHIPPED])
def test_losses_that_own_probes_do_not_see_are_rejected_for_an_hour(
    tmp_path: Path, config: str, answer: Callable[[Ask], Outcome]
) -> None:
    story = Listening(setup(tmp_path, LOSSES, config=config), answer, heard=lost, idle=1.0)
    story.run(900)
    addresses = len(story.addresses())
    assert len(story.told("suspected")) == addresses
    assert len(story.told("rejected")) == addresses
    assert not story.moves()
    # 256 pairs each, and the slow rounds.
    assert story.asked <= addresses * (256 + 50 + 900 / story.layout.interval)
    story.run(2000)
    assert len(story.told("suspected")) == addresses, "they are not heard for an hour"


@pytest.mark.parametrize("answer", [good, only_here])
def test_names_that_fail_only_in_what_is_heard_end_in_a_rejection(
    tmp_path: Path, answer: Callable[[Ask], Outcome]
) -> None:
    story = Listening(
        setup(tmp_path, policy(letters=2), config=SHIPPED), answer, heard=fresh_names, idle=1.0
    )
    story.run(QUIET + 300)
    addresses = len(story.addresses())
    assert len(story.told("rejected")) == len(story.told("suspected"))
    assert len(story.told("rejected")) <= 2 * addresses + 1, "and the group's, once"
    assert story.asked <= 2 * addresses * (256 + 100)
    assert not story.moves()


def test_a_trial_whose_candidate_comes_and_goes_does_not_go_on_for_ever(tmp_path: Path) -> None:
    def flapping(ask: Ask) -> Outcome:
        away = not ask.local and ask.now % 40 > 20
        return Outcome.TIMEOUT if away else Outcome.SECURE

    story = Listening(setup(tmp_path, LOSSES, config=SHIPPED), flapping, heard=lost, idle=1.0)
    story.run(60 + LONGEST + 30)
    suspected, rejected = story.told("suspected"), story.told("rejected")
    assert len(suspected) == len(rejected) == len(story.addresses())
    assert max(at for at, _ in rejected) - min(at for at, _ in suspected) <= LONGEST + 30


def test_a_fault_that_begins_after_a_rejection_is_found(tmp_path: Path) -> None:
    """What is not heard for a while is asked by own probes all the same."""

    def answer(ask: Ask) -> Outcome:
        return Outcome.EXPIRED if ask.local and ask.now > 1400 else Outcome.SECURE

    story = Listening(
        setup(tmp_path, policy(letters=4), config=SHIPPED),
        answer,
        heard=fresh_names,
        idle=1.0,
        rng=random.Random(3),
    )
    story.run(399)
    assert story.told("rejected")
    assert not story.moves()
    assert story.until(lambda: len(story.installed) == 8, 60) < 45
