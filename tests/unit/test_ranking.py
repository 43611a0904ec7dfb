"""Which proven site is the best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from simulation import WALL, setup

from steering.decide.ranking import LASTING, best, costs, failing, lasting
from steering.judge.ledger import Ledger
from steering.judge.turn import judge
from steering.layout import Layout
from steering.model import Facts, Kind, Observation, Outcome, Question, Round

PATHS = ("local", "pao", "fra", "ams")
NAN = float("nan")
ANSWERS = 40.0
"""As many as are kept of what is asked fast."""


def _best(
    proven: str,
    *,
    order: tuple[int, int, int] = (0, 0, 0),
    plan: int = 0,
    rtt: tuple[float, float, float] = (0.02, 0.02, 0.02),
    share: tuple[float, float, float] = (0.0, 0.0, 0.0),
    busy: str = "",
) -> str:
    cost = costs(
        np.array([[path in proven.split() for path in PATHS]]),
        np.array([[-1, *order]], dtype=np.int64),
        np.array([plan], dtype=np.int64),
        np.array([[NAN, *rtt]]),
        PATHS,
        failing=failing(
            ANSWERS * np.array([[0.0, *share]]),
            np.full((1, 4), ANSWERS),
            np.ones((1, 4), dtype=np.bool_),
            np.zeros(1, dtype=np.int64),
            np.array([plan], dtype=np.int64),
        ),
        busy=np.array([path in busy.split() for path in PATHS]),
    )
    return PATHS[int(best(cost)[0])]


def test_the_policy_s_order_comes_before_what_does_not_fail() -> None:
    assert _best("pao fra ams", order=(2, 1, 0), rtt=(0.005, 0.005, 0.5)) == "ams"


def test_only_proven_sites_are_taken() -> None:
    assert _best("fra", order=(0, 1, 2)) == "fra"
    assert _best("") == "local"


def test_staying_comes_before_round_trip_time() -> None:
    assert _best("pao fra", plan=1, rtt=(0.3, 0.01, 0.01)) == "pao"


def test_round_trip_time_counts_in_octaves() -> None:
    assert _best("pao fra", rtt=(0.021, 0.150, 1.0)) == "pao"
    assert _best("pao fra", rtt=(0.150, 0.021, 1.0)) == "fra"
    assert _best("pao fra", rtt=(0.022, 0.038, 1.0)) == "fra"  # one octave: by name


def test_a_new_round_trip_time_counts_an_eighth_and_a_lost_answer_nothing(tmp_path: Path) -> None:
    layout = Layout.of(setup(tmp_path))
    ledger, address = Ledger.blank(layout, 1000.0), layout.targets[0].address
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
        ledger, _ = judge(ledger, layout, Facts(wall=WALL + second, rounds=(told,)), at)
        smoothed.append(float(ledger.rtt[0, layout.column["pao"]]))
    assert smoothed == pytest.approx([0.08, 0.09, 0.09, 0.08])


def test_equals_are_taken_by_name_whatever_their_column() -> None:
    assert _best("pao fra ams") == "ams"


def test_an_unmeasured_round_trip_is_the_longest() -> None:
    assert _best("pao fra", rtt=(NAN, 2.0, 1.0)) == "fra"


def test_health_comes_before_spare_capacity_and_that_before_round_trip_time() -> None:
    assert _best("pao fra", share=(0.0, 0.06, 0.0), busy="pao") == "pao"
    assert _best("pao fra", busy="fra", rtt=(0.3, 0.005, 1.0)) == "pao"


def test_a_lone_lost_packet_does_not_reorder() -> None:
    assert _best("pao fra", share=(0.0, 1 / ANSWERS, 0.0)) == "fra"


def test_a_failing_share_comes_before_the_policy_s_order() -> None:
    assert _best("pao fra", order=(0, 1, 2), share=(0.06, 0.0, 0.0)) == "fra"
    assert _best("pao fra", order=(0, 1, 2), share=(0.06, 0.2, 0.0)) == "pao"


def test_the_site_in_use_is_left_only_where_it_is_worse_for_certain() -> None:
    assert _best("pao fra", plan=1, share=(0.10, 0.0, 0.0), busy="pao") == "pao"
    assert _best("pao fra", plan=1, share=(0.25, 0.0, 0.0)) == "fra"


def test_what_moves_together_chooses_alike() -> None:
    """Of three each has another share by chance; together they have one of 6 %."""
    bad = np.array([[0.0, 1.0], [0.0, 2.5], [0.0, 3.7]])
    steps = failing(
        bad,
        np.full((3, 2), ANSWERS),
        np.ones((3, 2), dtype=np.bool_),
        np.zeros(3, dtype=np.int64),
        np.zeros(3, dtype=np.int64),
    )
    assert steps[:, 1].tolist() == [1, 1, 1]


def test_a_proven_site_in_use_is_left_only_for_one_that_answers_well_for_long() -> None:
    proven = np.array([[False, True, True, True]] * 3)
    plan, group = np.array([1, 1, 0]), np.zeros(3, dtype=np.int64)
    run = np.array([[9, 9, LASTING, 3], [9, 9, LASTING, LASTING], [9, 9, 9, 9]])
    found = lasting(proven, plan, run, group)
    assert found.tolist() == [[False, True, True, False]] * 2 + [[False, True, True, True]]
    proven[0, 1] = False  # what has died is left for any
    assert lasting(proven, plan, run, group)[0].tolist() == [False, False, True, True]


def test_staying_comes_before_capacity_and_round_trip_time() -> None:
    assert _best("pao fra", plan=1, busy="pao", rtt=(1.0, 0.01, 1.0)) == "pao"
