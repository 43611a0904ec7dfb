"""A suspicion ends, and nothing but a fault of the local path alone becomes one that moves."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from listening import Listening, heard
from simulation import CONFIG, WALL, Answer, Ask, Shown, Simulation, policy, setup

from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.ledger import ASKED, Ledger
from steering.judge.known.paired_test import Confirmation, Trial
from steering.judge.probes.backoff import (
    GENTLE,
    HASTY,
    back_off,
    pair_bad_here,
    pair_good_here,
    without_fast_refusals,
)
from steering.judge.probes.losses import CLEAN, EVERY, HERE, MEMORY, NEITHER, THERE, count_losses
from steering.judge.probes.losses import CONFIRM_AT as LOSSES_AT
from steering.judge.traffic.dismissed import LONGEST, QUIET
from steering.model import LOCAL, Attention, Heard, Kind, Observation, Outcome, Question, Round
from steering.observe.probe.schedule import Pace, Schedule

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


@pytest.mark.long
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
    assert story.asked <= addresses * (256 + 50 + 900 / story.index.interval)
    story.run(2000)
    assert len(story.told("suspected")) == addresses, "they are not heard for an hour"


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


# --- a limit on questions, which our own haste runs into --------------------------------------


class Merged(Simulation):
    """One timeline an address, as the agent's own cadence has it: a slow round is one of the fast
    ones, and not one more in between.
    """

    def _ask(self) -> None:
        for a, address in enumerate(self.index.settings):
            due = self._wanted.get(address)
            slow = self._slow[address] <= self.now
            if not (slow if due is None else self._due(address) <= self.now):
                continue
            self._fast[address] = self.now
            self._slow[address] += self.index.interval * slow
            self._round(
                a,
                address,
                set(self.index.paths) if slow or due is None else set(due.paths),
                live=due is not None and due.live,
                witnesses=() if slow or due is None else due.witnesses,
            )


@dataclass
class Limit:
    """A server that takes so many questions a second over one path, and not one more."""

    number: int
    outcome: Outcome
    everywhere: bool = False
    fault: Callable[[Ask], bool] = lambda ask: False  # noqa: ARG005
    """What is wrong with those that it answers."""
    instead: Outcome = Outcome.EXPIRED
    asked: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def __call__(self, ask: Ask) -> Outcome:
        if ask.local or self.everywhere:
            key = ask.address, ask.path
            known = [at for at in self.asked.get(key, []) if ask.now - at < 1 - 1e-6]
            if len(known) >= self.number:
                return self.outcome
            self.asked[key] = [*known, ask.now]
        return self.instead if self.fault(ask) else Outcome.SECURE


def a_moment(ask: Ask) -> bool:
    """Something of ten seconds that makes the agent ask fast, and passes."""
    return ask.local and 1100 < ask.now < 1110 and ask.lost(0.3)


def for_good(ask: Ask) -> bool:
    return ask.local and ask.now > 1100


@pytest.mark.long
@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.SERVFAIL, Outcome.TIMEOUT])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_only_fast_questions_meet_moves_nobody(
    tmp_path: Path, outcome: Outcome, number: int
) -> None:
    limit = Limit(number, outcome, fault=a_moment, instead=Outcome.REFUSED)
    story = Merged(setup(tmp_path, policy(letters=3), config=SHIPPED), limit, step=0.05)
    story.run(600)
    assert story.asked > 6 * 61, "or nothing was tried"
    assert not story.told("confirmed")
    assert not story.steps
    assert len(story.told("suspected")) <= 2 * 6
    assert story.asked < 6 * 400


@pytest.mark.long
@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.TIMEOUT])
def test_a_steer_is_not_undone_by_a_limit_of_five_a_second(
    tmp_path: Path, outcome: Outcome
) -> None:
    """The proof asks twice over the site's path: by the mark, and as the host's traffic goes."""
    limit = Limit(5, outcome, everywhere=True, fault=for_good)
    story = Merged(setup(tmp_path, policy(letters=3), config=SHIPPED), limit, step=0.05)
    story.run(900)
    assert len(story.told("steered")) == len(story.told("proved")) == 6
    assert not story.told("undone")
    assert len(story.steps) == 6


def test_what_refuses_at_a_site_is_asked_slowly_and_kept(tmp_path: Path) -> None:
    limit = Limit(3, Outcome.REFUSED, everywhere=True, fault=for_good)
    story = Merged(setup(tmp_path, policy(letters=3), config=SHIPPED), limit, step=0.05)
    story.run(130)
    assert len(story.told("proved")) == 6
    begun = story.asked
    story.run(60)
    assert story.asked - begun < 6 * 60 * 2, "half of what is asked of one that refuses nothing"
    assert len(story.steps) == 6


@pytest.mark.long
@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.SERVFAIL, Outcome.TIMEOUT])
def test_who_refuses_everything_is_left_some_seconds_later(
    tmp_path: Path, outcome: Outcome
) -> None:
    """Slow answers must say so as well. Where fast ones convicted alone it took 7.9 s, and 12.2
    of silence; now it takes 12.3 and 18.0, all from the fault to the last steer.
    """
    took = []
    for seed in range(4):
        begins = 1100 + 2.3 * seed

        def answer(ask: Ask, begins: float = begins) -> Outcome:
            ill = ask.local and ask.now > begins and ".5." in ask.address.replace(":", ".")
            return outcome if ill else Outcome.SECURE

        both = policy(letters=3), policy("other", letters=3, net=6)
        story = Merged(setup(tmp_path, *both, config=SHIPPED), answer, step=0.05)
        story.run(begins - 1000)
        story.until(lambda: len(story.installed) == 6, 60)  # noqa: B023
        took.append(story.now - begins)
    assert statistics.mean(took) <= (14 if outcome is not Outcome.TIMEOUT else 20)


def test_a_good_answer_at_leisure_takes_back_what_haste_brought(tmp_path: Path) -> None:
    index = Index.of(setup(tmp_path, config=SHIPPED))
    trial = Trial(candidate="pao", since=0.0)
    for i in range(12):
        trial = pair_bad_here(trial, index, i * 0.2, i * 0.2, lost=True)
    assert (trial.score, trial.hasty, trial.pairs) == (HASTY, HASTY, 12)
    assert trial.eased is not None
    early, late = trial.eased + GENTLE - 0.01, trial.eased + GENTLE
    assert pair_bad_here(trial, index, early, early, lost=True).score == HASTY
    assert pair_bad_here(trial, index, late, late, lost=True).score == HASTY + 1
    assert pair_good_here(trial, index, early) == trial
    assert (
        pair_good_here(trial, index, late).score,
        pair_good_here(trial, index, late).hasty,
    ) == (0, 0)


def test_who_still_refuses_when_asked_slowly_is_believed(tmp_path: Path) -> None:
    """Else a steer to a site that refuses everything would never fail its proof."""
    index = Index.of(setup(tmp_path, config=SHIPPED))
    ledger, address = Ledger.blank(1000.0), index.targets[0].address
    question = Question(zone="gtld.", name="n.gtld.", rdtype="A", kind=Kind.DENIAL)
    refused = Observation(address=address, path="pao", outcome=Outcome.REFUSED, live=True)
    believed = []
    for now in (1000.2, 1000.4, 1001.6, 1002.8, 1004.0):
        item = Round(address=address, question=question, at=now, observations=(refused,))
        draft = Draft(ledger, index, WALL, now)
        back_off(draft, (item,), {address: "pao"})
        ledger = draft.done()
        believed.append(without_fast_refusals(item, index, ledger) == item)
    assert believed == [False, False, True, True, True]


def test_bogus_answers_are_nobody_s_haste(tmp_path: Path) -> None:
    index = Index.of(setup(tmp_path, config=SHIPPED))
    trial = Trial(candidate="pao", since=0.0)
    for i in range(12):
        trial = pair_bad_here(trial, index, i * 0.2, i * 0.2, lost=False)
    assert trial.result is Confirmation.CONFIRMED


def test_the_pace_that_is_wanted_is_the_pace_that_is_asked() -> None:
    pace = Pace(interval=10.0, fast_interval=0.2, timeout=1.0)
    cadence = Schedule(["a"], ("local", "pao"), pace, rng=random.Random(1), now=0.0)
    cadence.attend({"a": Attention(paths=frozenset({"local"}), live=True, every=1.2)}, 0.0)
    times = []
    while cadence.wake_at < 60:
        at = cadence.wake_at
        times += [at for turn in cadence.due(at) if "local" in turn.paths]
    assert len(times) == 50
    assert min(b - a for a, b in itertools.pairwise(times)) >= 1.2 - 1e-9


# --- losses of the local path alone -------------------------------------------------------------


def lossy(share: Mapping[str, float], seed: int = 0, since: float = 1100.0) -> Answer:
    """Every path loses so much of what the policy below 192.5 is asked."""

    def answer(ask: Ask) -> Outcome:
        ill = ".5." in ask.address.replace(":", ".") and ask.now > since
        lost = ill and ask.lost(share.get(ask.path, 0.0), str(seed))
        return Outcome.TIMEOUT if lost else Outcome.SECURE

    return answer


BOTH = policy(letters=3), policy("other", letters=1, net=6)


PATIENT = SHIPPED.replace("timeout: 1s", "timeout: 3s")
"""A loss is known when later questions have been answered."""


@pytest.mark.long
@pytest.mark.parametrize("config", [SHIPPED, CONFIG, PATIENT], ids=["10s", "1s", "patient"])
def test_a_tenth_lost_over_the_local_path_alone_is_found(tmp_path: Path, config: str) -> None:
    """In twelve runs at 10 s the whole group was away within 301 to 596 s, 409 on average."""
    story = Merged(setup(tmp_path, *BOTH, config=config), lossy({LOCAL: 0.1}), step=0.05)
    story.run(100)
    story.until(lambda: len(story.installed) == 6, 600)
    assert not any(".6." in address.replace(":", ".") for address in story.installed)


def test_half_lost_over_the_local_path_alone_takes_two_minutes(tmp_path: Path) -> None:
    story = Merged(setup(tmp_path, *BOTH, config=SHIPPED), lossy({LOCAL: 0.5}), step=0.05)
    story.run(100)
    assert story.until(lambda: len(story.installed) == 6, 300) < 180


@pytest.mark.long
@pytest.mark.parametrize("share", [0.03, 0.1])
def test_what_all_paths_lose_alike_moves_nobody(tmp_path: Path, share: float) -> None:
    everywhere = dict.fromkeys((LOCAL, "pao", "fra"), share)
    story = Merged(setup(tmp_path, *BOTH, config=SHIPPED), lossy(everywhere), step=0.05)
    story.run(1200)
    assert not story.told("confirmed")
    assert not story.steps


def test_what_one_site_alone_loses_moves_nobody(tmp_path: Path) -> None:
    story = Merged(setup(tmp_path, *BOTH, config=SHIPPED), lossy({"pao": 0.3}), step=0.05)
    story.run(900)
    assert not story.told("confirmed")
    assert not story.steps
    assert not any(known.losses for known in story.state.ledger.paths.values())


def test_a_loss_counts_by_when_it_was_asked_and_answers_of_one_turn_each(tmp_path: Path) -> None:
    """A loss is known a timeout later than answers to what was asked after it."""
    index = Index.of(setup(tmp_path, policy(letters=1), config=SHIPPED))
    address = index.targets[0].address
    question = Question(zone="gtld.", name="n.gtld.", rdtype="A", kind=Kind.DENIAL)
    draft = Draft(Ledger.blank(1000.0), index, WALL, 1000.0)

    def points(at: float, here: Outcome) -> int:
        seen = {
            LOCAL: Observation(address=address, path=LOCAL, outcome=here),
            "pao": Observation(address=address, path="pao", outcome=Outcome.SECURE),
        }
        asked = Round(address=address, question=question, at=at, observations=tuple(seen.values()))
        count_losses(draft, address, asked, seen)
        return draft.path(address, "pao").losses

    lost, good = Outcome.TIMEOUT, Outcome.SECURE
    assert points(1001.0, lost) == HERE
    assert [points(at, good) for at in (1002.05, 1003.1)] == [HERE - 1, HERE - 2]
    assert points(1005.2, good) == HERE - 3
    assert points(1004.15, lost) == 2 * HERE - 3, "asked at leisure, and known late"
    assert points(1004.25, lost) == 2 * HERE - 3, "asked in haste"
    fast = [points(1010 + n / 10, good) for n in range(ASKED + 1)]
    assert fast[0] == fast[-1] == 2 * HERE - 4, "the first of them was at leisure"
    assert points(1006.25, lost) == fast[-1], "nobody knows what was asked before it any more"


def rounds_to_alarm(here: float, there: float) -> float:
    """Mean number of rounds at leisure until an alarm, exactly, by the chain of all points."""
    alone, other = here * (1 - there), there * (1 - here)
    steps = (HERE, alone), (THERE, other), (NEITHER, 1 - alone - other)
    every = range(LOSSES_AT)
    # By points: the rounds that are left are one more than what is left after each step.
    left = [[float(points == after) for after in every] for points in every]
    rounds = [1.0] * LOSSES_AT
    for points in every:
        for step, chance in steps:
            after = max(0, points + step)
            if after < LOSSES_AT:
                left[points][after] -= chance
    for most in reversed(
        every
    ):  # no step leads down by more than `THERE`, or up by more than `HERE`
        for points in every[max(0, most - HERE) : most]:
            part = left[points][most] / left[most][most]
            for after in every[max(0, most + THERE) : most] if part else ():
                left[points][after] -= part * left[most][after]
            rounds[points] -= part * rounds[most]
    return rounds[0] / left[0][0]


def test_three_per_cent_everywhere_alarm_a_site_less_than_once_in_ten_thousand_days() -> None:
    """26 addresses, two sites, asked at the quicker pace all day, and no heed paid to `CLEAN`."""
    a_day = 26 * 2 * 86_400 / EVERY
    assert a_day / rounds_to_alarm(0.03, 0.03) < 1e-4
    assert rounds_to_alarm(0.1, 0.0) * EVERY < 310
    # What the other path loses as well makes it rarer than the square of that would be.
    assert a_day / rounds_to_alarm(0.1, 0.1) > 1e-4, "so `CLEAN` is needed"


@pytest.mark.long
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.5])
def test_losses_that_are_shared_are_never_held_against_one_path(share: float) -> None:
    """At 5 % these are 311 days of one pair of paths: points are had, and `CLEAN` forbids it."""
    draw, points, loses = random.Random(20230708).random, 0, share
    neither = math.log((1 - share) ** 2)
    only = share * (1 - share) / (1 - (1 - share) ** 2)
    for _ in range(2_500_000):  # rounds in which anything is lost, and all before each
        well = int(math.log(1 - draw()) / neither)
        points, loses = max(0, points + well * NEITHER), loses * (1 - 1 / MEMORY) ** well
        lost = draw()
        if lost < only:
            points, loses = min(points + HERE, LOSSES_AT), loses - loses / MEMORY
            assert points < LOSSES_AT or loses > CLEAN
            continue
        points = max(0, points + (THERE if lost < 2 * only else NEITHER))
        loses += (1 - loses) / MEMORY
