"""A world goes over to other policies with all that is known of what stays, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from steering.config import Setup
from steering.decide.overrides.override_state import OverrideState
from steering.decide.state import State
from steering.decide.traffic_served import Unserved
from steering.decide.verification import Verification
from steering.engine import engine
from steering.engine.migrate import migrate
from steering.facts import Facts
from steering.index import Index
from steering.judge.known.baseline import KINDS, Baseline, base_scale
from steering.judge.known.carriage import Carriage
from steering.judge.known.instance import Instance
from steering.judge.known.ledger import (
    AddressRecord,
    Asked,
    Backoff,
    Control,
    GroupRecord,
    GroupTrial,
    Ledger,
    Listened,
    PathRecord,
    UpstreamRecord,
)
from steering.judge.known.legs import Leg, Reach
from steering.judge.known.paired_test import Trial
from steering.judge.known.recovery import Bucket, Hold
from steering.judge.known.stream import PathTraffic
from steering.judge.known.zone_copies import ZoneCopy, ZoneHistory
from steering.judge.open_addresses import reopened
from steering.model import LOCAL, Event, Family, Health, Outcome, Step
from steering.override import Action, Frozen, Match, Override

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


def index_of(tmp: Path, policies: Sequence[str] = POLICIES, config: str = CONFIG) -> Index:
    for old in (tmp / "policies").glob("*.yaml"):
        old.unlink()
    return Index.of(setup(tmp, *policies, config=config))


def filled(index: Index, seed: int) -> State:
    """A world in which every part holds something of all that has a name."""
    rng = Random(seed)
    addresses = list(index.settings)
    keys = [(address, path) for address in addresses for path in index.paths]
    detours = [(address, site) for address in addresses for site in index.sites]
    zones = {a: each.policy.zones for a, each in index.settings.items()}

    def trial() -> Trial:
        return Trial(candidate=rng.choice(index.sites), since=rng.random())

    def baseline() -> Baseline:
        numbers = tuple(rng.random() for _ in KINDS)
        return Baseline(failed=numbers, answers=numbers, reviewed_at=rng.random())

    def leg() -> Leg:
        return Leg(
            site=rng.choice(index.paths),
            family=rng.choice(list(Family)),
            source=f"192.0.2.{rng.randrange(9)}",
            tcp=rng.random() < 0.5,
            large=rng.choice(["", *index.upstreams]),
        )

    def group_trial() -> GroupTrial:
        return GroupTrial(trial=trial(), failed=frozenset(rng.choices(addresses, k=3)))

    ledger = Ledger(
        paths={
            key: PathRecord(
                health=Health(rng.randrange(len(Health))),
                baseline=baseline(),
                counts={GOOD: rng.randrange(1, 100)},
                seen=rng.random(),
                copies={zone: ZoneCopy(serial=rng.randrange(9)) for zone in zones[key[0]]},
                floors={zone: rng.random() for zone in zones[key[0]]},
                losses=rng.randrange(9),
                bucket=Bucket.start(rng.randrange(1, 99)),
            )
            for key in keys
        },
        traffic={
            key: PathTraffic(baseline=baseline(), at=rng.random(), counted={"a.": rng.random()})
            for key in keys
        },
        addresses={
            a: AddressRecord(
                suspected_at=rng.random(),
                confirmed_at=rng.random(),
                first_bad=rng.random(),
                zone_since=rng.random(),
                curious_until=rng.random(),
                shown_since=rng.random(),
                usual=rng.random(),
                bad_at=rng.random(),
                ignored={"c.": rng.random()},
                asked_at=(rng.random(),),
                shown=(rng.random(),),
                trial=trial(),
                control=Control(score=1, at=rng.random(), lost=True, live_lost=True),
                backoff=Backoff(points=1, since=rng.random(), until=rng.random()),
                hold=Hold(breaches=rng.randrange(1, 9)),
                raised=True,
                quiet_until=rng.random(),
                deaf_until=rng.random(),
            )
            for a in addresses
        },
        groups={
            g: GroupRecord(trial=group_trial(), heard_names={"b.": rng.random()})
            for g in index.groups
        },
        upstreams={name: UpstreamRecord(queried_at=rng.random()) for name in index.upstreams},
        zones={
            (upstream, zone): ZoneHistory(serials=((rng.randrange(9), rng.random()),))
            for upstream, those in index.upstreams.items()
            for zone in zones[those[0]]
        },
        instances={key: Instance(answers=rng.randrange(9)) for key in keys},
        asked={a: Asked(rng.random(), NOW) for a in addresses},
        listened=Listened(queries=rng.random(), at=NOW),
        legs={leg(): Reach(came=1) for _ in range(20)},
        carried={replace(leg(), large=""): Carriage(lost=1) for _ in range(20)},
        window=rng.random(),
        reviewed_at=rng.random(),
    )
    plan = {
        a: rng.choice(list(each.order))
        for a, each in index.settings.items()
        if each.order and rng.random() < 0.5
    }
    blank = State.blank(index, NOW, WALL)
    return replace(
        blank,
        ledger=reopened(ledger, index, NOW),
        plan=plan,
        rule={a: rng.randrange(1, 11) for a in addresses},
        since={a: rng.random() for a in addresses},
        left_at=dict.fromkeys(plan, rng.random()),
        breached=frozenset(addresses),
        open_groups=frozenset(index.groups),
        avoid_until={key: rng.random() for key in detours},
        turned={key: rng.random() for key in detours},
        unserved={
            key: Unserved(at=rng.random(), times=1, silent=False, shown="") for key in detours
        },
        verifications={
            a: Verification(path=plan.get(a, LOCAL), good=n) for n, a in enumerate(addresses)
        },
        frozen={a: Frozen(path=rng.choice(index.paths), by="x") for a in addresses},
        worn={a: rng.random() for a in addresses},
        bypassed=frozenset(addresses[::2]),
        started=True,
    )


def assert_same(one: object, other: object, name: str = "state") -> None:
    """But for the index and for what is worked out anew each turn."""
    assert type(one) is type(other), name
    if isinstance(one, State | Ledger | OverrideState):
        for field in fields(one):
            if field.name not in {"index", "situation", "due"}:
                assert_same(getattr(one, field.name), getattr(other, field.name), field.name)
    else:
        assert one == other, name


def names_in(value: object) -> Iterator[str]:
    """All words in a state, but for its index, its alarms and what overrides say."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from names_in(key)
            yield from names_in(one)
    elif isinstance(value, tuple | frozenset):
        for one in value:
            yield from names_in(one)
    elif is_dataclass(value) and not isinstance(value, Index | OverrideState | type):
        for field in fields(value):
            yield from names_in(getattr(value, field.name))


