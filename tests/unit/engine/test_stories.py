"""Scenarios: a timeline in, what the engine did out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from faults import EXPIRED, FAULT, GOOD, TIMEOUT, always, bad_here
from simulation import CONFIG, Answer, Ask, Shown, Simulation, policy, setup

from steering.decide.look import look
from steering.decide.plan import commit
from steering.facts import Facts
from steering.index import Index
from steering.judge.known.buckets import EMPTY
from steering.judge.known.ledger import AddressRecord, Ledger, PathRecord
from steering.judge.known.paired_test import Trial
from steering.judge.known.reason import reason
from steering.judge.open_addresses import reopened
from steering.judge.turn import judge
from steering.model import LOCAL, Family, Health, Kind, Observation, Outcome, Question, Round


def alarm_names(sim: Simulation) -> set[str | None]:
    return {e.now for _, e in sim.told("alarm_raised")}


# --- the main story and its variants ---------------------------------------------------------


def test_all_signatures_expired_here_moves_both_families_in_one_plan(tmp_path: Path) -> None:
    answer = bad_here(until=FAULT + 60)
    sim = Simulation(setup(tmp_path, policy(letters=13)), answer).run(140)
    moves = sim.moves()
    assert {s.address for _, s in moves} == set(sim.addresses())
    assert len({at for at, _ in moves}) == 1
    assert moves[0][0] - FAULT <= 5
    assert {s.now for _, s in moves} == {"fra"}  # same order, same RTT: by name
    back = [(at, s) for at, s in sim.steps if not s.now]
    assert {s.address for _, s in back} == set(sim.addresses())
    assert all(at >= FAULT + 60 for at, _ in back)
    assert max(at for at, _ in back) <= FAULT + 60 + 6
    assert not sim.installed


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.EXPIRED,
        Outcome.NOT_YET_VALID,
        Outcome.BAD_SIGNATURE,
        Outcome.UNSIGNED,
        Outcome.NO_KEY,
        Outcome.SERVFAIL,
        Outcome.REFUSED,
        Outcome.LAME,
        Outcome.MALFORMED,
    ],
)
def test_every_kind_of_bad_answer_is_steered_around(tmp_path: Path, outcome: Outcome) -> None:
    sim = Simulation(setup(tmp_path), bad_here(outcome)).run(30)
    assert set(sim.installed) == set(sim.addresses())


def test_thirteen_percent_failing_names_are_found_confirmed_and_steered(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and ask.now >= FAULT and ask.unlucky(0.13) else GOOD

    sim = Simulation(setup(tmp_path), answer).run(20)
    took = sim.until(lambda: len(sim.installed) == 6, limit=120)
    assert took < 90
    assert len(sim.told("confirmed")) >= 4  # more than half of the group, the rest goes along


def test_half_a_percent_is_found_in_time(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and ask.unlucky(0.005) else GOOD

    sim = Simulation(setup(tmp_path, policy(letters=1)), answer, step=0.1)
    sim.until(lambda: bool(sim.installed), limit=6000)
    assert sim.told("confirmed")


def test_ipv6_alone_bad_moves_ipv6_alone_and_in_one_plan(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and ask.v6 and ask.now >= FAULT else GOOD

    sim = Simulation(setup(tmp_path, policy(letters=13)), answer).run(40)
    moves = sim.moves()
    assert {s.address for _, s in moves} == set(sim.addresses(Family.IPV6))
    assert len({at for at, _ in moves}) == 1


def test_more_ipv6_than_ipv4_addresses_do_not_take_ipv4_along(tmp_path: Path) -> None:
    lopsided = policy(letters=2).replace("192.5.1.30, ", "")
    sim = Simulation(
        setup(tmp_path, lopsided), lambda ask: EXPIRED if ask.local and ask.v6 else GOOD
    ).run(60)
    assert set(sim.installed) == set(sim.addresses(Family.IPV6))


# --- other sites -----------------------------------------------------------------------------


def test_when_the_first_site_is_bad_too_the_second_is_taken(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.path != "fra" and ask.now >= FAULT else GOOD

    ordered = policy(more="steer: {to: [pao, fra]}\n")
    sim = Simulation(setup(tmp_path, ordered), answer).run(40)
    assert set(sim.installed.values()) == {"fra"}
    assert {s.now for _, s in sim.moves()} == {"fra"}


def test_a_target_that_turns_bad_is_left_for_the_next_site(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        here = ask.local and ask.now >= FAULT
        return EXPIRED if here or (ask.path == "pao" and ask.now >= FAULT + 20) else GOOD

    ordered = policy(more="steer: {to: [pao, fra]}\n")
    sim = Simulation(setup(tmp_path, ordered), answer).run(35)
    assert set(sim.installed.values()) == {"pao"}
    sim.until(lambda: set(sim.installed.values()) == {"fra"}, limit=15)
    assert all(s.was == "pao" for at, s in sim.moves() if at > FAULT + 20)


@pytest.mark.long
def test_a_detour_that_is_as_bad_as_local_is_kept_when_nothing_better_is_proven(
    tmp_path: Path,
) -> None:
    def answer(ask: Ask) -> Outcome:
        bad = ask.path != "fra" or ask.now >= FAULT + 20
        return Outcome.BAD_SIGNATURE if bad and ask.now >= FAULT else GOOD

    sim = Simulation(setup(tmp_path), answer).run(39)
    before = dict(sim.installed)
    steps = len(sim.steps)
    assert set(before.values()) == {"fra"}
    assert len(before) == 6
    sim.run(60)
    assert "everywhere" in alarm_names(sim)
    assert len(sim.steps) == steps
    assert sim.installed == before


@pytest.mark.long
def test_a_detour_clearly_worse_than_local_is_given_up(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.now < FAULT:
            return GOOD
        if ask.local:
            return Outcome.BAD_SIGNATURE if ask.unlucky(0.3) else GOOD
        return Outcome.SERVFAIL if ask.now >= FAULT + 60 else GOOD

    sim = Simulation(setup(tmp_path), answer).run(75)
    assert len(sim.installed) == 6
    sim.until(lambda: not sim.installed, limit=60)
    assert "everywhere" in alarm_names(sim)


def test_one_lost_packet_over_the_detour_moves_nobody(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.local and ask.now >= FAULT:
            return EXPIRED
        lost = not ask.local and ask.now > FAULT + 15 and ask.lost(0.05)
        return TIMEOUT if lost else GOOD

    sim = Simulation(setup(tmp_path), answer).run(33)
    steps = len(sim.steps)
    sim.run(45)
    assert len(sim.steps) == steps


def test_live_answers_that_stay_bad_undo_the_steer_and_the_next_site_is_tried(
    tmp_path: Path,
) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.local and ask.now >= FAULT:
            return EXPIRED
        return TIMEOUT if ask.live and ask.path == "pao" else GOOD

    ordered = policy(more="steer: {to: [pao, fra]}\n")
    sim = Simulation(setup(tmp_path, ordered), answer).run(20)
    sim.until(lambda: set(sim.installed.values()) == {"fra"}, limit=20)
    assert {e.path for _, e in sim.told("undone")} == {"pao"}
    sim.run(20)
    assert set(sim.installed.values()) == {"fra"}
    assert {e.path for _, e in sim.told("proved")} == {"fra"}


def test_what_was_proved_is_undone_when_live_answers_turn_bad(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.local and ask.now >= FAULT:
            return EXPIRED
        return Outcome.SERVFAIL if ask.live and ask.now >= FAULT + 20 else GOOD

    sim = Simulation(setup(tmp_path), answer).run(39)
    assert len(sim.told("proved")) == 6
    assert not sim.told("undone")
    sim.run(10)
    assert len(sim.told("undone")) >= 6


def _lost_link(lost: Callable[[float], bool]) -> Answer:
    """Bad here for good, good elsewhere, and no way out over pao while its link is lost."""

    def answer(ask: Ask) -> Outcome:
        if ask.path == "pao" and not ask.live and lost(ask.now):
            return Outcome.LOCAL_ERROR
        return EXPIRED if ask.local and ask.now >= FAULT else GOOD

    return answer


def test_a_detour_whose_link_was_lost_for_a_moment_is_kept_for_its_return(tmp_path: Path) -> None:
    down = (FAULT + 20, FAULT + 30)
    alone = CONFIG.replace('  fra: {next_hop: {ipv4: 10.255.2.2, ipv6: "fd00:ff:2::2"}}\n', "")
    sim = Simulation(
        setup(tmp_path, policy(more="recover: {clean: 5000}\n"), config=alone),
        _lost_link(lambda now: down[0] <= now < down[1]),
    )
    sim.refuses = lambda _address: down[0] <= sim.now < down[1]
    sim.until(lambda: len(sim.told("proved")) == 6, limit=40)
    sim.run(down[0] - sim.now)
    sim.installed = {}  # as the kernel does
    sim.run(down[1] - 1 - sim.now)
    assert not sim.installed
    assert set(sim.state.steers()) == set(sim.addresses())
    sim.run(3)
    assert set(sim.installed) == set(sim.addresses())
    assert not sim.told("undone")


def test_a_detour_whose_link_is_lost_gives_way_to_the_next_site(tmp_path: Path) -> None:
    ordered = policy(more="steer: {to: [pao, fra]}\n")
    sim = Simulation(setup(tmp_path, ordered), _lost_link(lambda now: now >= FAULT + 20))
    sim.refuses = lambda a: sim.now >= FAULT + 20 and sim.state.steers()[a] == "pao"
    sim.until(lambda: len(sim.told("proved")) == 6, limit=40)
    assert set(sim.installed.values()) == {"pao"}
    sim.run(FAULT + 20 - sim.now)
    sim.installed = {}
    assert sim.until(lambda: set(sim.installed.values()) == {"fra"}, limit=10) < 3
    sim.run(20)
    assert set(sim.installed.values()) == {"fra"}


def test_a_path_over_which_nothing_gets_out_says_so(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return Outcome.LOCAL_ERROR if ask.local and ask.v6 else GOOD

    sim = Simulation(setup(tmp_path), answer).run(30)
    assert sim.health("2001:db8:5::30") is Health.UNKNOWN
    why = reason(sim.state.ledger, sim.index, "2001:db8:5::30", "local", sim.now)
    assert why == "30 probes in a row did not leave this host over this path"


# --- what must not move ----------------------------------------------------------------------


def test_bad_everywhere_moves_nothing_and_raises_the_alarm(tmp_path: Path) -> None:
    sim = Simulation(
        setup(tmp_path), lambda ask: Outcome.BAD_SIGNATURE if ask.now >= FAULT else GOOD
    ).run(60)
    assert not sim.steps
    assert alarm_names(sim) == {"everywhere"}
    assert {sim.rule(a) for a in sim.addresses()} == {6}


def test_an_alarm_about_somebody_elses_servers_says_whom_to_tell(tmp_path: Path) -> None:
    told = policy(more="operator: {name: NIC, contact: noc@nic.example}\n")
    bad = Simulation(setup(tmp_path, told), always(Outcome.BAD_SIGNATURE)).run(30)
    assert (
        bad.state.alarms["everywhere"]
        .because.split(". To do: ")[0]
        .endswith("; contact: NIC, noc@nic.example")
    )


def test_what_is_bad_everywhere_is_not_asked_about_fast_for_ever(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), always(Outcome.BAD_SIGNATURE)).run(60)
    asked = sim.asked
    sim.run(60)
    assert sim.asked - asked <= 6 * 60 * 1.1  # six addresses, once a second


def test_dates_wrong_everywhere_are_our_clock(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: EXPIRED if ask.now >= FAULT else GOOD).run(120)
    assert not sim.steps
    assert "clock" in alarm_names(sim)
    assert {sim.rule(a) for a in sim.addresses()} == {3}


def test_an_agent_born_with_a_wrong_clock_moves_nothing_and_recovers(tmp_path: Path) -> None:
    sim = Simulation(
        setup(tmp_path), lambda ask: Outcome.NOT_YET_VALID if ask.now < FAULT + 60 else GOOD
    ).run(60)
    assert {sim.rule(a) for a in sim.addresses()} == {3}
    sim.run(120)
    assert not sim.steps
    assert {sim.rule(a) for a in sim.addresses()} == {5}
    assert not sim.state.alarms


def test_names_planted_to_fail_everywhere_never_move_traffic(tmp_path: Path) -> None:
    sim = Simulation(
        setup(tmp_path), lambda ask: Outcome.BAD_SIGNATURE if ask.unlucky(0.1) else GOOD
    ).run(120)
    assert not sim.steps
    assert not sim.told("confirmed")


def test_a_real_fault_is_found_among_planted_names(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        planted = ask.unlucky(0.001, "planted")
        real = ask.local and ask.now >= FAULT and ask.unlucky(0.2)
        return Outcome.BAD_SIGNATURE if planted or real else GOOD

    sim = Simulation(setup(tmp_path), answer).run(20)
    assert sim.until(lambda: len(sim.installed) == 6, limit=120) < 90


@pytest.mark.long
def test_three_percent_loss_moves_nothing_in_a_day(tmp_path: Path) -> None:
    slow = CONFIG.replace("interval: 1s, fast_interval: 100ms", "interval: 90s, fast_interval: 2s")
    sim = Simulation(
        setup(tmp_path, policy(letters=1), config=slow),
        lambda ask: TIMEOUT if ask.local and ask.lost(0.03) else GOOD,
        step=0.5,
        idle=60.0,
    ).run(86_400)
    assert not sim.steps
    assert not sim.told("confirmed")


@pytest.mark.long
def test_a_clean_run_of_two_thousand_keys_suspects_nobody(tmp_path: Path) -> None:
    policies = [policy(f"u{n}", letters=26, net=n) for n in range(1, 14)]
    slow = CONFIG.replace("interval: 1s", "interval: 10s")
    sim = Simulation(setup(tmp_path, *policies, config=slow), always(GOOD), step=0.5, idle=1.0).run(
        60
    )
    known = sim.state.ledger.paths
    assert len(known) == 2028
    assert {one.health for one in known.values()} == {Health.HEALTHY}
    assert not sim.told("suspected")
    assert not sim.steps


def test_an_answer_that_cannot_be_judged_never_counts(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome | Shown:
        if not ask.local or ask.now < FAULT:
            return GOOD
        if ask.unlucky(0.5):
            return Outcome.LOCAL_ERROR
        return Shown(outcome=Outcome.NO_KEY, judged=False)

    sim = Simulation(setup(tmp_path), answer).run(120)
    assert not sim.steps
    assert not sim.told("suspected")
    assert {sim.health(a) for a in sim.addresses()} == {Health.UNKNOWN}
    assert {level for one in sim.state.ledger.paths.values() for level in one.levels} == {EMPTY}


# --- silence ---------------------------------------------------------------------------------


def test_silence_never_means_failing(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: TIMEOUT if ask.now >= FAULT else GOOD).run(60)
    assert not sim.steps
    assert {one.health for one in sim.state.ledger.paths.values()} == {Health.UNKNOWN}
    assert not sim.told("suspected")


def test_a_dead_server_among_others_that_answer_is_steered_around(tmp_path: Path) -> None:
    dead = "192.5.1.30"
    sim = Simulation(
        setup(tmp_path),
        lambda ask: TIMEOUT if ask.local and ask.address == dead and ask.now >= FAULT else GOOD,
    ).run(20)
    assert sim.until(lambda: dead in sim.installed, limit=20) < 10
    sim.run(30)
    assert set(sim.installed) == {dead}


@pytest.mark.long
def test_our_own_uplink_down_moves_nothing_neither_then_nor_after(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        down = FAULT <= ask.now < FAULT + 60
        return TIMEOUT if ask.local and (down or ask.lost(0.03)) else GOOD

    sim = Simulation(setup(tmp_path), answer).run(60)
    assert {sim.rule(a) for a in sim.addresses()} == {4}
    assert "self" in alarm_names(sim)
    sim.run(120)
    assert not sim.told("confirmed")
    assert not sim.steps
    assert not sim.state.alarms


def test_one_family_of_our_uplink_down_moves_nothing(tmp_path: Path) -> None:
    sim = Simulation(
        setup(tmp_path),
        lambda ask: TIMEOUT if ask.local and ask.v6 and FAULT <= ask.now < FAULT + 60 else GOOD,
    ).run(60)
    assert {sim.rule(a) for a in sim.addresses(Family.IPV6)} == {4}
    assert {sim.rule(a) for a in sim.addresses(Family.IPV4)} == {5}
    sim.run(120)
    assert not sim.steps


def test_most_of_four_unrelated_operators_bad_at_once_are_us(tmp_path: Path) -> None:
    policies = [policy(f"u{n}", letters=1, net=n) for n in range(1, 5)]
    sim = Simulation(setup(tmp_path, *policies), always(GOOD)).run(10)
    for bad, doubted in ((2, False), (3, True), (4, True)):
        was, failing = sim.state.ledger, sim.addresses()[: 2 * bad]
        paths = {(a, LOCAL): replace(was.path(a), health=Health.FAILING) for a in failing}
        addresses = {
            a: replace(was.address(a), confirmed_at=sim.now - 5, bad_at=sim.now) for a in failing
        }
        ledger = replace(
            was, paths={**was.paths, **paths}, addresses={**was.addresses, **addresses}
        )
        state = replace(sim.state, ledger=reopened(ledger, sim.index, sim.now))
        situation = look(state)
        doubts = {
            situation.of(t.address, t.family, ledger.path(t.address).health).self_doubt
            for t in sim.index.targets
        }
        assert (doubts == {True}) is doubted
        after = commit(state, situation, set(failing))
        assert not after.plan or not doubted
        assert (set(after.rule.values()) == {4}) is doubted


def test_a_dead_remote_path_is_no_reason_to_move(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: TIMEOUT if ask.path == "pao" else GOOD).run(60)
    assert not sim.steps
    assert {sim.health(a) for a in sim.addresses()} == {Health.HEALTHY}


# --- the operator and the actuator -----------------------------------------------------------


def test_off_takes_everything_home_at_once_and_on_works_again(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), bad_here()).run(40)
    assert len(sim.installed) == 6
    sim.off = True
    sim.turn()
    assert not sim.installed
    assert {s.rule for _, s in sim.steps[-6:]} == {"off"}
    sim.run(30)
    assert not sim.installed
    sim.off = False
    sim.run(5)
    assert len(sim.installed) == 6
    assert len(sim.told("switched_off")) == len(sim.told("switched_on")) == 1


def test_a_restart_adopts_what_is_installed_without_a_step(tmp_path: Path) -> None:
    healed = FAULT + 60
    sim = Simulation(setup(tmp_path), bad_here(until=healed)).run(40)
    steps = len(sim.steps)
    sim.restart()
    sim.turn()
    assert len(sim.told("adopted")) == 6
    sim.run(healed - sim.now)
    assert len(sim.steps) == steps
    sim.run(2)  # twenty clean answers a tenth of a second apart are needed at the least
    assert len(sim.steps) == steps
    sim.until(lambda: not sim.installed, limit=15)


def test_a_restart_onto_a_healthy_path_still_waits_for_the_whole_hold(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), always(GOOD))
    sim.installed = dict.fromkeys(sim.addresses(), "pao")
    took = sim.until(lambda: not sim.installed, limit=30)
    assert took >= 10  # recover.hold
    assert {s.now for _, s in sim.steps} == {None}


def test_a_site_that_left_the_configuration_is_not_adopted(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), always(GOOD))
    sim.installed = {"192.5.0.30": "gone", "203.0.113.1": "pao"}
    sim.turn()
    assert not sim.told("adopted")
    assert not sim.installed


def test_a_refused_route_leaves_the_plan_and_starts_no_proof(tmp_path: Path) -> None:
    stubborn = "192.5.1.30"
    sim = Simulation(setup(tmp_path), bad_here(), refuses=lambda a: a == stubborn).run(60)
    assert set(sim.state.steers()) == set(sim.addresses())
    assert stubborn not in sim.installed
    assert stubborn not in {e.address for _, e in sim.told("proved")}
    assert not sim.told("undone")
    assert sim.state.verifications[stubborn].installed is None


def test_at_most_so_many_addresses_are_steered(tmp_path: Path) -> None:
    limited = policy(more="steer: {at_most: 2}\n")
    sim = Simulation(setup(tmp_path, limited), bad_here()).run(40)
    assert len(sim.installed) == 2
    before = set(sim.installed)
    sim.run(30)
    assert set(sim.installed) == before  # those that are steered keep their place
    assert {sim.rule(a) for a in set(sim.addresses()) - before} == {9}


def test_the_policy_decides_which_classes_count(tmp_path: Path) -> None:
    bogus_only = policy(more="breach: {on: [bogus]}\n")
    errors = policy(more="breach: {on: [timeout, error]}\n")
    for text, outcome in ((bogus_only, Outcome.SERVFAIL), (bogus_only, TIMEOUT), (errors, EXPIRED)):
        sim = Simulation(setup(tmp_path, text), bad_here(outcome)).run(45)
        assert not sim.steps
        assert not sim.told("suspected")
    sim = Simulation(setup(tmp_path, errors), bad_here(Outcome.REFUSED)).run(60)
    assert len(sim.installed) == 6


def test_another_instance_starts_with_a_clean_record(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome | Shown:
        second = ask.local and ask.now >= FAULT + 10
        bad = ask.local and FAULT <= ask.now < FAULT + 10 and ask.unlucky(0.02)
        return Shown(outcome=EXPIRED if bad else GOOD, nsid="b1" if second else "a1")

    sim = Simulation(setup(tmp_path), answer).run(60)
    assert {e.path for _, e in sim.told("instance_changed")} == {"local"}
    assert not any(sim.state.ledger.path(a).counted for a in sim.addresses())


@pytest.mark.parametrize("together", ["address", "nameserver", "upstream"])
def test_one_bad_address_moves_alone(tmp_path: Path, together: str) -> None:
    text = policy(more=f"steer: {{together: {together}}}\n")
    sim = Simulation(
        setup(tmp_path, text),
        lambda ask: EXPIRED if ask.local and ask.address == "192.5.1.30" else GOOD,
    ).run(60)
    assert set(sim.installed) == {"192.5.1.30"}


@pytest.mark.parametrize(
    ("together", "moved"), [("address", 4), ("nameserver", 4), ("upstream", 6)]
)
def test_most_of_a_group_takes_the_rest_along(tmp_path: Path, together: str, moved: int) -> None:
    text = policy(more=f"steer: {{together: {together}}}\n")
    sim = Simulation(
        setup(tmp_path, text),
        lambda ask: EXPIRED if ask.local and not ask.address.endswith((".0.30", "5::30")) else GOOD,
    ).run(60)
    assert len(sim.installed) == moved


# --- the way back ----------------------------------------------------------------------------


def test_the_hold_doubles_with_each_repeat(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        cycle = (ask.now - FAULT) % 100
        return EXPIRED if ask.local and ask.now >= FAULT and cycle < 5 else GOOD

    often = policy(
        letters=1,
        more="recover: {hold: 10s, max_hold: 60s, clean: 20, moves_per_day: 100}\n",
    )
    sim = Simulation(setup(tmp_path, often), answer).run(20 + 400)
    address = sim.addresses()[0]
    away = [
        back - gone
        for (gone, _), (back, _) in zip(
            [(at, s) for at, s in sim.steps if s.address == address and s.now],
            [(at, s) for at, s in sim.steps if s.address == address and not s.now],
            strict=True,
        )
    ]
    assert len(away) == 4
    for time, hold in zip(away, (10, 20, 40, 60), strict=True):  # max_hold is 60 s
        assert hold - 2 <= time <= hold + 8


def test_a_path_that_still_fails_a_little_gets_no_traffic_back(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if not ask.local or ask.now < FAULT:
            return GOOD
        share = 1.0 if ask.now < FAULT + 30 else 0.005
        return EXPIRED if ask.unlucky(share) else GOOD

    careful = policy(letters=1, more="recover: {hold: 10s, max_hold: 60s, clean: 1600}\n")
    sim = Simulation(setup(tmp_path, careful), answer, step=0.2).run(300)
    assert len(sim.installed) == 2


@pytest.mark.parametrize(("lost", "score"), [((0,), 0), ((0, 1), 1), ((0, 1, 2), 2)])
def test_in_a_trial_only_the_second_loss_in_a_row_counts(
    tmp_path: Path, lost: tuple[int, ...], score: int
) -> None:
    """A loss of one in ten over the local path alone would else confirm in 120 pairs."""
    index, now = Index.of(setup(tmp_path, policy(letters=1))), 1000.0
    address = index.targets[0].address
    paths = {(address, site): PathRecord(health=Health.HEALTHY) for site in index.sites}
    paths[address, LOCAL] = PathRecord(health=Health.SUSPECT)
    known = AddressRecord(trial=Trial(candidate="pao", since=0.0))
    ledger = replace(Ledger.blank(now), paths=paths, addresses={address: known})
    ledger = reopened(ledger, index, now)
    for number in range(1, 11):
        item = Round(
            address=address,
            question=Question(zone="gtld.", name=f"n{number}.gtld.", rdtype="A", kind=Kind.DENIAL),
            at=now + number,
            observations=tuple(
                Observation(
                    address=address,
                    path=path,
                    reached=True,
                    outcome=TIMEOUT if path == "local" and (number - 5) in lost else GOOD,
                )
                for path in index.paths
            ),
        )
        facts = Facts(wall=0.0, rounds=(item,))
        ledger, _ = judge(ledger, index, facts, now + number)
    trial = ledger.address(address).trial
    assert trial is not None
    assert trial.score == score
