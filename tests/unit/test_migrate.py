"""A world goes over to other policies with all that is known of what stays, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from steering.config import Setup
from steering.decide.override_state import OverrideState
from steering.decide.state import State
from steering.decide.verification import Verification
from steering.engine import engine
from steering.engine.migrate import APART, AXES, migrate
from steering.judge.ledger import GroupTrial, Ledger
from steering.judge.paired_test import Trial
from steering.judge.recovery import Bucket
from steering.judge.traffic_ledger import TrafficLedger
from steering.judge.zone_copies import Copies
from steering.layout import Layout
from steering.model import Action, Event, Facts, Frozen, Health, Match, Outcome, Override, Step

GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED
NOW = 2000.0
POLICIES = (
    policy("gtld", letters=3, net=5, more="steer: {to: [pao, fra]}\n"),
    policy("root", letters=2, net=6, more="steer: {together: nameserver}\n").replace(
        "zones: [root.]", "zones: [root., arpa.]"
    ),
    policy("cctld", letters=2, net=7, more="steer: {together: address}\n"),
)
calm = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def layout_of(tmp: Path, policies: Sequence[str] = POLICIES, config: str = CONFIG) -> Layout:
    for old in (tmp / "policies").glob("*.yaml"):
        old.unlink()
    return Layout.of(setup(tmp, *policies, config=config))


def filled(layout: Layout, seed: int) -> State:
    """A world in which every array holds something, and every mapping has entries."""
    rng = np.random.default_rng(seed)
    blank = State.blank(layout, NOW, WALL)
    ledger = replace(
        blank.ledger,
        copies=replace(blank.ledger.copies, **_filled(blank.ledger.copies, layout, rng)),
        traffic=replace(blank.ledger.traffic, **_filled(blank.ledger.traffic, layout, rng)),
        **_filled(blank.ledger, layout, rng),
    )
    plan = np.where(layout.order.max(axis=1) >= 0, rng.integers(0, 2, len(layout.targets)), 0)
    state = replace(blank, ledger=ledger, plan=plan, **_filled(blank, layout, rng))
    verifications = {a: Verification(column=int(plan[a]), good=a) for a in range(len(plan))}
    stood = Frozen(path=layout.paths[-1], by="x")
    frozen = {target.address: stood for target in layout.targets}
    bypassed = frozenset(target.address for target in layout.targets[::2])
    return replace(
        state, verifications=verifications, frozen=frozen, bypassed=bypassed, started=True
    )


def _filled(part: object, layout: Layout, rng: np.random.Generator) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, axes in AXES[type(part)].items():
        value = getattr(part, name)
        if isinstance(value, np.ndarray):
            made[name] = _real(rng.integers(0, 100, value.shape).astype(value.dtype), axes, layout)
        elif isinstance(value, Mapping) and axes:
            made[name] = {key: _entry(name, i) for i, key in enumerate(_keys(axes, layout))}
    return made


def _real(value: Any, axes: str, layout: Layout) -> Any:  # noqa: ANN401
    """Without what stands for zones that an upstream does not have."""
    if "Z" in axes:
        at = axes.index("Z")
        of = layout.upstream_of if "A" in axes else np.arange(len(layout.policies))
        none = np.where(value.dtype == np.int64, -1, np.nan)
        if axes == ".ZAP" and value.dtype == np.int64:
            none = np.array(0)
        for z in range(value.shape[at]):
            for i, u in enumerate(of.tolist()):
                if z >= len(layout.policies[u].zones):
                    value[(slice(None),) * at + (z, i)] = none
    return value


def _entry(name: str, i: int) -> object:
    match name:
        case "trials":
            return Trial(candidate=1 + i % 2, since=float(i))
        case "group_trials":
            return GroupTrial(trial=Trial(candidate=1, since=float(i)), failed=frozenset({i, 0}))
        case "verifications":
            return Verification(column=1, good=i)
    return f"{name} {i}"


def _keys(axes: str, layout: Layout) -> list[Any]:
    sizes = {
        "A": range(len(layout.targets)),
        "P": range(len(layout.paths)),
        "U": range(len(layout.policies)),
        "G": range(int(layout.group_of.max()) + 1),
    }
    if axes == "ZU":
        return [(z, u) for u, p in enumerate(layout.policies) for z in range(len(p.zones))]
    if len(axes) == 1:
        return list(sizes[axes])
    return [(a, p) for a in sizes["A"] for p in sizes["P"]]


def assert_same(one: object, other: object, name: str = "state") -> None:
    """Bit for bit, but for the layout and for what is worked out anew each turn."""
    assert type(one) is type(other), name
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, err_msg=name)
        assert isinstance(other, np.ndarray)
        assert one.dtype == other.dtype, name
    elif isinstance(one, State | Ledger | Copies | TrafficLedger | OverrideState):
        for field in fields(one):
            if field.name not in {"layout", "situation"}:
                assert_same(getattr(one, field.name), getattr(other, field.name), field.name)
    else:
        assert one == other, name


def story(tmp: Path, seconds: float, *, policies: Sequence[str] = POLICIES) -> Simulation:
    """One upstream goes bad on the local path: some seconds later it is on trial, or steered."""

    def answer(ask: Ask) -> Outcome:
        bad = ask.local and ask.now > 1015 and ask.address.startswith(("192.5.", "2001:db8:5:"))
        return EXPIRED if bad else GOOD

    return Simulation(setup(tmp, *policies), answer).run(seconds)


def quiet(sim: Simulation, after: float = 1.0) -> Facts:
    return Facts(wall=WALL + sim.now + after, installed=dict(sim.installed))


def test_no_field_of_a_world_begins_anew_unnoticed() -> None:
    for kind in (State, Ledger, Copies, TrafficLedger):
        known = AXES[kind].keys() | APART.get(kind, frozenset())
        assert {field.name for field in fields(kind)} == known, kind


@calm
@given(seed=st.integers(0, 10**6))
def test_relaying_to_the_same_layout_is_the_identity(tmp_path: Path, seed: int) -> None:
    state = filled(layout_of(tmp_path), seed)
    same, ended = migrate(state, layout_of(tmp_path), NOW + 5, WALL + 5)
    assert_same(same, state)
    assert not ended


@calm
@given(data=st.data())
def test_relaying_to_another_order_and_back_loses_nothing(
    tmp_path: Path, data: st.DataObject
) -> None:
    first = layout_of(tmp_path)
    state = filled(first, data.draw(st.integers(0, 10**6)))
    mixed = layout_of(tmp_path, *_another_order(data))
    there, ended = migrate(state, mixed, NOW, WALL)
    back, ended_again = migrate(there, first, NOW, WALL)
    assert_same(back, state)
    assert not ended
    assert not ended_again


def test_where_only_the_sites_stand_in_another_order_what_names_them_follows(
    tmp_path: Path,
) -> None:
    state = filled(layout_of(tmp_path), 0)
    lines = CONFIG.splitlines()
    lines[2], lines[3] = lines[3], lines[2]
    there, _ = migrate(state, layout_of(tmp_path, config="\n".join(lines) + "\n"), NOW, WALL)
    swapped = [0, 2, 1]
    assert [p.column for p in there.verifications.values()] == [
        swapped[p.column] for p in state.verifications.values()
    ]
    assert [t.candidate for t in there.ledger.trials.values()] == [
        swapped[t.candidate] for t in state.ledger.trials.values()
    ]


def _another_order(data: st.DataObject) -> tuple[list[str], str]:
    """The same policies and sites in whichever order, lines of nameservers and zones too."""
    policies = []
    for text in data.draw(st.permutations(POLICIES)):
        head, tail = text.split("nameservers:\n")
        lines = tail.splitlines()
        servers = [line for line in lines if line.startswith("  ")]
        mixed = data.draw(st.permutations(servers))
        rest = [line for line in lines if not line.startswith("  ")]
        if data.draw(st.booleans()):
            head = head.replace("[root., arpa.]", "[arpa., root.]")
        policies.append(f"{head}nameservers:\n" + "\n".join([*mixed, *rest]) + "\n")
    lines = CONFIG.splitlines()
    if data.draw(st.booleans()):
        lines[2], lines[3] = lines[3], lines[2]
    return policies, "\n".join(lines) + "\n"


@pytest.mark.parametrize("seconds", [14.0, 15.5, 16.0, 17.0, 25.0, 60.0])
def test_the_next_turn_decides_as_it_would_have(tmp_path: Path, seconds: float) -> None:
    sim = story(tmp_path, seconds)
    other = layout_of(tmp_path, tuple(reversed(POLICIES)))
    moved, _ = migrate(sim.state, other, sim.now, WALL + sim.now)
    for after in (0.1, 1.0, 30.0):
        one = engine.turn(sim.state, quiet(sim, after), sim.now + after)
        two = engine.turn(moved, quiet(sim, after), sim.now + after)
        assert one[0].steers() == two[0].steers()
        assert _rules(one[0]) == _rules(two[0])
        assert _health(one[0]) == _health(two[0])
        assert sorted(map(_step, one[1])) == sorted(map(_step, two[1]))
        assert sorted(map(_told, one[2])) == sorted(map(_told, two[2]))


def _rules(state: State) -> dict[str, int]:
    return {t.address: int(state.rule[a]) for t, a in _rows(state)}


def _health(state: State) -> dict[tuple[str, str], int]:
    paths = state.layout.paths
    health = state.ledger.health
    return {(t.address, q): int(health[a, p]) for t, a in _rows(state) for p, q in enumerate(paths)}


def _rows(state: State) -> list[tuple[Any, int]]:
    return [(target, a) for a, target in enumerate(state.layout.targets)]


def _step(step: Step) -> tuple[str, str]:
    return step.address, str(step)


def _told(event: Event) -> tuple[str, str]:
    return event.address or "", str(event)


def test_an_incident_goes_on_over_a_change_of_policies_as_if_nothing_were(tmp_path: Path) -> None:
    """In the middle of the trial a policy comes and another goes: the same detour, the same way."""
    alone = story(tmp_path, 14.0)
    alone.until(lambda: len(alone.state.steers()) == 6, limit=30.0)
    sim = story(tmp_path, 14.0)
    sim.until(lambda: bool(sim.state.ledger.trials), limit=10.0)
    _go_over(sim, tmp_path, (*POLICIES[:2], policy("new", letters=4, net=9)))
    sim.until(lambda: len(sim.state.steers()) == 6, limit=30.0)
    assert sim.state.steers() == alone.state.steers()
    assert abs(sim.now - alone.now) < 3.0


def _go_over(sim: Simulation, tmp: Path, policies: Sequence[str], config: str = CONFIG) -> None:
    state = sim.state
    sim.setup = _setup(tmp, policies, config)
    installed, events, steps, now = sim.installed, sim.events, sim.steps, sim.now
    sim.__post_init__()
    sim.installed, sim.events, sim.steps, sim.now = installed, events, steps, now
    sim.state, _ = migrate(state, sim.layout, now, WALL + now)


def _setup(tmp: Path, policies: Sequence[str], config: str) -> Setup:
    layout_of(tmp, policies, config)
    return setup(tmp, *policies, config=config)


def test_what_left_the_policies_is_in_no_plan_and_told_once(tmp_path: Path) -> None:
    sim = story(tmp_path, 60.0)
    assert len(sim.state.steers()) == 6
    after, ended = migrate(sim.state, layout_of(tmp_path, POLICIES[1:]), sim.now, sim.state.wall)
    assert after.steers() == {}
    assert {e.address for e in ended} == sim.state.steers().keys()
    assert {(e.event, e.was, e.now) for e in ended} == {("released", "pao", "local")}
    assert not migrate(after, after.layout, sim.now, sim.state.wall)[1]


def test_of_what_is_new_nothing_is_known(tmp_path: Path) -> None:
    sim = story(tmp_path, 60.0, policies=POLICIES[:1])
    layout = layout_of(tmp_path, POLICIES)
    after, _ = migrate(sim.state, layout, sim.now, sim.state.wall)
    blank = State.blank(layout, sim.now, sim.state.wall)
    new = layout.upstream_of > 0
    np.testing.assert_array_equal(after.ledger.health[new], blank.ledger.health[new])
    np.testing.assert_array_equal(after.ledger.counts[:, new], blank.ledger.counts[:, new])
    assert after.steers() == sim.state.steers()


def test_a_steer_whose_site_is_gone_takes_the_next_one_in_the_same_turn(tmp_path: Path) -> None:
    sim = story(tmp_path, 60.0)
    assert set(sim.state.steers().values()) == {"pao"}
    lines = [line for line in CONFIG.splitlines() if "pao:" not in line]
    policies = (POLICIES[0].replace("[pao, fra]", "[fra]"), *POLICIES[1:])
    layout = layout_of(tmp_path, policies, "\n".join(lines) + "\n")
    moved, ended = migrate(sim.state, layout, sim.now, sim.state.wall)
    assert len(ended) == 6
    after, _, _ = engine.turn(moved, quiet(sim, 0.1), sim.now + 0.1)
    assert after.steers() == dict.fromkeys(sim.state.steers(), "fra"), "and local in between never"


def test_a_site_that_the_policy_no_longer_likes_is_left(tmp_path: Path) -> None:
    sim = story(tmp_path, 60.0)
    liked = (POLICIES[0].replace("[pao, fra]", "[fra]"), *POLICIES[1:])
    moved, ended = migrate(sim.state, layout_of(tmp_path, liked), sim.now, sim.state.wall)
    assert {e.because for e in ended} == {"the policy does not use site pao any more"}
    after, _, _ = engine.turn(moved, quiet(sim, 0.1), sim.now + 0.1)
    assert set(after.steers().values()) == {"fra"}


def test_a_site_with_another_next_hop_keeps_its_steers_and_proves_them_anew(
    tmp_path: Path,
) -> None:
    sim = story(tmp_path, 60.0)
    layout = layout_of(tmp_path)
    moved, ended = migrate(sim.state, layout, sim.now, sim.state.wall, rerouted=["pao"])
    assert moved.steers() == sim.state.steers()
    assert not ended
    pao = layout.column["pao"]
    assert (moved.ledger.health[:, pao] == 0).all(), "nobody has measured the new way"
    assert all(
        proof == Verification(column=pao) for proof in moved.verifications.values() if proof.column
    )
    local = layout.column["local"]
    np.testing.assert_array_equal(moved.ledger.health[:, local], sim.state.ledger.health[:, local])


def test_a_local_path_asked_by_another_pin_is_unknown_and_brings_nothing_home_by_that(
    tmp_path: Path,
) -> None:
    sim = story(tmp_path, 60.0)
    was, layout = sim.state, layout_of(tmp_path)
    moved, ended = migrate(was, layout, sim.now, was.wall, rerouted=["local"])
    assert moved.steers() == was.steers()
    assert len(moved.steers()) == 6
    assert not ended
    away = moved.plan > 0
    assert (moved.ledger.health[~away, 0] == Health.UNKNOWN).all(), "nobody has asked by it yet"
    assert (moved.ledger.health[away, 0] == Health.FAILING).all(), "nothing says that it is well"
    assert not moved.ledger.counts[:, :, 0].any()
    assert moved.ledger.holds == was.ledger.holds, "it is no further breach"
    np.testing.assert_array_equal(moved.ledger.counts[:, :, 1:], was.ledger.counts[:, :, 1:])


def test_no_pin_led_what_resolvers_saw_of_the_local_path(tmp_path: Path) -> None:
    state = filled(layout_of(tmp_path), 7)
    state = replace(state, plan=np.zeros_like(state.plan))
    moved, _ = migrate(state, state.layout, NOW, WALL, rerouted=["local"])
    assert_same(moved.ledger.traffic, state.ledger.traffic)


def test_what_is_clean_by_another_pin_is_clean_all_over_before_traffic_returns(
    tmp_path: Path,
) -> None:
    sim = story(tmp_path, 60.0)
    sim.answer = lambda _ask: GOOD
    address = next(iter(sim.state.steers()))
    row = sim.layout.row[address]
    sim.until(lambda: 0 < sim.state.ledger.buckets[row, 0].points < 20, limit=30.0)
    sim.state, _ = migrate(sim.state, sim.layout, sim.now, sim.state.wall, rerouted=["local"])
    assert sim.state.ledger.buckets[row, 0] == Bucket.start(20)
    sim.turn()
    assert address in sim.state.steers()
    asked = sim.state.ledger.counts[:, row, 0].sum()
    sim.until(lambda: address not in sim.state.steers(), limit=60.0)
    assert sim.state.ledger.counts[:, row, 0].sum() - asked >= 20


def test_what_men_sent_away_has_no_breach_by_another_pin(tmp_path: Path) -> None:
    sim = story(tmp_path, 10.0)
    order = Override(
        name="out",
        match=Match(upstream="gtld"),
        action=Action.STEER,
        to="pao",
        until=None,
        reason="",
        by="",
    )
    sim.overrides = (order,)
    sim.turn()
    assert len(sim.state.steers()) == 6
    moved, _ = migrate(sim.state, sim.layout, sim.now, sim.state.wall, rerouted=["local"])
    assert (moved.ledger.health[:, 0] == Health.UNKNOWN).all()
    assert not moved.ledger.holds


def test_a_policy_that_tolerates_more_has_its_scale_at_once(tmp_path: Path) -> None:
    layout = layout_of(tmp_path)
    state = filled(layout, 7)
    lax = (POLICIES[0] + "breach: {failure_rate: 3%}\n", *POLICIES[1:])
    other = layout_of(tmp_path, lax)
    after, _ = migrate(state, other, NOW, WALL)
    first = layout.upstream_of == 0
    assert (after.ledger.scale[0, first] >= other.base_scale[0, first, None]).all()
    np.testing.assert_array_equal(after.ledger.scale[:, ~first], state.ledger.scale[:, ~first])
