"""One stream of evidence: what own probes, or the resolvers' traffic, showed of a path.

Both streams of an (address, path) are counted alike and kept apart, so that neither hides the
other. Otherwise a client could drown the failing answers to probes in good ones that it makes a
resolver ask for. Traffic raises suspicion and confirms nothing: any client that can make a resolver
ask for a name decides what is counted there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.index import Settings
from steering.judge.known import failed_names
from steering.judge.known.baseline import BOGUS, KINDS, Baseline, base_scale
from steering.judge.known.buckets import EMPTY, Levels, fill
from steering.judge.known.recent import NO_ANSWERS, Recent
from steering.judge.known.zone_copies import NOT_SEEN, Soonest
from steering.model import NEVER, Evidence, Instant, Outcome, Seconds, Verdict

NO_LEVELS: tuple[Levels, ...] = (EMPTY,) * len(KINDS)

OLD: Seconds = 3600.0
"""After so long without traffic its buckets are emptied: traffic has no NSID that would show
whether the same instance still answers."""


@dataclass(slots=True)
class Poured:
    """One turn's answers for the breach buckets of a path, by `KINDS`."""

    bad: list[int] = field(default_factory=lambda: [0] * len(KINDS))
    """Of signatures: failing names that count."""
    good: list[int] = field(default_factory=lambda: [0] * len(KINDS))

    @property
    def of_signatures(self) -> bool:
        """Whether any of them is evidence about signatures."""
        return bool(self.bad[BOGUS] or self.good[BOGUS])

    def add(self, number: int, *, bad: int, good: int) -> None:
        """Add answers for one set of buckets."""
        self.bad[number] += bad
        self.good[number] += good


@dataclass(slots=True)
class Stream:
    """What is counted of one stream. Edited by a `Draft` alone, which copies it before."""

    levels: tuple[Levels, ...] = NO_LEVELS
    """By `KINDS`: points in the breach buckets."""
    baseline: Baseline | None = None
    """None: nothing was counted."""
    counts: Mapping[Outcome, int] = field(default_factory=dict)
    """Answers, and absences of one, since the start."""
    recent: Recent = NO_ANSWERS
    counted: failed_names.Names = field(default_factory=dict)
    """Failing names."""
    evidence: Evidence | None = None
    """Of the latest failure."""

    def count_name(self, name: str, now: Instant) -> bool:
        """Whether a failing name counts now: it does once an hour."""
        self.counted, counts = failed_names.count_once(self.counted, name, now)
        return counts

    def pour(
        self, poured: Poured, settings: Settings, reviewed_at: Instant, *, calm: bool
    ) -> list[Verdict]:
        """Fill the breach buckets by one turn's answers. Returns the classes with a full one.

        Args:
            poured: the answers.
            settings: of the address.
            reviewed_at: the latest review of the scales.
            calm: there is no fault; the answers show what is usual.
        """
        baseline = (self.baseline or Baseline.blank(reviewed_at)).at(reviewed_at, settings)
        full = []
        for number, (bad, good) in enumerate(zip(poured.bad, poured.good, strict=True)):
            before = self.levels[number]
            if not bad and (not good or before == EMPTY):
                continue
            levels, is_full = fill(before, bad, good, baseline.scale(number, settings))
            if levels != before:
                self.set_levels(number, levels)
            if is_full:
                full.append(KINDS[number])
        self.baseline = baseline.count(poured.bad, poured.good) if calm else baseline
        return full

    def scale(self, number: int, settings: Settings) -> int:
        """The scale of one set of buckets (`buckets.scale_for`)."""
        known = self.baseline
        return base_scale(settings, number) if known is None else known.scale(number, settings)

    def set_levels(self, number: int, levels: Levels) -> None:
        """Set the points of one set of buckets."""
        self.levels = (*self.levels[:number], levels, *self.levels[number + 1 :])

    def forget(self) -> None:
        """Drop the evidence. What was counted since the start stays, and what is usual."""
        self.levels, self.recent = NO_LEVELS, NO_ANSWERS
        self.counted, self.evidence = {}, None


@dataclass(slots=True)
class PathTraffic(Stream):
    """What the resolvers' traffic showed of one address over one path.

    Answers are counted by the dates of their signatures. A sample is verified as well. Its results
    have their own buckets; otherwise good answers outside the sample would drain them.
    """

    at: Instant = NEVER
    """The latest traffic."""
    soonest: Soonest = NOT_SEEN
    """Only for display: the path with the traffic shows many more RRsets than probes show over the
    others, so its least is always smaller."""

    def forget(self) -> None:
        """Drop the evidence."""
        Stream.forget(self)
        self.soonest = NOT_SEEN
