"""What may move: every combination of what is known of an address, and what must never follow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from simulation import WALL, policy, setup

from steering.decide import look
from steering.decide.moves import damping
from steering.decide.moves.common_cause import HASTY
from steering.decide.situation import AddressSituation
from steering.decide.state import State
from steering.decide.verification import Verification
from steering.index import Index
from steering.judge.known.ledger import PathRecord
from steering.judge.known.recent import Recent
from steering.judge.open_addresses import reopened
from steering.model import LOCAL, Health
from steering.override import Frozen

NOW = 5000.0
YES_NO = (False, True)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.blank(Index.of(setup(tmp_path, policy(letters=1))), NOW, WALL)


@pytest.fixture
def address(state: State) -> str:
    return next(iter(state.index.settings))


def situations(address: str) -> Iterator[AddressSituation]:
    for path, best, local in itertools.product(
        (LOCAL, "pao"), (None, "pao", "fra"), (Health.HEALTHY, Health.STALE, Health.FAILING)
    ):
        for breached, settling, all_bad, ordered, own in itertools.product(YES_NO, repeat=5):
            yield AddressSituation(
                address=address,
                local=local,
                path=path,
                best=best,
                breached=breached,
                settling=settling,
                all_bad=all_bad,
                ordered=ordered,
                own=own,
            )


def test_what_leaves_has_a_reason_a_better_site_and_nobody_who_objects(
    state: State, address: str
) -> None:
    for one, free, off in itertools.product(situations(address), YES_NO, YES_NO):
        steered = one.path != LOCAL
        leaving = look._move(replace(state, off=off), {address: one}, {address} if free else set())
        allowed = free or (steered and not one.ordered and not off)
        better = one.best is not None and one.best != one.path
        sound = one.breached and not one.settling and not one.all_bad
        assert leaving == ((address,) if allowed and better and sound else ()), one
        assert one.onward == (bool(leaving) and steered), one
        healthy = one.local is Health.HEALTHY or (one.local is Health.STALE and not one.own)
        assert one.returning == (free and steered and healthy and not one.breached), one
        assert not one.damped, "it never moved"


@pytest.mark.parametrize("path", [LOCAL, "pao"])
@pytest.mark.parametrize("breached", YES_NO)
def test_what_moved_as_often_as_it_may_stays_and_says_so(
    state: State, address: str, path: str, breached: bool
) -> None:
    """One more move must be left to leave, two to return."""
    needs = damping.AWAY if breached else damping.HOME
    full = damping.room(0.0, state.index.settings[address])
    for missing in (-0.01, 0.01):
        one = AddressSituation(
            address=address, local=Health.HEALTHY, path=path, best="fra", breached=breached
        )
        worn = replace(state, worn={address: full - needs + missing}, worn_at=NOW)
        leaving = look._move(worn, {address: one}, {address})
        would = breached or path != LOCAL
        assert one.damped == (would and missing > 0)
        assert leaving == ((address,) if breached and missing < 0 else ())
    decayed = replace(worn, worn_at=NOW - damping.DAY)
    one.damped = False
    look._move(decayed, {address: one}, {address})
    assert not one.damped, "a day is long"


def healthy(at: float, bad: float = 0.0, *, late: bool = False) -> PathRecord:
    return PathRecord(
        health=Health.HEALTHY, answered=at, recent=Recent(bad=bad, all=500.0), late=late
    )


def knowing(state: State, address: str, **paths: PathRecord) -> State:
    known = {(address, path): record for path, record in paths.items()}
    ledger = replace(state.ledger, paths=known)
    return replace(state, ledger=reopened(ledger, state.index, NOW))


def test_an_order_is_defied_where_it_cannot_be_obeyed_or_what_is_measured_speaks_against_it(
    state: State, address: str
) -> None:
    def ordered(to: str, state: State = state, **more: object) -> AddressSituation:
        one = AddressSituation(address=address, local=Health.FAILING, **more)  # type: ignore[arg-type]
        orders = replace(state.override_state, decides={address: 0}, to={address: to})
        look._find_ways(replace(state, override_state=orders), {address: one})
        return one

    fresh = state.index.fresh
    good = knowing(state, address, pao=healthy(NOW - fresh / 2))
    obeyed = ordered("pao", good)
    assert (obeyed.ordered, obeyed.ordered_to, obeyed.defied) == (True, "pao", False)
    for record in (
        healthy(NOW - fresh),
        healthy(NOW, late=True),
        replace(healthy(NOW), health=Health.UNKNOWN),
    ):
        assert ordered("pao", knowing(state, address, pao=record)).defied
    nowhere = ordered("mars", good)
    assert (nowhere.ordered, nowhere.ordered_to, nowhere.defied) == (False, LOCAL, True)
    home = ordered(LOCAL, good, own=True)
    assert (home.ordered, home.ordered_to) == (True, LOCAL)
    assert home.defied == bool(home.proven)
    assert not ordered(LOCAL, good).defied, "nothing is known against the local path"
    for path, shouted, defied in (("pao", True, True), ("pao", False, False), ("fra", True, False)):
        proof = Verification(path=path, shouted=shouted)
        assert ordered("pao", replace(good, verifications={address: proof})).defied == defied


def test_a_freeze_orders_the_path_of_its_beginning(state: State, address: str) -> None:
    orders = replace(
        state.override_state,
        decides={address: 0},
        to={address: LOCAL},
        frozen=frozenset({address}),
    )
    frozen = replace(state, override_state=orders)
    assert look._order(frozen, address) == LOCAL
    known = replace(frozen, frozen={address: Frozen(path="fra", by="noc")})
    assert look._order(known, address) == "fra"
    gone = replace(frozen, frozen={address: Frozen(path="mars", by="noc")})
    assert look._order(gone, address) is None


Detour = tuple[str, tuple[str, ...], float, bool]
"""The path, the proven sites, how much failed lately, and whether that will do."""


@pytest.mark.parametrize(
    "detour",
    [
        ("pao", ("pao", "fra"), 0.0, True),
        ("fra", ("pao", "fra"), 0.0, False),
        ("fra", ("fra",), 0.0, True),
        ("pao", ("fra",), 0.0, False),
        ("pao", ("pao", "fra"), 400.0, False),
        (LOCAL, ("pao",), 0.0, False),
    ],
)
def test_a_detour_that_seldom_fails_and_comes_first_is_compared_with_no_other(
    state: State, address: str, detour: Detour
) -> None:
    path, proven, bad, content = detour
    known = knowing(state, address, **{path: healthy(NOW, bad)})
    one = AddressSituation(address=address, local=Health.FAILING, path=path, proven=proven)
    order = {"pao": 0, "fra": 1}
    assert look._is_content(one, order, known.ledger) == content


def test_all_is_bad_if_every_site_that_the_policy_uses_is_suspect_at_least(
    state: State, address: str
) -> None:
    sites = state.index.settings[address].order
    for each in itertools.product(Health, repeat=len(sites)):
        records = {site: PathRecord(health=one) for site, one in zip(sites, each, strict=True)}
        known = knowing(state, address, **records)
        assert look._all_bad(known, address) == all(one >= Health.SUSPECT for one in each)


def test_who_left_within_the_last_half_minute_left_in_haste(state: State, address: str) -> None:
    assert not look._left_just_now(state, address)
    for ago, hasty in ((0.0, True), (HASTY, True), (HASTY + 0.1, False)):
        assert look._left_just_now(replace(state, left_at={address: NOW - ago}), address) == hasty


def test_first_addresses_back_are_told_by_whether_they_are_verified(
    state: State, address: str
) -> None:
    group = state.index.settings[address].group
    for path, proved, wanted in (
        ("pao", True, ([], [])),
        (LOCAL, True, ([], [group])),
        (LOCAL, False, ([group], [])),
    ):
        proof = {address: Verification(path=path, proved=proved)}
        found = look._scouts(replace(state, verifications=proof))
        assert (list(found[0]), list(found[1])) == wanted
