"""One round: asks all sources for their serial, and takes the zone from the one with the newest.

What a source gives may need more memory or CPU than the child process has, and then the child says
nothing of the others. Each is asked alone then.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from steering.model import WallTime
from steering.observe.dnssec.anchors import Anchors
from steering.observe.zone import child
from steering.observe.zone.child import Progress
from steering.observe.zone.facts import (
    LIMITS,
    Copy,
    Failed,
    Fault,
    Fetched,
    Limits,
    Shown,
    Source,
    newer,
)
from steering.rootzone.keep import ROOT, Kept, Round
from steering.system.side_thread import aside

_Look = Callable[[Sequence[Source], int | None], Awaitable[Fetched | Failed]]
"""Asks these sources for what is newer than a serial, and keeps what is good."""


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
    """This host could not do it, or not for each source, and has no newer copy."""


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

    async def look(these: Sequence[Source], newer_than: int | None) -> Fetched | Failed:
        found = await child.fetch(
            these,
            kept.draft,
            ROOT,
            anchors,
            wall=wall,
            limits=limits,
            newer_than=newer_than,
            progress=progress,
        )
        if isinstance(found, Fetched) and found.copy is not None:
            taken = found.copy
            await aside(lambda: kept.take(taken))
        return found

    found = await look(sources, newer_than)
    ended = ""
    if isinstance(found, Failed) and len(sources) > 1:
        found, ended = await _each_alone(look, sources, newer_than)
    copy, floor = await aside(lambda: (kept.copy(), kept.floor()))
    if isinstance(found, Failed):
        return Result(outcome=Outcome.FAILED, because=found.because, copy=copy)
    if found.copy is not None:
        because = f"serial {found.copy.facts.serial} from {found.copy.source}"
        return Result(outcome=Outcome.NEW, because=because, copy=found.copy, shown=found.shown)
    answered = [one.serial for one in found.shown if one.serial is not None]
    because = "; ".join(f"{one.source}: {one.because}" for one in found.shown if one.because)
    if ended:
        outcome, because = Outcome.FAILED, ended
    elif any(floor is None or newer(serial, floor) for serial in answered):
        outcome = Outcome.REFUSED
    elif floor in answered and copy is not None and copy.facts.serial == floor:
        outcome, because = Outcome.CURRENT, f"no source has a newer one than serial {floor}"
    elif floor in answered:
        outcome = Outcome.REFUSED
    else:
        outcome = Outcome.OLDER if answered else Outcome.SILENT
    return Result(outcome=outcome, because=because, copy=copy, shown=found.shown)


async def _each_alone(
    look: _Look, sources: Sequence[Source], newer_than: int | None
) -> tuple[Fetched | Failed, str]:
    """Asks each source in a child of its own: what one gives may end that child, and no other.

    Returns also which of them did so; empty: none did.
    """
    copy: Copy | None = None
    shown: list[Shown] = []
    ended: list[Shown] = []
    for source in sources:
        found = await look((source,), newer_than)
        if isinstance(found, Failed):
            ended.append(Shown(source=str(source), because=found.because))
            shown.append(ended[-1])
            continue
        shown += found.shown
        if found.copy is not None:
            copy, newer_than = found.copy, found.copy.facts.serial
    said = "; ".join(f"{one.source}: {one.because}" for one in ended)
    if len(ended) == len(sources):
        return Failed(because=said, fault=Fault.HOST), said
    return Fetched(copy=copy, shown=tuple(shown)), said


def _newer_than(kept: Kept, *, again: bool) -> int | None:
    """The serial that a source's must be newer than: for the floor itself, the one before."""
    floor = kept.floor()
    copy = kept.copy()
    at_hand = copy is not None and copy.facts.serial == floor
    return floor if floor is None or (at_hand and not again) else (floor - 1) % (1 << 32)
