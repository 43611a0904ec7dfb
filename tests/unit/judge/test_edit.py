"""A turn changes nothing of the ledger before it, and shares with it what it has not changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from simulation import WALL, Ask, Simulation, setup

from steering.engine import engine
from steering.facts import Facts
from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.ledger import AddressRecord, GroupTrial, Ledger, PathRecord
from steering.judge.known.paired_test import Trial
from steering.judge.known.recovery import Hold
from steering.judge.open_addresses import is_open, reopened
from steering.judge.turn import judge
from steering.model import LOCAL, Health, Kind, Observation, Outcome, Question, Round


def _draft(tmp: Path) -> Draft:
    index = Index.of(setup(tmp))
    first, second = list(index.settings)[:2]
    known = {(first, LOCAL): PathRecord(run=3), (second, LOCAL): PathRecord(run=4)}
    return Draft(replace(Ledger.blank(1000.0), paths=known), index, WALL, 1001.0)


def test_what_is_written_to_is_copied_once_and_nothing_else(tmp_path: Path) -> None:
    draft = _draft(tmp_path)
    first, second = list(draft.index.settings)[:2]
    mine = draft.edit(first)
    mine.run = 7
    assert draft.edit(first) is mine
    after = draft.done()
    assert (after.path(first).run, draft.was.path(first).run) == (7, 3)
    assert after.path(second) is draft.was.path(second)
    assert after.addresses is draft.was.addresses


def test_what_was_never_measured_begins_blank_and_stays_blank_for_the_others(
    tmp_path: Path,
) -> None:
    draft = _draft(tmp_path)
    third, fourth = list(draft.index.settings)[2:4]
    draft.edit(third).run = 1
    draft.edit_address(third).trial = None
    assert draft.path(fourth).run == 0
    assert Ledger.blank(0.0).path(third) == PathRecord()
    assert Ledger.blank(0.0).address(third) == AddressRecord()


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_no_turn_changes_what_the_turn_before_has_handed_on(tmp_path: Path, share: float) -> None:
    sim = Simulation(
        setup(tmp_path),
        lambda ask: Outcome.EXPIRED if ask.local and ask.unlucky(share) else Outcome.SECURE,
    )
    for _ in range(40):
        before = sim.state
        kept = copy.deepcopy(before.ledger)
        sim.run(1)
        assert before.ledger == kept


def test_a_turn_in_which_nothing_came_in_copies_nothing(tmp_path: Path) -> None:
    state = Simulation(setup(tmp_path), lambda _: Outcome.SECURE).run(20).state
    after, _, _ = engine.turn(state, Facts(wall=WALL + state.now + 0.1), state.now + 0.1)
    for field in fields(after.ledger):
        now, before = getattr(after.ledger, field.name), getattr(state.ledger, field.name)
        assert now is before or now == before, field.name
    assert after.ledger.paths is state.ledger.paths
    assert after.ledger.traffic is state.ledger.traffic
    assert after.ledger.addresses is state.ledger.addresses
    assert (after.plan, after.rule) == (state.plan, state.rule)
    assert after.rule is state.rule


def _answers(share: float) -> Callable[[Ask], Outcome]:
    return lambda ask: Outcome.EXPIRED if ask.local and ask.unlucky(share) else Outcome.SECURE


@pytest.mark.long
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_what_is_looked_at_without_news_is_what_the_records_say(
    tmp_path: Path, share: float
) -> None:
    sim = Simulation(setup(tmp_path), _answers(share))
    for _ in range(30):
        sim.run(3)
        ledger, index = sim.state.ledger, sim.state.index
        again = reopened(ledger, index, sim.state.now)
        # An address that was probed fast until now is let go in the next turn.
        late = {a for a in ledger.open if not is_open(ledger, index, a, sim.state.now)}
        assert ledger.open - late == again.open
        watched = {key for keys in ledger.due.values() for key in keys}
        assert {key for keys in again.due.values() for key in keys} <= watched


def test_a_group_on_trial_is_looked_at_though_nothing_is_heard_of_it(tmp_path: Path) -> None:
    draft = _draft(tmp_path)
    address = next(iter(draft.index.settings))
    group = draft.index.settings[address].group
    trial = GroupTrial(trial=Trial(candidate="pao", since=1000.0), failed=frozenset())
    draft.edit_group(group).trial = trial
    after = reopened(draft.done(), draft.index, 5000.0)
    assert after.open == set(draft.index.groups[group])


def test_a_site_that_is_only_bad_is_no_reason_to_look_at_an_address(tmp_path: Path) -> None:
    sim = Simulation(
        setup(tmp_path), lambda ask: Outcome.TIMEOUT if ask.path == "fra" else Outcome.SECURE
    ).run(60)
    fra = [record for (_, path), record in sim.state.ledger.paths.items() if path == "fra"]
    assert {record.health for record in fra} == {Health.FAILING}
    assert not sim.state.ledger.open


def test_the_addresses_with_a_hold_are_known_by_name(tmp_path: Path) -> None:
    draft = _draft(tmp_path)
    first, second = list(draft.index.settings)[:2]
    draft.edit_address(first).hold = draft.edit_address(second).hold = Hold(breaches=1)
    held = draft.done()
    assert held.held == {first, second}
    after = Draft(held, draft.index, WALL, 1002.0)
    after.edit_address(first).hold = None
    assert after.done().held == {second}
    untouched = Draft(held, draft.index, WALL, 1002.0)
    untouched.edit_address(first).worst = 0.5
    assert untouched.done().held is held.held


def test_silence_after_good_answers_is_seen_in_the_same_turn_for_all(tmp_path: Path) -> None:
    """Nothing comes in any more, and each path is unknown when its last answer is too old."""
    sim = Simulation(setup(tmp_path), lambda _: Outcome.SECURE).run(20)
    state, index = sim.state, sim.state.index
    oldest = min(record.seen for record in state.ledger.paths.values())
    newest = max(record.seen for record in state.ledger.paths.values())
    for now, unknown in ((oldest + index.fresh, 0), (newest + index.fresh + 0.001, None)):
        state, _, _ = engine.turn(state, Facts(wall=WALL + now), now)
        found = [r.health for r in state.ledger.paths.values() if r.health is Health.UNKNOWN]
        assert len(found) == (len(state.ledger.paths) if unknown is None else unknown)


def test_two_rounds_of_one_address_in_a_turn_count_one_after_the_other(tmp_path: Path) -> None:
    """In one turn or in two of the same instant: it comes to the same."""
    index = Index.of(setup(tmp_path))
    address = index.targets[0].address
    outcomes = (Outcome.TIMEOUT, Outcome.SECURE, Outcome.EXPIRED, Outcome.SECURE, Outcome.TIMEOUT)
    told = [
        Round(
            address=address,
            question=Question(zone="gtld.", name=f"n{i}.gtld.", rdtype="A", kind=Kind.DENIAL),
            at=1000.0 + i / 10,
            observations=tuple(
                Observation(address=address, path=path, outcome=outcome, reached=came)
                for path, outcome, came in (
                    (LOCAL, outcome, outcome is not Outcome.TIMEOUT),
                    ("pao", Outcome.SECURE, True),
                )
            ),
        )
        for i, outcome in enumerate(outcomes)
    ]
    blank = Ledger.blank(1000.0)
    at_once, _ = judge(blank, index, Facts(wall=WALL, rounds=tuple(told)), 1001.0)
    apart = blank
    for item in told:
        apart, _ = judge(apart, index, Facts(wall=WALL, rounds=(item,)), 1001.0)
    for name in ("counts", "run", "streak", "silent_since", "answered", "recent", "baseline"):
        assert getattr(at_once.path(address), name) == getattr(apart.path(address), name), name
    assert at_once.path(address).run == 0
    assert at_once.path(address).streak == 1
