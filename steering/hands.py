"""The agent's hands: the lease, the guard, the off switch and the plan, each turn in that order.

An agent in observe mode has none. Nothing is installed without a lease that is renewed, a
guard that would end it, and a switch that is on; taking back needs none of the three.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from steering.act.bgp.speaker import Speaker
from steering.act.claim import Claim
from steering.act.kernel import KernelActuator
from steering.act.lease import Lease, boot_time
from steering.act.off import OffSwitch
from steering.act.reader import Trouble
from steering.act.watchdog import Guard, leftovers
from steering.config import Config
from steering.model import Done, Instant, Refused, Seconds

COMPARE: Seconds = 1.0
"""The kernel is compared with the plan at least this often, whether it told of a change or
not: it drops routes of a lost link without a message (keepalived#1719)."""

UNGUARDED: Seconds = 3.0
"""A guard takes less than this to start; without one for longer is worth an alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What became of one turn's plan."""

    results: tuple[Done | Refused, ...] = ()
    compared: bool = False
    """The kernel was read and made to match, as far as it could be."""
    told: tuple[Done | Refused, ...] = ()
    """What the routers were told by BGP, of this plan or an earlier one."""


class Hands:
    """Everything that writes, behind one call a turn."""

    def __init__(
        self,
        config: Config,
        claim: Claim,
        switch: OffSwitch,
        allowed: Collection[str],
        speaker: Speaker | None = None,
    ) -> None:
        """`speaker` tells routers besides; alone, where the claim is on nothing."""
        self.speaker = speaker
        self.untold: tuple[str, ...] = ()
        """What is not as it should be, for the `bgp` alarm."""
        self.kernel = KernelActuator(claim, may_write=lambda: not switch.engaged())
        self.changed = True
        """The kernel told of a change that may concern us."""
        self.troubles: tuple[str, ...] = ()
        """What is not as it should be, for the `kernel` alarm."""
        self._claim, self._allowed = claim, allowed
        self._lease_for = config.lease
        self._lease = Lease(config.runtime)
        self._guard = Guard(runtime=config.runtime, state=config.state)
        self._leased_until: Seconds | None = None
        self._unrenewed = ""
        """Why the lease is not renewed; empty while it is."""
        self._guarded_at: Instant = time.monotonic()
        self._compared_at: Instant = float("-inf")

    def adopt(self) -> tuple[Trouble, ...]:
        """Take over within the lease, or clear away what a predecessor left; what would not go.

        Raises OSError when there can be no lease or no guard: then the agent must not start.
        """
        if self.speaker and self._lease.expired():
            self.speaker.withdraw()
        elif self.speaker:
            self.speaker.adopt()
        left = leftovers(self._lease, self._claim)
        self._renew()
        self._guard.replace()
        deadline = time.monotonic() + UNGUARDED
        while not self._guard.present() and time.monotonic() < deadline:
            time.sleep(0.01)  # nothing else runs yet, and without a guard nothing may
        return left

    def lost_lease(self) -> str | None:
        """Why the lease ran out since the last turn: told once. None: it did not.

        What it covered is taken out then, whether a guard was there to do so or not.
        """
        if not self._ran_out():
            return None
        self._leased_until = None
        if self.speaker:
            with contextlib.suppress(OSError):  # the guard and the bridge see to it as well
                self.speaker.withdraw()
        self.kernel.withdraw()
        self.changed = True
        return self._unrenewed or "no turn for longer than the lease"

    def _ran_out(self) -> bool:
        return self._leased_until is not None and boot_time() > self._leased_until

    def act(self, plan: Mapping[str, str], *, off: bool, moved: bool) -> Acted:
        """Renew the lease, and make the kernel match if anything may have changed."""
        now = time.monotonic()
        holding = self._hold(now)
        told = self._speak(plan, off=off, holding=holding)
        return replace(self._act(plan, now, off=off, moved=moved, holding=holding), told=told)

    def _speak(
        self, plan: Mapping[str, str], *, off: bool, holding: bool
    ) -> tuple[Done | Refused, ...]:
        """The plan for the routers. What goes wrong here is no matter of the kernel's."""
        if self.speaker is None:
            return ()
        self.untold = ()
        try:
            if off:
                self.speaker.withdraw()
            elif holding:
                told = self.speaker.apply(plan, self._allowed, self.kernel.own_addresses())
                self.untold = self.speaker.troubles
                return told
        except OSError as error:
            self.untold = (f"the speaker can't be started or ended: {error}",)
        return ()

    def _act(
        self, plan: Mapping[str, str], now: Instant, *, off: bool, moved: bool, holding: bool
    ) -> Acted:
        if not (moved or self.changed or now - self._compared_at >= COMPARE):
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

    def _withdraw(self) -> Acted:
        left = self.kernel.withdraw() if self.kernel.remains() else ()
        self.troubles = tuple(map(str, left))
        return Acted(compared=True)

    def _match(self, plan: Mapping[str, str]) -> Acted:
        mine = plan if self.kernel.claim.sites else {}
        results = self.kernel.apply(mine, self._allowed)
        self.troubles = (
            *(f"{r.address} to {r.site}: {r.because}" for r in results if isinstance(r, Refused)),
            *map(str, self.kernel.prepare()),
            *map(str, self.kernel.foreign()),
        )
        return Acted(results=results, compared=True)

    def _hold(self, now: Instant) -> bool:
        """Whether there is both a lease and a guard."""
        if self._ran_out():
            return False  # a hang since this turn began: its plan is old, the next starts over
        try:
            guarded = self._guard.ensure()
            if guarded:
                self._guarded_at = now
            elif now - self._guarded_at > UNGUARDED:
                # Nobody would end this lease: what stands under it is to run out with it.
                self._unrenewed = "the guard does not start, so nothing is installed or renewed"
                self.troubles = (self._unrenewed,)
                return False
            self._renew()
        except OSError as error:
            self._unrenewed = f"no lease or no guard, so nothing is installed: {error}"
            self.troubles = (self._unrenewed,)
            return False
        return guarded

    def _renew(self) -> None:
        self._lease.renew(self._claim, self._lease_for)
        self._leased_until = boot_time() + self._lease_for
        self._unrenewed = ""
