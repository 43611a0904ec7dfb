"""A suspicion ends, and nothing but a fault of the local path alone becomes one that moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from simulation import CONFIG, WALL, Ask, Shown, Simulation, policy, setup
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


# --- a copy that takes a new signing later -----------------------------------------------------

DAY = 86_400.0
ACTS_ON_STALE = policy(letters=2, more="breach: {on: [bogus, stale]}\n")


def _signed(ask: Ask, *, renewed: float, left: float, whole: float = 7 * DAY) -> Shown:
    """A copy whose signatures had `left` seconds at 1000 s, until it took a new signing."""
    ends = 1000.0 + left if ask.now < renewed else renewed + whole
    expired = ask.now > ends
    return Shown(outcome=Outcome.EXPIRED if expired else Outcome.SECURE, expires=WALL + ends)


@pytest.mark.parametrize("lag", [13 * 60.0, 20 * 60.0])
@pytest.mark.parametrize("config", [CONFIG, SHIPPED])
def test_a_new_signing_that_comes_later_is_not_stale(
    tmp_path: Path, config: str, lag: float
) -> None:
    signing = 2000.0

    def answer(ask: Ask) -> Shown:
        return _signed(ask, renewed=signing + lag * ask.local, left=4.5 * DAY)

    story = Simulation(setup(tmp_path, ACTS_ON_STALE, config=config), answer, step=0.5, idle=10.0)
    story.run(signing + lag + 1500 - 1000)
    assert not [e for _, e in story.told("health_changed") if e.now == "stale"]
    assert not story.steps


def test_a_frozen_copy_is_stale_before_its_first_signature_runs_out(tmp_path: Path) -> None:
    """By the life of its signatures alone: no serial is shown."""
    left = 2 * DAY + 1800

    def answer(ask: Ask) -> Shown:
        return _signed(ask, renewed=1e9 if ask.local else 0.0, left=left)

    config = SHIPPED
    story = Simulation(setup(tmp_path, ACTS_ON_STALE, config=config), answer, step=1.0, idle=10.0)
    story.run(1700)
    assert not story.steps
    took = 1700 + story.until(lambda: len(story.installed) == 4, 1800)
    assert 1800 + 590 <= took <= 1800 + 700, "once two days are left, and ten minutes to be sure"
