"""One round: asks all sources for their serial, and takes the zone from the one with the newest."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from steering.model import WallTime
from steering.observe.dnssec.anchors import Anchors
from steering.observe.zone import child
from steering.observe.zone.child import Progress
from steering.observe.zone.facts import LIMITS, Copy, Failed, Limits, Shown, Source, newer
from steering.rootzone.keep import ROOT, Kept, Round
from steering.system.side_thread import aside


class Outcome(enum.StrEnum):
    """How a round ended."""

    NEW = "new"
    """There is a newer copy, verified and kept."""
    CURRENT = "current"
    """No source has a newer one."""
    REFUSED = "refused"
    """A source has one that would be taken, but did not give it, or it must not be used."""
    OLDER = "older"
    """The sources that answered have older ones than the copy at hand."""
    SILENT = "silent"
    """No source answered."""
    FAILED = "failed"
    """This host could not do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a round."""

    outcome: Outcome
    because: str
    """For people: one sentence without its full stop."""
    copy: Copy | None = None
    """The copy at hand afterwards."""
    shown: tuple[Shown, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the copy at hand is the newest that any source has."""
        return self.outcome in {Outcome.NEW, Outcome.CURRENT}


async def fetch(
    kept: Kept,
    sources: Sequence[Source],
    anchors: Anchors,
    wall: WallTime,
    limits: Limits = LIMITS,
    *,
    again: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Runs one round. To be called with `kept` locked.

    `again`: takes the serial at hand once more, since that copy is spoiled. Raises OSError where
    the directory can't be written.
    """
    result = await _round(kept, sources, anchors, wall, limits, again=again, progress=progress)
    last = Round(time=wall, good=result.good, because=result.because, shown=result.shown)
    await aside(lambda: kept.keep(last=last))
    return result


async def _round(
    kept: Kept,
    sources: Sequence[Source],
    anchors: Anchors,
    wall: WallTime,
    limits: Limits,
    *,
    again: bool,
    progress: Progress | None,
) -> Result:
    newer_than = await aside(lambda: _newer_than(kept, again=again))
    found = await child.fetch(
        sources,
        kept.draft,
        ROOT,
        anchors,
        wall=wall,
        limits=limits,
        newer_than=newer_than,
        progress=progress,
    )
    copy, floor = await aside(lambda: (kept.copy(), kept.floor()))
    if isinstance(found, Failed):
        return Result(outcome=Outcome.FAILED, because=found.because, copy=copy)
    if found.copy is not None:
        taken = found.copy
        await aside(lambda: kept.take(taken))
        because = f"serial {found.copy.facts.serial} from {found.copy.source}"
        return Result(outcome=Outcome.NEW, because=because, copy=found.copy, shown=found.shown)
    answered = [one.serial for one in found.shown if one.serial is not None]
    because = "; ".join(f"{one.source}: {one.because}" for one in found.shown if one.because)
    if any(floor is None or newer(serial, floor) for serial in answered):
        outcome = Outcome.REFUSED
    elif floor in answered and copy is not None and copy.facts.serial == floor:
        outcome, because = Outcome.CURRENT, f"no source has a newer one than serial {floor}"
    elif floor in answered:
        outcome = Outcome.REFUSED
    else:
        outcome = Outcome.OLDER if answered else Outcome.SILENT
    return Result(outcome=outcome, because=because, copy=copy, shown=found.shown)


def _newer_than(kept: Kept, *, again: bool) -> int | None:
    """The serial that a source's must be newer than: for the floor itself, the one before."""
    floor = kept.floor()
    copy = kept.copy()
    at_hand = copy is not None and copy.facts.serial == floor
    return floor if floor is None or (at_hand and not again) else (floor - 1) % (1 << 32)
