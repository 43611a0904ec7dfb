"""The actuators: nothing is installed or renewed without a lease and a guard that would end it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from claims import CLAIM
from fakes import FakeActuator
from simulation import CONFIG

from steering.act import guard_client, lease_renewal
from steering.act import lease as leasing
from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.lease import Lease
from steering.act.lease_renewal import LeaseRenewal
from steering.act.off_switch import OffSwitch
from steering.act.other_guards import OtherGuard
from steering.agent import actuators as actuators_module
from steering.agent.actuators import UNGUARDED, UNRENEWED, Actuators
from steering.config import Config, Mode, check
from steering.config.yaml_file import parse
from steering.model import Family, Instant, Seconds

ADDRESS = "192.0.2.53"
PLAN = {ADDRESS: "pao"}


class FakeGuard:
    """A guard that is there or not, as the test says."""

    present = True

    def __init__(self, **_where: object) -> None: ...

    def ensure(self) -> bool:
        return type(self).present

    def close(self) -> None: ...

    def replace(self) -> None:
        if not type(self).present:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")


class FakeExclusive:
    """Nobody else acts on this host, and who died holds nothing."""

    notices = ()

    def hold(self, runtime: Path, table: int) -> None: ...

    def release_all_but(self, tables: Collection[int]) -> None: ...

    def close(self) -> None: ...


class Kernel(FakeActuator):
    """A kernel that can't be read while the test says so."""

    failing: OSError | None = None

    def installed(self) -> Mapping[str, str]:
        self._complain()
        return super().installed()

    def withdraw(self, *, but: Claim | None = None) -> tuple[KernelProblem, ...]:
        self._complain()
        return super().withdraw(but=but)

    def foreign(self, *, besides: Collection[Claim] = ()) -> tuple[KernelProblem, ...]:
        self._complain()
        return super().foreign(besides=besides)

    def _complain(self) -> None:
        if self.failing is not None:
            raise self.failing


class Clock:
    """The two clocks of the actuators, which the test moves on together."""

    now: Instant = 1000.0

    def monotonic(self) -> Instant:
        return self.now

    def sleep(self, seconds: Seconds) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(actuators_module, "time", made)
    monkeypatch.setattr(actuators_module, "boot_time", made.monotonic)
    for module in (leasing, lease_renewal, guard_client):
        monkeypatch.setattr(module, "boot_time", made.monotonic)
    return made


def actuators_config(tmp_path: Path) -> Config:
    """A configuration for actuators, in one directory."""
    read = check(Config, parse(CONFIG, tmp_path / "steering.yaml"))
    return read.model_copy(update={"runtime": tmp_path, "state": tmp_path})


Make = Callable[[Seconds], Actuators]
"""The actuators of another agent, for a lease of this length."""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Make:
    monkeypatch.setattr(actuators_module, "KernelActuator", Kernel)
    monkeypatch.setattr(actuators_module, "leftovers", lambda *_, **_named: ())
    monkeypatch.setattr(actuators_module, "other_guards", lambda *_: ())
    monkeypatch.setattr(
        lease_renewal.LeaseRenewal, "_run", lambda _renewal: None
    )  # its clock is another
    monkeypatch.setattr(actuators_module, "GuardClient", FakeGuard)
    monkeypatch.setattr(actuators_module, "Exclusive", FakeExclusive)
    monkeypatch.setattr(FakeGuard, "present", True)

    def made(lease: Seconds) -> Actuators:
        config = actuators_config(tmp_path).model_copy(update={"lease": lease})
        return Actuators(config, CLAIM, OffSwitch(state=tmp_path, runtime=tmp_path), {ADDRESS})

    return made


@pytest.fixture
def actuators(make: Make) -> Actuators:
    return make(60.0)


def kernel_of(actuators: Actuators) -> Kernel:
    assert isinstance(actuators.kernel, Kernel)
    return actuators.kernel


def act(actuators: Actuators, clock: Clock, after: Seconds = 1.0, *, off: bool = False) -> bool:
    clock.now += after
    return actuators.act(PLAN, off=off, moved=False).compared


def deadline(tmp_path: Path) -> Seconds:
    state = Lease(tmp_path).read()
    assert state is not None
    return state.deadline


def test_waiting_for_a_guard_costs_no_short_lease(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeGuard, "present", lambda _self: False)
    for lease, at_most in ((2.0, 0.7), (60.0, UNGUARDED + 0.1)):
        began = clock.now
        make(lease).wait()
        assert 0.5 < clock.now - began < at_most


