"""Stories of the resolvers' traffic: it is heard at once, and convicts nobody."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from listening import Listening, failure, heard
from simulation import CONFIG, WALL, Ask, Shown, Simulation, policy, setup

from steering.decide.fast_probing import attention
from steering.judge.known.stream import OLD
from steering.model import LOCAL, Health, Heard, Outcome

DEFAULTS = CONFIG.replace("interval: 1s, fast_interval: 100ms", "interval: 10s")


def expired(share: float, since: float = 1040.0) -> Callable[[Ask], Outcome | Shown]:
    """So many RRsets of the local copy have run out."""

    def answer(ask: Ask) -> Outcome:
        bad = ask.local and ask.now >= since and ask.unlucky(share)
        return Outcome.EXPIRED if bad else Outcome.SECURE

    return answer


def good(ask: Ask) -> Outcome:
    return Outcome.SECURE


def answers(story: Simulation, path: str | None = None) -> int:
    """All answers and losses counted over one path, or over all."""
    return sum(
        number
        for (_, over), known in story.state.ledger.traffic.items()
        if path in (None, over)
        for number in known.counts.values()
    )


def opened(
    tmp_path: Path, answer: Callable[[Ask], Outcome | Shown], *, letters: int = 13, **more: object
) -> Listening:
    """After 40 s of peace, in which a tally a second is enough."""
    where = setup(tmp_path, policy(letters=letters), config=DEFAULTS)
    story = Listening(where, answer, **more)  # type: ignore[arg-type]
    often, story.idle = story.idle, max(story.idle, 1.0)
    story.run(40).idle = often
    return story


def test_thirteen_per_cent_take_seconds(tmp_path: Path) -> None:
    story = opened(tmp_path, expired(0.13))
    assert not story.told("suspected")
    story.until(lambda: len(story.installed) == 26, 30)
    assert story.told("suspected")[0][0] - 1040 <= 5
    assert story.now - 1040 <= 8


@pytest.mark.long
def test_the_same_fault_is_found_again_after_its_recovery(tmp_path: Path) -> None:
    def twice(ask: Ask) -> Outcome:
        ill = 1040 <= ask.now < 1060 or ask.now >= 1400
        return Outcome.EXPIRED if ask.local and ill and ask.unlucky(0.13) else Outcome.SECURE

    story = opened(tmp_path, twice, idle=0.5)
    story.until(lambda: len(story.installed) == 26, 30)
    story.until(lambda: not story.installed, 200)
    story.run(1400 - story.now)
    assert not story.installed
    story.until(lambda: len(story.installed) == 26, 8)


@pytest.mark.long
def test_one_in_two_hundred_takes_less_than_a_minute(tmp_path: Path) -> None:
    took = []
    for seed in range(6):
        story = opened(tmp_path, expired(0.005), rng=random.Random(seed))
        assert not story.told("suspected")
        story.until(lambda: bool(story.told("suspected")), 400)  # noqa: B023
        took.append(story.now - 1040)
    assert statistics.mean(took) <= 60


@pytest.mark.long
def test_an_hour_of_clean_traffic_at_full_speed_raises_no_suspicion(tmp_path: Path) -> None:
    def clean(story: Listening, seconds: float) -> tuple[Heard, ...]:
        each = round(10_000 * seconds / len(story.addresses()))
        return tuple(
            # One name of somebody's is broken for good, at every letter.
            heard(a, ["broken.gtld."] * 3, good=each, lost=each // 200, at=story.now)
            for a in story.addresses()
        )

    where = setup(tmp_path, policy(letters=5), config=DEFAULTS)
    story = Listening(where, good, heard=clean, idle=4.0, step=4.0).run(3600)
    assert answers(story) > 30_000_000
    assert not story.told("suspected")
    assert not story.moves()


@pytest.mark.long
def test_what_only_the_resolvers_are_told_moves_nothing(tmp_path: Path) -> None:
    """Names that somebody planted fail everywhere, or nowhere but in his questions."""

    def planted(story: Listening, seconds: float) -> tuple[Heard, ...]:
        return tuple(
            heard(a, [f"evil{story.rng.random()}.gtld."], good=20, at=story.now)
            for a in story.addresses()
        )

    for answer in (good, lambda ask: Outcome.EXPIRED if "evil" in ask.name else Outcome.SECURE):
        where = setup(tmp_path, policy(letters=2), config=DEFAULTS)
        story = Listening(where, answer, heard=planted, idle=1.0).run(150)
        assert story.told("suspected")
        assert not story.told("confirmed")
        assert not story.moves()


@pytest.mark.long
def test_a_real_fault_among_planted_names_is_confirmed(tmp_path: Path) -> None:
    def mixed(story: Listening, seconds: float) -> tuple[Heard, ...]:
        evil = tuple(
            heard(a, [f"evil{story.rng.random()}.gtld." for _ in range(3)], at=story.now)
            for a in story.addresses()
        )
        story.heard = None
        real = story.traffic(seconds)
        story.heard = mixed
        return (*evil, *real)

    def answer(ask: Ask) -> Outcome:
        if "evil" in ask.name or (ask.local and ask.now > 1040 and ask.unlucky(0.13)):
            return Outcome.EXPIRED
        return Outcome.SECURE

    where = setup(tmp_path, policy(letters=2), config=DEFAULTS)
    story = Listening(where, answer, heard=mixed).run(40)
    assert not story.moves()
    story.until(lambda: len(story.installed) == 4, 60)
    assert not story.told("undone")


def test_one_broken_name_at_every_letter_is_one_name(tmp_path: Path) -> None:
    def broken(story: Listening, seconds: float) -> tuple[Heard, ...]:
        return tuple(heard(a, ["broken.gtld."] * 5, at=story.now) for a in story.addresses())

    story = opened(tmp_path, good, heard=broken, idle=1.0)
    story.run(120)
    assert not story.told("suspected")


@pytest.mark.long
def test_a_detour_is_not_left_for_what_others_ask_beside_the_resolvers(tmp_path: Path) -> None:
    calm = policy(letters=4, more="recover: {hold: 10m, clean: 1600}\n")
    story = Listening(setup(tmp_path, calm, config=DEFAULTS), expired(0.13)).run(40)
    story.until(lambda: len(story.installed) == 8, 30)
    story.run(5)

    def planted(story: Listening, seconds: float) -> tuple[Heard, ...]:
        story.heard = None
        real = story.traffic(seconds)
        story.heard = planted
        evil = (
            heard(a, [f"evil{story.rng.random()}.gtld."] * 9, path="fra", lost=9, at=story.now)
            for a in story.addresses()
        )
        return (*real, *(replace(one, overdue=9) for one in evil))

    story.heard = planted
    story.run(60)
    assert set(story.installed.values()) == {"fra"}
    assert {story.health(a, "fra") for a in story.addresses()} == {Health.HEALTHY}
    assert answers(story, "fra") > 0


@pytest.mark.long
def test_losses_that_probes_do_not_see_are_looked_into_once_an_hour(tmp_path: Path) -> None:
    def lossy(story: Listening, seconds: float) -> tuple[Heard, ...]:
        return tuple(heard(a, [], good=5, lost=5, at=story.now) for a in story.addresses())

    where = setup(
        tmp_path, policy(letters=1, more="breach: {on: [bogus, timeout]}\n"), config=DEFAULTS
    )
    story = Listening(where, good, heard=lossy, idle=2.0).run(1200)
    assert story.told("suspected")
    assert not story.moves()
    by_address = Counter(event.address for _, event in story.told("suspected"))
    story.run(1200)
    again = Counter(event.address for _, event in story.told("suspected"))
    assert sum(again.values()) <= sum(by_address.values()) * 2


def test_good_answers_to_others_do_not_hide_what_probes_find(tmp_path: Path) -> None:
    def flood(story: Listening, seconds: float) -> tuple[Heard, ...]:
        return tuple(heard(a, [], good=100_000, at=story.now) for a in story.addresses())

    story = opened(tmp_path, expired(1.0), heard=flood)
    story.until(lambda: len(story.installed) == 26, 30)


def test_a_failing_name_makes_the_probes_look_at_once(tmp_path: Path) -> None:
    story = opened(tmp_path, good)
    assert not attention(story.state)
    address = story.addresses()[0]
    story.heard = lambda story, _: (heard(address, ["bad.gtld."], at=story.now),)
    story.turn()
    asked = attention(story.state)
    assert asked.keys() == {address}
    assert asked[address].witnesses == ("bad.gtld.",)
    story.heard = lambda story, _: (heard(address, ["bad.gtld."], at=story.now),)
    story.run(5)
    assert not attention(story.state), "the same name is no news for an hour"


def test_another_instance_makes_what_was_heard_of_the_old_one_void(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Shown:
        return Shown(nsid="new" if ask.now > 1400 else "old")

    story = opened(tmp_path, answer, letters=2, idle=1.0)
    address = story.addresses()[0]
    story.run(300)
    story.heard = lambda story, _: (heard(address, ["a.gtld.", "b.gtld."], at=story.now),)
    story.turn()
    story.heard = lambda story, _: ()  # noqa: ARG005
    levels = story.state.ledger.heard(address).levels
    assert any(map(any, levels))
    story.run(200)
    assert story.told("instance_changed")
    levels = story.state.ledger.heard(address).levels
    assert not any(map(any, levels))


def test_what_was_heard_long_ago_is_not_added_to(tmp_path: Path) -> None:
    story = opened(tmp_path, good, letters=1, heard=lambda *_: (), idle=10.0)
    address = story.addresses()[0]
    for names, pause in ((["a.gtld.", "b.gtld."], OLD + 60), (["c.gtld."], 0.0)):
        story.heard = lambda story, _, names=names: (heard(address, names, at=story.now),)
        story.turn()
        story.heard = lambda *_: ()
        story.run(pause)
    assert max(story.state.ledger.heard(address).levels[0]) == 800


@pytest.mark.parametrize("outcome", [Outcome.BAD_SIGNATURE, Outcome.UNSIGNED, Outcome.NO_KEY])
def test_what_only_keys_show_makes_suspect_in_any_traffic(tmp_path: Path, outcome: Outcome) -> None:
    """The sample is small beside what is counted by dates: it is not drowned in it."""
    story = opened(tmp_path, good)

    def sampled(story: Listening, seconds: float) -> tuple[Heard, ...]:
        return tuple(
            Heard(
                address=a,
                path=LOCAL,
                at=story.now,
                answers=10_000,
                counts={Outcome.SECURE: 10_000},
                proved=3,
                disproved=(failure(f"bad{story.rng.random()}.gtld.", outcome),),
            )
            for a in story.addresses()
        )

    story.heard = sampled
    assert story.until(lambda: bool(story.told("suspected")), 10) < 5


def test_what_the_resolvers_are_told_is_shown_apart(tmp_path: Path) -> None:
    story = opened(tmp_path, good)
    address = story.addresses()[0]
    item = heard(address, ["bad.gtld."], good=3, at=story.now)
    story.heard = lambda *_: (item,)
    before = {key: known.counts for key, known in story.state.ledger.paths.items()}
    story.turn()
    ledger = story.state.ledger
    assert {key: known.counts for key, known in ledger.paths.items()} == before
    assert (ledger.heard(address).recent.share(story.now) or 0.0) > 0
    soonest = ledger.heard(address).soonest
    assert soonest.life(ledger.windows, WALL) is None, "no date was seen"
