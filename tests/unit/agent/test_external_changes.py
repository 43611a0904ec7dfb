"""What others removed from the kernel is counted when it is back, with an event once a minute."""

from __future__ import annotations

from claims import CLAIM

from steering.act.kernel.diff import Change, ChangeKind
from steering.act.kernel.expected import Expected
from steering.act.kernel.rtnetlink import Route
from steering.act.kernel.rules import Rule
from steering.agent.external_changes import PAUSE, ExternalChanges
from steering.model import Event, Family

ONE, OTHER = CLAIM.steer("192.0.2.1", "pao"), CLAIM.steer("192.0.2.1", "fra")
RULE = next(iter(CLAIM.rules(Family.IPV4)))


def add(placed: Expected, what: Route | Rule) -> None:
    placed.carried_out(Change(act=ChangeKind.ADD, what=what))


def test_what_is_installed_twice_had_been_removed() -> None:
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


def test_our_own_changes_are_not_counted() -> None:
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


def test_repeated_removals_are_counted_with_an_event_once_a_minute() -> None:
    external_changes = ExternalChanges()
    assert external_changes.events(0.0) == ()
    told: list[Event] = []
    for second in range(int(2 * PAUSE) + 1):
        external_changes.put_back([ONE, RULE] if second else [ONE])
        told += external_changes.events(float(second))
    assert external_changes.counts == {"route": 121, "rule": 120}
    assert [event.event for event in told] == ["put_back"] * 3
    assert told[0].because.startswith("1 route of this agent was removed and is installed again")
    assert told[1].because.startswith(
        "60 routes and 60 rules of this agent were removed in 60 rounds"
    )
    assert told[1].more == {"routes": 60, "rules": 60}
