"""The proof of a move: shown, not shown, or shown to be bad."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import CONFIG, Answer, Ask, Shown, Simulation, setup

from steering.decide.verification import (
    GOOD_ENOUGH,
    LOST_AFTER,
    TOO_BAD,
    Verification,
    VerificationStage,
)
from steering.model import Outcome

FAULT = 1020.0
GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED


def _live(live: Outcome | Shown) -> Answer:
    def answer(ask: Ask) -> Outcome | Shown:
        if ask.live:
            return live
        return EXPIRED if ask.local and ask.now >= FAULT else GOOD

    return answer


def _proof(good: int = 0, bad: int = 0, stuck: int = 0) -> Verification:
    proof = Verification(path="pao").begin(100.0, 5.0)
    for _ in range(good):
        proof = proof.live(good=True)
    for _ in range(bad):
        proof = proof.live(good=False)
    return Verification(
        path="pao",
        installed=proof.installed,
        deadline=proof.deadline,
        good=proof.good,
        bad=proof.bad,
        bad_run=proof.bad_run,
        stuck=stuck,
    )


@pytest.mark.parametrize(
    ("proof", "early", "late"),
    [
        (_proof(), VerificationStage.WAITING, VerificationStage.UNSHOWN),
        (_proof(good=GOOD_ENOUGH), VerificationStage.PROVED, VerificationStage.PROVED),
        (_proof(good=GOOD_ENOUGH - 1), VerificationStage.WAITING, VerificationStage.UNSHOWN),
        (_proof(good=2, bad=1), VerificationStage.WAITING, VerificationStage.FAILED),
        (_proof(bad=TOO_BAD), VerificationStage.FAILED, VerificationStage.FAILED),
        (_proof(stuck=TOO_BAD - 1), VerificationStage.WAITING, VerificationStage.UNSHOWN),
        (_proof(stuck=TOO_BAD), VerificationStage.WAITING, VerificationStage.FAILED),
    ],
)
def test_where_a_proof_stands_before_and_after_its_deadline(
    proof: Verification, early: VerificationStage, late: VerificationStage
) -> None:
    assert proof.standing(104.0) is early
    assert proof.standing(105.0) is late


def test_what_was_proved_is_lost_by_bad_answers_in_a_row_alone() -> None:
    proof = Verification(path="pao", installed=0.0, proved=True)
    for _ in range(3 * LOST_AFTER):
        proof = proof.live(good=False).live(good=True)
    assert proof.standing(1e6) is VerificationStage.PROVED
    for _ in range(LOST_AFTER):
        proof = proof.live(good=False)
    assert proof.standing(1e6) is VerificationStage.FAILED


@pytest.mark.long
def test_a_detour_of_which_nothing_could_be_judged_stays_and_says_so_once(tmp_path: Path) -> None:
    answer = _live(Shown(outcome=Outcome.NO_KEY, judged=False))
    sim = Simulation(setup(tmp_path), answer).run(120)
    assert len(sim.installed) == 6
    assert not sim.told("undone")
    unshown = [e for _, e in sim.told("unshown")]
    assert len(unshown) == 6
    assert "no live answer that could be judged: not known yet whether" in unshown[0].because


def test_a_detour_over_which_nothing_of_the_host_s_own_gets_out_is_undone(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), _live(Outcome.LOCAL_ERROR)).run(60)
    undone = [e for _, e in sim.told("undone")]
    assert len(undone) >= 6
    assert "live questions did not leave this host: no evidence that" in undone[0].because


def test_answers_that_are_read_late_still_prove(tmp_path: Path) -> None:
    """A busy host reads its answers seconds after they came: later than a proof may take."""
    slow = CONFIG.replace("interval: 1s", "interval: 10s", 1)
    sim = Simulation(setup(tmp_path, config=slow), _live(GOOD), rtt=8.0).run(120)
    assert len(sim.told("proved")) == 6
    assert not sim.told("undone")


def test_a_detour_that_does_not_help_says_so(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), _live(Outcome.SERVFAIL)).run(60)
    undone = [e for _, e in sim.told("undone")]
    assert "0 good and 3 bad live answers: fra does not help" in undone[0].because
