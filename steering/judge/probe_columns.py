"""The answers of one turn's rounds as columns of arrays.

Many answers are counted at a time, but the effect of one on its (address, path) may depend on the
one before. So the rounds are split into *waves*: a round goes into the first wave without a round
of its address. No wave has a key twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from steering.layout import CLASSES, Layout
from steering.model import OUTCOMES, Kind, Observation, Outcome, Round, Verdict

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Wave = dict[int, tuple[Round, dict[int, Observation]]]
"""Row -> its round, and the observations to judge, by column."""

_NUMBER = {outcome: i for i, outcome in enumerate(OUTCOMES)}
_VERDICTS = tuple(Verdict)
GOOD, BOGUS, TIMEOUT, NOTHING = (
    _VERDICTS.index(v) for v in (Verdict.GOOD, Verdict.BOGUS, Verdict.TIMEOUT, Verdict.NOTHING)
)
_VERDICT_OF = np.array([_VERDICTS.index(outcome.verdict) for outcome in OUTCOMES])
CLASS_OF = np.array([CLASSES.index(v) if v in CLASSES else -1 for v in _VERDICTS])
"""Index in `CLASSES` by number of the verdict, -1 for those that are no failure."""
SECURE, EXPIRED, NOT_YET_VALID, LOCAL_ERROR = (
    _NUMBER[o]
    for o in (Outcome.SECURE, Outcome.EXPIRED, Outcome.NOT_YET_VALID, Outcome.LOCAL_ERROR)
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """One wave; every column has one entry for each answer."""

    seen: tuple[Observation, ...]
    items: tuple[Round, ...]
    """The round of each."""
    a: Counts
    p: Counts
    at: Floats
    """When the probe was sent."""
    outcome: Counts
    """Number of the outcome, judged or not."""
    verdict: Counts
    """Number of the verdict, as judged."""
    reached: Mask
    came: Mask
    """An answer came, judged or not."""
    alone: Mask
    """No answer came over any path of the round."""
    witness: Mask
    """The question is a failed name asked again."""
    zone: Counts
    """Index of the question's zone in its policy, -1 if it has none."""
    rtt: Floats
    expires: Floats

    @classmethod
    def of(cls, layout: Layout, wave: Wave) -> Answers:
        """The columns of a wave."""
        seen = tuple(o for _, by in wave.values() for o in by.values())
        sizes = [len(by) for _, by in wave.values()]
        outcome = np.array([_NUMBER[o.outcome] for o in seen], dtype=np.int64)
        judged = np.array([o.judged for o in seen], dtype=np.bool_)
        reached = np.array([o.reached for o in seen], dtype=np.bool_)
        verdict = np.where(judged, _VERDICT_OF[outcome], NOTHING)
        came = (verdict != TIMEOUT) & (reached | (verdict != NOTHING))
        of = np.repeat(np.arange(len(sizes)), sizes)
        zones = [layout.zone(a, item.question.zone) for a, (item, _) in wave.items()]
        return cls(
            seen=seen,
            items=tuple(item for item, by in wave.values() for _ in by),
            a=np.repeat(np.array(list(wave), dtype=np.int64), sizes),
            p=np.array([p for _, by in wave.values() for p in by], dtype=np.int64),
            at=np.repeat(np.array([item.at for item, _ in wave.values()]), sizes),
            outcome=outcome,
            verdict=verdict,
            reached=reached,
            came=came,
            alone=(np.bincount(of, weights=came, minlength=len(sizes)) == 0)[of],
            witness=np.repeat(
                [item.question.kind is Kind.WITNESS for item, _ in wave.values()], sizes
            ),
            zone=np.repeat(np.array([-1 if z is None else z for z in zones], np.int64), sizes),
            rtt=np.array([nan if o.rtt is None else o.rtt for o in seen], dtype=np.float64),
            expires=np.array(
                [nan if o.expires is None else o.expires for o in seen], dtype=np.float64
            ),
        )

    def where(self, mask: Mask) -> Answers:
        """The answers selected by `mask`."""
        if mask.all():
            return self
        rows = np.flatnonzero(mask).tolist()
        columns = {
            name: getattr(self, name)[mask]
            for name in self.__slots__[2:]  # behind `items`
        }
        return Answers(
            seen=tuple(self.seen[i] for i in rows),
            items=tuple(self.items[i] for i in rows),
            **columns,
        )


def waves(layout: Layout, rounds: Iterable[Round]) -> list[Wave]:
    """The rounds in their order, without observations that are not judged.

    Live answers are for verification only. After a reload some have no row or column any more.
    """
    found: list[Wave] = []
    times: dict[int, int] = {}
    column = layout.column
    for item in rounds:
        a = layout.row.get(item.address)
        if a is None:
            continue
        times[a] = nth = times.get(a, -1) + 1
        if nth == len(found):
            found.append({})
        seen = {column[o.path]: o for o in item.observations if o.path in column and not o.live}
        found[nth][a] = item, seen
    return found
