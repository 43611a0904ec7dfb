"""Which proven site is the best."""

from __future__ import annotations

import numpy as np

from steering.decide.rank import best, costs, failing_steps

PATHS = ("local", "pao", "fra", "ams")
NAN = float("nan")


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
        failing=failing_steps(np.array([[0.0, *share]]), np.ones((1, 4))),
        busy=np.array([path in busy.split() for path in PATHS]),
    )
    return PATHS[int(best(cost)[0])]


def test_the_policy_s_order_comes_first() -> None:
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


def test_equals_are_taken_by_name_whatever_their_column() -> None:
    assert _best("pao fra ams") == "ams"


def test_an_unmeasured_round_trip_is_the_longest() -> None:
    assert _best("pao fra", rtt=(NAN, 2.0, 1.0)) == "fra"


def test_health_comes_before_spare_capacity_and_that_before_round_trip_time() -> None:
    assert _best("pao fra", share=(0.0, 0.05, 0.0), busy="pao") == "pao"
    assert _best("pao fra", busy="fra", rtt=(0.3, 0.005, 1.0)) == "pao"


def test_a_lost_packet_in_two_hundred_does_not_reorder() -> None:
    assert _best("pao fra", share=(0.0, 0.005, 0.0)) == "fra"


def test_staying_comes_before_everything_measured() -> None:
    assert (
        _best("pao fra", plan=1, share=(0.2, 0.0, 0.0), busy="pao", rtt=(1.0, 0.01, 1.0)) == "pao"
    )
