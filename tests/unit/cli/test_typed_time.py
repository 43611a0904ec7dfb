"""Times as people type them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.cli.typed_time import coming, past

NOW = dt.datetime(2026, 12, 1, 14, 30, 15, tzinfo=dt.UTC).timestamp()


def text(wall: float) -> str:
    return dt.datetime.fromtimestamp(wall, dt.UTC).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("14:20", "2026-12-01T14:20:00Z"),
        ("14:30:15", "2026-12-01T14:30:15Z"),
        ("14:31", "2026-11-30T14:31:00Z"),
        ("0:00", "2026-12-01T00:00:00Z"),
        ("14:20Z", "2026-12-01T14:20:00Z"),
        ("now", "2026-12-01T14:30:15Z"),
        ("10m ago", "2026-12-01T14:20:15Z"),
        ("2d ago", "2026-11-29T14:30:15Z"),
        ("2026-11-24 05:12", "2026-11-24T05:12:00Z"),
        ("2026-11-24", "2026-11-24T00:00:00Z"),
        ("2026-11-24T05:12:00+02:00", "2026-11-24T03:12:00Z"),
    ],
)
def test_a_time_that_has_been(typed: str, meant: str) -> None:
    assert text(past(typed, NOW)) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("14:20", "2026-12-02T14:20:00Z"),
        ("14:31", "2026-12-01T14:31:00Z"),
        ("in 2h", "2026-12-01T16:30:15Z"),
        ("2026-12-24 05:12", "2026-12-24T05:12:00Z"),
        ("2026-12-24T05:12:00Z", "2026-12-24T05:12:00Z"),
    ],
)
def test_a_time_to_come(typed: str, meant: str) -> None:
    assert text(coming(typed, NOW)) == meant


@pytest.mark.parametrize(
    "typed", ["", "24:00", "14:60", "1420", "10 ago", "ago", "in", "in 2", "tomorrow", "٣:20"]
)
def test_what_is_no_time_is_refused_with_what_is(typed: str) -> None:
    for read in (past, coming):
        with pytest.raises(ValueError, match="wanted"):
            read(typed, NOW)


@given(st.integers(0, 23), st.integers(0, 59), st.floats(0, 4e9))
def test_a_time_of_day_is_never_a_day_away(hour: int, minute: int, now: float) -> None:
    typed = f"{hour:02}:{minute:02}"
    assert 0 <= now - past(typed, now) < 86_400
    assert 0 < coming(typed, now) - now <= 86_400
