"""Temporary rules that send marked questions over the sites while `check --sites` asks.

Without a running agent there are no such rules, and no site can be asked. These are the site rules
that an agent would install, with host routes to the addresses that are asked. They catch only
packets with our marks; there is no rule for unmarked packets, and no steer.

The same safety holds as for an agent. No agent runs meanwhile: this module holds the agent's lock
and its presence socket on the table, and refuses if another process has them. A lease limits the
time, and a separate guard removes the rules when the lease ends: however this process ends, also by
kill -9, nothing is left for longer than the lease.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from steering.act.bgp.process import SWITCH
from steering.act.exclusive import Exclusive
from steering.act.guard import LOCK
from steering.act.guard_client import GuardClient, found, start_guard
from steering.act.kernel.actuator import request_for
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import Change, ChangeKind, askable
from steering.act.kernel.netlink import BATCH, ChangeSocket, KernelRequest
from steering.act.kernel.removal import KernelRemover
from steering.act.kernel.rtnetlink import Route
from steering.act.kernel.rules import Rule
from steering.act.kernel.state import KernelReader
from steering.act.lease import Lease
from steering.act.other_guards import OtherGuard, end, leases_of, other_guards
from steering.config import Config
from steering.errors import FAILED, CannotRunError, CommandError
from steering.model import Seconds
from steering.system.processes import has_ended
from steering.system.side_thread import within

NAME = "check"
"""The directory in `runtime` of this lease and its guard, separate from those of an agent."""
LEASE: Seconds = 40.0
"""Longer than asking may take; the longest time that anything can be left behind."""
_GUARD_TIMEOUT: Seconds = 8.0
_CHECK_EVERY: Seconds = 0.01
_DISK_TIMEOUT: Seconds = 2.0


class CannotInstallError(CommandError):
    """Why the rules were not installed. Nothing has been installed."""

    def __init__(self, because: str) -> None:
        super().__init__(FAILED, f"--temporary-rules: {because}")


def wanted(claim: Claim, addresses: Collection[str]) -> tuple[Route | Rule, ...]:
    """The routes, then the rules, for marked questions to these addresses over the sites.

    Behind each route is an unreachable one: if the link goes down meanwhile, a question fails and
    does not take another path.
    """
    rules = [rule for family in claim.families for rule in claim.questions(family)]
    return (*claim.probe_routes(askable(addresses, claim)), *rules)


@contextlib.contextmanager
def temporary(config: Config, claim: Claim, addresses: Collection[str]) -> Iterator[None]:
    """Installs the rules, and removes them at the end. Raises CannotInstallError and OSError.

    An orderly end of this process removes them; otherwise the guard does.
    """
    alone = Exclusive()
    try:
        config.runtime.mkdir(parents=True, exist_ok=True)
        _hold_agent_lock(alone, config, claim)
        _check_host(config, claim)
        with _guarded(config.runtime / NAME, claim) as guarded, _signals_raise():
            try:
                _install(config.runtime, wanted(claim, addresses))
                yield
            finally:
                _remove(claim)
                guarded.end()
    finally:
        alone.close()


def _hold_agent_lock(alone: Exclusive, config: Config, claim: Claim) -> None:
    try:
        alone.hold(config.runtime, claim.table)
    except CannotRunError as error:
        because = "; ".join(error.reasons)
        raise CannotInstallError(
            f"{because}; without this option the check uses that agent's rules"
        ) from None


def _check_host(config: Config, claim: Claim) -> None:
    """Raises CannotInstallError if an agent could not install anything either, or already has."""
    if _switched_off(config):
        raise CannotInstallError("this host is switched off (`steering on` ends that)")
    beside = other_guards(config.runtime, claim)
    if found(Lease(config.runtime), leases_of(beside)):
        raise CannotInstallError(
            "a lease is in force, of an agent that has just ended or of an earlier check: what it "
            "covers is left alone, and removed when it ends, if no agent starts before"
        )
    with KernelReader(claim) as kernel:
        if foreign := kernel.foreign():
            raise CannotInstallError("; ".join(map(str, foreign)))
    with KernelRemover(claim) as remover:
        if remover.remains():
            raise CannotInstallError(
                "routes or rules of ours are in the kernel without a lease: `steering off`, then "
                "`steering on`, removes them"
            )


def _switched_off(config: Config) -> bool:
    """Whether a switch is in `runtime`, or in `state`; if a disk does not answer, it is off."""
    try:
        for place in (config.runtime, config.state):
            look = functools.partial(os.path.lexists, place / SWITCH)
            if within(_DISK_TIMEOUT, look, "off switch"):
                return True
    except OSError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Guarded:
    """The guard of this check, and its lease."""

    pid: int
    directory: Path
    lease: Lease

    def end(self) -> None:
        """Ends the guard and removes its directory. Call this when nothing is left to guard."""
        end(OtherGuard(pid=self.pid, runtime=self.directory, lease=None))
        has_ended(self.pid)  # so that no zombie stays
        for left in (self.lease.path, self.directory / LOCK):
            left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()


@contextlib.contextmanager
def _guarded(directory: Path, claim: Claim) -> Iterator[_Guarded]:
    """A lease on all that this claim owns, and a guard that removes it when the lease ends.

    The caller ends the guard once everything is removed; otherwise the guard stays until it is.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    lease, guard = Lease(directory), GuardClient(runtime=directory)
    try:
        lease.renew(claim, LEASE)
        guarded = _Guarded(start_guard(runtime=directory, take_over=True), directory, lease)
        until = time.monotonic() + _GUARD_TIMEOUT
        while not guard.present():
            if time.monotonic() > until:
                guarded.end()
                raise CannotInstallError(f"no guard starts in {directory}, so nothing is installed")
            time.sleep(_CHECK_EVERY)
        lease.renew(claim, LEASE)
        yield guarded
    finally:
        lease.close()
        guard.close()


def _install(runtime: Path, what: Sequence[Route | Rule]) -> None:
    """Raises CannotInstallError if a rule is refused; a route whose link is down is left out."""
    with ChangeSocket() as writing:
        for at in range(0, len(what), BATCH):
            if os.path.lexists(runtime / SWITCH):
                raise CannotInstallError("this host was just switched off")
            batch = what[at : at + BATCH]
            requests = [(each, one) for each in batch if (one := _request(each)) is not None]
            results = writing.carry_out([one for _, one in requests])
            for (each, _), refusal in zip(requests, results, strict=True):
                if refusal is not None and isinstance(each, Rule):
                    raise CannotInstallError(
                        f"rule {each.priority} ({each.family}): {refusal.text}"
                    )


def _request(what: Route | Rule) -> KernelRequest | None:
    """The request that installs it; None if the route's interface does not exist."""
    with contextlib.suppress(OSError):
        return request_for(Change(act=ChangeKind.ADD, what=what))
    return None


def _remove(claim: Claim) -> None:
    """Raises CannotInstallError if anything is left: the guard goes on trying."""
    with KernelRemover(claim) as kernel:
        if left := kernel.withdraw():
            raise CannotInstallError(f"could not remove everything: {'; '.join(map(str, left))}")


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise SystemExit, so that the clean-up runs."""
    numbers = signal.SIGTERM, signal.SIGHUP
    before = {number: signal.signal(number, _raise_exit) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
