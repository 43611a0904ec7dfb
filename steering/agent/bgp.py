"""The BGP part of the actuators: one speaker that announces the plan, or none with `bgp: off`.

A failure here is reported and does not concern the kernel: this host's routes are installed
all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from steering.act.bgp import process
from steering.act.bgp.actuator import BgpActuator
from steering.act.bgp.settings import BgpSettings
from steering.act.bgp.status import BgpStatus
from steering.act.bgp.supervisor import ENDED_WITHIN
from steering.act.kernel.problem import KernelProblem
from steering.model import Done, Event, Refused, Seconds


class BgpSpeaker:
    """One speaker at a time, by the settings in force."""

    def __init__(self, runtime: Path, *, may_speak: Callable[[], bool]) -> None:
        self.speaker: BgpActuator | None = None
        self.problems: tuple[str, ...] = ()
        """What is wrong, for the alarm `bgp`."""
        self._runtime, self._may_speak = runtime, may_speak
        self._used: tuple[BgpSettings | None, Seconds] = (None, 0.0)
        """Settings and lease in use."""
        self._wanted: tuple[BgpSettings | None, Seconds] = self._used
        """Settings and lease to be used: others than those in use only after a failed change."""
        self._removal_pending = False
        """A speaker still runs that is to be ended, and could not be."""

    def configure(self, settings: BgpSettings | None, lease: Seconds) -> None:
        """Use these settings; None: announce nothing. `adopt` ends a speaker that still runs."""
        self._wanted = settings, lease
        if self._wanted == self._used:
            return
        self.close()
        if settings is not None:
            self.speaker = BgpActuator(
                settings, self._runtime, lease=lease, may_speak=self._may_speak
            )
        self._used, self.problems = self._wanted, ()

    def change(self, settings: BgpSettings | None, lease: Seconds) -> None:
        """Use other settings. If the sessions are the same, the announcements stay.

        Raises nothing, as a reload is under way: what fails is tried again each turn.
        """
        self._wanted = settings, lease
        try:
            self._change()
        except OSError as error:
            self.problems = (f"can't change the BGP speaker: {error}",)

    def _change(self) -> None:
        """Raises OSError, and then keeps the settings of before, or has none."""
        settings, lease = self._wanted
        if self._wanted == self._used:
            return
        if self.speaker is not None and settings is not None:
            self.speaker.change(settings, lease)
            self._used = self._wanted
        else:
            if self.speaker is not None:
                # Only `withdraw` ends one that it has just started; `adopt` ends all others.
                with contextlib.suppress(OSError):
                    self.speaker.withdraw()
            self.configure(settings, lease)
            self.adopt(held=False)

    def adopt(self, *, held: bool) -> None:
        """Adopt a running speaker if a lease is in force (`held`); end any other.

        Raises nothing: what can't be ended is tried again each turn.
        """
        try:
            if self.speaker is None or not held:
                process.end(self._runtime, ENDED_WITHIN)
            else:
                self.speaker.adopt()
            self._removal_pending = False
        except OSError as error:
            # With a speaker of our own, `apply` ends any other.
            self._removal_pending = self.speaker is None
            self.problems = (str(error),)

    def wait_known(self) -> None:
        """Wait until it is known what an adopted speaker announces. Raises nothing."""
        try:
            if self.speaker is not None:
                self.speaker.meet()
        except OSError as error:
            self.problems = (str(error),)

    def apply(
        self,
        plan: Mapping[str, str],
        allowed: Collection[str],
        own: Callable[[], Collection[str]],
        *,
        off: bool,
        covered: bool,
    ) -> tuple[Done | Refused, ...]:
        """Announce this plan. Returns what has become of it and of earlier ones.

        `off`: withdraw everything. `covered`: there are a lease and a guard; without them
        nothing new is announced.
        """
        try:
            if not off:
                self._change()
            if self.speaker is None:
                self._remove_pending()
            elif off:
                self.problems = ()
                self.speaker.withdraw()
            elif covered:
                results = self.speaker.apply(plan, allowed, own())
                self.problems = self.speaker.troubles
                return results
        except OSError as error:
            self.problems = (f"can't start, change or end the BGP speaker: {error}",)
        return ()

    def withdraw(self) -> tuple[KernelProblem, ...]:
        """Withdraw everything. Returns what could not be withdrawn. Raises nothing."""
        try:
            if self.speaker is not None:
                self.speaker.withdraw()
        except OSError as error:
            return (KernelProblem(what="BGP speaker", because=str(error)),)
        self._remove_pending()
        return tuple(
            KernelProblem(what="BGP speaker", because=problem)
            for problem in self.problems
            if self._removal_pending
        )

    def _remove_pending(self) -> None:
        """End the speaker that `adopt` could not end."""
        if self._removal_pending:
            self.problems = ()
            self.adopt(held=False)

    def installed(self) -> Mapping[str, str]:
        """Address to site, as announced to the routers."""
        return {} if self.speaker is None else self.speaker.installed()

    def announced(self) -> Mapping[str, str] | None:
        """`installed`, as of this instant; None while it is not known what is announced."""
        if self.speaker is None:
            return {}
        self.speaker.pump()
        return self.speaker.installed() if self.speaker.known else None

    def events(self) -> tuple[Event, ...]:
        """What changed since the last call."""
        return () if self.speaker is None else self.speaker.news()

    def status(self) -> BgpStatus | None:
        """The status of the speaker; None without one."""
        return None if self.speaker is None else self.speaker.report()

    def close(self) -> None:
        """Disconnect from the speaker. Withdraws nothing: the lease does."""
        if self.speaker is not None:
            self.speaker.close()
        self.speaker = None