def story(tmp: Path, seconds: float, *, policies: Sequence[str] = POLICIES) -> Simulation:
    """One upstream goes bad on the local path: some seconds later it is on trial, or steered."""

    def answer(ask: Ask) -> Outcome:
        bad = ask.local and ask.now > 1015 and ask.address.startswith(("192.5.", "2001:db8:5:"))
        return EXPIRED if bad else GOOD

    return Simulation(setup(tmp, *policies), answer).run(seconds)


def quiet(sim: Simulation, after: float = 1.0) -> Facts:
    return Facts(wall=WALL + sim.now + after, installed=dict(sim.installed))


@pytest.mark.parametrize("rerouted", [(), ("fra",), ("local",)])
def test_nothing_in_a_world_names_what_is_gone(tmp_path: Path, rerouted: tuple[str, ...]) -> None:
    """The middle policy, a nameserver of the last, a zone and a site go."""
    config = "".join(line for line in CONFIG.splitlines(keepends=True) if "pao:" not in line)
    kept = policy("cctld", letters=1, net=7, more="steer: {together: address}\n")
    first = POLICIES[0].replace("[pao, fra]", "[fra]")
    old = index_of(tmp_path)
    new = index_of(tmp_path, (first, kept), config)
    gone = {"pao", "root", "arpa.", *old.settings, *old.groups, *old.upstreams}
    gone -= {*new.settings, *new.groups, *new.upstreams}
    state = filled(old, 3)
    assert gone <= {*names_in(state)}
    moved, _ = migrate(state, new, NOW, WALL, rerouted=rerouted)
    assert not gone & {*names_in(moved)}
    queries = sum(known.queries for known in moved.ledger.asked.values())
    assert moved.ledger.listened.queries == pytest.approx(queries)
    assert {"fra", *new.settings, *new.groups, *new.upstreams} <= {*names_in(moved)}


