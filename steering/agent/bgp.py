"""The part of the hands that tells routers by BGP; it says nothing where that is off.

What goes wrong here is told and is no matter of the kernel's: the routes of this host are
served all the same.
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
from steering.act.kernel.state import KernelProblem
from steering.model import Done, Event, Refused, Seconds


class BgpSpeaker:
    """One speaker at a time, by the terms in force."""

    def __init__(self, runtime: Path, *, may_speak: Callable[[], bool]) -> None:
        self.speaker: BgpActuator | None = None
        self.troubles: tuple[str, ...] = ()
        """What is not as it should be, for the `bgp` alarm."""
        self._runtime, self._may_speak = runtime, may_speak
        self._terms: tuple[BgpSettings | None, Seconds] = (None, 0.0)
        """What is gone by."""
        self._wanted: tuple[BgpSettings | None, Seconds] = self._terms
        """What is to be gone by: the same, but where a change has failed."""
        self._removal_pending = False
        """A speaker runs that nobody is to be told by any more, and would not end."""

    def serve(self, terms: BgpSettings | None, lease: Seconds) -> None:
        """Go by these terms from now on; None: tell nobody. What runs is ended by `adopt`."""
        self._wanted = terms, lease
        if self._wanted == self._terms:
            return
        self.close()
        if terms is not None:
            self.speaker = BgpActuator(terms, self._runtime, lease=lease, may_speak=self._may_speak)
        self._terms, self.troubles = self._wanted, ()

    def change(self, terms: BgpSettings | None, lease: Seconds) -> None:
        """Go by other terms: on with what is announced, if the sessions are the same.

        Raises nothing, in the middle of a reload: what fails is tried again each turn.
        """
        self._wanted = terms, lease
        try:
            self._change()
        except OSError as error:
            self.troubles = (f"the speaker can't be changed: {error}",)

    def _change(self) -> None:
        """Raises OSError, and then goes by the terms before, or by none."""
        terms, lease = self._wanted
        if self._wanted == self._terms:
            return
        if self.speaker is not None and terms is not None:
            self.speaker.change(terms, lease)
            self._terms = self._wanted
        else:
            if self.speaker is not None:
                # It alone knows of one that it has just started; `adopt` ends every other.
                with contextlib.suppress(OSError):
                    self.speaker.withdraw()
            self.serve(terms, lease)
            self.adopt(held=False)

    def adopt(self, *, held: bool) -> None:
        """Go on with a speaker found within a lease that is held; end any other.

        Raises nothing: what would not end is tried again each turn.
        """
        try:
            if self.speaker is None or not held:
                process.end(self._runtime, ENDED_WITHIN)
            else:
                self.speaker.adopt()
            self._removal_pending = False
        except OSError as error:
            # A speaker of ours ends by itself in `apply` what it does not know.
            self._removal_pending = self.speaker is None
            self.troubles = (str(error),)

    def meet(self) -> None:
        """Wait until it is known what an adopted speaker announces. Raises nothing."""
        try:
            if self.speaker is not None:
                self.speaker.meet()
        except OSError as error:
            self.troubles = (str(error),)

    def tell(
        self,
        plan: Mapping[str, str],
        allowed: Collection[str],
        own: Callable[[], Collection[str]],
        *,
        off: bool,
        holding: bool,
    ) -> tuple[Done | Refused, ...]:
        """Want this plan; what has become of it and of earlier ones. `off`: take it all back."""
        try:
            if not off:
                self._change()
            if self.speaker is None:
                self._remove_pending()
            elif off:
                self.troubles = ()
                self.speaker.withdraw()
            elif holding:
                told = self.speaker.apply(plan, allowed, own())
                self.troubles = self.speaker.troubles
                return told
        except OSError as error:
            self.troubles = (f"the speaker can't be started, changed or ended: {error}",)
        return ()

    def take_back(self) -> tuple[KernelProblem, ...]:
        """Take everything back; what would not go. Raises nothing."""
        try:
            if self.speaker is not None:
                self.speaker.withdraw()
        except OSError as error:
            return (KernelProblem(what="BGP speaker", because=str(error)),)
        self._remove_pending()
        return tuple(
            KernelProblem(what="BGP speaker", because=t)
            for t in self.troubles
            if self._removal_pending
        )

    def _remove_pending(self) -> None:
        """End what `adopt` could not."""
        if self._removal_pending:
            self.troubles = ()
            self.adopt(held=False)

    def installed(self) -> Mapping[str, str]:
        """Address to site, as the routers were told."""
        return {} if self.speaker is None else self.speaker.installed()

    def told(self) -> Mapping[str, str] | None:
        """`installed`, as of this instant; None while nobody knows what is announced."""
        if self.speaker is None:
            return {}
        self.speaker.pump()
        return self.speaker.installed() if self.speaker.known else None

    def news(self) -> tuple[Event, ...]:
        """What changed since the last call."""
        return () if self.speaker is None else self.speaker.news()

    def report(self) -> BgpStatus | None:
        """Everything there is to tell; None where nobody is told anything."""
        return None if self.speaker is None else self.speaker.report()

    def close(self) -> None:
        """Let go of the speaker. Withdraws nothing: the lease does."""
        if self.speaker is not None:
            self.speaker.close()
        self.speaker = None
