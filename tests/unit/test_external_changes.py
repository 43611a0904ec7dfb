"""What somebody took out of the kernel is counted when it is back, and told of once a minute."""

from __future__ import annotations

from test_kernel_diff import CLAIM

from steering.act.kernel.diff import Change, ChangeKind
from steering.act.kernel.expected import Expected
from steering.act.kernel.rtnetlink import Route, Rule
from steering.agent.external_changes import PAUSE, ExternalChanges
from steering.model import Event, Family

ONE, OTHER = CLAIM.steer("192.0.2.1", "pao"), CLAIM.steer("192.0.2.1", "fra")
RULE = next(iter(CLAIM.rules(Family.IPV4)))


def add(placed: Expected, what: Route | Rule) -> None:
    placed.carried_out(Change(act=ChangeKind.ADD, what=what))


def test_what_is_put_in_twice_had_been_taken_out() -> None:
    placed = Expected()
    for what in (ONE, RULE):
        add(placed, what)
    assert placed.lost() == ()
    add(placed, ONE)
    add(placed, RULE)
    assert placed.lost() == (ONE, RULE)
    assert placed.lost() == ()


def test_what_was_found_right_counts_as_well() -> None:
    placed = Expected()
    placed.found([RULE])
    add(placed, RULE)
    assert placed.lost() == (RULE,)


def test_our_own_changes_are_nobodys_meddling() -> None:
    placed = Expected()
    add(placed, ONE)
    placed.carried_out(Change(act=ChangeKind.REPLACE, what=OTHER))
    placed.carried_out(Change(act=ChangeKind.REMOVE, what=OTHER))
    add(placed, ONE)
    placed.keep_routes(CLAIM.table, [])  # it was gone before it could be taken out
    add(placed, ONE)
    placed.forget()
    add(placed, ONE)
    assert placed.lost() == ()


def test_a_fight_is_counted_and_told_of_once_a_minute() -> None:
    external_changes = ExternalChanges()
    assert external_changes.news(0.0) == ()
    told: list[Event] = []
    for second in range(int(2 * PAUSE) + 1):
        external_changes.put_back([ONE, RULE] if second else [ONE])
        told += external_changes.news(float(second))
    assert external_changes.counts == {"route": 121, "rule": 120}
    assert [event.event for event in told] == ["put_back"] * 3
    assert told[0].because.startswith("1 route of ours had been removed, and are installed again")
    assert told[1].because.startswith("60 routes and 60 rules of ours had been removed, in 60 r")
    assert told[1].more == {"routes": 60, "rules": 60}
