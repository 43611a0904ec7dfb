"""A copy whose source is silent: it is as old as the last look at which the source was seen."""

from __future__ import annotations

from dataclasses import replace

from steering.copies import Look, Real, Shown
from steering.judge.copies import Copy, Limits, Moment, judge
from steering.model import Health

DAY, WALL = 86_400.0, 1_700_000_000.0
LIMITS = Limits(margin=DAY, max_age=None, interval=60.0)
REAL = Real(serial=100, expires=WALL + 12 * DAY, refresh=1800.0, answers=True)
SEEN = Look(address=Shown(serial=100, expires=WALL + 12 * DAY, expire=7 * DAY), own=100)
SILENT = Look(own=100, trouble="192.0.2.10: no answer")


def at(now: float, copy: Copy, look: Look, real: Real = REAL) -> Copy:
    return judge(copy, look, real, LIMITS, Moment(now=now, wall=WALL + now))


def test_a_copy_is_not_proven_new_by_its_serial_while_its_source_is_silent() -> None:
    copy = at(60.0, Copy(watched=0.0), SEEN)
    assert (copy.proven, copy.health) == (60.0, Health.HEALTHY)
    copy = at(12 * 3600.0, copy, SILENT)
    assert (copy.proven, copy.out) == (60.0, "")
    assert copy.because == "192.0.2.10: no answer"


def test_it_is_out_when_the_resolver_s_own_lease_ends_and_not_half_a_day_later() -> None:
    """The zone's servers have nothing newer for half a day: the resolver counts from before."""
    copy = at(12 * 3600.0, at(60.0, Copy(watched=0.0), SEEN), SILENT)
    newer = replace(REAL, serial=101)
    copy = at(13 * 3600.0, copy, SILENT, newer)
    assert not at(6.9 * DAY, copy, SILENT, newer).out
    assert "was last proven new" in at(7 * DAY, copy, SILENT, newer).out


def test_a_silent_source_takes_nothing_out_that_is_as_new_as_the_servers() -> None:
    copy = at(60.0, Copy(watched=0.0), SEEN)
    for day in range(1, 10):
        copy = at(day * DAY, copy, SILENT)
    assert not copy.out
