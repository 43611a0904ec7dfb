"""The agent's hands: the lease, the guard, the off switch and the plan, each turn in that order.

An agent in observe mode has none. One that rehearses puts in what carries its questions over the
sites and no steer, whatever plan it is given. Nothing is installed without a lease that is renewed,
a guard that would end it, and a switch that is on; taking back needs none of the three.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from steering.act.guard_client import GuardClient, found, inherited, leftovers
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.kernel.state import KernelProblem
from steering.act.lease import Lease, boot_time
from steering.act.lease_renewal import LeaseRenewal
from steering.act.off_switch import OffSwitch
from steering.act.other_guards import OtherGuard, end, leases_of, other_guards
from steering.agent import from_config
from steering.agent.bgp import BgpSpeaker
from steering.agent.exclusive import Exclusive
from steering.agent.external_changes import ExternalChanges
from steering.config import Config
from steering.model import Done, Family, Instant, Refused, Seconds

COMPARE: Seconds = 1.0
"""The kernel is compared with the plan at least this often, whether it told of a change or
not: it drops routes of a lost link without a message (keepalived#1719)."""

LONG: Seconds = 0.1
BREATH = 4
"""A comparison that took long (a table of a hundred thousand routes) is not made again before so
many times as long, unless something moves: it may take a fifth of the time."""

UNGUARDED: Seconds = 3.0
"""A guard takes less than this to start; without one for longer is worth an alarm."""

TRIAL: Seconds = 10.0
TRIED = 1 / 4
"""A lease that was found is not renewed before an agent has turned for so many seconds, or for
this part of the lease, if that is less. So agents that die young, one after the other, do not
together keep what nobody measures; and a restart has the rest of the lease to be back in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What became of one turn's plan."""

    results: tuple[Done | Refused, ...] = ()
    compared: bool = False
    """The kernel was read and made to match, as far as it could be."""
    told: tuple[Done | Refused, ...] = ()
    """What the routers were told by BGP, of this plan or an earlier one."""


class Actuators:
    """Everything that writes, behind one call a turn."""

    def __init__(
        self, config: Config, claim: Claim, switch: OffSwitch, allowed: Collection[str]
    ) -> None:
        self.changed = True
        """The kernel told of a change that may concern us."""
        self.troubles: tuple[str, ...] = ()
        """What is not as it should be, for the `kernel` alarm."""
        self.of_family: Mapping[str, Family] = {}
        """Those of them that are about one family's rules, and ways to the sites."""
        self.removal_pending = False
        """What a lost lease covered is not all taken out yet: nothing of it is to be adopted."""
        self.external_changes = ExternalChanges()
        self._former: tuple[KernelActuator, ...] = ()
        """What was claimed before, until nothing of it is left but what is claimed now."""
        self._allowed = allowed
        self._steers = config.acts
        """Plans are carried out."""
        self._switch, self._runtime, self._lease_for = switch, config.runtime, config.lease
        self._exclusive = Exclusive()
        self.kernel = self._actuator(claim)
        self.bgp = BgpSpeaker(config.runtime, may_speak=lambda: not switch.engaged())
        self.bgp.serve(from_config.told_to_routers(config), config.lease)
        self._lease = Lease(config.runtime)
        self._renewal = LeaseRenewal(self._lease)
        self._guard = GuardClient(runtime=config.runtime)
        self._leased = False
        self._found: tuple[Seconds, Instant] | None = None
        """When a predecessor's lease ends, and since when we go on by it; None: by our own."""
        self._unrenewed = ""
        """Why the lease is not renewed; empty while it is."""
        self._rivals: tuple[OtherGuard, ...] = ()
        """Guards of other directories that would take back what this agent installs."""
        self._noticed: tuple[str, ...] = ()
        self._guarded_at: Instant = time.monotonic()
        self._compared_at: Instant = float("-inf")
        self._took: Seconds = 0.0
        """How long the last comparison did, with what it changed."""

    def adopt(self, *, young: bool = True) -> tuple[KernelProblem, ...]:
        """Take over within the lease, or clear away what a predecessor left; what would not go.

        `young`: the agent has not turned yet, so a lease that it finds keeps its end for a while.
        Nothing is installed before a guard is there; `wait` where nothing else runs yet.
        Raises OSError when there can be no lease or no guard: then the agent must not start;
        CannotRunError where another agent acts.
        """
        claim = self.kernel.claim
        self._exclusive.hold(self._runtime, claim.table)
        self._rivals = other_guards(self._runtime, claim)
        self._noticed = tuple(
            f"ended {one}: this agent's guard has taken over" for one in self._rivals
        )
        beside = leases_of(self._rivals)
        former = inherited(self._lease, claim, beside=beside)
        self._former = tuple(self._actuator(old) for old in former)
        in_force = found(self._lease, beside)
        ends = max((state.deadline for state in in_force), default=None)
        self.bgp.adopt(held=ends is not None)
        left = leftovers(self._lease, claim, beside=beside)
        now = time.monotonic()
        self._found = (ends, now) if young and ends is not None else None
        self._guard.replace()
        self._renew(now)
        return left

    def wait(self) -> None:
        """Until a guard is there, and what the routers were told is known; so long at most.

        Both together take two thirds of the lease at most: nothing renews it meanwhile.
        """
        self.bgp.meet()
        deadline = time.monotonic() + min(UNGUARDED, self._lease_for / 3)
        while not self._guard.present() and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(OSError):  # the turns meet the same, and say so
            if self._guard.present():
                self._end_other_guards()

    def _end_other_guards(self) -> None:
        """Have what this agent installs covered by its own guard alone. Raises OSError."""
        while self._rivals:
            end(self._rivals[0])
            self._rivals = self._rivals[1:]

    def successor(self, claim: Claim) -> KernelActuator:
        """The kernel by another claim, to be given to `serve`. Nothing changes yet.

        Raises CannotRunError where another agent acts on its table, OSError without sockets.
        """
        self._exclusive.hold(self._runtime, claim.table)
        return self._actuator(claim)

    def drop_successor(self, kernel: KernelActuator) -> None:
        """Close what `successor` made: it serves nothing after all."""
        kernel.close()
        self._exclusive.leave_all_but([claim.table for claim in (self.kernel.claim, *self.former)])

    @property
    def notices(self) -> tuple[str, ...]:
        """Who only says that he acts on our table too, and whose guard did."""
        return (*self._exclusive.notices, *self._noticed)

    @property
    def former(self) -> tuple[Claim, ...]:
        """What was claimed before and is not all gone."""
        return tuple(kernel.claim for kernel in self._former)

    def serve(self, config: Config, kernel: KernelActuator, allowed: Collection[str]) -> None:
        """Go on with another configuration, and another claim where `kernel` has one.

        What only the old claim owns is taken out when the new one is served: additions come
        first, and the lease covers both until then.
        """
        if kernel is not self.kernel:
            self._former = (*self._former, self.kernel)
            self.kernel = kernel
        self.bgp.change(from_config.told_to_routers(config), config.lease)
        self._steers = config.acts
        self._allowed, self._lease_for = allowed, config.lease
        self.changed = True

    def retire(self) -> tuple[KernelProblem, ...]:
        """Take everything back, for good; what would not go is the guard's within the lease."""
        try:
            left = self._take_back()
        except OSError as error:
            left = (KernelProblem(what="routes and rules", because=str(error)),)
        self.close()
        return left

    def close(self) -> None:
        """Give back what is open. Takes nothing out of the kernel: the lease does."""
        self._renewal.close()
        self._guard.close()
        self.bgp.close()
        for kernel in (*self._former, self.kernel):
            kernel.close()
        self._exclusive.close()

    def _actuator(self, claim: Claim) -> KernelActuator:
        return KernelActuator(claim, may_write=lambda: not self._switch.engaged())

    def lost_lease(self) -> str | None:
        """Why the lease ran out since the last turn: told once. None: it did not.

        What it covered is taken out then, whether a guard was there to do so or not.
        """
        if not self._ran_out():
            return None
        because = self._unrenewed or (
            "no turn for longer than the lease"
            if self._found is None
            else "the adopted lease ended before this agent had run long enough"
        )
        self._leased, self._found = False, None
        self._remove_pending()
        self.changed = True
        return because

    def _remove_pending(self) -> None:
        """Take out what a lost lease covered; what can't be is owed, and tried each turn."""
        self.removal_pending = True
        try:
            left = tuple(map(str, self._take_back()))
        except OSError as error:
            left = (str(error),)
        self.removal_pending = bool(left)
        if left:
            self.troubles = ("could not remove routes of an expired lease", *left)

    def _ran_out(self) -> bool:
        return self._leased and boot_time() > self._renewal.deadline

    def act(self, plan: Mapping[str, str], *, off: bool, moved: bool) -> Acted:
        """Renew the lease, and make the kernel match if anything may have changed."""
        now = time.monotonic()
        plan = plan if self._steers else {}
        if (
            self.removal_pending
        ):  # before anything is installed, and with or without lease and guard
            self._remove_pending()
            if self.removal_pending:
                return Acted()
        holding = self._hold(now)
        told = self.bgp.tell(
            plan, self._allowed, self.kernel.own_addresses, off=off, holding=holding
        )
        return replace(self._act(plan, now, off=off, moved=moved, holding=holding), told=told)

    def _act(
        self, plan: Mapping[str, str], now: Instant, *, off: bool, moved: bool, holding: bool
    ) -> Acted:
        rest = max(
            BREATH * self._took if self._took > LONG else 0.0, 0.0 if self.changed else COMPARE
        )
        if not moved and now - self._compared_at < rest:
            return Acted()
        if not (off or holding):
            return Acted()
        self.changed, self._compared_at = False, now
        try:
            return self._withdraw() if off else self._match(plan)
        except OSError as error:
            # A table that changes under every read, a kernel short of memory: look again soon.
            self.troubles = (f"the kernel's routing can't be read or written: {error}",)
            self.changed = True
            return Acted()
        finally:
            self._took = time.monotonic() - now

    def _withdraw(self) -> Acted:
        self.troubles = tuple(map(str, self._take_back()))
        return Acted(compared=True)

    def _take_back(self) -> tuple[KernelProblem, ...]:
        every, spoken = (self.kernel, *self._former), self.bgp.take_back()
        return spoken + tuple(t for kernel in every for t in kernel.withdraw())

    def _match(self, plan: Mapping[str, str]) -> Acted:
        if not self.kernel.claim.sites:  # the routers alone are told
            self.troubles = tuple(map(str, self._leave()))
            return Acted(compared=True)
        results = self.kernel.apply(plan, self._allowed)
        lacking = self.kernel.prepare(self._allowed, steering=self._steers)
        self.of_family = {str(t): t.family for t in lacking if t.family is not None}
        self.troubles = (
            *(f"{r.address} to {r.site}: {r.because}" for r in results if isinstance(r, Refused)),
            *map(str, lacking),
            *map(str, self._leave()),
            *map(str, self.kernel.foreign(besides=self.former)),
        )
        self.external_changes.put_back(self.kernel.lost())
        return Acted(results=results, compared=True)

    def _leave(self) -> tuple[KernelProblem, ...]:
        """Take out what only former claims own; what would not go."""
        claim, left = self.kernel.claim, list[KernelProblem]()
        for kernel in self._former:
            left += kernel.withdraw(but=claim)
            if not kernel.remains(but=claim):
                self.changed = True  # where it stood in the way, there is room now
                kernel.close()
                self._former = tuple(other for other in self._former if other is not kernel)
        self._exclusive.leave_all_but([owned.table for owned in (claim, *self.former)])
        return tuple(left)

    def _hold(self, now: Instant) -> bool:
        """Whether there is both a lease and a guard."""
        if self._ran_out():
            return False  # a hang since this turn began: its plan is old, the next starts over
        try:
            guarded = self._guard.ensure()
            if guarded:
                self._end_other_guards()
                self._guarded_at = now
            elif now - self._guarded_at > UNGUARDED:
                # Nobody would end this lease: what stands under it is to run out with it.
                self._renewal.pause()
                self._unrenewed = "the guard does not start, so nothing is installed or renewed"
                self.troubles = (self._unrenewed,)
                return False
            self._renew(now)
        except OSError as error:
            self._renewal.pause()
            self._unrenewed = f"no lease or no guard, so nothing is installed: {error}"
            self.troubles = (self._unrenewed,)
            return False
        return guarded

    def _renew(self, now: Instant) -> None:
        if self._found and now - self._found[1] >= min(TRIAL, TRIED * self._lease_for):
            self._found = None
        self._renewal.turned(
            self.kernel.claim,
            self._lease_for,
            former=self.former,
            until=self._found[0] if self._found else math.inf,
        )
        self._leased, self._unrenewed = True, ""
