"""One turn of the verifications, case by case: what is proved, undone, kept, avoided, told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulation import CONFIG, WALL, policy, setup

from steering.decide.state import State
from steering.decide.traffic_served import AGAIN, FORGOTTEN, REST, Served, Unserved
from steering.decide.verification import AVOID, GOOD_ENOUGH, LOST_AFTER, Verification, allowance
from steering.decide.verify import verify
from steering.facts import Facts
from steering.index import Index
from steering.judge.known.ledger import PathRecord
from steering.judge.known.recovery import Hold
from steering.judge.open_addresses import reopened
from steering.model import (
    LOCAL,
    Health,
    Heard,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
)
from steering.override import Action, Match, Override

NOW = 5000.0
GOOD, EXPIRED, LOST = Outcome.SECURE, Outcome.EXPIRED, Outcome.TIMEOUT
PROVING = Verification(path="pao", installed=NOW - 2, deadline=NOW + 3, good=GOOD_ENOUGH - 1)
PROVED = replace(PROVING, good=GOOD_ENOUGH, proved=True)
WORSE = Served(usual=50.0, spans=2, since=NOW - 3, began=NOW, all_lost=100)
"""The resolvers got nothing in two spans in a row."""


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.blank(Index.of(setup(tmp_path, policy(letters=2))), NOW, WALL)


@pytest.fixture
def address(state: State) -> str:
    return next(iter(state.index.settings))


def healthy(run: int = 9) -> PathRecord:
    return PathRecord(health=Health.HEALTHY, run=run)


def with_proof(
    state: State, address: str, proof: Verification, record: PathRecord | None = None
) -> State:
    """A steer, or a return, under verification."""
    paths = {(address, proof.path): record or healthy()}
    ledger = reopened(replace(state.ledger, paths=paths), state.index, NOW)
    plan = {} if proof.path == LOCAL else {address: proof.path}
    return replace(state, ledger=ledger, plan=plan, verifications={address: proof})


def facts(address: str, path: str = "pao", *outcomes: Outcome, at: float = NOW) -> Facts:
    """The route is there, and so many live answers came."""
    question = Question(kind=Kind.SOA, zone="gtld.", name="gtld.", rdtype="SOA")
    rounds = tuple(
        Round(
            address=address,
            question=question,
            at=at,
            observations=(Observation(address=address, path=path, outcome=one, live=True),),
        )
        for one in outcomes
    )
    installed = {} if path == LOCAL else {address: path}
    return Facts(wall=WALL, installed=installed, rounds=rounds)


def told(state: State, given: Facts) -> tuple[State, list[str]]:
    after, events = verify(state, given)
    return after, [event.event for event in events]


def test_a_steer_is_proved_by_enough_good_live_answers_and_told_once(
    state: State, address: str
) -> None:
    after, events = told(with_proof(state, address, PROVING), facts(address))
    assert (after.verifications, events) == ({address: PROVING}, [])
    after, events = told(with_proof(state, address, PROVING), facts(address, "pao", GOOD))
    assert events == ["proved"]
    assert after.verifications[address].proved
    assert told(after, facts(address, "pao", GOOD))[1] == []
    early = facts(address, "pao", GOOD, at=NOW - 3)
    assert told(with_proof(state, address, PROVING), early)[1] == [], "asked before the route came"


def test_where_dnstap_shows_no_answer_yet_the_proof_waits_until_its_deadline(
    state: State, address: str
) -> None:
    for served, deadline, proved in (
        (Served(usual=9.0), NOW + 1, False),
        (Served(usual=9.0), NOW, True),
        (Served(usual=9.0, fine=True), NOW + 1, True),
        (Served(), NOW + 1, True),
    ):
        proof = replace(PROVING, served=served, deadline=deadline)
        _, events = told(with_proof(state, address, proof), facts(address, "pao", GOOD))
        assert events == (["proved"] if proved else [])


def test_a_verification_begins_when_the_route_is_seen_and_anew_when_it_was_away(
    state: State, address: str
) -> None:
    waiting = with_proof(state, address, Verification(path="pao"))
    begun = told(waiting, facts(address))[0].verifications[address]
    allowed = allowance(state.index.fast_interval, state.index.timeout)
    assert (begun.installed, begun.deadline) == (NOW, NOW + allowed)
    assert begun.served.began == NOW
    for path in ("fra", LOCAL):
        paused = told(with_proof(state, address, PROVED), facts(address, path))[0]
        assert paused.verifications[address] == Verification(path="pao", proved=True)
    family = state.index.settings[address].family
    named = replace(state, sources={family: ("10.0.0.1", "10.0.0.2")})
    owing = replace(PROVING, good=9, owing=frozenset({"10.0.0.2", "10.0.0.3"}))
    kept = told(with_proof(named, address, owing), facts(address))[0].verifications[address]
    assert kept.owing == {"10.0.0.2"}, "the other is not in use any more"


def test_a_detour_that_does_not_help_is_undone_and_its_site_avoided(
    state: State, address: str
) -> None:
    proof = replace(PROVING, good=0)
    before = with_proof(state, address, proof)
    key, other = (address, "pao"), (address, "fra")
    before = replace(before, turned={key: 1.0, other: 2.0}, avoid_until={other: 9.0})
    after, (event,) = verify(before, facts(address, "pao", LOST, LOST, LOST))
    assert event.event == "undone"
    assert (event.path, event.was) == ("pao", "pao")
    assert "pao does not help" in event.because
    assert not after.verifications
    assert after.avoid_until == {key: NOW + AVOID, other: 9.0}
    assert after.turned == {other: 2.0}
    late = replace(proof, deadline=NOW, stuck=3)
    _, (event,) = verify(with_proof(state, address, late), facts(address))
    assert "no evidence that pao helps" in event.because


def test_without_any_answer_that_counts_it_goes_on_with_one_event(
    state: State, address: str
) -> None:
    silent = replace(PROVING, good=0, deadline=NOW)
    after, events = told(with_proof(state, address, silent), facts(address))
    assert events == ["unshown"]
    later = after.verifications[address]
    assert later.deadline > NOW
    assert told(replace(after, now=later.deadline), facts(address))[1] == []


@pytest.mark.parametrize("action", [Action.STEER, Action.LOCAL, None])
def test_what_an_override_steers_is_kept_though_it_does_not_help(
    state: State, address: str, action: Action | None
) -> None:
    order = Override(
        name="noc",
        match=Match(address=address),
        action=action or Action.STEER,
        to="pao" if action is Action.STEER else None,
        until=None,
        reason="",
        by="noc",
    )
    orders = replace(
        state.override_state,
        overrides=(order,),
        decides={} if action is None else {address: 0},
    )
    ordered = replace(state, override_state=orders)
    before = with_proof(ordered, address, replace(PROVING, good=0))
    after, events = told(before, facts(address, "pao", LOST, LOST, LOST))
    kept = action is Action.STEER
    assert events == (["unshown"] if kept else ["undone"])
    assert bool(after.verifications) == kept
    if kept:
        assert after.verifications[address].bad == 0, "it begins anew"
    unserved = with_proof(ordered, address, replace(PROVED, served=WORSE))
    assert told(unserved, facts(address))[1] == (["unshown"] if kept else ["undone"])


def test_a_proved_steer_that_fails_with_its_whole_path_is_left_to_the_rules(
    state: State, address: str
) -> None:
    lost = replace(PROVED, bad_run=LOST_AFTER)
    for record, undone in (
        (healthy(), True),
        (healthy(run=0), False),
        (replace(healthy(), health=Health.SUSPECT), False),
    ):
        _, events = told(with_proof(state, address, lost, record), facts(address))
        assert events == (["undone"] if undone else [])


def test_what_carries_our_questions_and_not_the_resolvers_ends(state: State, address: str) -> None:
    unserved = replace(PROVED, served=WORSE)
    for proof, record, ends in (
        (unserved, healthy(), True),
        (replace(unserved, bad_run=1), healthy(), False),
        (replace(unserved, stuck=1), healthy(), False),
        (unserved, healthy(run=0), False),
        (replace(unserved, proved=False, good=0), healthy(), False),
        (replace(unserved, proved=False, good=1), healthy(), True),
        (replace(unserved, served=replace(WORSE, spans=1)), healthy(), False),
    ):
        after, events = told(with_proof(state, address, proof, record), facts(address))
        assert events == (["undone"] if ends else []), proof
        if ends:
            (one,) = after.unserved.values()
            assert (one.at, one.times, one.silent) == (NOW, 1, True)
            assert not after.verifications
            assert after.avoid_until == {
                (address, "pao"): NOW + AGAIN,
                (address, "fra"): NOW + REST,
            }


def ended(ago: float, *, silent: bool = True, times: int = 1) -> Unserved:
    return Unserved(at=NOW - ago, times=times, silent=silent, shown="")


def test_it_ends_one_detour_in_ten_minutes_and_a_second_if_nothing_comes_back_over_either(
    state: State, address: str
) -> None:
    bad = replace(WORSE, all_lost=0, all_bad=100)
    for before, served, ends in (
        ({"pao": ended(AGAIN)}, WORSE, True),
        ({"pao": ended(AGAIN - 1)}, WORSE, False),
        ({"fra": ended(AGAIN - 1)}, WORSE, True),
        ({"fra": ended(AGAIN - 1)}, bad, False),
        ({"fra": ended(AGAIN)}, bad, True),
        ({"fra": ended(1), "mars": ended(1)}, WORSE, False),
        ({"fra": ended(1), "mars": ended(AGAIN)}, WORSE, True),
    ):
        known = {(address, site): one for site, one in before.items()}
        other = next(a for a in state.index.settings if a != address)
        known |= {(other, "pao"): ended(1), (other, "fra"): ended(1)}
        proof = replace(PROVED, served=served)
        given = replace(with_proof(state, address, proof), unserved=known)
        after, events = told(given, facts(address))
        assert events == (["undone"] if ends else ["unshown"]), before
        if not ends:
            kept = after.verifications[address]
            assert kept.shouted
            assert kept.served == Served(usual=WORSE.usual, before=WORSE.before)


def test_a_site_is_avoided_longer_with_each_time_and_all_if_over_none_anything_came_back(
    state: State, address: str
) -> None:
    pao, fra = (address, "pao"), (address, "fra")

    def avoided(**before: Unserved) -> tuple[dict[tuple[str, str], float], State]:
        known = {(address, site): one for site, one in before.items()}
        proof = with_proof(state, address, replace(PROVED, served=WORSE))
        given = replace(proof, unserved=known, turned={pao: 1.0, fra: 1.0, ("x", "pao"): 1.0})
        after, _ = told(given, facts(address))
        return {key: at - NOW for key, at in after.avoid_until.items()}, after

    found, after = avoided(pao=ended(AGAIN, times=2))
    assert found == {pao: 4 * AGAIN, fra: REST}
    assert after.turned == {("x", "pao"): 1.0}
    found, after = avoided(pao=ended(FORGOTTEN, times=2), fra=ended(FORGOTTEN))
    assert found == {pao: AGAIN, fra: REST}
    assert after.unserved.keys() == {pao}
    assert avoided(fra=ended(1))[0] == {pao: AGAIN, fra: AGAIN}
    assert avoided(fra=ended(AGAIN))[0] == {pao: AGAIN, fra: REST}
    far = replace(state, avoid_until={pao: NOW + 1e6})
    proof = with_proof(far, address, replace(PROVED, served=WORSE))
    assert told(proof, facts(address))[0].avoid_until[pao] == NOW + 1e6, "never less than before"


def heard(address: str, path: str, answers: int, bad: int = 0, overdue: int = 0) -> Heard:
    counts = {Outcome.SERVFAIL: bad, Outcome.TIMEOUT: 3, GOOD: 7}
    return Heard(
        address=address, path=path, at=NOW, answers=answers, counts=counts, overdue=overdue
    )


def test_what_resolvers_got_over_the_detour_is_counted_by_good_bad_and_lost(
    state: State, address: str
) -> None:
    proof = replace(PROVED, served=Served(usual=9.0, began=NOW - 0.5))
    given = replace(
        facts(address),
        heard=(
            heard(address, "pao", 10, 4, 2),
            heard(address, "pao", 3, 1),
            heard(address, "fra", 100, 50),
            heard(address, LOCAL, 100, 50),
            heard("192.0.2.99", "pao", 100),
        ),
    )
    served = told(with_proof(state, address, proof), given)[0].verifications[address].served
    assert (served.good, served.bad, served.lost) == (8, 5, 2)
    back = Verification(path=LOCAL, installed=NOW - 1, deadline=NOW + 9)
    home = replace(facts(address, LOCAL), heard=(heard(address, LOCAL, 10),))
    kept = told(with_proof(state, address, back), home)[0].verifications[address]
    assert kept.served == back.served, "back on the local path nothing is compared"


BACK = Verification(path=LOCAL, installed=NOW - 2, deadline=NOW + 3)


def test_the_first_address_back_is_verified_before_the_others_follow(
    state: State, address: str
) -> None:
    after, events = told(
        with_proof(state, address, replace(BACK, good=GOOD_ENOUGH - 1)),
        facts(address, LOCAL, GOOD),
    )
    assert events == ["proved"]
    assert after.verifications[address].proved
    assert told(after, facts(address, LOCAL, GOOD))[1] == []
    few = with_proof(state, address, replace(BACK, good=GOOD_ENOUGH), healthy(run=0))
    assert told(few, facts(address, LOCAL))[1] == [], "the latest marked probe was bad"
    silent = with_proof(state, address, replace(BACK, deadline=NOW))
    assert told(silent, facts(address, LOCAL))[1] == ["unshown"]


def test_the_first_address_back_that_fails_ends_the_recovery_of_those_still_away(
    state: State, address: str
) -> None:
    first, second, third, fourth = state.index.settings
    for proof, record in (
        (replace(BACK, bad=3, bad_run=3), healthy()),
        (BACK, PathRecord(health=Health.FAILING, run=1)),
    ):
        before = with_proof(state, address, proof, record)
        orders = replace(state.override_state, decides={third: 0})
        before = replace(before, plan={second: "pao", third: "pao"}, override_state=orders)
        holds = {
            a: replace(before.ledger.address(a), hold=Hold(breaches=1, since=1.0, ended=1.0))
            for a in (first, second, third, fourth)
        }
        before = replace(before, ledger=replace(before.ledger, addresses=holds))
        after, (event,) = verify(before, facts(address, LOCAL))
        assert event.event == "relapsed"
        assert event.path == LOCAL
        assert event.because.endswith("; 1 more stay on their site")
        assert not after.verifications
        anew = {a for a in holds if after.ledger.address(a).hold != before.ledger.address(a).hold}
        assert anew - {first} == {second}, "an order has no recovery to lose"
        assert (first in anew) == (record.health is Health.HEALTHY), "else its breach is known"
    suspect = with_proof(state, address, BACK, PathRecord(health=Health.SUSPECT, run=1))
    assert told(suspect, facts(address, LOCAL))[1] == [], "a suspicion alone moves nothing"


def test_an_agent_that_does_not_act_says_so_and_knows_nothing_of_the_resolvers(
    tmp_path: Path,
) -> None:
    index = Index.of(setup(tmp_path, policy(letters=1), config=CONFIG + "mode: rehearse\n"))
    state, address = State.blank(index, NOW, WALL), next(iter(index.settings))
    before = with_proof(state, address, PROVING)
    _, (event,) = verify(before, facts(address, "pao", GOOD))
    assert "marked answers" in event.because
    begun = told(with_proof(state, address, Verification(path="pao")), facts(address))[0]
    assert begun.verifications[address].served.usual == 0.0
