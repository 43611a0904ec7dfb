"""The hands: nothing is installed or renewed without a lease and a guard that would end it."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from fakes import FakeActuator
from simulation import CONFIG
from test_act_diff import CLAIM

from steering.act.claim import Claim
from steering.act.lease import Lease
from steering.act.off import OffSwitch
from steering.act.reader import Trouble
from steering.agent import hands as handling
from steering.agent.hands import UNGUARDED, Hands
from steering.config import Config, check
from steering.config.document import parse
from steering.model import Instant, Seconds

ADDRESS = "192.0.2.53"
PLAN = {ADDRESS: "pao"}


class Watchman:
    """A guard that is there or not, as the test says."""

    present = True

    def __init__(self, **_where: object) -> None: ...

    def ensure(self) -> bool:
        return type(self).present


class Kernel(FakeActuator):
    """A kernel that can't be read while the test says so."""

    failing: OSError | None = None

    def installed(self) -> Mapping[str, str]:
        self._complain()
        return super().installed()

    def remains(self, *, but: Claim | None = None) -> bool:
        self._complain()
        return super().remains(but=but)

    def foreign(self, *, besides: Collection[Claim] = ()) -> tuple[Trouble, ...]:
        self._complain()
        return super().foreign(besides=besides)

    def _complain(self) -> None:
        if self.failing is not None:
            raise self.failing


class Clock:
    """The two clocks of the hands, which the test moves on together."""

    now: Instant = 1000.0

    def monotonic(self) -> Instant:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(handling, "time", made)
    monkeypatch.setattr(handling, "boot_time", made.monotonic)
    return made


@pytest.fixture
def hands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Hands:
    monkeypatch.setattr(handling, "KernelActuator", Kernel)
    monkeypatch.setattr(handling, "Guard", Watchman)
    monkeypatch.setattr(Watchman, "present", True)
    config = check(Config, parse(CONFIG, tmp_path / "steering.yaml"))
    config = config.model_copy(update={"runtime": tmp_path, "state": tmp_path, "lease": 60.0})
    return Hands(config, CLAIM, OffSwitch(state=tmp_path, runtime=tmp_path), {ADDRESS})


def kernel_of(hands: Hands) -> Kernel:
    assert isinstance(hands.kernel, Kernel)
    return hands.kernel


def act(hands: Hands, clock: Clock, after: Seconds = 1.0, *, off: bool = False) -> bool:
    clock.now += after
    return hands.act(PLAN, off=off, moved=False).compared


def deadline(tmp_path: Path) -> Seconds:
    state = Lease(tmp_path).read()
    assert state is not None
    return state.deadline


@pytest.mark.parametrize("off", [False, True])
def test_a_kernel_that_cannot_be_read_is_told_and_tried_again_at_once(
    hands: Hands, clock: Clock, off: bool
) -> None:
    kernel = kernel_of(hands)
    kernel.failing = OSError(errno.ENOBUFS, "No buffer space available")
    assert not act(hands, clock, off=off)
    assert "No buffer space" in hands.troubles[0]
    kernel.failing = None
    assert act(hands, clock, after=0.01, off=off), "without waiting for a change or a second"
    assert not hands.troubles
    assert kernel.installed() == ({} if off else PLAN)


def test_without_a_guard_the_lease_is_renewed_no_longer_than_a_guard_takes_to_start(
    hands: Hands, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[Instant] = []
    monkeypatch.setattr(
        Lease, "renew", lambda _lease, _claim, _seconds, **_: renewed.append(clock.now)
    )
    assert act(hands, clock)
    Watchman.present = False
    began = clock.now
    for _ in range(30):
        assert not act(hands, clock, after=0.5), "nothing is touched without a guard"
    assert renewed[-1] <= began + UNGUARDED
    assert "guard" in hands.troubles[0]
    Watchman.present = True
    assert act(hands, clock)
    assert renewed[-1] == clock.now


def test_a_lease_that_could_not_be_renewed_ends_by_its_cause_and_not_as_a_hang(
    hands: Hands, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert act(hands, clock)
    monkeypatch.setattr(Lease, "renew", full)
    told = []
    for _ in range(62):
        act(hands, clock)
        told.append(hands.lost_lease())
    assert [because for because in told if because] == [told[60]]
    assert "No space left" in str(told[60])
    assert kernel_of(hands).installed() == {}


def test_a_turn_that_came_too_late_lost_the_lease_by_hanging(hands: Hands, clock: Clock) -> None:
    assert act(hands, clock)
    assert hands.lost_lease() is None
    clock.now += 61.0
    assert not act(hands, clock, after=0.0), "a plan of before the hang is not carried out"
    assert "no turn" in str(hands.lost_lease())
    assert hands.lost_lease() is None, "told once"
    assert act(hands, clock)


def test_what_a_lost_lease_left_goes_before_anything_is_installed(
    hands: Hands, clock: Clock
) -> None:
    kernel = kernel_of(hands)
    assert act(hands, clock)
    assert kernel.installed()
    clock.now += 61.0
    kernel.failing = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert hands.lost_lease() == "no turn for longer than the lease"
    assert not act(hands, clock)
    assert hands.owes
    assert "lost lease" in hands.troubles[0]
    kernel.failing = None
    Watchman.present = False  # nor does it take a guard to take back
    act(hands, clock)
    assert not hands.owes
    assert not kernel.installed()
