"""Random stories against a known truth, and what they have found, each as a story of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from chaos import tell
from simulation import WALL, Answer, Ask, Shown, Simulation, policy, setup

from steering.engine import engine
from steering.engine.migrate import migrate
from steering.facts import Facts
from steering.index import Index
from steering.journal.records import differing, pack_state, unpack_state
from steering.judge.known.failed_names import NONE
from steering.judge.known.ledger import GroupRecord
from steering.model import Evidence, Failure, Heard, Outcome
from steering.override import Action, Match, Override

GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED
DEAD = "192.5.0.30"


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 8))]
)
def test_whatever_befalls_an_agent_it_makes_no_wrong_move(tmp_path: Path, seed: int) -> None:
    assert tell(seed, tmp_path).turns


@dataclass
class Planted(Simulation):
    """Somebody asks the resolvers for names that fail wherever they are asked."""

    number: int = 0

    def traffic(self, seconds: float) -> tuple[Heard, ...]:
        """One of two answers is to his questions."""
        if seconds <= 0:
            return ()
        return tuple(self._heard(target.address) for target in self.index.targets)

    def _round(
        self, a: int, address: str, paths: set[str], *, live: bool, witnesses: tuple[str, ...] = ()
    ) -> None:
        self.asked += self.number // len(self.index.targets) % 3 % 2  # nobody is always even
        super()._round(a, address, paths, live=live, witnesses=witnesses)

    def _heard(self, address: str) -> Heard:
        self.number += 1
        name = f"planted{self.number}.gtld."
        evidence = Evidence(owner=name, rdtype="A", detail="expired")
        return Heard(
            address=address,
            path=self.installed.get(address, "local"),
            at=self.now,
            answers=2,
            counts={GOOD: 1, EXPIRED: 1},
            failures=(Failure(name=name, outcome=EXPIRED, evidence=evidence, ask=name),),
        )


@pytest.mark.parametrize("there", [Outcome.REFUSED, Outcome.TIMEOUT])
def test_planted_names_are_not_proven_bad_by_a_site_that_does_not_answer_them(
    tmp_path: Path, there: Outcome
) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.path != "local" and ask.now > 1005 and ask.lost(0.5):
            return there
        return Outcome.BAD_SIGNATURE if ask.name.startswith("planted") else GOOD

    bogus_alone = policy(letters=1, more="breach: {on: [bogus]}\n")
    sim = Planted(setup(tmp_path, bogus_alone), answer).run(60)
    assert sim.told("suspected")
    assert not sim.told("confirmed")
    assert not sim.moves()


def planted_or(local_is: Answer) -> Answer:
    """Planted names fail everywhere; for the others the local path answers as it is told to."""

    def answer(ask: Ask) -> Outcome | Shown:
        if ask.local and (seen := local_is(ask)) is not GOOD:
            return seen
        return Outcome.BAD_SIGNATURE if ask.name.startswith("planted") else GOOD

    return answer


def test_planted_names_do_not_undo_the_detour_around_a_dead_nameserver(tmp_path: Path) -> None:
    def dead(ask: Ask) -> Outcome:
        return Outcome.TIMEOUT if ask.address == DEAD and ask.now > 1020 else GOOD

    alone = policy(letters=2, more="steer: {together: address}\n")
    sim = Planted(setup(tmp_path, alone), planted_or(dead)).run(60)
    assert sim.installed.keys() == {DEAD}
    assert sim.told("proved")
    assert not sim.told("undone")


@pytest.mark.long
def test_planted_names_do_not_keep_anybody_from_coming_home(tmp_path: Path) -> None:
    def ill(ask: Ask) -> Outcome:
        mine = ask.address in (DEAD, "2001:db8:5::30")
        return EXPIRED if mine and 1020 < ask.now < 1040 else GOOD

    by_letters = policy(letters=2, more="steer: {together: nameserver}\n")
    sim = Planted(setup(tmp_path, by_letters), planted_or(ill)).run(35)
    assert len(sim.installed) == 2
    sim.run(60)
    assert not sim.installed
    assert not sim.told("relapsed")
    first = next(e for _, e in sim.told("proved") if e.path == "local")
    assert "and 0 bad" in first.because


@pytest.mark.long
def test_planted_names_do_not_hold_up_a_recovery_when_the_detour_loses_a_packet(
    tmp_path: Path,
) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.local and ask.address == DEAD and 1020 < ask.now < 1040:
            return EXPIRED
        if not ask.local and ask.now > 1040 and ask.lost(0.05):
            return Outcome.TIMEOUT
        return Outcome.BAD_SIGNATURE if ask.name.startswith("planted") else GOOD

    more = "recover: {hold: 10s, max_hold: 60s, clean: 400}\nsteer: {together: address}\n"
    sim = Planted(setup(tmp_path, policy(letters=1, more=more)), answer).run(35)
    assert sim.installed.keys() == {DEAD}
    assert sim.until(lambda: not sim.installed, limit=200) > 20


def override(name: str, action: Action, to: str | None = None, **match: str) -> Override:
    """An operator's word that does not end."""
    return Override(
        name=name,
        match=Match(**match),  # type: ignore[arg-type]
        action=action,
        to=to,
        until=None,
        reason="r",
        by="b",
    )


def test_the_world_after_a_reload_can_be_put_down_in_a_journal(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, policy()), lambda _: GOOD).run(5)
    index = Index.of(setup(tmp_path, policy(letters=2), policy("root", net=6)))
    state, _ = migrate(sim.state, index, sim.now, WALL + sim.now)
    assert differing(unpack_state(pack_state(state), index), state) is None


def test_an_override_is_not_told_again_because_its_addresses_got_other_numbers(
    tmp_path: Path,
) -> None:
    sim = Simulation(setup(tmp_path, policy()), lambda _: GOOD)
    sim.overrides = (override("o", Action.AVOID, "pao", upstream="gtld"),)
    sim.run(5)
    index = Index.of(setup(tmp_path, policy("root", net=6), policy()))
    state, _ = migrate(sim.state, index, sim.now, WALL + sim.now)
    facts = Facts(wall=WALL + sim.now, overrides=sim.overrides)
    after, _, events = engine.turn(state, facts, sim.now)
    assert events == ()
    assert len(after.override_state.banned) == 6


def test_two_worlds_that_hold_the_same_in_mappings_of_other_types_do_not_differ(
    tmp_path: Path,
) -> None:
    state = Simulation(setup(tmp_path), lambda _: GOOD).run(3).state
    group = next(iter(state.index.groups))
    ledger = replace(state.ledger, groups={group: GroupRecord(heard_names=NONE)})
    state = replace(state, ledger=ledger)
    assert differing(unpack_state(pack_state(state), state.index), state) is None
    more = replace(ledger, groups={group: GroupRecord(heard_names={"a.": 1.0})})
    other = replace(state, ledger=more)
    assert differing(state, other) == f"ledger.groups[{group}].heard_names"
