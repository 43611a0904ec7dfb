"""Rules that carry marked questions over the sites, for as long as they are asked.

Where no agent runs there are none, and nothing can be asked over a site. These are the site rules
that an agent would put in, with host routes to the addresses that are asked: they catch packets
with our marks and nothing else. There is no rule for anything without a mark, and no steer.

They stand under the same law as whatever an agent installs. No agent runs meanwhile: this holds
the agent's own lock and shows itself on its table, and gives way where another does. A lease says
until when they may stay, and a guard of their own takes them out when that is over: however this
ends, and be it by kill -9, nothing is left for longer than the lease.
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
from steering.act.guard import LOCK
from steering.act.guard_client import GuardClient, found, start_guard
from steering.act.kernel.actuator import KernelActuator, order
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import Change, ChangeKind, askable
from steering.act.kernel.netlink import BATCH, ChangeSocket, KernelRequest
from steering.act.kernel.rtnetlink import Route, Rule
from steering.act.kernel.state import KernelReader
from steering.act.lease import Lease
from steering.act.other_guards import OtherGuard, end, leases_of, other_guards
from steering.agent.exclusive import Exclusive
from steering.agent.from_config import CannotRunError
from steering.config import Config
from steering.errors import FAILED, CommandError
from steering.model import Seconds
from steering.system.processes import has_ended
from steering.system.side_thread import within

NAME = "check"
"""The directory in `runtime` of this lease and its guard: those of an agent are not touched."""
LEASE: Seconds = 40.0
"""Longer than asking may take, and what is left behind at the most."""
_GUARDED: Seconds = 8.0
_LOOK: Seconds = 0.01
_DISK: Seconds = 2.0


class CannotInstallError(CommandError):
    """Why the rules were not put in. Nothing has been installed."""

    def __init__(self, because: str) -> None:
        super().__init__(FAILED, f"--temporary-rules: {because}")


def wanted(claim: Claim, addresses: Collection[str]) -> tuple[Route | Rule, ...]:
    """What carries marked questions to these addresses over the sites: routes, then rules.

    Behind each route stands one that says `unreachable`: where the link goes down meanwhile, a
    question fails, and takes no other way.
    """
    rules = [rule for family in claim.families for rule in claim.questions(family)]
    return (*claim.probe_routes(askable(addresses, claim)), *rules)


@contextlib.contextmanager
def temporary(config: Config, claim: Claim, addresses: Collection[str]) -> Iterator[None]:
    """Have them in the kernel inside. Raises CannotInstallError, and OSError.

    What ends this process in an orderly way takes them out; what does not leaves that to the
    guard.
    """
    alone = Exclusive()
    try:
        config.runtime.mkdir(parents=True, exist_ok=True)
        _hold(alone, config, claim)
        _look_around(config, claim)
        with _guarded(config.runtime / NAME, claim) as guarded, _orderly():
            try:
                _put_in(config.runtime, wanted(claim, addresses))
                yield
            finally:
                _take_out(claim)
                guarded.end()
    finally:
        alone.close()


def _hold(alone: Exclusive, config: Config, claim: Claim) -> None:
    try:
        alone.hold(config.runtime, claim.table)
    except CannotRunError as error:
        because = "; ".join(error.reasons)
        raise CannotInstallError(f"{because}; without this option its rules are used") from None


def _look_around(config: Config, claim: Claim) -> None:
    """Raises CannotInstallError where an agent would not install anything either, or has."""
    if _switched_off(config):
        raise CannotInstallError("this host is switched off (`steering on` ends that)")
    beside = other_guards(config.runtime, claim)
    if found(Lease(config.runtime), leases_of(beside)):
        raise CannotInstallError(
            "a lease is in force, of an agent that ran until just now or of an earlier check: what "
            "stands under it is left alone, and taken back within a minute if no agent comes"
        )
    with KernelReader(claim) as kernel:
        if strangers := kernel.foreign():
            raise CannotInstallError("; ".join(map(str, strangers)))
    with KernelActuator(claim) as actuator:
        if actuator.remains():
            raise CannotInstallError(
                "something of ours is in the kernel, under no lease: `steering off`, then "
                "`steering on`, takes it out"
            )


def _switched_off(config: Config) -> bool:
    """In `runtime`, or in `state`, where it outlasts a restart of the host; no answer means off."""
    try:
        for place in (config.runtime, config.state):
            look = functools.partial(os.path.lexists, place / SWITCH)
            if within(_DISK, look, "off switch"):
                return True
    except OSError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A guard of this check, and the lease that it looks at."""

    pid: int
    directory: Path
    lease: Lease

    def end(self) -> None:
        """End the guard, and leave nothing in its directory: nothing is left to guard."""
        end(OtherGuard(pid=self.pid, runtime=self.directory, lease=None))
        has_ended(self.pid)  # so that no zombie stays
        for left in (self.lease.path, self.directory / LOCK):
            left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()


@contextlib.contextmanager
def _guarded(directory: Path, claim: Claim) -> Iterator[_Guarded]:
    """A lease on all that this claim owns, and a guard that takes it out when that is over.

    Whoever has taken it out ends the guard; otherwise it stays for as long as it takes.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    lease, guard = Lease(directory), GuardClient(runtime=directory)
    try:
        lease.renew(claim, LEASE)
        guarded = _Guarded(start_guard(runtime=directory, take_over=True), directory, lease)
        until = time.monotonic() + _GUARDED
        while not guard.present():
            if time.monotonic() > until:
                guarded.end()
                raise CannotInstallError(f"no guard starts in {directory}, so nothing is put in")
            time.sleep(_LOOK)
        lease.renew(claim, LEASE)
        yield guarded
    finally:
        lease.close()
        guard.close()


def _put_in(runtime: Path, what: Sequence[Route | Rule]) -> None:
    """Raises CannotInstallError where a rule is refused; a route whose link is down is left out."""
    with ChangeSocket() as writing:
        for at in range(0, len(what), BATCH):
            if os.path.lexists(runtime / SWITCH):
                raise CannotInstallError("this host was just switched off")
            batch = what[at : at + BATCH]
            orders = [(each, one) for each in batch if (one := _order(each)) is not None]
            said = writing.carry_out([one for _, one in orders])
            for (each, _), refusal in zip(orders, said, strict=True):
                if refusal is not None and isinstance(each, Rule):
                    raise CannotInstallError(
                        f"rule {each.priority} ({each.family}): {refusal.text}"
                    )


def _order(what: Route | Rule) -> KernelRequest | None:
    """How to put it in; None where there is no such interface as the route is to have."""
    with contextlib.suppress(OSError):
        return order(Change(act=ChangeKind.ADD, what=what))
    return None


def _take_out(claim: Claim) -> None:
    """Raises CannotInstallError where anything stays: the guard goes on at it."""
    with KernelActuator(claim) as kernel:
        if left := kernel.withdraw():
            raise CannotInstallError(f"could not all be taken out: {'; '.join(map(str, left))}")


@contextlib.contextmanager
def _orderly() -> Iterator[None]:
    """Be told to end by SIGTERM and SIGHUP as by an interrupt, which runs what is to be undone."""
    before = {number: signal.signal(number, _ended) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
