"""An operator has the last word: rule 2, from the file's order to the path an address takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from steering.decide.overrides.override_state import OverrideStatus
from steering.facts import Memory
from steering.model import Family, Outcome
from steering.override import Action, Frozen, Match, Override

FAULT = 1020.0
GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED
EVERYTHING = Match()
ONE = "192.5.1.30"


def override(
    name: str,
    action: str,
    to: str | None = None,
    *,
    match: Match = EVERYTHING,
    until: float | None = None,
) -> Override:
    return Override(
        name=name,
        match=match,
        action=Action(action),
        to=to,
        until=until,
        reason="ticket 4711",
        by="noc",
    )


def bad_here(ask: Ask) -> Outcome:
    return EXPIRED if ask.local and ask.now >= FAULT else GOOD


def calm(_: Ask) -> Outcome:
    return GOOD


def names(sim: Simulation, event: str) -> list[object]:
    return [e.more["override"] for _, e in sim.told(event)]


# --- the last match wins ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "site"),
    [
        ([("steer", "pao")], "pao"),
        ([("steer", "pao"), ("steer", "fra")], "fra"),
        ([("steer", "pao"), ("local", None)], None),
        ([("local", None), ("steer", "pao")], "pao"),
        ([("steer", "pao"), ("freeze", None)], None),
        ([("steer", "pao"), ("avoid", "fra")], None),
        ([("avoid", "pao"), ("steer", "pao")], "pao"),
        ([("steer", "fra"), ("avoid", "fra")], None),
    ],
)
def test_the_last_match_wins(
    tmp_path: Path, overrides: list[tuple[str, str | None]], site: str | None
) -> None:
    sim = Simulation(setup(tmp_path), calm)
    sim.overrides = tuple(
        override(f"o{number}", action, to) for number, (action, to) in enumerate(overrides)
    )
    sim.run(15)
    assert set(sim.installed.values()) == ({site} if site else set())


@pytest.mark.parametrize(
    ("avoids", "taken"),
    [(["fra"], {"pao"}), (["pao"], {"fra"}), (["pao", "fra"], set())],
)
def test_avoided_sites_add_up_and_the_rules_decide_the_rest(
    tmp_path: Path, avoids: list[str], taken: set[str]
) -> None:
    sim = Simulation(setup(tmp_path), bad_here)
    sim.overrides = tuple(override(f"no-{site}", "avoid", site) for site in avoids)
    sim.run(60)
    assert set(sim.installed.values()) == taken


def test_a_later_steer_lifts_an_avoid_for_its_own_addresses_alone(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), bad_here)
    sim.overrides = (
        override("no-fra", "avoid", "fra"),
        override("but-this", "steer", "fra", match=Match(address=ONE)),
    )
    sim.run(60)
    assert sim.installed == {a: "fra" if a == ONE else "pao" for a in sim.addresses()}


def test_an_avoid_takes_traffic_off_the_site_at_once_even_if_only_home_is_left(
    tmp_path: Path,
) -> None:
    sim = Simulation(setup(tmp_path), bad_here).run(50)
    assert set(sim.installed.values()) == {"fra"}
    sim.overrides = (override("no-fra", "avoid", "fra"),)
    sim.turn()
    assert set(sim.installed.values()) == {"pao"}
    sim.overrides = (*sim.overrides, override("no-pao", "avoid", "pao"))
    sim.turn()
    assert not sim.installed
    assert {sim.rule(a) for a in sim.addresses()} == {2}
    sim.overrides = ()
    sim.run(3)
    assert len(sim.installed) == 6  # nothing had to be learnt anew


# --- obeyed, and shouted about ----------------------------------------------------------------


def test_a_steer_to_a_site_that_is_proven_bad_is_obeyed_and_shouted_about(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: EXPIRED if ask.path == "pao" else GOOD).run(40)
    assert not sim.state.alarms
    sim.overrides = (override("migration", "steer", "pao"),)
    sim.run(30)
    assert set(sim.installed.values()) == {"pao"}
    assert "migration" in sim.state.alarms["override"].because
    unshown = [e for _, e in sim.told("unshown")]
    assert len(unshown) == 6, "the failed proof is told once for each address"
    assert "does not help; kept: the override migration orders it" in unshown[0].because
    assert not sim.told("undone")
    sim.overrides = ()
    sim.run(60)
    assert not sim.installed
    assert not sim.state.alarms


def test_local_by_override_keeps_a_bad_path_and_says_so(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), bad_here)
    sim.overrides = (override("stay", "local"),)
    sim.run(60)
    assert not sim.steps
    assert "stay: local, by noc: ticket 4711: obeyed although the measurements contradict it" in (
        sim.state.alarms["override"].because
    )
    assert set(sim.state.alarms) == {"override"}
    sim.overrides = ()
    sim.run(2)
    assert len(sim.installed) == 6


def test_a_steer_where_there_is_no_way_falls_to_the_next_rules(tmp_path: Path) -> None:
    no_v6 = CONFIG.replace('ipv4: 10.255.1.2, ipv6: "fd00:ff:1::2"', "ipv4: 10.255.1.2")
    sim = Simulation(setup(tmp_path, config=no_v6), bad_here)
    sim.overrides = (override("to-pao", "steer", "pao"),)
    sim.run(15)
    assert set(sim.installed) == set(sim.addresses(Family.IPV4))
    assert "can't be obeyed" in sim.state.alarms["override"].because
    sim.run(35)
    assert {sim.installed[a] for a in sim.addresses(Family.IPV6)} == {"fra"}


def test_a_site_the_policy_does_not_like_may_be_ordered_all_the_same(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, policy(more="steer: {to: [fra]}\n")), calm)
    sim.overrides = (override("to-pao", "steer", "pao"),)
    sim.run(40)
    assert set(sim.installed.values()) == {"pao"}
    assert "override" not in sim.state.alarms, "it is proven good, whether liked or not"


def test_neither_clock_nor_crowd_nor_budget_stands_in_an_operator_s_way(tmp_path: Path) -> None:
    tight = CONFIG + "budget: {moves_per_minute: 1, at_once: 1}\n"
    sim = Simulation(setup(tmp_path, config=tight), lambda _: EXPIRED).run(30)
    assert {sim.rule(a) for a in sim.addresses()} == {3}
    sim.overrides = (override("go", "steer", "pao"),)
    sim.turn()
    assert len(sim.installed) == 6
    sim.overrides = (override("back", "local"),)
    sim.turn()
    assert not sim.installed


def test_off_comes_before_every_override(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), calm)
    sim.overrides = (override("go", "steer", "pao"),)
    sim.run(5)
    sim.off = True
    sim.turn()
    assert not sim.installed
    assert {sim.rule(a) for a in sim.addresses()} == {1}


# --- freeze -----------------------------------------------------------------------------------


@pytest.mark.long
def test_what_is_frozen_stays_as_it_stood_whatever_is_measured(tmp_path: Path) -> None:
    healed = FAULT + 30
    sim = Simulation(setup(tmp_path), lambda ask: bad_here(ask) if ask.now < healed else GOOD)
    sim.run(45)
    assert set(sim.installed.values()) == {"fra"}
    sim.overrides = (override("hands-off", "freeze"),)
    sim.run(120)
    assert set(sim.installed.values()) == {"fra"}
    assert sim.state.frozen == dict.fromkeys(sim.addresses(), Frozen(path="fra", by="hands-off"))
    sim.overrides = ()
    sim.run(10)
    assert not sim.installed
    assert not sim.state.frozen


@pytest.mark.parametrize("lease_over", [False, True])
def test_a_freeze_survives_a_restart_of_the_agent(tmp_path: Path, *, lease_over: bool) -> None:
    sim = Simulation(setup(tmp_path), bad_here).run(45)
    sim.overrides = (override("hands-off", "freeze", match=Match(family=Family.IPV4)),)
    sim.turn()
    if lease_over:
        sim.installed = {}
    sim.restart()
    sim.turn()
    frozen = set(sim.addresses(Family.IPV4))
    assert {a for a, site in sim.installed.items() if site == "fra"} >= frozen
    assert sim.state.frozen == dict.fromkeys(frozen, Frozen(path="fra", by="hands-off"))


def test_off_and_on_again_find_what_is_frozen_where_it_stood(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), calm)
    sim.overrides = (override("go", "steer", "pao"),)
    sim.run(5)
    sim.overrides = (override("hands-off", "freeze"),)
    sim.turn()
    sim.off = True
    sim.run(5)
    assert not sim.installed
    sim.off = False
    sim.turn()
    assert set(sim.installed.values()) == {"pao"}


def test_a_freeze_that_came_and_went_while_no_agent_ran_moves_nothing(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: bad_here(ask) if ask.now < FAULT + 30 else GOOD)
    sim.run(45)
    assert set(sim.installed.values()) == {"fra"}
    sim.overrides = (override("hands-off", "freeze"),)
    sim.run(5)
    sim.installed = {}  # its lease is over
    sim.restart()
    sim.overrides = (override("as-it-is", "freeze"),)
    sim.run(5)
    assert not sim.installed
    assert set(sim.state.frozen.values()) == {Frozen(path="local", by="as-it-is")}


def test_a_freeze_that_follows_another_at_once_keeps_what_that_one_kept(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), bad_here).run(45)
    for name in ("hands-off", "as-it-is"):
        sim.overrides = (override(name, "freeze"),)
        sim.run(5)
        assert set(sim.state.frozen.values()) == {Frozen(path="fra", by=name)}
    assert set(sim.installed.values()) == {"fra"}


def test_what_was_frozen_at_a_site_that_is_gone_goes_by_the_rules(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), bad_here)
    gone = Frozen(path="gone", by="hands-off")
    sim.memory = Memory(at=WALL, frozen=dict.fromkeys(sim.addresses(), gone))
    sim.overrides = (override("hands-off", "freeze"),)
    sim.run(15)
    assert not sim.installed
    assert "can't be obeyed" in sim.state.alarms["override"].because
    sim.run(30)
    assert len(sim.installed) == 6


# --- what is told -----------------------------------------------------------------------------


def test_an_override_that_ends_is_reported_once_and_nothing_is_learnt_anew(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), bad_here)
    sim.overrides = (override("stay", "local", until=WALL + FAULT + 30),)
    sim.run(20 + 29)
    assert not sim.installed
    assert names(sim, "override_applied") == ["stay"]
    took = sim.until(lambda: len(sim.installed) == 6, limit=10)
    assert took < 3
    sim.run(60)
    assert names(sim, "override_expired") == ["stay"]
    assert sim.state.override_state.state("stay") is OverrideStatus.EXPIRED


def test_expiry_is_by_the_engine_s_own_time(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), calm)
    sim.overrides = (override("long-ago", "steer", "pao", until=WALL),)
    sim.run(5)
    assert not sim.installed
    assert names(sim, "override_expired") == ["long-ago"]
    assert not sim.told("override_applied")


def test_what_is_applied_names_the_addresses_it_covers(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, policy(letters=13)), calm)
    sim.overrides = (override("v6", "steer", "pao", match=Match(family=Family.IPV6)),)
    sim.run(3)
    (event,) = [e for _, e in sim.told("override_applied")]
    assert event.more["covered"] == 13
    assert "2001:db8:5::12:30" in event.because
    assert "noc: ticket 4711" in event.because
    sim.overrides = ()
    sim.turn()
    assert names(sim, "override_removed") == ["v6"]


def test_one_that_changed_is_told_anew(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), calm)
    sim.overrides = (override("go", "steer", "pao"),)
    sim.run(3)
    sim.overrides = (override("go", "steer", "fra"),)
    sim.run(3)
    assert names(sim, "override_applied") == ["go", "go"]
    assert set(sim.installed.values()) == {"fra"}


def test_two_that_contradict_each_other_are_told_of_once_with_the_winner(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), calm)
    sim.overrides = (
        override("first", "steer", "pao"),
        override("second", "local", match=Match(address=ONE)),
    )
    sim.run(20)
    (clash,) = [e for _, e in sim.told("override_conflict")]
    assert (clash.was, clash.now, clash.more["addresses"]) == ("first", "second", 1)
    assert ONE in clash.because
    assert ONE not in sim.installed
    assert len(sim.installed) == 5


def test_two_that_say_the_same_do_not_contradict_each_other(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), calm)
    sim.overrides = (override("first", "steer", "pao"), override("second", "steer", "pao"))
    sim.run(5)
    assert not sim.told("override_conflict")


def test_one_that_matches_nothing_is_told_of_unless_it_is_for_another_site(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), calm)
    sim.overrides = (
        override("typo", "steer", "pao", match=Match(upstream="gtdl")),
        override("theirs", "steer", "pao", match=Match(site="lhr")),
        override("ours", "steer", "pao", match=Match(site="sin", address=ONE)),
    )
    sim.run(5)
    assert names(sim, "override_unmatched") == ["typo"]
    assert names(sim, "override_applied") == ["ours"]
    assert set(sim.installed) == {ONE}
    assert sim.state.override_state.states == (
        OverrideStatus.UNMATCHED,
        OverrideStatus.ELSEWHERE,
        OverrideStatus.ACTIVE,
    )


def test_the_alarm_ends_with_what_raised_it(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: EXPIRED if ask.path == "pao" else GOOD).run(30)
    sim.overrides = (override("go", "steer", "pao"),)
    sim.run(5)
    assert "override" in sim.state.alarms
    sim.overrides = (override("go", "steer", "fra"),)
    sim.run(5)
    assert "override" not in sim.state.alarms
