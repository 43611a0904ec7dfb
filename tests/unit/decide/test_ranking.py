"""Which proven site is the best."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import WALL, setup

from steering.decide.moves.ranking import (
    LASTING,
    SURE,
    Choice,
    best,
    costs,
    failing,
    failing_steps,
    lasting,
)
from steering.facts import Facts
from steering.index import Index
from steering.judge.known.ledger import Ledger, PathRecord
from steering.judge.known.recent import Recent
from steering.judge.turn import judge
from steering.model import LOCAL, Health, Kind, Observation, Outcome, Question, Round

SITES = ("pao", "fra", "ams")
ANSWERS = 40.0
"""As many as are kept of what is asked fast."""


def _choice(
    proven: str,
    records: dict[str, PathRecord],
    *,
    address: str = "192.0.2.1",
    path: str = LOCAL,
    order: tuple[int, int, int] = (0, 0, 0),
) -> Choice:
    return Choice(
        address=address,
        group="gtld",
        path=path,
        proven=tuple(site for site in SITES if site in proven.split()),
        order=dict(zip(SITES, order, strict=True)),
        record=records.__getitem__,
    )


def _record(bad: float = 0.0, *, rtt: float | None = 0.02, run: int = 0) -> PathRecord:
    recent = Recent(bad=bad, all=ANSWERS)
    return PathRecord(health=Health.HEALTHY, recent=recent, rtt=rtt, run=run)


def _best(
    proven: str,
    *,
    order: tuple[int, int, int] = (0, 0, 0),
    path: str = LOCAL,
    rtt: tuple[float | None, float, float] = (0.02, 0.02, 0.02),
    share: tuple[float, float, float] = (0.0, 0.0, 0.0),
    busy: str = "",
) -> str | None:
    records = {
        site: _record(ANSWERS * bad, rtt=each)
        for site, bad, each in zip(SITES, share, rtt, strict=True)
    }
    choice = _choice(proven, records, path=path, order=order)
    return best(costs([choice], (LOCAL, *SITES), busy.split())[choice.address])


def test_the_policy_s_order_comes_before_what_does_not_fail() -> None:
    assert _best("pao fra ams", order=(2, 1, 0), rtt=(0.005, 0.005, 0.5)) == "ams"


def test_only_proven_sites_are_taken() -> None:
    assert _best("fra", order=(0, 1, 2)) == "fra"
    assert _best("") is None


def test_staying_comes_before_round_trip_time() -> None:
    assert _best("pao fra", path="pao", rtt=(0.3, 0.01, 0.01)) == "pao"


def test_round_trip_time_counts_in_octaves() -> None:
    assert _best("pao fra", rtt=(0.021, 0.150, 1.0)) == "pao"
    assert _best("pao fra", rtt=(0.150, 0.021, 1.0)) == "fra"
    assert _best("pao fra", rtt=(0.022, 0.038, 1.0)) == "fra"  # one octave: by name


def test_a_new_round_trip_time_counts_an_eighth_and_a_lost_answer_nothing(tmp_path: Path) -> None:
    index = Index.of(setup(tmp_path))
    ledger, address = Ledger.blank(1000.0), index.targets[0].address
    smoothed = []
    for second, rtt in enumerate((0.08, 0.16, None, 0.01)):
        seen = Observation(
            address=address,
            path="pao",
            outcome=Outcome.TIMEOUT if rtt is None else Outcome.SECURE,
            reached=rtt is not None,
            rtt=rtt,
        )
        question = Question(zone="gtld.", name=f"n{second}.gtld.", rdtype="A", kind=Kind.DENIAL)
        at = 1000.0 + second
        told = Round(address=address, question=question, at=at, observations=(seen,))
        ledger, _ = judge(ledger, index, Facts(wall=WALL + second, rounds=(told,)), at)
        smoothed.append(ledger.path(address, "pao").rtt)
    assert smoothed == pytest.approx([0.08, 0.09, 0.09, 0.08])


def test_equals_are_taken_by_name_whatever_their_place() -> None:
    assert _best("pao fra ams") == "ams"


def test_an_unmeasured_round_trip_is_the_longest() -> None:
    assert _best("pao fra", rtt=(None, 2.0, 1.0)) == "fra"


def test_health_comes_before_spare_capacity_and_that_before_round_trip_time() -> None:
    assert _best("pao fra", share=(0.0, 0.06, 0.0), busy="pao") == "pao"
    assert _best("pao fra", busy="fra", rtt=(0.3, 0.005, 1.0)) == "pao"


def test_a_lone_lost_packet_does_not_reorder() -> None:
    assert _best("pao fra", share=(0.0, 1 / ANSWERS, 0.0)) == "fra"


def test_a_failing_share_comes_before_the_policy_s_order() -> None:
    assert _best("pao fra", order=(0, 1, 2), share=(0.06, 0.0, 0.0)) == "fra"
    assert _best("pao fra", order=(0, 1, 2), share=(0.06, 0.2, 0.0)) == "pao"


def test_the_site_in_use_is_left_only_where_it_is_worse_for_certain() -> None:
    assert _best("pao fra", path="pao", share=(0.10, 0.0, 0.0), busy="pao") == "pao"
    assert _best("pao fra", path="pao", share=(0.25, 0.0, 0.0)) == "fra"


def test_what_moves_together_chooses_alike() -> None:
    """Of three each has another share by chance; together they have one of 6 %."""
    choices = [
        _choice("pao", {"pao": _record(bad)}, address=f"192.0.2.{bad}") for bad in (1.0, 2.5, 3.7)
    ]
    assert [each["pao"] for each in failing(choices).values()] == [1, 1, 1]


def test_a_proven_site_in_use_is_left_only_for_one_that_answers_well_for_long() -> None:
    runs = ((9, LASTING, 3), (9, LASTING, LASTING), (9, 9, 9))
    known = [
        {site: _record(run=run) for site, run in zip(SITES, each, strict=True)} for each in runs
    ]

    def choices(first: str) -> list[Choice]:
        paths = ("pao", "pao", LOCAL)
        proven = (first, "pao fra ams", "pao fra ams")
        return [
            _choice(sites, records, address=f"192.0.2.{number}", path=path)
            for number, (sites, records, path) in enumerate(zip(proven, known, paths, strict=True))
        ]

    found = [one.proven for one in lasting(choices("pao fra ams"))]
    assert found == [("pao", "fra")] * 2 + [SITES]
    # what has died is left for any
    assert lasting(choices("fra ams"))[0].proven == ("fra", "ams")


def test_staying_comes_before_capacity_and_round_trip_time() -> None:
    assert _best("pao fra", path="pao", busy="pao", rtt=(1.0, 0.01, 1.0)) == "pao"


@given(
    order=st.tuples(*[st.integers(0, 3)] * 3),
    octaves=st.tuples(*[st.none() | st.integers(-3, 20)] * 3),
    steps=st.tuples(*[st.integers(0, 2)] * 3),
    busy=st.sets(st.sampled_from(SITES)),
    path=st.sampled_from((LOCAL, *SITES)),
)
def test_each_measure_decides_only_among_those_that_are_equal_in_all_before_it(
    order: tuple[int, int, int],
    octaves: tuple[int | None, int | None, int | None],
    steps: tuple[int, int, int],
    busy: set[str],
    path: str,
) -> None:
    shares = (0.0, 0.05, 0.5)
    records = {
        site: _record(
            ANSWERS * shares[step], rtt=None if octave is None else 0.75 * 0.005 * 2.0**octave
        )
        for site, octave, step in zip(SITES, octaves, steps, strict=True)
    }
    choice = _choice("pao fra ams", records, path=path, order=order)
    found = costs([choice], (LOCAL, *SITES), busy)[choice.address]

    def measures(site: str) -> tuple[object, ...]:
        place = SITES.index(site)
        octave = octaves[place]
        rtt = 16 if octave is None else min(max(octave, 0), 16)
        sure = SURE if site == path else 0.0
        step = failing_steps(ANSWERS * shares[steps[place]], ANSWERS, sure)
        return step, order[place], site != path, site in busy, rtt, site

    assert sorted(found, key=found.__getitem__) == sorted(SITES, key=measures)


@pytest.mark.parametrize(
    ("bad", "sure", "steps"),
    [
        (1.0, 0.0, 0),
        (11.0, 0.0, 0),
        (11.1, 0.0, 1),
        (101.0, 0.0, 1),
        (101.1, 0.0, 2),
        (25.0, 2.0, 1),
        (19.0, 2.0, 0),
        (121.0, 2.0, 1),
        (124.0, 2.0, 2),
    ],
)
def test_a_step_is_passed_when_more_than_one_answer_and_the_deviations_are_left_out(
    bad: float, sure: float, steps: int
) -> None:
    """Of 1,000 answers: more than 10 and more than 100."""
    assert failing_steps(bad, 1000.0, sure) == steps
