"""Switching off: everything of ours goes, whatever of it can't be read, ended or removed."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest
from claims import CLAIM

from steering.act import off_switch
from steering.act.bgp import process
from steering.act.kernel import acting_agents
from steering.act.kernel.acting_agents import ActingAgent
from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.removal import KernelRemover
from steering.act.lease import Lease
from steering.act.off_switch import SwitchedOff, switch_off

OTHER = replace(CLAIM, table=CLAIM.table + 10, priority=CLAIM.priority + 100)
LEFT = KernelProblem(what="route", because="it came back")


@dataclass
class Host:
    """A kernel and a speaker in memory."""

    there: dict[Claim, int] = field(default_factory=dict)
    """How often each claim's routes are put back after a removal."""
    stuck: set[Claim] = field(default_factory=set)
    failing: OSError | None = None
    withdrawn: list[Claim] = field(default_factory=list)
    speaker_ended: int = 0
    speaker: OSError | None = None
    acting: tuple[ActingAgent, ...] = ()
    slept: float = 0.0

    def remover(self, claim: Claim) -> KernelRemover:
        if self.failing is not None:
            raise self.failing
        return _Kernel(self, claim)  # type: ignore[return-value]

    def end(self, _runtime: Path) -> bool:
        self.speaker_ended += 1
        if self.speaker is not None:
            raise self.speaker
        return True

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


class _Kernel:
    def __init__(self, host: Host, claim: Claim) -> None:
        self.host, self.claim = host, claim

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def remains(self) -> bool:
        left = self.host.there.get(self.claim, 0)
        self.host.there[self.claim] = max(0, left - 1)
        return left > 0

    def withdraw(self) -> tuple[KernelProblem, ...]:
        self.host.withdrawn.append(self.claim)
        return (LEFT,) if self.claim in self.host.stuck else ()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(process, "end", made.end)
    monkeypatch.setattr(acting_agents, "elsewhere", lambda _: made.acting)
    clock = SimpleNamespace(
        sleep=made.sleep, monotonic=lambda: time.monotonic() + made.slept, time=time.time
    )
    monkeypatch.setattr(off_switch, "time", clock)
    return made


Off = Callable[..., SwitchedOff]


@pytest.fixture
def off(tmp_path: Path, host: Host) -> Off:
    (tmp_path / "run").mkdir()

    def off(**more: object) -> SwitchedOff:
        return switch_off(
            state=tmp_path / "state",
            runtime=tmp_path / "run",
            reason="maintenance",
            by="noc",
            remover=host.remover,
            **more,  # type: ignore[arg-type]
        )

    return off


def test_all_that_a_lease_covers_goes_and_the_speaker_is_ended_twice(
    host: Host, off: Off, tmp_path: Path
) -> None:
    Lease(tmp_path / "run").renew(CLAIM, 60.0, former=[OTHER])
    took: list[float] = []
    asked: list[bool] = []
    found = off(taken_back=took.append, configured=lambda: asked.append(True))
    assert found == SwitchedOff(engaged=True, lasting=True, gone=True, beside=(), troubles=())
    assert not asked, "the lease names what is to go"
    assert set(host.withdrawn) == {CLAIM, OTHER}
    assert host.withdrawn[:2] == [OTHER, CLAIM], "both at once, before any wait"
    assert host.speaker_ended == 2
    assert host.slept <= took[0] < host.slept + 5.0
    assert (tmp_path / "run/off").exists()
    assert (tmp_path / "state/off").exists()


def test_what_comes_back_is_removed_until_it_stays_away_or_the_time_is_over(
    host: Host, off: Off, tmp_path: Path
) -> None:
    Lease(tmp_path / "run").renew(CLAIM, 60.0)
    checks = off_switch._CLEAN_CHECKS
    assert off().gone
    calm = host.slept
    assert calm == pytest.approx(checks * off_switch._CHECK_EVERY)
    host.there[CLAIM], host.slept = 2, 0.0
    assert off().gone
    assert host.slept == pytest.approx((checks + 2) * off_switch._CHECK_EVERY)
    host.there[CLAIM], host.slept = 10**6, 0.0
    off()
    assert 0.2 < host.slept < off_switch._TIME_LIMIT + off_switch._CHECK_EVERY


