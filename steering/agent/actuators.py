"""Carries out the plan: lease, guard, off switch, kernel and BGP, each turn in that order.

In `mode: observe` there are no actuators. In `mode: rehearse` they install the rules of the probes
over the sites, and no steer, whatever the plan is. Nothing is installed unless the lease is
renewed, a guard runs, and the off switch is not engaged. Removing needs none of the three.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from steering import from_config
from steering.act.exclusive import Exclusive
from steering.act.guard_client import GuardClient, found, inherited, leftovers
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.lease import Lease, boot_time
from steering.act.lease_renewal import LeaseRenewal
from steering.act.off_switch import OffSwitch
from steering.act.other_guards import OtherGuard, end, leases_of, other_guards
from steering.agent.bgp import BgpSpeaker
from steering.agent.external_changes import ExternalChanges
from steering.config import Config
from steering.model import Done, Family, Instant, Refused, Seconds

COMPARE: Seconds = 1.0
"""The kernel is compared with the plan at least this often, whether it reported a change or
not: it drops routes of a lost link without a message (keepalived#1719)."""

SLOW: Seconds = 0.1
PAUSE_FACTOR = 4
"""After a comparison that took longer than SLOW (a table of a hundred thousand routes) the next
one waits this many times as long, unless something moves. So comparing takes a fifth of the time
at most."""

UNGUARDED: Seconds = 3.0
"""A guard takes less than this to start. An alarm is raised when there is none for longer."""

UNRENEWED: Seconds = 10.0
UNRENEWED_SHARE = 1 / 4
"""An adopted lease is not renewed before the agent has run turns for UNRENEWED, or for this share
of the lease, if that is less. So agents that crash soon after their start, one after the other,
do not together keep routes that no agent measures. A restart has the rest of the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What became of one turn's plan."""

    by_kernel: tuple[Done | Refused, ...] = ()
    compared: bool = False
    """The kernel was read and made to match, as far as possible."""
    by_bgp: tuple[Done | Refused, ...] = ()
    """What was sent to the routers by BGP, of this plan or an earlier one."""


class Actuators:
    """Everything that writes routes, behind one call a turn."""

    def __init__(
        self, config: Config, claim: Claim, switch: OffSwitch, allowed: Collection[str]
    ) -> None:
        self.changed = True
        """The kernel reported a change that may concern this agent's routes or rules."""
        self.problems: tuple[str, ...] = ()
        """What is wrong, for the alarm `kernel`."""
        self.problem_family: Mapping[str, Family] = {}
        """The family of those problems that concern one family's rules and next hops."""
        self.removal_pending = False
        """Routes of a lost lease are not all removed yet. They are not to be adopted."""
        self.external_changes = ExternalChanges()
        self._former: tuple[KernelActuator, ...] = ()
        """The actuators of former claims, until only what the present claim owns is left."""
        self._allowed = allowed
        self._steers = config.acts
        """Plans are carried out."""
        self._switch, self._runtime, self._lease_for = switch, config.runtime, config.lease
        self._exclusive = Exclusive()
        self.kernel = self._actuator(claim)
        self.bgp = BgpSpeaker(config.runtime, may_speak=lambda: not switch.engaged())
        self.bgp.configure(from_config.bgp_settings_in_force(config), config.lease)
        self._lease = Lease(config.runtime)
        self._renewal = LeaseRenewal(self._lease)
        self._guard = GuardClient(runtime=config.runtime)
        self._leased = False
        self._adopted: tuple[Seconds, Instant] | None = None
        """When the adopted lease ends, and when it was adopted. None: the lease is our own."""
        self._unrenewed = ""
        """Why the lease is not renewed; empty while it is."""
        self._other_guards: tuple[OtherGuard, ...] = ()
        """Guards of other directories that would take back what this agent installs."""
        self._guard_notices: tuple[str, ...] = ()
        self._guarded_at: Instant = time.monotonic()
        self._compared_at: Instant = float("-inf")
        self._compare_took: Seconds = 0.0
        """How long the last comparison took, with the changes it made."""

    def adopt(self, *, starting: bool = True) -> tuple[KernelProblem, ...]:
        """Adopt what is installed within the lease, else remove it. Returns what could not be.

        `starting`: the agent has run no turn yet, so an adopted lease keeps its end for a while.
        Nothing is installed before a guard runs; call `wait` where nothing else runs yet.
        Raises OSError where a lease or guard is not possible: then the agent must not start.
        Raises CannotRunError where another agent acts.
        """
        claim = self.kernel.claim
        self._exclusive.hold(self._runtime, claim.table)
        self._other_guards = other_guards(self._runtime, claim)
        self._guard_notices = tuple(
            f"ended {one}: this agent's guard has taken over" for one in self._other_guards
        )
        beside = leases_of(self._other_guards)
        former = inherited(self._lease, claim, beside=beside)
        self._former = tuple(self._actuator(old) for old in former)
        in_force = found(self._lease, beside)
        ends = max((state.deadline for state in in_force), default=None)
        self.bgp.adopt(held=ends is not None)
        left = leftovers(self._lease, claim, beside=beside)
        now = time.monotonic()
        self._adopted = (ends, now) if starting and ends is not None else None
        self._guard.replace()
        self._renew(now)
        return left

    def wait(self) -> None:
        """Wait until a guard runs, and until it is known what the routers have been sent.

        Both together take two thirds of the lease at most: nothing renews it meanwhile.
        """
        self.bgp.wait_known()
        deadline = time.monotonic() + min(UNGUARDED, self._lease_for / 3)
        while not self._guard.present() and time.monotonic() < deadline:
            time.sleep(0.01)
        with contextlib.suppress(OSError):  # each turn tries it again, and reports the error
            if self._guard.present():
                self._end_other_guards()

    def _end_other_guards(self) -> None:
        """End the guards of other directories that cover this agent's routes. Raises OSError."""
        while self._other_guards:
            end(self._other_guards[0])
            self._other_guards = self._other_guards[1:]

    def actuator_for(self, claim: Claim) -> KernelActuator:
        """A kernel actuator for another claim, for `reconfigure`. Nothing changes yet.

        Raises CannotRunError where another agent acts on its table, OSError without sockets.
        """
        self._exclusive.hold(self._runtime, claim.table)
        return self._actuator(claim)

    def close_unused(self, kernel: KernelActuator) -> None:
        """Close an actuator of `actuator_for` that is not used after all."""
        kernel.close()
        self._exclusive.release_all_but(
            [claim.table for claim in (self.kernel.claim, *self.former_claims)]
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """Sockets that claim to act on this table too, and guards that were ended."""
        return (*self._exclusive.notices, *self._guard_notices)

    @property
    def former_claims(self) -> tuple[Claim, ...]:
        """Former claims of which something is still installed."""
        return tuple(kernel.claim for kernel in self._former)

    @property
    def table_was_a_site(self) -> bool:
        """Whether a former claim uses our table for probes: its routes there are no steers."""
        return any(self.kernel.claim.table in old.tables[1:] for old in self.former_claims)

    def former_steers(self) -> Mapping[str, str]:
        """Address to site, as former claims have them in the kernel now; nothing if unreadable."""
        with contextlib.suppress(OSError):
            return {a: site for old in self._former for a, site in old.installed().items()}
        return {}

    def reconfigure(self, config: Config, kernel: KernelActuator, allowed: Collection[str]) -> None:
        """Use another configuration from now on, and another claim if `kernel` has one.

        What only the old claim owns is removed after the new one is installed. The lease covers
        both until then.
        """
        if kernel is not self.kernel:
            self._former = (*self._former, self.kernel)
            self.kernel = kernel
        self.bgp.change(from_config.bgp_settings_in_force(config), config.lease)
        self._steers = config.acts
        self._allowed, self._lease_for = allowed, config.lease
        self.changed = True

    def shut_down(self) -> tuple[KernelProblem, ...]:
        """Remove everything and close. What can't be removed, the guard removes by the lease."""
        try:
            left = self._withdraw_all()
        except OSError as error:
            left = (KernelProblem(what="routes and rules", because=str(error)),)
        self.close()
        return left

    def close(self) -> None:
        """Close what is open. Removes nothing from the kernel: the lease does."""
        self._renewal.close()
        self._guard.close()
        self.bgp.close()
        for kernel in (*self._former, self.kernel):
            kernel.close()
        self._exclusive.close()

    def _actuator(self, claim: Claim) -> KernelActuator:
        return KernelActuator(claim, may_write=lambda: not self._switch.engaged())

    def lost_lease(self) -> str | None:
        """Why the lease ran out since the last turn, once. None: it did not run out.

        What it covered is then removed, whether a guard was there to do so or not.
        """
        if not self._ran_out():
            return None
        because = self._unrenewed or (
            "no turn for longer than the lease"
            if self._adopted is None
            else f"the adopted lease ended before this agent had run for {self._renew_after():g} s"
        )
        self._leased, self._adopted = False, None
        self._remove_pending()
        self.changed = True
        return because

    def _remove_pending(self) -> None:
        """Remove what a lost lease covered. What can't be removed is tried again each turn."""
        self.removal_pending = True
        try:
            left = tuple(map(str, self._withdraw_all()))
        except OSError as error:
            left = (str(error),)
        self.removal_pending = bool(left)
        if left:
            self.problems = ("could not remove routes of an expired lease", *left)

    def _ran_out(self) -> bool:
        return self._leased and boot_time() > self._renewal.deadline

    def act(self, plan: Mapping[str, str], *, off: bool, moved: bool) -> Acted:
        """Renew the lease, and make the kernel match if anything may have changed."""
        now = time.monotonic()
        plan = plan if self._steers else {}
        if self.removal_pending:  # before anything is installed, also without lease and guard
            self._remove_pending()
            if self.removal_pending:
                return Acted()
        covered = self._ensure_covered(now)
        by_bgp = self.bgp.apply(
            plan, self._allowed, self.kernel.own_addresses, off=off, covered=covered
        )
        return replace(self._act(plan, now, off=off, moved=moved, covered=covered), by_bgp=by_bgp)

    def _act(
        self, plan: Mapping[str, str], now: Instant, *, off: bool, moved: bool, covered: bool
    ) -> Acted:
        pause = max(
            PAUSE_FACTOR * self._compare_took if self._compare_took > SLOW else 0.0,
            0.0 if self.changed else COMPARE,
        )
        if not moved and now - self._compared_at < pause:
            return Acted()
        if not (off or covered):
            return Acted()
        self.changed, self._compared_at = False, now
        try:
            return self._withdraw() if off else self._match(plan)
        except OSError as error:
            # A table that changes during every read, a kernel short of memory: try again soon.
            self.problems = (f"can't read or write the kernel's routes and rules: {error}",)
            self.changed = True
            return Acted()
        finally:
            self._compare_took = time.monotonic() - now

    def _withdraw(self) -> Acted:
        self.problems = tuple(map(str, self._withdraw_all()))
        return Acted(compared=True)

    def _withdraw_all(self) -> tuple[KernelProblem, ...]:
        kernels, left = (self.kernel, *self._former), self.bgp.withdraw()
        return left + tuple(problem for kernel in kernels for problem in kernel.withdraw())

    def _match(self, plan: Mapping[str, str]) -> Acted:
        if not self.kernel.claim.sites:  # this agent acts by BGP alone
            self.problems = tuple(map(str, self._withdraw_former()))
            return Acted(compared=True)
        results = self.kernel.apply(plan, self._allowed)
        lacking = self.kernel.prepare(self._allowed, steering=self._steers)
        self.problem_family = {str(p): p.family for p in lacking if p.family is not None}
        self.problems = (
            *(f"{r.address} to {r.site}: {r.because}" for r in results if isinstance(r, Refused)),
            *map(str, lacking),
            *map(str, self._withdraw_former()),
            *map(str, self.kernel.foreign(besides=self.former_claims)),
        )
        self.external_changes.put_back(self.kernel.lost())
        return Acted(by_kernel=results, compared=True)

    def _withdraw_former(self) -> tuple[KernelProblem, ...]:
        """Remove what only former claims own. Returns what could not be removed."""
        claim, left = self.kernel.claim, list[KernelProblem]()
        for kernel in self._former:
            left += kernel.withdraw(but=claim)
            if not kernel.remains(but=claim):
                self.changed = True  # what it had kept the present claim from can be installed now
                kernel.close()
                self._former = tuple(other for other in self._former if other is not kernel)
        self._exclusive.release_all_but([owned.table for owned in (claim, *self.former_claims)])
        return tuple(left)

    def _ensure_covered(self, now: Instant) -> bool:
        """Renew the lease and check the guard. Returns whether there are both."""
        if self._ran_out():
            return False  # the turn took too long: its plan is old, and the next turn starts over
        try:
            guarded = self._guard.ensure()
            if guarded:
                self._end_other_guards()
                self._guarded_at = now
            elif now - self._guarded_at > UNGUARDED:
                # There is no guard to end this lease, so it is not renewed any longer.
                self._renewal.pause()
                self._unrenewed = "the guard does not start, so nothing is installed or renewed"
                self.problems = (self._unrenewed,)
                return False
            self._renew(now)
        except OSError as error:
            self._renewal.pause()
            self._unrenewed = f"no lease or no guard, so nothing is installed: {error}"
            self.problems = (self._unrenewed,)
            return False
        return guarded

    def _renew(self, now: Instant) -> None:
        if self._adopted and now - self._adopted[1] >= self._renew_after():
            self._adopted = None
        self._renewal.turned(
            self.kernel.claim,
            self._lease_for,
            former=self.former_claims,
            until=self._adopted[0] if self._adopted else math.inf,
        )
        self._leased, self._unrenewed = True, ""

    def _renew_after(self) -> Seconds:
        """How long an adopted lease is not renewed."""
        return min(UNRENEWED, UNRENEWED_SHARE * self._lease_for)
