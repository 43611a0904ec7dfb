"""What is said of a state, word by word: each reason, each alarm, each number in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation import CONFIG, WALL, policy, setup

from steering.decide.messages import alarms, reasons
from steering.decide.messages.intercepted import ALONE
from steering.decide.moves import damping
from steering.decide.moves.groups import SETTLE
from steering.decide.moves.room import Held, Room
from steering.decide.rules import RULES
from steering.decide.situation import NO_CAUSES, AddressSituation, Situation
from steering.decide.state import Alarm, State
from steering.decide.traffic_served import Unserved
from steering.index import Index
from steering.judge.known.ledger import Control, PathRecord
from steering.judge.known.legs import Leg
from steering.judge.known.paired_test import Trial
from steering.judge.open_addresses import reopened
from steering.judge.signals import LATE_ROUNDS
from steering.model import LOCAL, Family, Health
from steering.override import Action, Match, Override

NOW = 5000.0
OPERATED = 'operator: {name: Verisign, contact: "noc@example.net"}\n'


@pytest.fixture
def state(tmp_path: Path) -> State:
    config = CONFIG.replace('::2"}}\n  fra', '::2"}, capacity: 1000}\n  fra')
    index = Index.of(setup(tmp_path, policy(letters=8, more=OPERATED), config=config))
    return replace(State.blank(index, NOW, WALL), started=True)


@pytest.fixture
def address(state: State) -> str:
    return next(iter(state.index.settings))


def situation(state: State, *ones: AddressSituation, **more: Any) -> Situation:  # noqa: ANN401
    room = Room(
        budget=state.index.budget,
        minute=0,
        allowed={"pao": 1000.0, "fra": float("inf")},
        load={"pao": 1200.0, "fra": 5.0},
        heard_load={"pao": 1200.0, "fra": 7.0},
        ledger=state.ledger,
        now=NOW,
    )
    usual: dict[str, Any] = {
        "off": False,
        "clock_doubt": False,
        "dated": frozenset(),
        "common_causes": NO_CAUSES,
        "open_groups": frozenset(),
        "addresses": {one.address: one for one in ones},
        "room": room,
    }
    return Situation(**(usual | more))


def one_of(address: str, **more: Any) -> AddressSituation:  # noqa: ANN401
    return AddressSituation(address=address, **({"local": Health.FAILING} | more))


def knowing(
    state: State, records: Mapping[tuple[str, str], PathRecord], **of_address: object
) -> State:
    ledger = replace(state.ledger, paths=dict(records))
    if of_address:
        address, _ = next(iter(records))
        known = {address: replace(ledger.address(address), **of_address)}  # type: ignore[arg-type]
        ledger = replace(ledger, addresses=known)
    return replace(state, ledger=reopened(ledger, state.index, NOW))


NUMBER = {rule.name: rule.number for rule in RULES}


def why(state: State, address: str, rule: str, *ones: AddressSituation, **more: object) -> str:
    seen = situation(state, *ones, **more)
    return reasons.because(replace(state, rule={address: NUMBER[rule]}, situation=seen), address)


def test_before_the_first_turn_there_is_no_reason(state: State, address: str) -> None:
    assert reasons.because(state, address) == "no turn yet"
    ruled = replace(state, rule={address: 5})
    assert reasons.because(ruled, address) == "no turn yet"
    assert reasons.because(replace(state, situation=situation(state)), address) == "no turn yet"


def test_each_rule_says_what_it_decided_by(state: State, address: str) -> None:
    local = "local: not measured yet"
    assert why(state, address, "off") == "switched off by `steering off`"
    assert why(state, address, "healthy") == local
    scout = why(state, address, "healthy", scouts=(address,))
    assert scout == f"first of its group to return to the local path; {local}"
    assert why(state, address, "everywhere") == f"every path is bad; {local}"
    clock = "at most half of the upstreams have such signatures (1 upstream in all)"
    assert why(state, address, "clock").startswith(f"{clock}; {local}")
    dated = why(state, address, "clock", dated=frozenset({"gtld"}))
    assert dated.startswith("most answers of gtld have signatures that are expired")
    assert why(state, address, "self") == "not measured yet"
    doubt = one_of(address, self_doubt=True)
    streak = knowing(state, {(address, LOCAL): PathRecord(streak=7)})
    assert why(streak, address, "self", doubt).startswith("7 questions in a row unanswered")
    causes = {**NO_CAUSES, Family.of(address): ("A", "B")}
    common = why(state, address, "self", doubt, common_causes=causes)
    probed = sum(of is Family.of(address) for _, of in state.index.sample)
    assert common.startswith(f"2 of {probed} unrelated operators failed here within")
    assert "(A, B)" in common
    marked = knowing(
        state,
        {(address, LOCAL): PathRecord()},
        control=Control(score=8, at=NOW - 3, lost=False, live_lost=False),
    )
    text = why(marked, address, "self", one_of(address, marked=True))
    assert text.startswith("questions with our mark fail")
    assert "(score +8, latest 3 s ago); local: " in text
    assert why(marked, address, "self", one_of(address)) == "not measured yet"
    worn = replace(state, worn={address: 8.0}, worn_at=NOW)
    settings = state.index.settings[address]
    for returning, needs in ((False, damping.AWAY), (True, damping.HOME)):
        said = why(worn, address, "damped", one_of(address, returning=returning))
        assert said.startswith("penalty 8.0 of 8 recent moves (moves_per_day: 12): can move again")
        wait = damping.time_to_reuse(8.0, settings, needs)
        assert f"in {wait / 3600:.0f} h" in said.replace(".0 h", " h")


def test_a_steer_says_what_is_better_there(state: State, address: str) -> None:
    steered = replace(state, plan={address: "pao"})
    group = why(steered, address, "steer")
    assert group == "local: its group is breached; pao: not measured yet"
    bad = knowing(steered, {(address, LOCAL): PathRecord(health=Health.SUSPECT)})
    assert "its group" not in why(bad, address, "steer")
    ones = one_of(address, path="pao", detour_worse=True)
    left = why(state, address, "everywhere", ones)
    assert left.startswith("the detour is worse: pao: not measured yet; every path is bad")
    assert not why(steered, address, "everywhere", ones).startswith("the detour is worse")
    assert not why(state, address, "healthy", ones).startswith("the detour is worse")
    fine = one_of(address, path="pao")
    assert not why(state, address, "everywhere", fine).startswith("the detour is worse")


def test_what_waits_for_the_budget_says_for_which_limit(state: State, address: str) -> None:
    steered = replace(state, plan=dict.fromkeys(list(state.index.settings)[1:4], "pao"))
    texts = {
        Held.NOT: "; local",
        Held.PER_MINUTE: f"waits: the {state.index.budget.moves_per_minute} moves_per_minute",
        Held.AT_ONCE: "waits: 3 addresses are steered (at_once: ",
        Held.AT_MOST: "waits: 3 of its upstream are steered (at_most: ",
        Held.CAPACITY: "waits: no proven site has room for ",
        Held.GRADUAL: "waits with 3 of its group: ",
    }
    for held, text in texts.items():
        assert why(steered, address, "budget", one_of(address, held=held)).startswith(text)
    full = why(steered, address, "budget", one_of(address, held=Held.CAPACITY))
    assert "pao 1200 of 1000 queries/s;" in full
    assert "fra" not in full, "it has no limit"
    seen = situation(state)
    other = replace(seen, room=replace(seen.room, heard_load={"pao": 900.0, "fra": 0.0}))
    assert reasons.loads(other) == "pao 1200 of 1000 queries/s (900 by dnstap)"
    none = replace(seen, room=replace(seen.room, allowed={}))
    assert reasons.loads(none) == "no site has a capacity set"


def test_what_is_not_proven_says_what_is_missing(state: State, address: str) -> None:
    def missing(
        health: Health = Health.FAILING, given: State = state, one: object = None, **more: object
    ) -> str:
        known = knowing(given, {(address, LOCAL): PathRecord(health=health)}, **more)
        ones = () if one is None else (one,)
        return reasons.unproven(replace(known, situation=situation(known, *ones)), address)

    breached = replace(state, breached=frozenset({address}))
    trial = Trial(candidate="pao", since=1.0, score=3)
    assert missing(Health.SUSPECT).startswith("suspect, and no remote path")
    assert missing(Health.SUSPECT, trial=trial).startswith("suspect, on trial (+3 of +")
    assert missing(one=one_of(address, unshown=True)).startswith("confirmed earlier")
    assert missing().startswith("confirmed just now, waiting for probes of the other")
    assert missing(Health.HEALTHY) == "the local path is not proven bad"
    settling = "confirmed just now, waiting for the trials of its group"
    assert missing(given=breached, confirmed_at=NOW) == settling
    assert missing(given=breached, confirmed_at=NOW - SETTLE) != settling
    away = replace(breached, plan={address: "pao"})
    assert missing(given=away, confirmed_at=NOW) != settling
    caught = replace(breached, bypassed=frozenset({address}))
    assert missing(given=caught).startswith("a detour would have no effect")
    assert missing(given=breached).startswith("no remote path is proven good right now (pao ")


def test_each_site_says_why_it_is_not_taken(state: State, address: str) -> None:
    def site(record: PathRecord, given: State = state) -> str:
        local = PathRecord(health=Health.FAILING)
        known = knowing(given, {(address, "pao"): record, (address, LOCAL): local})
        return reasons.sites(known, address).removeprefix("pao ").split(", fra")[0]

    good = PathRecord(health=Health.HEALTHY, seen=NOW, run=9)
    assert site(good) == "healthy"
    assert site(replace(good, run=0)) == "healthy, but its last answer was bad"
    assert site(PathRecord()) == "unknown, not measured yet"
    assert "do not leave this host" in site(replace(good, stuck=3))
    avoided = replace(state, avoid_until={(address, "pao"): NOW + 90})
    assert site(good, avoided) == "healthy, avoided for 1 min 30 s"
    unserved = Unserved(at=NOW, times=1, silent=True, shown="")
    ended = replace(avoided, unserved={(address, "pao"): unserved})
    assert site(good, ended).endswith(": the resolvers got no answers, or worse ones, over it")
    assert site(good, replace(avoided, now=NOW + 91)) == "healthy"
    orders = replace(state.override_state, banned={address: {"pao": 0}})
    assert site(good, replace(state, override_state=orders)) == "healthy, avoided by an override"


def override(action: Action = Action.STEER, **more: Any) -> Override:  # noqa: ANN401
    usual: dict[str, Any] = {"to": "pao", "until": None, "reason": "r", "by": "noc"}
    return Override(name="out", match=Match(upstream="gtld"), action=action, **(usual | more))


def test_an_override_says_what_it_orders_and_what_speaks_against_it(
    state: State, address: str
) -> None:
    def ordered(order: Override, one: AddressSituation, **more: object) -> str:
        orders = replace(
            state.override_state,
            overrides=(order,),
            decides={address: 0},
            to={address: "pao"},
            **more,  # type: ignore[arg-type]
        )
        return why(replace(state, override_state=orders), address, "override", one)

    obeyed = one_of(address, ordered=True, ordered_to="pao")
    assert ordered(override(), obeyed).endswith("; pao: not measured yet")
    defied = replace(obeyed, defied=True)
    assert "; obeyed although the measurements contradict it; pao" in ordered(override(), defied)
    assert "contradict" not in ordered(override(), obeyed)
    frozen = ordered(override(Action.FREEZE, to=None), obeyed)
    assert "; frozen at pao; pao: " in frozen
    none = one_of(address, path="pao")
    assert ordered(override(), none) == "an override; no other site is available now"
    banned = ordered(override(Action.AVOID), none, banned={address: {"pao": 0}})
    assert banned != "an override; no other site is available now"
    assert banned.endswith("; no other site is available now")
    orders = replace(state.override_state, overrides=(override(),), decides={address: 0})
    unable = replace(state, override_state=orders, plan={address: "fra"})
    assert why(unable, address, "steer").endswith(
        "; the override out can't be obeyed: site pao has no ipv4 next hop"
    )


def said(state: State, *ones: AddressSituation, **more: object) -> Mapping[str, Alarm]:
    return alarms.alarms(state, situation(state, *ones, **more))[0].alarms


QUIET = {"capacity"}
"""The site above its limit, in all of these situations."""


def test_an_alarm_is_about_what_is_so_of_an_address(state: State, address: str) -> None:
    assert said(state).keys() == QUIET
    for name, more in (
        ("self", {"self_doubt": True}),
        ("marked", {"marked": True}),
        ("everywhere", {"all_bad": True}),
        ("unproven", {"breached": True}),
        ("damped", {"damped": True}),
        ("budget", {"breached": True, "best": "pao", "held": Held.AT_ONCE}),
    ):
        found = said(state, one_of(address, **more))
        assert found.keys() - QUIET == {name}
        assert found[name].about == (address,)
        assert (found[name].because.count("contact: Verisign, noc@example.net")) == (
            name in {"everywhere", "unproven"}
        )
    held = one_of(address, best="pao", held=Held.AT_ONCE)
    assert said(state, held).keys() == QUIET, "it does not wait to leave a bad path"


@pytest.mark.parametrize(
    "more",
    [
        {"breached": False},
        {"best": "pao"},
        {"all_bad": True},
        {"local": Health.HEALTHY},
        {"ordered": True},
    ],
)
def test_unproven_is_what_is_bad_here_and_has_nowhere_to_go(
    state: State, address: str, more: dict[str, Any]
) -> None:
    usual: dict[str, Any] = {"breached": True}
    assert "unproven" not in said(state, one_of(address, **(usual | more)))
    assert "unproven" in said(state, one_of(address, **usual, local=Health.SUSPECT))
    away = replace(state, plan={address: "pao"})
    assert "unproven" not in said(away, one_of(address, **usual))


def test_a_fault_of_all_operators_of_a_family_is_this_hosts(state: State) -> None:
    causes = {**NO_CAUSES, Family.IPV4: ("A", "B")}
    found = said(state, common_causes=causes)["self"]
    assert found.about == tuple(state.index.families[Family.IPV4])


def test_what_looks_bad_for_a_while_and_is_compared_with_nothing_is_said(
    state: State, address: str
) -> None:
    since = NOW - ALONE

    def uncompared(given: State, *ones: AddressSituation, **more: object) -> bool:
        return "uncompared" in said(given, *ones, **more)

    def suspect(at: float, **paths: PathRecord) -> State:
        known = {(address, LOCAL): PathRecord(health=Health.SUSPECT)}
        known |= {(address, site): record for site, record in paths.items()}
        return knowing(state, known, suspected_at=at)

    assert uncompared(suspect(since))
    assert not uncompared(suspect(since + 1))
    assert not uncompared(suspect(since), clock_doubt=True)
    assert not uncompared(replace(suspect(since), plan={address: "pao"}))
    for health in Health:
        known = health in {Health.HEALTHY, Health.STALE}
        assert uncompared(suspect(since, fra=PathRecord(health=health))) != known
    for more in ({"all_bad": True}, {"self_doubt": True}, {"ordered": True}):
        assert not uncompared(suspect(since), one_of(address, **more))


def test_a_zone_that_is_outdated_everywhere_for_some_rounds_is_said(
    state: State, address: str
) -> None:
    least = LATE_ROUNDS * state.index.interval
    local = {(address, LOCAL): PathRecord(health=Health.STALE)}
    late = knowing(state, local, zone_since=NOW - least)
    assert "zone_late" in said(late)
    assert "zone_late" not in said(late, clock_doubt=True)
    assert "zone_late" not in said(knowing(state, local, zone_since=NOW - least + 1))


def test_of_many_things_twelve_are_named(state: State) -> None:
    addresses = list(state.index.settings)
    assert len(addresses) == 16
    silent = Unserved(at=1.0, times=1, silent=True, shown="nothing came")
    for number, more in ((13, " and 1 more over pao"), (12, " over pao")):
        keys = [(address, "pao") for address in addresses[:number]]
        given = replace(
            state,
            unserved=dict.fromkeys(keys, silent),
            avoid_until=dict.fromkeys(keys, NOW + 9),
        )
        text = said(given)["unserved"].because
        assert more in text
        assert sum(address in text.split(":")[0] for address in addresses) >= 1
        assert said(given)["unserved"].about == tuple(addresses[:number])
    assert "unserved" not in said(replace(given, now=NOW + 10))
    worse = replace(silent, silent=False, at=2.0, shown="bad answers")
    mixed = {(addresses[0], "pao"): silent, (addresses[1], "fra"): worse}
    both = replace(given, unserved=mixed, avoid_until=dict.fromkeys(mixed, NOW + 9))
    text = said(both)["unserved"].because
    assert f"no answers from {addresses[0]} over pao" in text
    assert f"worse answers from {addresses[1]} over fra" in text
    assert f"at {addresses[1]} bad answers" in text


def test_overrides_that_are_defied_are_named_by_whether_they_are_obeyed(
    state: State, address: str
) -> None:
    other = list(state.index.settings)[1]
    orders = replace(state.override_state, overrides=(override(),), decides={address: 0, other: 0})
    given = replace(state, override_state=orders)
    found = said(
        given,
        one_of(address, defied=True, ordered=True, ordered_to="pao"),
        one_of(other, defied=True),
    )["override"]
    one = "for 1 address of gtld"
    assert f"obeyed although the measurements contradict it {one}" in found.because
    assert f"can't be obeyed without a next hop {one}" in found.because
    assert found.about == (address, other)


def test_capacity_and_its_remedy_are_said_where_more_is_steered_than_allowed(
    state: State,
) -> None:
    assert "pao 1200 of 1000 queries/s. Load that" in said(state)["capacity"].because
    seen = situation(state)
    below = replace(seen, room=replace(seen.room, load={"pao": 1.0, "fra": 0.0}))
    below = replace(below, room=replace(below.room, heard_load={"pao": 1000.0, "fra": 0.0}))
    assert not alarms.alarms(state, below)[0].alarms


def test_lost_legs_are_named_by_site_family_and_transport(state: State) -> None:
    leg = Leg(site="pao", family=Family.IPV4, source="10.0.0.1", tcp=True, large="")
    assert reasons.no_answer(leg) == "no answer comes back to 10.0.0.1 by TCP"
    large = replace(leg, tcp=False, large="gtld", source="")
    assert reasons.no_answer(large) == "no large answer of gtld comes back to this host by UDP"
    many = [replace(leg, source=f"10.0.0.{n}") for n in range(10, 23)]
    assert alarms._legs(many).endswith(
        "; pao (ipv4): no answer comes back to 10.0.0.21 by TCP and 1 more"
    )
    assert " more" not in alarms._legs(many[:12])


def test_an_alarm_is_raised_once_cleared_once_and_keeps_its_beginning() -> None:
    first, raised = alarms.settle({}, {"damped": "a"}, 5.0, about={"damped": ["x"]})
    assert [(e.event, e.now, e.was) for e in raised] == [("alarm_raised", "damped", None)]
    assert (first["damped"].since, first["damped"].about) == (5.0, ("x",))
    second, none = alarms.settle(first, {"damped": "b"}, 6.0)
    assert not none
    assert second["damped"].since == 5.0
    assert second["damped"].because.startswith("b")
    third, cleared = alarms.settle(second, {}, 7.0)
    assert not third
    assert [(e.event, e.was, e.because) for e in cleared] == [
        ("alarm_cleared", "damped", "no longer so")
    ]
