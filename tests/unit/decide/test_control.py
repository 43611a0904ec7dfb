"""What only our marked questions meet is our own fault, and nobody is moved for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from shipped import START, net, sim
from simulation import Answer, Ask, Simulation

from steering.decide import fast_probing as attending
from steering.decide.messages.explain import explain
from steering.model import Health, Outcome

GOOD, BAD = Outcome.SECURE, Outcome.BAD_SIGNATURE
REFUSED, SERVFAIL, LOST = Outcome.REFUSED, Outcome.SERVFAIL, Outcome.TIMEOUT


def ill(ask: Ask, since: float = START, until: float = 1e9) -> bool:
    """Of the first operator, without a detour, at that time."""
    return ask.local and net(ask) == 1 and since <= ask.now < until


def by_mark(ask: Ask, since: float = START, until: float = 1e9) -> bool:
    """The same, with our mark."""
    return ill(ask, since, until) and not ask.live


def of_first(run: Simulation) -> set[str]:
    return {t.address for t in run.index.targets if t.upstream == "u1"}


def run_of(tmp: Path, answer: Answer, *, letters: int = 3) -> Simulation:
    return sim(tmp, answer, operators=2, letters=letters)


@pytest.mark.long
@pytest.mark.parametrize("letters", [1, 13])
@pytest.mark.parametrize("outcome", [LOST, REFUSED, SERVFAIL, Outcome.MALFORMED])
def test_what_meets_marked_questions_alone_moves_nobody_and_is_told(
    tmp_path: Path, outcome: Outcome, letters: int
) -> None:
    mended = START + 60

    def answer(ask: Ask) -> Outcome:
        return outcome if by_mark(ask, until=mended) else GOOD

    run = run_of(tmp_path, answer, letters=letters)
    run.until(lambda: "marked" in run.state.alarms, limit=30)
    run.run(mended - run.now)
    assert run.moves() == []
    because = run.state.alarms["marked"].because
    assert f"{2 * letters} addresses of u1 fail when probed with our mark" in because
    assert "act.kernel.mark" in because
    address = run.addresses()[0]
    assert run.rule(address) == 4
    found = explain(run.state, address)
    assert found is not None
    assert "with our mark fail, and the same questions without it are answered" in found.because
    run.until(lambda: "marked" not in run.state.alarms, limit=90)
    run.run(30)
    assert run.moves() == []
    assert {run.health(a) for a in run.addresses()} == {Health.HEALTHY}


@pytest.mark.long
def test_half_of_the_marked_questions_are_enough_to_tell(tmp_path: Path) -> None:
    run = run_of(tmp_path, lambda ask: REFUSED if by_mark(ask) and ask.lost(0.5) else GOOD)
    run.until(lambda: "marked" in run.state.alarms, limit=120)
    run.run(200)
    assert run.moves() == []


def test_what_our_own_firewall_refuses_by_the_mark_is_told_and_moves_nobody(tmp_path: Path) -> None:
    mended = START + 90

    def answer(ask: Ask) -> Outcome:
        return Outcome.LOCAL_ERROR if by_mark(ask, until=mended) else GOOD

    run = run_of(tmp_path, answer)
    run.until(lambda: "marked" in run.state.alarms, limit=mended - START)
    run.run(mended - run.now)
    assert run.moves() == []
    assert "6 addresses of u1 fail" in run.state.alarms["marked"].because
    run.until(lambda: "marked" not in run.state.alarms, limit=60)


def test_switched_off_nothing_is_said_of_a_mark_that_leads_nowhere(tmp_path: Path) -> None:
    run = run_of(tmp_path, lambda ask: Outcome.LOCAL_ERROR if by_mark(ask) else GOOD)
    run.off = True
    run.run(90)
    assert "marked" not in run.state.alarms
    assert not any(known.control for known in run.state.ledger.addresses.values())


def test_it_concerns_silence_and_errors_alone(tmp_path: Path) -> None:
    """A mark does not change a signature: whoever answers so is no firewall."""
    run = run_of(tmp_path, lambda ask: BAD if by_mark(ask) else GOOD).run(30)
    assert set(run.installed) == of_first(run)
    assert not run.told("alarm_raised")


def test_a_fault_that_comes_to_a_mark_that_is_treated_badly_moves_as_ever(tmp_path: Path) -> None:
    real = START + 60

    def answer(ask: Ask) -> Outcome:
        return LOST if by_mark(ask) or ill(ask, since=real) else GOOD

    run = run_of(tmp_path, answer)
    run.run(real - run.now)
    assert run.moves() == []
    took = run.until(lambda: set(run.installed) == of_first(run), limit=30)
    assert took <= 15
    run.run(60)
    assert "marked" not in run.state.alarms
    assert run.installed, "and it stays away: it was proved"


def test_a_bogus_answer_on_top_is_no_matter_of_the_mark(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if ill(ask, since=START + 60) and ask.unlucky(0.3):
            return BAD
        return REFUSED if by_mark(ask) and ask.lost(0.5, "mark") else GOOD

    run = run_of(tmp_path, answer)
    run.run(60)
    assert run.moves() == []
    run.until(lambda: set(run.installed) == of_first(run), limit=60)


Took = Callable[[Answer], float]


@pytest.fixture
def took(tmp_path: Path, request: pytest.FixtureRequest) -> Took:
    def measure(answer: Answer) -> float:
        run = run_of(tmp_path, answer, letters=3)
        return run.until(lambda: set(run.installed) == of_first(run), limit=400)

    return measure


@pytest.mark.long
@pytest.mark.parametrize(
    ("outcome", "share"),
    [(LOST, 1.0), (REFUSED, 1.0), (SERVFAIL, 1.0), (LOST, 0.5), (REFUSED, 0.4)],
)
def test_the_control_costs_a_real_fault_no_time(
    took: Took, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, share: float
) -> None:
    def answer(ask: Ask) -> Outcome:
        return outcome if ill(ask) and ask.lost(share) else GOOD

    controlled = took(answer)

    def never(*_: object) -> set[str]:
        return set()

    assert inspect.isfunction(attending._without_mark)
    monkeypatch.setattr(attending, "_without_mark", never)
    alone = took(answer)
    assert controlled <= alone + (0.4 if share == 1 else 6.0), (controlled, alone)


def test_what_is_well_or_bogus_is_asked_with_marks_alone(tmp_path: Path) -> None:
    asked = set[tuple[str, bool]]()

    def answer(ask: Ask) -> Outcome:
        asked.add((ask.address, ask.live))
        return BAD if ill(ask, until=START + 2) else GOOD

    run = run_of(tmp_path, answer).run(60)
    assert run.moves() == []
    assert not any(live for _, live in asked)
