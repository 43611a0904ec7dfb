"""The lease is renewed beside the loop for as long as that turns, and never lives again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from claims import CLAIM

from steering.act import lease as leasing
from steering.act import lease_renewal as renewing
from steering.act.lease import Lease
from steering.act.lease_renewal import HUNG, LeaseRenewal
from steering.lab.waiting import until
from steering.model import Seconds


class Clock:
    """CLOCK_BOOTTIME as the test says."""

    now: Seconds = 1000.0

    def __call__(self) -> Seconds:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (leasing, renewing):
        monkeypatch.setattr(module, "boot_time", made)
    monkeypatch.setattr(LeaseRenewal, "_run", lambda _renewal: None)  # the test is the thread
    return made


@pytest.fixture
def renewal(tmp_path: Path) -> Iterator[LeaseRenewal]:
    made = LeaseRenewal(Lease(tmp_path))
    yield made
    made.close()


def deadline(tmp_path: Path) -> Seconds:
    state = Lease(tmp_path).read()
    assert state is not None
    return state.deadline


def test_a_turn_that_takes_long_does_not_age_the_lease(
    tmp_path: Path, clock: Clock, renewal: LeaseRenewal
) -> None:
    renewal.turned(CLAIM, 60)
    for _ in range(int(HUNG)):
        clock.now += 1.0
        renewal.renew()
        assert deadline(tmp_path) == renewal.deadline == clock.now + 60


@pytest.mark.parametrize("length", [2.0, 60.0])
def test_a_loop_that_hangs_loses_its_lease(
    tmp_path: Path, clock: Clock, renewal: LeaseRenewal, length: Seconds
) -> None:
    renewal.turned(CLAIM, length)
    for _ in range(200):
        clock.now += 0.5
        renewal.renew()
    assert deadline(tmp_path) == 1000.0 + min(HUNG, length) + length


def test_a_lease_that_has_run_out_is_not_renewed_by_whoever_wakes_first(
    tmp_path: Path, clock: Clock, renewal: LeaseRenewal
) -> None:
    """After a stop of the whole process, or of the host: the guard has taken everything back."""
    renewal.turned(CLAIM, 2.0, until=clock.now + 1.0)
    clock.now += 1.5
    renewal.renew()
    assert deadline(tmp_path) == 1001.0
    renewal.turned(CLAIM, 2.0)
    assert deadline(tmp_path) == 1003.5, "the loop knows what it does"


def test_a_stop_in_the_middle_of_a_renewal_renews_nothing_afterwards(
    tmp_path: Path, clock: Clock, renewal: LeaseRenewal, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewal.turned(CLAIM, 2.0)
    renew = Lease.renew

    def stopped(*given: object, **named: object) -> Seconds:
        clock.now += 3600.0
        return renew(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Lease, "renew", stopped)
    renewal.renew()
    assert deadline(tmp_path) == 1002.0


def test_a_lease_that_was_found_ends_when_it_did(
    tmp_path: Path, clock: Clock, renewal: LeaseRenewal
) -> None:
    renewal.turned(CLAIM, 60, until=1010.0)
    clock.now += 1.0
    renewal.renew()
    assert deadline(tmp_path) == 1010.0


def test_a_loop_that_may_not_renew_has_nothing_renewed(
    tmp_path: Path, clock: Clock, renewal: LeaseRenewal
) -> None:
    renewal.turned(CLAIM, 60)
    renewal.pause()
    clock.now += 1.0
    renewal.renew()
    assert deadline(tmp_path) == 1060.0


def test_the_thread_renews_by_itself_until_it_is_closed(tmp_path: Path) -> None:
    renewal = LeaseRenewal(Lease(tmp_path))
    renewal.turned(CLAIM, 2.0)
    first, started = deadline(tmp_path), time.monotonic()
    until(lambda: deadline(tmp_path) != first, 1.9)
    renewal.close()
    last = deadline(tmp_path)
    while time.monotonic() - started < 1.5:
        time.sleep(0.05)
    assert deadline(tmp_path) == last