def test_what_a_path_that_leads_elsewhere_showed_is_forgotten(tmp_path: Path) -> None:
    state = filled(index_of(tmp_path), 3)
    state = replace(state, plan={})
    moved, _ = migrate(state, state.index, NOW, WALL, rerouted=["pao"])
    after = moved.ledger
    for keys in (after.paths.keys(), after.instances.keys(), after.traffic.keys()):
        assert {path for _, path in keys} == {"local", "fra"}
    for keys in (moved.avoid_until.keys(), moved.turned.keys(), moved.unserved.keys()):
        assert {path for _, path in keys} == {"fra"}
    assert {leg.site for leg in (*after.legs, *after.carried)} == {"local", "fra"}
    assert {one.trial.candidate for one in after.addresses.values() if one.trial} == {"fra"}
    assert {one.trial.trial.candidate for one in after.groups.values() if one.trial} == {"fra"}


@calm
@given(seed=st.integers(0, 10**6))
def test_relaying_to_the_same_policies_is_the_identity(tmp_path: Path, seed: int) -> None:
    state = filled(index_of(tmp_path), seed)
    same, ended = migrate(state, index_of(tmp_path), NOW + 5, WALL + 5)
    assert_same(same, state)
    assert not ended


@pytest.mark.long
@calm
@given(data=st.data())
def test_relaying_to_another_order_and_back_loses_nothing(
    tmp_path: Path, data: st.DataObject
) -> None:
    first = index_of(tmp_path)
    state = filled(first, data.draw(st.integers(0, 10**6)))
    mixed = index_of(tmp_path, *_another_order(data))
    there, ended = migrate(state, mixed, NOW, WALL)
    back, ended_again = migrate(there, first, NOW, WALL)
    assert_same(back, state)
    assert not ended
    assert not ended_again


def test_where_only_the_sites_stand_in_another_order_all_stays(tmp_path: Path) -> None:
    state = filled(index_of(tmp_path), 0)
    lines = CONFIG.splitlines()
    lines[2], lines[3] = lines[3], lines[2]
    there, _ = migrate(state, index_of(tmp_path, config="\n".join(lines) + "\n"), NOW, WALL)
    assert there.index.paths == ("local", "fra", "pao")
    assert_same(there, state)


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
    other = index_of(tmp_path, tuple(reversed(POLICIES)))
    moved, _ = migrate(sim.state, other, sim.now, WALL + sim.now)
    for after in (0.1, 1.0, 30.0):
        one = engine.turn(sim.state, quiet(sim, after), sim.now + after)
        two = engine.turn(moved, quiet(sim, after), sim.now + after)
        assert one[0].steers() == two[0].steers()
        assert one[0].rule == two[0].rule
        assert _health(one[0]) == _health(two[0])
        assert sorted(map(_step, one[1])) == sorted(map(_step, two[1]))
        assert sorted(map(_told, one[2])) == sorted(map(_told, two[2]))


def _health(state: State) -> dict[tuple[str, str], Health]:
    return {key: known.health for key, known in state.ledger.paths.items()}


def _step(step: Step) -> tuple[str, str]:
    return step.address, str(step)


def _told(event: Event) -> tuple[str, str]:
    return event.address or "", str(event)


def test_an_incident_goes_on_over_a_change_of_policies_as_if_nothing_were(tmp_path: Path) -> None:
    """In the middle of the trial a policy comes and another goes: the same detour, the same way."""
    alone = story(tmp_path, 14.0)
    alone.until(lambda: len(alone.state.steers()) == 6, limit=30.0)
    sim = story(tmp_path, 14.0)
    sim.until(lambda: any(known.trial for known in sim.state.ledger.addresses.values()), limit=10.0)
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
    sim.state, _ = migrate(state, sim.index, now, WALL + now)


