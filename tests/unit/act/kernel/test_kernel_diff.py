"""What is changed, in which order: properties of the pure part."""

from __future__ import annotations

from collections.abc import Iterable

from claims import CLAIM
from hypothesis import given
from hypothesis import strategies as st

from steering.act.kernel.diff import Change, ChangeKind, route_changes, rule_changes
from steering.act.kernel.rtnetlink import Route, RouteKind
from steering.act.kernel.rules import Action, Rule
from steering.model import Family

ADDRESSES = [f"192.0.2.{i}" for i in range(1, 6)] + [f"2001:db8::{i}" for i in range(1, 6)]

Table = dict[tuple[Family, int, str, int, int, int], Route]


def table(routes: Iterable[Route]) -> Table:
    return {route.place: route for route in routes}


def obey(before: Table, changes: Iterable[Change]) -> Table:
    """What a kernel makes of the changes; it objects to what a kernel objects to."""
    after = dict(before)
    for change in changes:
        assert isinstance(change.what, Route)
        if change.act is ChangeKind.ADD:
            assert change.what.place not in after
        else:
            assert change.what.place in after
        if change.act is ChangeKind.REMOVE:
            assert after.pop(change.what.place) == change.what
        else:
            after[change.what.place] = change.what
    return after


@st.composite
def plans(draw: st.DrawFn) -> list[Route]:
    plan = draw(st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from(CLAIM.sites)))
    return [
        CLAIM.steer(address, site)
        for address, site in plan.items()
        if CLAIM.next_hop(site, Family.of(address))
    ]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Anything that may stand in our table: ours, odd ones of ours, and others' routes."""
    found: list[Route] = list(draw(plans()))
    found.extend(
        Route(
            family=Family.of(address),
            table=CLAIM.table,
            protocol=draw(st.sampled_from([53, 53, 4, 186])),
            destination=address,
            length=Family.of(address).bits,
            kind=draw(st.sampled_from([RouteKind.UNICAST, RouteKind.UNREACHABLE])),
            metric=draw(st.sampled_from([0, 9, 1024])),
            plain=draw(st.booleans()),
        )
        for address in draw(st.lists(st.sampled_from(ADDRESSES), max_size=8))
    )
    return table(found)


@given(tables(), plans())
def test_a_plan_converges_in_one_step_and_then_rests(present: Table, wanted: list[Route]) -> None:
    changes, occupied = route_changes(wanted, list(present.values()), 53)
    after = obey(present, changes)
    ours = {route for route in after.values() if route.protocol == 53}
    assert ours == set(wanted) - {o.wanted for o in occupied}
    assert route_changes(wanted, list(after.values()), 53)[0] == ()


@given(tables(), plans(), st.integers(0, 30))
def test_nothing_of_others_ever_changes(present: Table, wanted: list[Route], stop: int) -> None:
    changes, _ = route_changes(wanted, list(present.values()), 53)
    after = obey(present, changes[:stop])
    for place, route in present.items():
        if route.protocol != 53:
            assert after[place] is route


@given(tables(), plans(), st.integers(0, 30))
def test_stopping_anywhere_leaves_no_wanted_address_without_a_way(
    present: Table, wanted: list[Route], stop: int
) -> None:
    """What had a route of ours and shall have one has one at every moment in between."""
    changes, _ = route_changes(wanted, list(present.values()), 53)
    after = obey(present, changes[:stop])
    covered = {route.destination for route in after.values()}
    had = {route.destination for route in present.values()}
    for route in wanted:
        if route.destination in had:
            assert route.destination in covered


@given(tables(), plans())
def test_removals_come_last(present: Table, wanted: list[Route]) -> None:
    acts = [change.act for change in route_changes(wanted, list(present.values()), 53)[0]]
    assert acts == sorted(acts, key=lambda act: act is ChangeKind.REMOVE)


def test_only_what_is_missing_of_the_rules_is_added() -> None:
    for family in Family:
        rules = CLAIM.rules(family)
        for missing in rules:
            present = [rule for rule in rules if rule is not missing]
            assert rule_changes(rules, present, CLAIM) == (
                Change(act=ChangeKind.ADD, what=missing),
            )


def test_rules_of_others_are_not_ours_wherever_they_sit() -> None:
    rules = CLAIM.rules(Family.IPV4)
    elsewhere = Rule(family=Family.IPV4, priority=90, protocol=53, action=Action.LOOKUP, table=254)
    amid = Rule(family=Family.IPV4, priority=5352, protocol=4, action=Action.LOOKUP, table=254)
    assert rule_changes(rules, [*rules, elsewhere, amid], CLAIM) == ()


def test_the_jump_over_the_steers_stands_before_any_rule_needs_it() -> None:
    for family in Family:
        first, *others, last = CLAIM.rules(family)
        assert first.action is Action.NOP
        assert {rule.goto for rule in others if rule.goto} == {first.priority}
        assert last.table == CLAIM.table
        assert all(rule.priority < last.priority for rule in others)