@pytest.mark.parametrize("off", [False, True])
def test_a_kernel_that_cannot_be_read_is_told_and_tried_again_at_once(
    actuators: Actuators, clock: Clock, off: bool
) -> None:
    kernel = kernel_of(actuators)
    kernel.failing = OSError(errno.ENOBUFS, "No buffer space available")
    assert not act(actuators, clock, off=off)
    assert "No buffer space" in actuators.problems[0]
    kernel.failing = None
    assert act(actuators, clock, after=0.01, off=off), "without waiting for a change or a second"
    assert not actuators.problems
    assert kernel.installed() == ({} if off else PLAN)


def test_without_a_guard_the_lease_is_renewed_no_longer_than_a_guard_takes_to_start(
    actuators: Actuators, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[Instant] = []

    def renew(_lease: Lease, _claim: Claim, seconds: Seconds, **_: object) -> Seconds:
        renewed.append(clock.now)
        return clock.now + seconds

    monkeypatch.setattr(Lease, "renew", renew)
    assert act(actuators, clock)
    FakeGuard.present = False
    began = clock.now
    for _ in range(30):
        assert not act(actuators, clock, after=0.5), "nothing is touched without a guard"
    assert renewed[-1] <= began + UNGUARDED
    assert "guard" in actuators.problems[0]
    FakeGuard.present = True
    assert act(actuators, clock)
    assert renewed[-1] == clock.now


def test_a_lease_that_could_not_be_renewed_ends_by_its_cause_and_not_as_a_hang(
    actuators: Actuators, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert act(actuators, clock)
    monkeypatch.setattr(Lease, "renew", full)
    told = []
    for _ in range(62):
        act(actuators, clock)
        told.append(actuators.lost_lease())
    assert [because for because in told if because] == [told[60]]
    assert "No space left" in str(told[60])
    assert kernel_of(actuators).installed() == {}


def test_a_turn_that_came_too_late_lost_the_lease_by_hanging(
    actuators: Actuators, clock: Clock
) -> None:
    assert act(actuators, clock)
    assert actuators.lost_lease() is None
    clock.now += 61.0
    assert not act(actuators, clock, after=0.0), "a plan of before the hang is not carried out"
    assert "no turn" in str(actuators.lost_lease())
    assert actuators.lost_lease() is None, "told once"
    assert act(actuators, clock)


def test_what_a_lost_lease_left_goes_before_anything_is_installed(
    actuators: Actuators, clock: Clock
) -> None:
    kernel = kernel_of(actuators)
    assert act(actuators, clock)
    assert kernel.installed()
    clock.now += 61.0
    kernel.failing = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert actuators.lost_lease() == "no turn for longer than the lease"
    assert not act(actuators, clock)
    assert actuators.removal_pending
    assert "an expired lease" in actuators.problems[0]
    kernel.failing = None
    FakeGuard.present = False  # nor does it take a guard to take back
    act(actuators, clock)
    assert not actuators.removal_pending
    assert not kernel.installed()


@pytest.mark.long
@pytest.mark.parametrize("length", [2.0, 10.0, 60.0, 3600.0])
def test_agents_that_crash_after_the_start_keep_nothing_for_longer_than_one_lease(
    make: Make, clock: Clock, tmp_path: Path, length: Seconds
) -> None:
    worked = make(length)
    worked.adopt()
    assert deadline(tmp_path) == clock.now + length, "where none was found it is a whole one"
    act(worked, clock, after=length)
    ends = deadline(tmp_path)
    assert ends == clock.now + length
    life = min(UNRENEWED, length / 4) * 0.9
    while clock.now < ends:
        starting = make(length)
        starting.adopt()
        act(starting, clock, after=life / 2)
        act(starting, clock, after=life / 2)
        assert deadline(tmp_path) == ends


def test_an_agent_that_has_turned_for_a_while_renews_the_lease_that_it_found(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    act(make(60.0), clock)
    clock.now += 45.0
    actuators = make(60.0)
    actuators.adopt()
    for _ in range(100):
        act(actuators, clock)
        assert actuators.lost_lease() is None, "a restart within the lease takes nothing out"
    assert deadline(tmp_path) == clock.now + 60.0


def test_a_lease_that_ends_before_the_agent_has_turned_for_a_while_is_lost_and_begun_anew(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    act(make(60.0), clock)
    clock.now += 55.0
    actuators = make(60.0)
    actuators.adopt()
    act(actuators, clock)
    assert kernel_of(actuators).installed()
    clock.now += 5.0
    assert "before this agent" in str(actuators.lost_lease())
    assert not kernel_of(actuators).installed()
    assert act(actuators, clock)
    assert deadline(tmp_path) == clock.now + 60.0


def test_what_former_claims_have_installed_is_known_by_their_own_numbers(
    make: Make, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act(make(60.0), clock)
    monkeypatch.setattr(Kernel, "installed", lambda self: PLAN if self.claim == CLAIM else {})
    switch = OffSwitch(state=tmp_path, runtime=tmp_path)
    for table, was_a_site in ((CLAIM.table, False), (6000, False), (CLAIM.table + 1, True)):
        claim = replace(CLAIM, table=table, mark=0x100)
        actuators = Actuators(actuators_config(tmp_path), claim, switch, {ADDRESS})
        assert actuators.former_steers() == {}
        actuators.adopt()
        assert actuators.former_steers() == PLAN
        assert actuators.table_was_a_site is was_a_site
        Lease(tmp_path).renew(CLAIM, 60.0)
    monkeypatch.setattr(Kernel, "installed", Kernel._complain)
    monkeypatch.setattr(Kernel, "failing", OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert actuators.former_steers() == {}, "unreadable now: the turn will say so"


def test_a_shorter_lease_than_the_one_that_was_found_is_no_longer_than_it_says(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    act(make(3600.0), clock)
    make(10.0).adopt()
    assert deadline(tmp_path) == clock.now + 10.0


def test_what_acts_from_a_change_of_files_on_renews_its_lease_at_once(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    act(make(60.0), clock)
    clock.now += 58.0
    make(60.0).adopt(starting=False)
    assert deadline(tmp_path) == clock.now + 60.0


def test_without_a_guard_no_lease_is_renewed_at_the_start(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    act(make(60.0), clock)
    ends = deadline(tmp_path)
    clock.now += 1.0
    actuators = make(60.0)
    FakeGuard.present = False
    for starting in (True, False):
        with pytest.raises(OSError, match="unavailable"):
            actuators.adopt(starting=starting)
        assert deadline(tmp_path) == ends


def test_in_rehearse_no_steer_is_installed_whatever_the_plan(
    make: Make, clock: Clock, tmp_path: Path
) -> None:
    actuators = make(60.0)
    assert act(actuators, clock)
    kernel, config = kernel_of(actuators), actuators_config(tmp_path)
    assert (kernel.installed(), kernel.steering) == (PLAN, True)
    for mode, there in ((Mode.REHEARSE, {}), (Mode.ENFORCE, PLAN)):
        actuators.reconfigure(config.model_copy(update={"mode": mode}), actuators.kernel, {ADDRESS})
        assert act(actuators, clock)
        assert kernel_of(actuators) is kernel
        assert (kernel.installed(), kernel.steering) == (there, mode is Mode.ENFORCE)
        assert deadline(tmp_path) == clock.now + 60.0, "under a lease all the while"


def test_closed_actuators_renew_no_lease(
    make: Make, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewing: list[LeaseRenewal] = []
    monkeypatch.setattr(LeaseRenewal, "_run", lambda its: renewing.append(its))  # noqa: PLW0108
    actuators = make(60.0)
    assert act(actuators, clock)
    ends = deadline(tmp_path)
    actuators.close()
    clock.now += 1.0
    (its,) = renewing
    its.renew()
    assert deadline(tmp_path) == ends, "what is installed goes when nobody measures any more"


def test_every_guard_that_covers_the_same_is_ended_once_ours_is_there(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [OtherGuard(pid=pid, runtime=Path(f"/run/{pid}"), lease=None) for pid in (71, 72, 73)]
    ended: list[OtherGuard] = []
    monkeypatch.setattr(actuators_module, "other_guards", lambda *_: tuple(others))
    monkeypatch.setattr(actuators_module, "end", ended.append)
    actuators = make(60.0)
    actuators.adopt()
    FakeGuard.present = False
    act(actuators, clock)
    assert ended == [], "until then they are all that would end the lease"
    FakeGuard.present = True
    act(actuators, clock)
    act(actuators, clock)
    assert ended == others


def test_the_kernel_is_compared_once_a_second_and_at_once_after_news(
    actuators: Actuators, clock: Clock
) -> None:
    def compared(after: Seconds, *, moved: bool = False) -> bool:
        clock.now += after
        return actuators.act(PLAN, off=False, moved=moved).compared

    assert compared(0.0), "the first time"
    assert not compared(actuators_module.COMPARE - 0.01)
    assert compared(0.01)
    assert compared(0.0, moved=True)
    actuators.changed = True
    assert compared(0.0)
    assert not actuators.changed
    assert not compared(0.0)


def test_a_comparison_that_takes_long_is_made_seldom_and_a_move_waits_for_none(
    actuators: Actuators, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = [0.9 * actuators_module.SLOW]

    def apply(_kernel: Kernel, *_: object) -> tuple[()]:
        clock.now += took[0]
        return ()

    monkeypatch.setattr(Kernel, "apply", apply)

    def compared(after: Seconds, *, moved: bool = False) -> bool:
        clock.now += after
        actuators.changed = True
        return actuators.act(PLAN, off=False, moved=moved).compared

    assert compared(0.0)
    assert compared(0.0), "not slow enough to wait"
    took[0] = 0.5
    assert compared(0.0)
    pause = actuators_module.PAUSE_FACTOR * 0.5
    assert not compared(pause - 0.51)
    assert compared(0.0, moved=True)
    assert not compared(pause - 0.51)
    assert compared(0.02)


def test_what_only_a_former_claim_has_goes_after_the_new_one_is_there_and_is_told_till_then(
    actuators: Actuators, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    closed: list[int] = []
    former, stays = kernel_of(actuators), [True]
    left = KernelProblem(what="route", because="it came back", family=Family.IPV4)

    def withdraw(kernel: Kernel, *, but: Claim | None = None) -> tuple[KernelProblem, ...]:
        order.append(f"withdraw {kernel.claim.table} but {but.table if but else None}")
        return (left,) if stays[0] else ()

    def apply(kernel: Kernel, *_: object) -> tuple[()]:
        order.append(f"apply {kernel.claim.table}")
        return ()

    monkeypatch.setattr(Kernel, "withdraw", withdraw)
    monkeypatch.setattr(Kernel, "apply", apply)
    monkeypatch.setattr(Kernel, "remains", lambda _kernel, **_but: stays[0])
    monkeypatch.setattr(Kernel, "close", lambda kernel: closed.append(kernel.claim.table))
    claim = replace(CLAIM, table=6000)
    kernel = actuators.actuator_for(claim)
    config = actuators_config(tmp_path)
    actuators.changed = False
    actuators.reconfigure(config, kernel, {ADDRESS})
    assert actuators.changed
    assert actuators.kernel is kernel
    assert actuators.former_claims == (CLAIM,)
    actuators.reconfigure(config, kernel, {ADDRESS})
    assert actuators.former_claims == (CLAIM,), "the same one is no former one"
    assert act(actuators, clock)
    assert order == ["apply 6000", f"withdraw {CLAIM.table} but 6000"]
    assert str(left) in actuators.problems
    assert not closed
    assert not actuators.changed
    stays[0] = False
    assert act(actuators, clock)
    assert actuators.former_claims == ()
    assert closed == [former.claim.table]
    assert actuators.changed, "what it had kept the new one from can be installed"


def test_an_agent_that_only_rehearses_is_given_no_plan(
    actuators: Actuators, clock: Clock, tmp_path: Path
) -> None:
    assert act(actuators, clock)
    assert kernel_of(actuators).installed() == PLAN
    assert kernel_of(actuators).steering
    config = actuators_config(tmp_path).model_copy(update={"mode": Mode.REHEARSE})
    actuators.reconfigure(config, actuators.kernel, {ADDRESS})
    assert act(actuators, clock)
    assert kernel_of(actuators).installed() == {}
    assert not kernel_of(actuators).steering


def test_shutting_down_takes_everything_back_and_tells_what_did_not_go(
    actuators: Actuators, clock: Clock, make: Make
) -> None:
    assert act(actuators, clock)
    kernel = kernel_of(actuators)
    assert actuators.shut_down() == ()
    assert not kernel.remains()
    again = make(60.0)
    kernel_of(again).failing = OSError(errno.ENOMEM, "Cannot allocate memory")
    (problem,) = again.shut_down()
    assert problem.what == "routes and rules"
    assert "Cannot allocate memory" in problem.because


def test_what_is_refused_or_lacking_or_foreign_is_a_problem_and_by_which_family(
    actuators: Actuators, clock: Clock
) -> None:
    kernel = kernel_of(actuators)
    kernel.linkless = frozenset({"pao"})
    kernel.foreign_routes = frozenset({"192.0.2.99"})
    assert act(actuators, clock)
    refused, lacking, foreign = actuators.problems
    assert refused.startswith(f"{ADDRESS} to pao: ")
    assert lacking.startswith("1 routes through pao")
    assert foreign == "route 192.0.2.99: it is not ours"
    assert actuators.problem_family == {}, "these are of both"


def test_guards_of_other_directories_end_once_this_ones_guard_runs(
    make: Make, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tuple(OtherGuard(pid=pid, runtime=tmp_path / str(pid), lease=None) for pid in (7, 8))
    ended: list[int] = []
    fails = [True]

    def end(one: OtherGuard) -> None:
        if fails[0]:
            raise TimeoutError("it does not end")
        ended.append(one.pid)

    monkeypatch.setattr(actuators_module, "other_guards", lambda *_: others)
    monkeypatch.setattr(actuators_module, "end", end)
    actuators = make(60.0)
    actuators.adopt()
    assert len(actuators.notices) == 2
    FakeGuard.present = False
    assert not act(actuators, clock)
    FakeGuard.present = True
    assert not act(actuators, clock)
    assert "it does not end" in actuators.problems[0]
    fails[0] = False
    assert act(actuators, clock)
    assert act(actuators, clock)
    assert ended == [7, 8], "once each"