def _setup(tmp: Path, policies: Sequence[str], config: str) -> Setup:
    index_of(tmp, policies, config)
    return setup(tmp, *policies, config=config)


def test_what_left_the_policies_is_in_no_plan_and_told_once(tmp_path: Path) -> None:
    sim = story(tmp_path, 60.0)
    assert len(sim.state.steers()) == 6
    after, ended = migrate(sim.state, index_of(tmp_path, POLICIES[1:]), sim.now, sim.state.wall)
    assert after.steers() == {}
    assert {e.address for e in ended} == sim.state.steers().keys()
    assert {(e.event, e.was, e.now) for e in ended} == {("released", "pao", "local")}
    assert not migrate(after, after.index, sim.now, sim.state.wall)[1]


def test_of_what_is_new_nothing_is_known(tmp_path: Path) -> None:
    sim = story(tmp_path, 60.0, policies=POLICIES[:1])
    index = index_of(tmp_path, POLICIES)
    after, _ = migrate(sim.state, index, sim.now, sim.state.wall)
    assert after.since.keys() == index.settings.keys()
    new = {*index.upstreams["root"], *index.upstreams["cctld"]}
    assert new
    assert new.isdisjoint(after.ledger.addresses)
    assert new.isdisjoint(address for address, _ in after.ledger.paths)
    assert after.steers() == sim.state.steers()


def test_a_steer_whose_site_is_gone_takes_the_next_one_in_the_same_turn(tmp_path: Path) -> None:
    sim = story(tmp_path, 60.0)
    assert set(sim.state.steers().values()) == {"pao"}
    lines = [line for line in CONFIG.splitlines() if "pao:" not in line]
    policies = (POLICIES[0].replace("[pao, fra]", "[fra]"), *POLICIES[1:])
    index = index_of(tmp_path, policies, "\n".join(lines) + "\n")
    moved, ended = migrate(sim.state, index, sim.now, sim.state.wall)
    assert len(ended) == 6
    after, _, _ = engine.turn(moved, quiet(sim, 0.1), sim.now + 0.1)
    assert after.steers() == dict.fromkeys(sim.state.steers(), "fra"), "and local in between never"


def test_a_site_that_the_policy_no_longer_likes_is_left(tmp_path: Path) -> None:
    sim = story(tmp_path, 60.0)
    liked = (POLICIES[0].replace("[pao, fra]", "[fra]"), *POLICIES[1:])
    moved, ended = migrate(sim.state, index_of(tmp_path, liked), sim.now, sim.state.wall)
    assert {e.because for e in ended} == {"the policy does not use site pao any more"}
    after, _, _ = engine.turn(moved, quiet(sim, 0.1), sim.now + 0.1)
    assert set(after.steers().values()) == {"fra"}


def test_a_site_with_another_next_hop_keeps_its_steers_and_proves_them_anew(
    tmp_path: Path,
) -> None:
    sim = story(tmp_path, 60.0)
    index = index_of(tmp_path)
    moved, ended = migrate(sim.state, index, sim.now, sim.state.wall, rerouted=["pao"])
    assert moved.steers() == sim.state.steers()
    assert not ended
    assert "pao" not in {path for _, path in moved.ledger.paths}, "nobody has measured the new way"
    assert {*moved.verifications.values()} == {Verification(path="pao")}
    for address in index.settings:
        assert moved.ledger.path(address) == sim.state.ledger.path(address)


def test_a_local_path_asked_by_another_pin_is_unknown_and_brings_nothing_home_by_that(
    tmp_path: Path,
) -> None:
    sim = story(tmp_path, 60.0)
    was, index = sim.state, index_of(tmp_path)
    moved, ended = migrate(was, index, sim.now, was.wall, rerouted=["local"])
    assert moved.steers() == was.steers()
    assert len(moved.steers()) == 6
    assert not ended
    for address in index.settings:
        known = moved.ledger.path(address)
        if address in moved.plan:
            assert known.health is Health.FAILING, "nothing says that it is well"
        else:
            assert known.health is Health.UNKNOWN, "nobody has asked by it yet"
        assert not known.counts
        hold = was.ledger.address(address).hold
        assert moved.ledger.address(address).hold == hold, "it is no further breach"
        for site in index.sites:
            assert moved.ledger.path(address, site).counts == was.ledger.path(address, site).counts


