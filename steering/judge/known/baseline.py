"""Baseline: the failing share that a key always has is not a breach."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import add

from steering.index import CLASSES, Settings
from steering.judge.known.buckets import scale_for
from steering.model import Instant, Seconds, Verdict

KINDS: tuple[Verdict, ...] = (*CLASSES, Verdict.BOGUS)
"""The class of each set of breach buckets. The last set is for the verified sample of traffic."""
BOGUS, TIMEOUT, ERROR, SAMPLE = range(len(KINDS))
NORMAL: tuple[float, ...] = (1e-4, 0.03, 0.03, 1e-4)
"""By `KINDS`: the tolerated share. Packets get lost; signatures do not fail by themselves."""
WEEK: Seconds = 7 * 86_400.0
SAMPLES = 1000.0
"""Answers before a key's own failing share of the past week is used."""
REVIEW: Seconds = 3600.0
"""The scales are set so often, all at once (`Ledger.reviewed_at`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Answers of one stream in the past week outside breaches, fading with `WEEK`, by `KINDS`.

    They are as of the latest review before they were counted, and brought up to date when they are
    read (`at`): so a review costs nothing for keys without answers.
    """

    failed: tuple[float, ...]
    answers: tuple[float, ...]
    scales: tuple[int, ...] | None = None
    """Of the buckets, by the latest review; None: there was none yet, the policy's hold."""
    reviewed_at: Instant
    """The latest review that is in them."""

    @classmethod
    def blank(cls, reviewed_at: Instant) -> Baseline:
        """No answers."""
        none = (0.0,) * len(KINDS)
        return cls(failed=none, answers=none, reviewed_at=reviewed_at)

    def at(self, reviewed_at: Instant, settings: Settings) -> Baseline:
        """The same after the review of that instant."""
        if self.reviewed_at == reviewed_at:
            return self
        fade = math.exp((self.reviewed_at - reviewed_at) / WEEK)
        return Baseline(
            failed=tuple(number * fade for number in self.failed),
            answers=tuple(number * fade for number in self.answers),
            reviewed_at=reviewed_at,
        ).rescaled(settings)

    def count(self, bad: Sequence[int], good: Sequence[int]) -> Baseline:
        """After more answers; only while the key is calm."""
        return Baseline(
            failed=tuple(map(add, self.failed, bad)) if any(bad) else self.failed,
            answers=tuple(map(add, map(add, self.answers, bad), good)),
            scales=self.scales,
            reviewed_at=self.reviewed_at,
        )

    def rescaled(self, settings: Settings) -> Baseline:
        """With the scales by these settings; the usual share stays as measured."""
        return replace(self, scales=tuple(self._scale(n, settings) for n in range(len(KINDS))))

    def scale(self, number: int, settings: Settings) -> int:
        """The scale of one set of buckets."""
        return base_scale(settings, number) if self.scales is None else self.scales[number]

    def _scale(self, number: int, settings: Settings) -> int:
        """The same, where the key's own failing share counts as well."""
        scale, answers = base_scale(settings, number), self.answers[number]
        own = 2 * self.failed[number] / answers if answers > SAMPLES else 0.0
        if own > NORMAL[number]:
            scale = max(scale, scale_for(own, settings.policy.breach.failure_rate))
        return scale


def base_scale(settings: Settings, number: int) -> int:
    """The scale of a set of buckets from the policy and the class alone."""
    return _base_scale(number, settings.policy.breach.failure_rate)


@functools.lru_cache(maxsize=1024)
def _base_scale(number: int, failure_rate: float) -> int:
    return scale_for(NORMAL[number], failure_rate)