def test_what_is_left_is_told_and_nothing_is_said_to_be_taken_back(
    host: Host, off: Off, tmp_path: Path
) -> None:
    Lease(tmp_path / "run").renew(CLAIM, 60.0)
    host.stuck = {CLAIM}
    took: list[float] = []
    found = off(taken_back=took.append)
    assert (found.engaged, found.gone, found.troubles) == (True, False, (LEFT,))
    assert not took
    host.stuck, host.failing = set(), PermissionError(errno.EPERM, "not permitted")
    (trouble,) = off().troubles
    assert (trouble.what, trouble.because) == ("routes and rules", "not permitted")
    host.failing, host.speaker = None, TimeoutError("it does not end")
    found = off()
    assert not found.gone
    assert {t.what for t in found.troubles} == {"BGP speaker"}
    assert found.troubles[0].because == "it does not end"


def test_the_configuration_says_what_goes_where_the_lease_does_not(
    host: Host, off: Off, tmp_path: Path
) -> None:
    found = off(configured=lambda: CLAIM)
    assert found.gone
    assert set(host.withdrawn) == {CLAIM}
    host.withdrawn.clear()
    (tmp_path / "run/lease").write_text("{")
    assert off(configured=lambda: CLAIM).gone, "a damaged lease names nothing"
    assert set(host.withdrawn) == {CLAIM}
    none = off(configured=lambda: None)
    assert not none.gone
    assert [t.because for t in none.troubles] == ["neither lease nor configuration says which"]
    (tmp_path / "run/lease").unlink()
    (tmp_path / "run/lease").mkdir()
    found = off(configured=lambda: CLAIM)
    assert found.gone
    assert [t.what for t in found.troubles] == [f"lease in {tmp_path / 'run'}"]


def test_an_agent_that_would_reinstall_it_is_named_and_one_beside_is_not_a_trouble(
    host: Host, off: Off, tmp_path: Path
) -> None:
    Lease(tmp_path / "run").renew(CLAIM, 60.0)
    there = ActingAgent(table=CLAIM.table, pid=7, command="steering run")
    beside = ActingAgent(table=OTHER.table, pid=8, command="steering run")
    host.acting = (beside,)
    found = off()
    assert (found.gone, found.beside, found.troubles) == (True, (beside,), ())
    host.acting = (there, beside)
    found = off()
    assert (found.gone, found.beside) == (False, (beside,))
    assert [t.what for t in found.troubles] == [f"table {CLAIM.table}"]


def test_a_switch_that_cannot_be_set_is_told_and_all_is_removed_all_the_same(
    host: Host, off: Off, tmp_path: Path
) -> None:
    Lease(tmp_path / "run").renew(CLAIM, 60.0)
    (tmp_path / "run/off").mkdir()
    (tmp_path / "state").write_text("no directory")
    took: list[float] = []
    found = off(taken_back=took.append)
    assert (found.engaged, found.lasting, found.gone) == (False, False, True)
    assert [t.what for t in found.troubles] == [
        f"off switch {tmp_path / 'run/off'}",
        f"off switch {tmp_path / 'state/off'}",
    ]
    assert not took, "an agent may install it again"


def test_a_kernel_that_lists_no_sockets_hides_other_agents(
    host: Host, off: Off, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_runtime: Path) -> None:
        raise OSError

    monkeypatch.setattr(acting_agents, "elsewhere", refuses)
    Lease(tmp_path / "run").renew(CLAIM, 60.0)
    found = off()
    assert (found.gone, found.beside) == (True, ())