def test_no_pin_led_what_resolvers_saw_of_the_local_path(tmp_path: Path) -> None:
    state = filled(index_of(tmp_path), 7)
    state = replace(state, plan={})
    moved, _ = migrate(state, state.index, NOW, WALL, rerouted=["local"])
    assert_same(moved.ledger.traffic, state.ledger.traffic)


def test_what_is_clean_by_another_pin_is_clean_all_over_before_traffic_returns(
    tmp_path: Path,
) -> None:
    sim = story(tmp_path, 60.0)
    sim.answer = lambda _ask: GOOD
    address = next(iter(sim.state.steers()))

    def points() -> int:
        bucket = sim.state.ledger.path(address).bucket
        return bucket.points if bucket else 0

    def asked() -> int:
        return sum(sim.state.ledger.path(address).counts.values())

    sim.until(lambda: 0 < points() < 20, limit=30.0)
    sim.state, _ = migrate(sim.state, sim.index, sim.now, sim.state.wall, rerouted=["local"])
    assert sim.state.ledger.path(address).bucket == Bucket.start(20)
    sim.turn()
    assert address in sim.state.steers()
    before = asked()
    sim.until(lambda: address not in sim.state.steers(), limit=60.0)
    assert asked() - before >= 20


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
    moved, _ = migrate(sim.state, sim.index, sim.now, sim.state.wall, rerouted=["local"])
    assert all(moved.ledger.path(a).health is Health.UNKNOWN for a in sim.index.settings)
    assert not any(known.hold for known in moved.ledger.addresses.values())


def test_a_policy_that_tolerates_more_has_its_scale_at_once(tmp_path: Path) -> None:
    state = filled(index_of(tmp_path), 7)
    lax = (POLICIES[0] + "breach: {failure_rate: 3%}\n", *POLICIES[1:])
    other = index_of(tmp_path, lax)
    after, _ = migrate(state, other, NOW, WALL)
    for key, known in after.ledger.paths.items():
        settings, was = other.settings[key[0]], state.ledger.paths[key].baseline
        assert known.baseline is not None
        if settings.upstream == "gtld":
            assert known.baseline.scale(0, settings) >= base_scale(settings, 0) > 1
            assert known.baseline.scales is not None, "made by the new policy"
            assert was is not None
            assert known.baseline.failed != was.failed, "and faded until the review"
        else:
            assert known.baseline == was


@pytest.mark.parametrize("before", [False, True])
def test_a_stale_path_is_breached_from_the_moment_at_which_its_policy_counts_that(
    tmp_path: Path, before: bool
) -> None:
    acts = "serial: epoch\nbreach: {on: [bogus, timeout, error, stale]}\n"
    counting = (policy("gtld", letters=1, more=acts), policy("root", letters=1, net=6))
    old = index_of(tmp_path, counting if before else (policy("gtld", letters=1), counting[1]))
    (one, two), (root, _) = old.upstreams["gtld"], old.upstreams["root"]
    stale, bad = PathRecord(health=Health.STALE), PathRecord(health=Health.FAILING)
    hold = Hold(breaches=1, since=NOW - 50, ended=NOW - 40)
    blank = State.blank(old, NOW, WALL)
    ledger = replace(
        blank.ledger,
        paths={(one, LOCAL): stale, (one, "pao"): stale, (two, LOCAL): bad, (root, LOCAL): stale},
        addresses={one: AddressRecord(hold=hold)},
    )
    state = replace(blank, ledger=reopened(ledger, old, NOW))
    moved, _ = migrate(state, index_of(tmp_path, counting), NOW, WALL)
    after = moved.ledger
    clean = moved.index.settings[one].policy.recover.clean
    assert after.path(one).bucket == (None if before else Bucket.start(clean))
    assert after.address(one).hold == (hold if before else hold.breach(NOW))
    for key in ((one, "pao"), (two, LOCAL), (root, LOCAL)):
        assert after.paths[key] == ledger.paths[key]
    for address in (two, root):
        assert after.address(address).hold is None
