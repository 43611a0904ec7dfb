"""Routes and rules by netlink, without a kernel: plans are reached, nothing foreign is touched."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace

import pytest
from claims import CLAIM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_kernel import DELROUTE, DELRULE, NEWROUTE, NEWRULE, WireKernel, wire_kernel

from steering.act.kernel import actuator as actuator_module
from steering.act.kernel.actuator import SWITCHED_OFF, KernelActuator
from steering.act.kernel.netlink import BATCH
from steering.act.kernel.rtnetlink import Route
from steering.act.kernel.rules import Action, Rule
from steering.act.kernel.state import MANY
from steering.from_config import NOTHING
from steering.model import Done, Family, Refused

ADDRESSES = [f"192.0.2.{i}" for i in range(1, 6)] + [f"2001:db8::{i}" for i in range(1, 6)]
A, B, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"
PLANS = st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from(CLAIM.sites))
quiet = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> WireKernel:
    return wire_kernel(monkeypatch)


@pytest.fixture
def actuator(kernel: WireKernel) -> Iterator[KernelActuator]:
    assert not kernel.requests
    with KernelActuator(CLAIM) as made:
        yield made


def possible(plan: dict[str, str]) -> dict[str, str]:
    return {a: s for a, s in plan.items() if CLAIM.next_hop(s, Family.of(a))}


def foreign(address: str = A, table: int = CLAIM.table, protocol: int = 4) -> Route:
    family = Family.of(address)
    return Route(
        family=family,
        table=table,
        protocol=protocol,
        destination=address,
        length=family.bits,
        gateway="10.0.0.1" if family is Family.IPV4 else "2001:db8:ffff::1",
    )


def foreign_rule(priority: int = 100, table: int = 254, mark: int = 0) -> Rule:
    return Rule(
        family=Family.IPV4,
        priority=priority,
        protocol=4,
        action=Action.LOOKUP,
        table=table,
        mark=mark,
        mask=CLAIM.mask if mark else 0,
    )


@quiet
@given(plans=st.lists(PLANS, min_size=1, max_size=4), taken=st.sets(st.sampled_from(ADDRESSES)))
def test_every_plan_is_reached_from_every_other_and_then_nothing_is_sent(
    plans: list[dict[str, str]], taken: set[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kernel = wire_kernel(patch)
        theirs = {foreign(address) for address in taken} | {foreign(B, table=254)}
        kernel.add(*theirs)
        with KernelActuator(CLAIM) as actuator:
            for plan in plans:
                wanted = {a: s for a, s in possible(plan).items() if a not in taken}
                results = actuator.apply(plan, ADDRESSES)
                assert actuator.installed() == wanted
                assert {r.address for r in results if isinstance(r, Refused)} == (
                    plan.keys() - wanted.keys()
                )
                changed = len(kernel.changes)
                again = actuator.apply(plan, ADDRESSES)
                assert all(isinstance(result, Refused) for result in again)
                assert len(kernel.changes) == changed
                assert theirs <= kernel.places
            assert actuator.withdraw() == ()
        assert kernel.places == theirs


def test_additions_come_before_removals_and_a_result_says_what_was_done(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    actuator.apply({A: "pao", SIX: "pao"}, ADDRESSES)
    kernel.changes.clear()
    results = actuator.apply({A: "fra", B: "pao"}, ADDRESSES)
    assert [kind for kind, _ in kernel.changes] == [NEWROUTE, NEWROUTE, DELROUTE]
    assert [(r.action, r.address, r.site) for r in results] == [
        ("replace", A, "fra"),
        ("add", B, "pao"),
        ("remove", SIX, "pao"),
    ]
    assert all(isinstance(result, Done) and 0 <= result.seconds < 60 for result in results)


@pytest.mark.parametrize(
    ("address", "site", "because"),
    [
        ("192.0.2.99", "pao", "no policy names"),
        (A, "nowhere", "no site nowhere"),
        (SIX, "fra", "has no ipv6 next hop"),
        ("10.255.1.2", "pao", "next hop of pao"),
        (B, "pao", "own addresses"),
        ("192.0.2.1/24", "pao", "only host routes"),
    ],
)
def test_what_must_never_be_steered_is_refused_and_nothing_is_sent(
    kernel: WireKernel, actuator: KernelActuator, address: str, site: str, because: str
) -> None:
    kernel.own = (B,)
    allowed = [*ADDRESSES, "10.255.1.2", "192.0.2.1/24"]
    (result,) = actuator.apply({address: site}, allowed)
    assert isinstance(result, Refused)
    assert (result.action, result.address, result.site) == ("add", address, site)
    assert because in result.because
    assert not kernel.changes


def test_a_result_is_what_reading_back_shows(kernel: WireKernel, actuator: KernelActuator) -> None:
    kernel.refuse = lambda _kind, _body: errno.ENETUNREACH
    (refused,) = actuator.apply({A: "pao"}, ADDRESSES)
    assert isinstance(refused, Refused)
    assert refused.because == "Network is unreachable"
    kernel.refuse, kernel.ignore = lambda _kind, _body: 0, True
    (without,) = actuator.apply({A: "pao"}, ADDRESSES)
    assert isinstance(without, Refused)
    assert "no effect" in without.because
    kernel.ignore = False
    actuator.apply({A: "pao"}, ADDRESSES)
    kernel.ignore = True
    (kept,) = actuator.apply({}, ADDRESSES)
    assert isinstance(kept, Refused)
    assert (kept.action, kept.site) == ("remove", "pao")
    kernel.ignore, kernel.refuse = False, lambda _kind, _body: errno.EPERM
    (denied,) = actuator.apply({}, ADDRESSES)
    assert isinstance(denied, Refused)
    assert denied.because == "Operation not permitted"


def test_a_foreign_route_where_ours_would_be_is_named(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    kernel.add(foreign(A))
    (refused,) = actuator.apply({A: "pao"}, ADDRESSES)
    assert isinstance(refused, Refused)
    assert (refused.action, refused.address, refused.site) == ("add", A, "pao")
    assert refused.because.startswith("another program's route is there (protocol 4, route")
    assert not kernel.changes
    kernel.add(foreign(A, table=CLAIM.table + 1))
    problems = actuator.prepare([A], steering=False)
    assert [problem.what for problem in problems] == [
        f"route {A}/32 unreachable in table 5354 (ipv4)",
        f"route {A}/32 via 10.255.1.2 in table 5354 (ipv4)",
    ]
    assert all(p.because.startswith("another program's route is there") for p in problems)
    assert {problem.family for problem in problems} == {Family.IPV4}


class Switch:
    """Whether the host may be written to: `left` more times."""

    def __init__(self, left: int = 1000) -> None:
        self.left = left

    def __call__(self) -> bool:
        self.left -= 1
        return self.left >= 0


def test_a_host_that_is_switched_off_is_given_nothing_and_gives_back(kernel: WireKernel) -> None:
    switch = Switch()
    with KernelActuator(CLAIM, may_write=switch) as actuator:
        actuator.prepare(ADDRESSES)
        actuator.apply({A: "pao"}, ADDRESSES)
        switch.left, before = 0, len(kernel.changes)
        (off,) = actuator.apply({A: "pao", B: "pao"}, ADDRESSES)
        assert isinstance(off, Refused)
        assert off.because == SWITCHED_OFF
        assert len(kernel.changes) == before
        mixed = actuator.apply({B: "pao"}, ADDRESSES)
        assert {r.because for r in mixed if isinstance(r, Refused)} == {SWITCHED_OFF}
        assert [type(r) for r in actuator.apply({}, ADDRESSES)] == [Done]
        assert actuator.withdraw() == ()
        assert not actuator.remains()
        assert {problem.because for problem in actuator.prepare(ADDRESSES)} == {SWITCHED_OFF}
        assert not kernel.rules


def test_the_switch_is_looked_at_before_each_batch(kernel: WireKernel) -> None:
    many = [f"192.0.{2 + n // 250}.{1 + n % 250}" for n in range(BATCH + 10)]
    with KernelActuator(CLAIM, may_write=Switch(1)) as actuator:
        results = actuator.apply(dict.fromkeys(many, "pao"), many)
    done = [result for result in results if isinstance(result, Done)]
    assert len(done) == BATCH
    assert len(results) == BATCH + 10
    assert {r.because for r in results if isinstance(r, Refused)} == {SWITCHED_OFF}


def test_tables_come_before_the_rules_that_look_them_up_and_all_is_there_once(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    kernel.add(foreign_rule())
    assert actuator.prepare(ADDRESSES) == ()
    kinds = [kind for kind, _ in kernel.changes]
    assert kinds == sorted(kinds)
    wanted = [rule for family in CLAIM.families for rule in CLAIM.rules(family)]
    assert [rule for rule in kernel.rules if rule.protocol == CLAIM.protocol] == wanted
    assert kernel.places == set(CLAIM.probe_routes(ADDRESSES))
    before = len(kernel.changes)
    assert actuator.prepare(ADDRESSES) == ()
    assert len(kernel.changes) == before
    actuator.prepare([A], steering=False)
    marked = [rule for family in CLAIM.families for rule in CLAIM.questions(family)]
    assert [rule for rule in kernel.rules if rule.protocol == CLAIM.protocol] == marked
    assert kernel.places == set(CLAIM.probe_routes([A]))
    removed = [what for kind, what in kernel.changes[before:] if kind == DELRULE]
    steering = [r for r in removed if isinstance(r, Rule) and r.table == CLAIM.table]
    assert removed[: len(steering)] == steering, "the steers end before what exempts from them"


def test_a_next_hop_itself_is_asked_nothing(kernel: WireKernel, actuator: KernelActuator) -> None:
    actuator.prepare([A, "10.255.1.2"])
    assert {route.destination for route in kernel.places} == {A}


def test_routes_with_one_next_hop_and_reason_are_one_problem(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    kernel.refuse = lambda kind, _body: errno.ENETUNREACH if kind == NEWROUTE else 0
    problems = actuator.prepare([A, B])
    assert [problem.what for problem in problems] == [
        "add 2 routes unreachable in table 5354 (ipv4)",
        "add 2 routes via 10.255.1.2 in table 5354 (ipv4)",
        "add 2 routes unreachable in table 5355 (ipv4)",
        "add 2 routes via 10.255.2.2 in table 5355 (ipv4)",
    ]
    kernel.refuse = lambda kind, _body: errno.EPERM if kind == NEWRULE else 0
    actuator.withdraw()
    problems = actuator.prepare([A])
    assert {problem.because for problem in problems} == {"Operation not permitted"}
    assert problems[0].what == "add rule 5354 (ipv4)"
    assert len(problems) == sum(len(CLAIM.rules(family)) for family in CLAIM.families)


@pytest.mark.parametrize("sent", range(0, 40, 3))
def test_a_withdrawal_that_ends_anywhere_leaves_no_steer_without_its_exemptions(
    kernel: WireKernel, actuator: KernelActuator, sent: int
) -> None:
    actuator.prepare([A, SIX])
    actuator.apply({A: "pao", SIX: "pao"}, ADDRESSES)
    kernel.add(foreign_rule())
    left = iter([0] * sent)
    kernel.refuse = lambda _kind, _body: next(left, errno.EPERM)
    problems = actuator.withdraw()
    ours = [rule for rule in kernel.rules if rule.protocol == CLAIM.protocol]
    for family in CLAIM.families:
        there = [rule for rule in ours if rule.family is family]
        if any(rule.table == CLAIM.table for rule in there):
            assert there == list(CLAIM.rules(family))
        jumps = {rule.goto for rule in there if rule.goto is not None}
        assert jumps <= {rule.priority for rule in there}
    assert foreign_rule() in kernel.rules
    remaining = len(ours) + len(kernel.places)
    assert len(problems) == remaining
    assert {problem.because for problem in problems} <= {"Operation not permitted"}
    assert actuator.remains() == bool(remaining)


def test_what_comes_back_after_each_removal_is_told(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    actuator.apply({A: "pao"}, ADDRESSES)
    kernel.ignore = True
    (problem,) = actuator.withdraw()
    assert problem.because == "it was removed and came back"
    assert problem.what == f"route {A}/32 in table 5353 (ipv4)"
    assert [kind for kind, _ in kernel.changes].count(DELROUTE) == 3


def test_what_another_claim_of_ours_owns_is_left(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    actuator.prepare([A])
    actuator.apply({A: "pao"}, ADDRESSES)
    other = replace(
        CLAIM, table=CLAIM.table + 1, sites=("pao",), next_hops={"pao": CLAIM.next_hops["pao"]}
    )
    assert actuator.remains(but=other)
    assert actuator.withdraw(but=other) == ()
    assert not actuator.remains(but=other)
    assert {route.table for route in kernel.places} == {*other.tables}
    assert len(kernel.rules) == sum(len(CLAIM.rules(f)) for f in CLAIM.families)
    assert actuator.remains(), "and without the other it is all ours"
    assert actuator.withdraw(but=NOTHING) == ()
    assert not kernel.places
    assert not kernel.rules


def test_an_empty_claim_owns_nothing(kernel: WireKernel) -> None:
    kernel.add(foreign(A, table=NOTHING.table, protocol=NOTHING.protocol), foreign_rule())
    with KernelActuator(NOTHING) as actuator:
        assert not actuator.remains()
        assert actuator.withdraw() == ()
    assert len(kernel.places) == len(kernel.rules) == 1


def test_what_others_remove_is_put_back_and_told_once(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    def turn(plan: dict[str, str]) -> tuple[Route | Rule, ...]:
        actuator.prepare([A])
        actuator.apply(plan, ADDRESSES)
        return actuator.lost()

    assert turn({A: "pao"}) == ()
    assert turn({A: "pao"}) == ()
    steer, rule = CLAIM.steer(A, "pao"), CLAIM.rules(Family.IPV4)[-1]
    probe = CLAIM.probe_routes([A])[1]
    kernel.remove(steer, rule, probe)
    assert set(turn({A: "pao"})) == {steer, rule, probe}
    assert {steer, probe} <= kernel.places
    assert turn({A: "pao"}) == ()
    assert turn({A: "fra"}) == (), "moved by ourselves"
    assert turn({}) == ()
    assert turn({A: "pao"}) == (), "removed by ourselves before"
    actuator.withdraw()
    assert turn({A: "pao"}) == ()
    kernel.remove(steer)
    actuator.withdraw()
    assert turn({A: "pao"}) == (), "all was to go"


def test_what_was_found_at_the_start_and_removed_by_others_is_told_as_well(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    actuator.prepare([A])
    actuator.apply({A: "pao"}, ADDRESSES)
    changes = len(kernel.changes)
    with KernelActuator(CLAIM) as other:
        for _ in range(2):
            other.prepare([A])
            other.apply({A: "pao"}, ADDRESSES)
        assert other.lost() == ()
        assert len(kernel.changes) == changes, "all was there"
        gone: set[Route | Rule] = {*CLAIM.probe_routes([A]), CLAIM.steer(A, "pao")}
        gone |= {CLAIM.rules(Family.IPV6)[0]}
        kernel.remove(*gone)
        other.prepare([A])
        other.apply({A: "pao"}, ADDRESSES)
        assert set(other.lost()) == gone
        other.prepare([])
        assert kernel.places == {CLAIM.steer(A, "pao")}


def test_probe_routes_left_by_an_earlier_agent_go_if_nothing_is_probed(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    kernel.add(*CLAIM.probe_routes([A]))
    actuator.prepare([])
    assert not kernel.places


def test_tables_that_are_right_are_not_compared_again(
    kernel: WireKernel, actuator: KernelActuator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn with 10,000 addresses reads them and does no more."""
    actuator.prepare(ADDRESSES)
    actuator.prepare(ADDRESSES)

    def fails(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(actuator_module, "_by_table", fails)
    monkeypatch.setattr(actuator_module, "route_changes", fails)
    assert actuator.prepare(ADDRESSES) == ()
    kernel.remove(CLAIM.probe_routes([A])[0])
    with pytest.raises(AssertionError):
        actuator.prepare(ADDRESSES)


def test_new_routes_and_rules_come_before_any_removal(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    actuator.prepare([A])
    kernel.remove(CLAIM.rules(Family.IPV4)[-1])
    kernel.changes.clear()
    actuator.prepare([B])
    kinds = [kind for kind, _ in kernel.changes]
    assert kinds == [*[NEWROUTE] * 4, NEWRULE, *[DELROUTE] * 4]


@pytest.mark.parametrize("what", ["route", "rule"])
def test_what_others_add_while_we_write_is_not_replaced(
    kernel: WireKernel, actuator: KernelActuator, what: str
) -> None:
    theirs = foreign(A) if what == "route" else CLAIM.rules(Family.IPV4)[0]

    def race(_kind: int, _body: bytes) -> int:
        kernel.refuse = lambda _kind, _body: 0
        kernel.add(theirs)
        return 0

    kernel.refuse = race
    if isinstance(theirs, Route):
        (refused,) = actuator.apply({A: "pao"}, ADDRESSES)
        assert isinstance(refused, Refused)
        assert refused.because == "File exists"
        assert kernel.places == {theirs}
    else:
        problems = actuator.prepare([])
        assert [problem.because for problem in problems] == ["File exists"]


def test_foreign_things_within_the_claim_are_named(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    kernel.add(
        foreign(A),
        foreign(A, table=254),
        foreign_rule(CLAIM.priority),
        foreign_rule(100),
        foreign_rule(101, table=CLAIM.table + 1),
        foreign_rule(102, mark=CLAIM.mark),
        foreign_rule(CLAIM.priority - 3),
    )
    actuator.prepare([A])
    problems = [str(problem) for problem in actuator.foreign()]
    assert [text.split(":")[0] for text in problems] == [
        f"route {A}/32 in table 5353 (ipv4)",
        "rule 5353 (ipv4) of protocol 4",
        "rule 101 (ipv4) of protocol 4",
        "rule 102 (ipv4) of protocol 4",
        "rule 5350 (ipv4) of protocol 4",
    ]
    assert actuator.foreign_rules_within() == ()
    assert "it looks up our table 5354" in problems[2]
    kernel.add(foreign(B, protocol=54))
    former = replace(CLAIM, protocol=54)
    assert len(actuator.foreign()) == len(problems) + 1
    assert [str(problem) for problem in actuator.foreign(besides=[former])] == problems


def test_of_many_foreign_routes_some_are_read_and_ours_all(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    many = [f"198.51.{n // 250}.{1 + n % 250}" for n in range(MANY + 5)]
    kernel.add(*map(foreign, many))
    results = actuator.apply({A: "pao", B: "pao"}, ADDRESSES)
    assert [type(result) for result in results] == [Done, Done]
    assert actuator.apply({A: "pao", B: "pao"}, ADDRESSES) == ()
    many_problems = [p for p in actuator.foreign() if "so many" in p.because]
    assert [p.what for p in many_problems] == ["table 5353 (ipv4)"]
    assert len(actuator.foreign()) == MANY + 3
    assert [type(r) for r in actuator.apply({}, ADDRESSES)] == [Done, Done]


def test_a_table_that_changes_while_it_is_listed_is_listed_again(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    actuator.apply({A: "pao"}, ADDRESSES)
    kernel.torn = 4
    assert actuator.installed() == {A: "pao"}
    kernel.torn = 5
    with pytest.raises(OSError, match="change faster than they can be read"):
        actuator.installed()


def test_a_change_says_which_paths_it_may_have_moved(
    kernel: WireKernel, actuator: KernelActuator
) -> None:
    def changed() -> tuple[bool, bool, bool, frozenset[str]]:
        found = actuator.changed()
        return (
            found,
            actuator.pins_changed,
            actuator.others_alone,
            frozenset(actuator.sites_changed),
        )

    assert changed() == (False, False, False, frozenset())
    kernel.add(foreign(A, table=77))
    assert changed() == (False, False, False, frozenset())
    kernel.add(foreign(A))
    assert changed() == (True, False, False, frozenset())
    kernel.add(foreign(A, table=CLAIM.table + 2))
    assert changed() == (True, False, False, frozenset({"fra"}))
    kernel.add(foreign_rule(100))
    assert changed() == (True, False, True, frozenset())
    kernel.add(foreign_rule(CLAIM.priority))
    assert changed() == (True, True, False, frozenset())
    kernel.remove(foreign_rule(100))
    kernel.add(foreign(B))
    assert changed() == (True, False, False, frozenset())
    kernel.add(replace(foreign_rule(101), protocol=CLAIM.protocol))
    assert changed() == (True, True, False, frozenset())
    kernel.listeners[0].queue.append(OSError(errno.ENOBUFS, "lost"))
    assert changed() == (True, True, False, frozenset())
    assert changed() == (False, False, False, frozenset())


def test_a_rule_in_a_gap_of_our_block_may_stay(kernel: WireKernel) -> None:
    """Without transit interfaces no rule of ours has the first preference."""
    with KernelActuator(replace(CLAIM, transit_interfaces=())) as actuator:
        kernel.add(foreign_rule(CLAIM.priority - 3), foreign_rule(100))
        actuator.prepare([A])
        assert actuator.foreign() == ()
        (problem,) = actuator.foreign_rules_within()
    assert problem.what == "rule 5350 (ipv4) of protocol 4"
