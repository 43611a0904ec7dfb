"""The lease is renewed by a thread of its own for as long as the loop turns.

A turn that takes long (a slow dump of the kernel's tables, a slow disk) does not age the lease.
A loop that has not turned for HUNG hangs: from then on its lease runs out. So nothing but the
loop's own end, or its hanging, ends a lease; a full disk or a lack of descriptors does not, since
`Lease` renews in place.
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
"""A loop without a turn for longer than this hangs; where the lease is shorter, than the lease."""
EVERY: Seconds = 1.0
OFTEN = 1 / 4
"""How often the thread renews: each second, or so often in a lease that is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What is to be renewed, and since when the loop has been silent."""

    claim: Claim
    seconds: Seconds
    former: Sequence[Claim]
    until: Seconds
    turned: Seconds


class LeaseRenewal:
    """Renews one lease. All methods are the loop's; the thread is this object's own."""

    def __init__(self, lease: Lease) -> None:
        self.deadline: Seconds = -math.inf
        """When the lease that was written last ends, on CLOCK_BOOTTIME."""
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
        """Renew the lease now and go on with the same until the loop hangs; as `Lease.renew`."""
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
        """Renew no more until the next turn: the lease runs on to its end."""
        with self._lock:
            self._terms = None

    def close(self) -> None:
        """Renew no more at all."""
        self.pause()
        self._ended.set()
        if self._thread is not None:
            self._thread.join(EVERY)
        self._lease.close()

    def renew(self) -> None:
        """What the thread does each time. Never lets a lease live again that has run out."""
        with self._lock:
            terms, now = self._terms, boot_time()
            if terms is None or now > self.deadline:
                return
            if now - terms.turned > min(HUNG, terms.seconds):
                return
            # Whoever is stopped right here, for longer than the lease, renews nothing any more.
            until = min(terms.until, now + terms.seconds)
            try:
                self.deadline = self._lease.renew(
                    terms.claim, terms.seconds, former=terms.former, until=until
                )
            except OSError:
                self._terms = None  # the next turn meets the same, and says so

    def _run(self) -> None:
        while not self._ended.wait(self._pause()):
            self.renew()

    def _pause(self) -> Seconds:
        terms = self._terms
        return EVERY if terms is None else min(EVERY, OFTEN * terms.seconds)
