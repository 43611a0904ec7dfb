"""Fast probing may cause what it sees: what it may confirm, when it ends, when it begins again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from simulation import CONFIG, WALL, policy, setup

from steering.decide.state import State
from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.ledger import AddressRecord, Backoff, Ledger, PathRecord
from steering.judge.known.paired_test import Trial
from steering.judge.open_addresses import reopened
from steering.judge.probes import backoff
from steering.judge.probes.backoff import (
    DOUBLED,
    EASE,
    FULL,
    GENTLE,
    HASTY,
    LOST,
    SLOWLY,
    back_off,
    gap,
    pair_bad_here,
    pair_good_here,
    without_fast_refusals,
)
from steering.model import LOCAL, Health, Kind, Observation, Outcome, Question, Round

NOW = 5000.0
GOOD, GONE, REFUSED, EXPIRED = Outcome.SECURE, Outcome.TIMEOUT, Outcome.REFUSED, Outcome.EXPIRED
TRIAL = Trial(candidate="pao", since=NOW - 9)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.of(setup(tmp_path, policy(letters=1)))


@pytest.fixture
def address(index: Index) -> str:
    return next(iter(index.settings))


def test_losses_of_fast_probes_give_two_thirds_of_a_trial_and_the_rest_is_asked_slowly(
    index: Index,
) -> None:
    trial = TRIAL
    for number in range(1, HASTY + 1):
        trial = pair_bad_here(trial, index, NOW, NOW, lost=True)
        assert (trial.score, trial.hasty) == (number, number)
        assert trial.eased == (NOW if number == HASTY else None)
    under_way = pair_bad_here(trial, index, NOW + GENTLE - 0.1, NOW, lost=True)
    assert (under_way.score, under_way.hasty, under_way.pairs) == (HASTY, HASTY, HASTY + 1)
    slow = pair_bad_here(trial, index, NOW + GENTLE, NOW, lost=True)
    assert (slow.score, slow.hasty, slow.eased) == (HASTY + 1, HASTY, NOW)
    bogus = pair_bad_here(TRIAL, index, NOW, NOW, lost=False)
    assert (bogus.score, bogus.hasty) == (1, 0)


def test_a_single_good_answer_to_a_slow_probe_takes_back_what_fast_ones_showed(
    index: Index,
) -> None:
    eased = replace(TRIAL, score=9, hasty=8, eased=NOW)
    assert pair_good_here(eased, index, NOW + GENTLE - 0.1) == eased
    slow = pair_good_here(eased, index, NOW + GENTLE)
    assert (slow.score, slow.hasty) == (1, 0)
    none = replace(eased, hasty=0)
    assert pair_good_here(none, index, NOW + GENTLE) == none


def test_where_probing_is_never_fast_every_probe_is_slow(tmp_path: Path) -> None:
    slow = CONFIG.replace("interval: 1s, fast_interval: 100ms", "interval: 9s, fast_interval: 1s")
    index = Index.of(setup(tmp_path, config=slow))
    after = pair_bad_here(TRIAL, index, NOW, NOW, lost=True)
    assert (after.score, after.hasty, after.eased) == (1, 0, None)


def knowing(
    index: Index, address: str, health: Health = Health.HEALTHY, known: Backoff | None = None
) -> Ledger:
    ledger = replace(
        State.blank(index, NOW, WALL).ledger,
        paths={(address, LOCAL): PathRecord(health=health)},
        addresses={address: AddressRecord(backoff=known)},
    )
    return reopened(ledger, index, NOW)


def asked(address: str, *outcomes: Outcome, path: str = LOCAL, live: bool = False) -> Round:
    seen = [Observation(address=address, path=path, outcome=one, live=live) for one in outcomes]
    question = Question(kind=Kind.SOA, zone="gtld.", name="gtld.", rdtype="SOA")
    return Round(address=address, question=question, at=NOW, observations=tuple(seen))


def after(
    index: Index,
    ledger: Ledger,
    rounds: Sequence[Round],
    installed: dict[str, str] | None = None,
    now: float = NOW,
) -> Backoff | None:
    draft = Draft(ledger, index, 0.0, now)
    back_off(draft, tuple(rounds), installed or {})
    return draft.done().address(rounds[0].address if rounds else next(iter(index.settings))).backoff


def test_four_losses_in_a_row_back_off_and_good_answers_take_one_point_each(
    index: Index, address: str
) -> None:
    ledger = knowing(index, address)
    assert after(index, ledger, [asked(address, GOOD)]) is None
    assert after(index, ledger, [asked(address, EXPIRED)]) is None, "that is no cause to be slow"
    lost = asked(address, GONE)
    found = after(index, ledger, [lost] * 3 + [asked(address, GOOD)])
    assert found == Backoff(points=3 * LOST - 1, since=NOW, until=NOW)
    found = after(index, ledger, [lost] * (FULL // LOST))
    assert found == Backoff(points=FULL, since=NOW, until=NOW + EASE)
    assert after(index, ledger, [lost, *[asked(address, GOOD)] * LOST]) is None, "it is over"
    elsewhere = asked(address, GONE, path="pao")
    assert after(index, ledger, [elsewhere]) is None, "nothing goes that way"
    steered = after(index, ledger, [elsewhere], {address: "pao"})
    assert steered is not None
    assert steered.points == LOST, "that path is in use"
    assert after(index, ledger, [asked("192.0.2.99", GONE)]) is None


def test_the_time_since_it_is_slow_runs_on_while_losses_do_and_begins_anew_after(
    index: Index, address: str
) -> None:
    full = Backoff(points=FULL, since=NOW - 20, until=NOW + 1)
    again = after(index, knowing(index, address, known=full), [asked(address, GONE)])
    assert again == Backoff(points=FULL, since=NOW - 20, until=NOW + EASE)
    ended = replace(full, until=NOW)
    anew = after(index, knowing(index, address, known=ended), [asked(address, GONE)])
    assert anew == Backoff(points=FULL, since=NOW, until=NOW + EASE)


def test_it_is_over_when_no_points_are_left_and_the_time_has_passed(
    index: Index, address: str
) -> None:
    for points, until, over in ((0, NOW, True), (1, NOW, False), (0, NOW + 1, False)):
        known = Backoff(points=points, since=NOW - 40, until=until)
        assert (after(index, knowing(index, address, known=known), []) is None) == over


@pytest.mark.parametrize(
    "case",
    [
        (Health.HEALTHY, False, False, False),
        (Health.HEALTHY, True, False, True),
        (Health.SUSPECT, False, False, False),
        (Health.SUSPECT, True, False, False),
        (Health.SUSPECT, True, True, True),
        (Health.STALE, False, False, True),
        (Health.FAILING, False, False, True),
    ],
)
def test_a_refusal_backs_off_at_once_where_nothing_is_left_to_examine(
    index: Index, address: str, case: tuple[Health, bool, bool, bool]
) -> None:
    health, live, steered, at_once = case
    installed = {address: LOCAL} if steered else {}
    ledger = knowing(index, address, health)
    found = after(index, ledger, [asked(address, REFUSED, live=live)], installed)
    assert found is not None
    assert (found.points == FULL) == at_once
    lost = after(index, ledger, [asked(address, GONE, live=live)], installed)
    assert lost is None or lost.points < FULL, "a loss alone is no refusal"


def test_how_far_apart_fast_rounds_are_at_least(index: Index, address: str) -> None:
    fast = index.fast_interval

    def least(known: Backoff | None, trial: Trial | None = None, *, proving: bool = False) -> float:
        record = AddressRecord(backoff=known, trial=trial)
        ledger = replace(knowing(index, address), addresses={address: record})
        return gap(index, ledger, address, NOW, proving=proving)

    slow = Backoff(points=FULL, since=NOW, until=NOW + 1)
    assert least(None) == 0.0
    assert least(None, proving=True) == pytest.approx(DOUBLED * fast)
    assert least(slow) == SLOWLY
    assert least(replace(slow, until=NOW)) == 0.0
    assert least(slow, TRIAL) == 0.0, "the first part of a trial is fast all the same"
    assert least(None, replace(TRIAL, eased=NOW)) == SLOWLY
    assert backoff.GENTLE < SLOWLY


def test_refusals_of_live_probes_sent_fast_are_no_evidence(index: Index, address: str) -> None:
    def kept(known: Backoff | None, live: bool, *outcomes: Outcome) -> list[Outcome]:
        item = asked(address, *outcomes, live=live)
        found = without_fast_refusals(item, index, knowing(index, address, known=known))
        return [seen.outcome for seen in found.observations]

    fast = Backoff(points=1, since=NOW - GENTLE + 0.1, until=NOW)
    both = [GOOD, REFUSED]
    assert kept(fast, True, *both) == [GOOD]
    assert kept(fast, True, GONE, REFUSED) == [GONE]
    assert kept(fast, False, *both) == both
    assert kept(None, True, *both) == both
    assert kept(replace(fast, since=NOW - GENTLE), True, *both) == both
