"""The failing share of about the last minute: counts that fade with time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from steering.model import Instant, Seconds

RECENT: Seconds = 60.0
"""The time constant with which the counts fade."""
FAINT = 0.05
"""Less than this is left of one answer after three time constants: there is nothing recent."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Answers of one key that fade with `RECENT`, as of `at`."""

    bad: float = 0.0
    all: float = 0.0
    dated: float = 0.0
    """Those that were bad by their dates alone; of probes only."""
    at: Instant = -math.inf

    def count(
        self, now: Instant, bad: float, answers: float, dated: float = 0.0, keep: float = 1.0
    ) -> Recent:
        """After more answers; `keep`: the part of the earlier ones that is kept besides."""
        fade = math.exp((self.at - now) / RECENT) * keep
        return Recent(
            bad=self.bad * fade + bad,
            all=self.all * fade + answers,
            dated=self.dated * fade + dated,
            at=now,
        )

    def share(self, now: Instant) -> float | None:
        """The failing share; None: nothing was answered lately."""
        return self.bad / self.all if self._lately(now) else None

    def dated_share(self, now: Instant) -> float | None:
        """The share that was bad by its dates alone; None likewise."""
        return self.dated / self.all if self._lately(now) else None

    @property
    def mostly_dated(self) -> bool:
        """Whether most of these answers were bad by their dates."""
        return self.dated * 2 > self.all > FAINT

    def _lately(self, now: Instant) -> bool:
        # Part and whole fade alike, so their quotient needs no fading.
        return self.all > 0 and self.all * math.exp((self.at - now) / RECENT) > FAINT


NO_ANSWERS = Recent()
