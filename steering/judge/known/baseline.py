"""Baseline: the failing share that a key always has is not a breach."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from operator import add

from steering.index import CLASSES, Settings
from steering.judge.known.buckets import scale_for
from steering.model import Instant, Seconds, Verdict

NORMAL: tuple[float, ...] = (1e-4, 0.03, 0.03)
"""By class: the tolerated share. Packets get lost; signatures do not fail by themselves."""
WEEK: Seconds = 7 * 86_400.0
SAMPLES = 1000.0
"""Answers before a key's own failing share of the past week is used."""
REVIEW: Seconds = 3600.0
"""The scales are set so often, all at once (`Ledger.reviewed_at`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Answers of one key in the past week outside breaches, fading with `WEEK`.

    `failed`, `answers` and `scales` have one entry for each set of buckets of the key. They are as
    of the latest review before they were counted, and brought up to date when they are read
    (`at`): so a review costs nothing for keys without answers.
    """

    failed: tuple[float, ...]
    answers: tuple[float, ...]
    scales: tuple[int, ...] | None = None
    """Of the buckets, by the latest review; None: there was none yet, the policy's hold."""
    reviewed_at: Instant
    """The latest review that is in them."""

    @classmethod
    def blank(cls, sets: int, reviewed_at: Instant) -> Baseline:
        """No answers."""
        return cls(failed=(0.0,) * sets, answers=(0.0,) * sets, reviewed_at=reviewed_at)

    def at(
        self, reviewed_at: Instant, settings: Settings, classes: tuple[Verdict, ...] = CLASSES
    ) -> Baseline:
        """The same after the review of that instant; `classes`: that of each set of buckets."""
        if self.reviewed_at == reviewed_at:
            return self
        fade = math.exp((self.reviewed_at - reviewed_at) / WEEK)
        failed = tuple(number * fade for number in self.failed)
        answers = tuple(number * fade for number in self.answers)
        return Baseline(
            failed=failed,
            answers=answers,
            scales=scales(settings, classes, failed, answers),
            reviewed_at=reviewed_at,
        )

    def count(self, bad: tuple[int, ...], every: tuple[int, ...]) -> Baseline:
        """After more answers, by set of buckets; only while the key is calm."""
        failed = tuple(map(add, self.failed, bad)) if any(bad) else self.failed
        answers = tuple(map(add, self.answers, every))
        return Baseline(
            failed=failed,
            answers=answers,
            scales=self.scales,
            reviewed_at=self.reviewed_at,
        )

    def again(self, settings: Settings, classes: tuple[Verdict, ...] = CLASSES) -> Baseline:
        """With the scales of other settings; the usual share stays as measured."""
        return Baseline(
            failed=self.failed,
            answers=self.answers,
            scales=scales(settings, classes, self.failed, self.answers),
            reviewed_at=self.reviewed_at,
        )

    def scale(self, number: int, settings: Settings, classes: tuple[Verdict, ...] = CLASSES) -> int:
        """The scale of one set of buckets."""
        if self.scales is None:
            return base_scale(settings, CLASSES.index(classes[number]))
        return self.scales[number]


def base_scale(settings: Settings, place: int) -> int:
    """The scale of the buckets of a class from the policy and the class alone."""
    return _base_scale(place, settings.policy.breach.failure_rate)


@functools.lru_cache(maxsize=1024)
def _base_scale(place: int, failure_rate: float) -> int:
    return scale_for(NORMAL[place], failure_rate)


def scales(
    settings: Settings,
    classes: tuple[Verdict, ...],
    failed: tuple[float, ...],
    answers: tuple[float, ...],
) -> tuple[int, ...]:
    """The scale of each set of buckets, where the key's own failing share counts as well."""
    made = []
    for kind, bad, every in zip(classes, failed, answers, strict=True):
        place = CLASSES.index(kind)
        scale = base_scale(settings, place)
        own = 2 * bad / every if every > SAMPLES else 0.0
        if own > NORMAL[place]:
            scale = max(scale, scale_for(own, settings.policy.breach.failure_rate))
        made.append(scale)
    return tuple(made)
