"""A thread that renews the lease while the agent's loop turns.

A slow turn (a slow dump of the kernel's tables, a slow disk) does not shorten the lease. A loop
without a turn for HUNG seconds hangs: from then on the lease is not renewed. So a lease ends only
when the loop ends or hangs. A full disk or a lack of descriptors does not end it, since `Lease`
renews in place.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from steering.act.kernel.claim import Claim
from steering.act.lease import Lease, boot_time
from steering.model import Seconds

HUNG: Seconds = 5.0
"""A loop without a turn for longer than this, or than a shorter lease, counts as hanging."""
EVERY: Seconds = 1.0
OFTEN = 1 / 4
"""The thread renews each second, or after this fraction of a lease that is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What is renewed, and when the loop turned last."""

    claim: Claim
    seconds: Seconds
    former: Sequence[Claim]
    until: Seconds
    turned: Seconds


class LeaseRenewal:
    """Renews one lease in its own thread. The loop calls all public methods."""

    def __init__(self, lease: Lease) -> None:
        self.deadline: Seconds = -math.inf
        """When the lease written last ends, on CLOCK_BOOTTIME."""
        self._lease = lease
        self._terms: _Terms | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def turned(
        self,
        claim: Claim,
        seconds: Seconds,
        *,
        former: Sequence[Claim] = (),
        until: Seconds = math.inf,
    ) -> None:
        """Renews the lease now and keeps renewing it until the loop hangs; as `Lease.renew`."""
        with self._lock:
            self._terms = None
            self.deadline = self._lease.renew(claim, seconds, former=former, until=until)
            self._terms = _Terms(
                claim=claim, seconds=seconds, former=former, until=until, turned=boot_time()
            )
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Stops renewing until the next turn: the lease runs to its end."""
        with self._lock:
            self._terms = None

    def close(self) -> None:
        """Stops renewing, and ends the thread."""
        self.pause()
        self._ended.set()
        if self._thread is not None:
            self._thread.join(EVERY)
        self._lease.close()

    def renew(self) -> None:
        """One renewal by the thread. Never revives a lease that has ended."""
        with self._lock:
            terms, now = self._terms, boot_time()
            if terms is None or now > self.deadline:
                return
            if now - terms.turned > min(HUNG, terms.seconds):
                return
            # With this limit a process that is stopped here for longer than the lease can't revive
            # it.
            until = min(terms.until, now + terms.seconds)
            try:
                self.deadline = self._lease.renew(
                    terms.claim, terms.seconds, former=terms.former, until=until
                )
            except OSError:
                self._terms = None  # the next turn gets the same error, and reports it

    def _run(self) -> None:
        while not self._ended.wait(self._pause()):
            self.renew()

    def _pause(self) -> Seconds:
        terms = self._terms
        return EVERY if terms is None else min(EVERY, OFTEN * terms.seconds)
