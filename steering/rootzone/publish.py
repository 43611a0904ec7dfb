"""Gives the copy to a resolver: checked first, written beside and renamed, reloaded, and asked.

A loader may stop in the middle of a file, say that it failed, and answer from the half (Unbound
1.17.1). So nothing is ever written in place. The very file that is renamed is verified once more
and read by the resolver's own checker, and after the reload names at the end of the zone are asked.
If they are answered otherwise, the file before comes back where it is still good. Silence says
nothing of the file, which stays.

A resolver whose copy was taken out of the way gets the file too, and is not reloaded: it needs a
good copy to be put back.
"""

from __future__ import annotations

import asyncio
import enum
import filecmp
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Kind, NotDoneError, one_line
from steering.model import Seconds, WallTime
from steering.observe.dnssec.anchors import Anchors
from steering.observe.zone import ends
from steering.observe.zone.child import examine
from steering.observe.zone.facts import LIMITS, Copy, Failed, Fault, Limits, ZoneFacts, newer
from steering.observe.zone.messages import read_head
from steering.rootzone import place as files
from steering.rootzone.keep import ROOT, Kept
from steering.system.files import sync_directory
from steering.system.side_thread import aside

Progress = Callable[[str], None]

_LOADS_WITHIN: Final[Mapping[Kind, Seconds]] = {
    Kind.BIND: 15.0,
    Kind.POWERDNS: 90.0,
    Kind.KNOT: 15.0,
}
"""How soon after the command it has loaded the file. BIND and Knot begin to; the recursor looks
once a minute for a zone to load. Unbound has loaded it when its command ends, and may have the SOA
of before in its cache."""
_LOOK: Final[Seconds] = 0.5
_MAY_NOT = "the agent may not act any more: switched off, its `mode`, or its clock in doubt"


class Step(enum.StrEnum):
    """How far a publication came."""

    DONE = "done"
    """The resolver answers from it; or it was not asked, as it has no address."""
    PLACED = "placed"
    """The file is there, and the resolver was not reloaded: it has its copy out of the way, or the
    agent may not act any more."""
    REFUSED = "refused"
    """The copy is too old, or the resolver can't take it. Its file is as it was."""
    SPOILED = "spoiled"
    """The copy at hand does not verify any more. The resolver's file is as it was."""
    TAKEN_BACK = "taken_back"
    """It did not load or answer, and has the file before again."""
    STUCK = "stuck"
    """As above, but the file before is not good now, could not be put back, or does not load."""
    UNHEARD = "unheard"
    """It has the file, and says nothing of whether it answers from it. It is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A resolver that is given the copy."""

    name: str
    kind: Kind
    file: Path
    is_out: Callable[[], Awaitable[bool | None]]
    """Whether the resolver has its copy out of the way, by its own word; None: not known."""
    check: Callable[[Path], tuple[Command, str]] | None
    """The resolver's own checker for a file, and the text of a configuration for it, if any."""
    reload: Callable[[], Awaitable[object]] | None
    """Has it load the file; raises NotDoneError. None: it does that by itself, some time."""
    address: str | None = None
    port: int = 53
    may_act: Callable[[], bool] = lambda: True
    """Whether the agent may act at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What came of giving the copy to one resolver."""

    name: str
    step: Step
    because: str
    serial: int

    @property
    def good(self) -> bool:
        return self.step in {Step.DONE, Step.PLACED}


async def publish(
    kept: Kept,
    copy: Copy,
    target: Target,
    anchors: Anchors,
    wall: WallTime,
    *,
    rng: random.Random,
    limits: Limits = LIMITS,
    progress: Progress | None = None,
) -> Published:
    """Gives the copy to one resolver. To be called with `kept` locked."""
    say = progress or (lambda _: None)
    serial = copy.facts.serial

    def ended(step: Step, because: str) -> Published:
        return Published(name=target.name, step=step, because=one_line(because), serial=serial)

    if copy.verified > wall:
        return ended(Step.REFUSED, "it was fetched later than now: the clock is or was wrong")
    if wall > copy.verified + copy.facts.expire:
        return ended(Step.REFUSED, "no newer copy was found for longer than the SOA's expire")
    draft = target.file.with_name(f".{target.file.name}.steering")
    try:
        await aside(lambda: files.check_no_link(target.file))
        await aside(lambda: files.write(kept.file, draft, limits.octets))
        say(f"{target.name}: verifying")
        facts = await examine(draft, ROOT, anchors, wall, limits)
        if isinstance(facts, Failed):
            spoiled = facts.fault is Fault.FILE
            return ended(Step.SPOILED if spoiled else Step.REFUSED, facts.because)
        if why := _unfit(facts, copy):
            return ended(Step.SPOILED, why)
        if target.check is not None:
            say(f"{target.name}: its own checker")
            await _check(target, draft)
        if not target.may_act():
            return ended(Step.REFUSED, _MAY_NOT)
        previous = await aside(lambda: _place(kept, target, draft))
    except NotDoneError as error:
        return ended(Step.REFUSED, f"its own checker: {error}")
    except OSError as error:
        return ended(Step.REFUSED, f"{error.filename or target.file}: {error.strerror or error}")
    finally:
        await aside(lambda: files.remove(draft))
    out = await target.is_out()
    if out:
        return ended(Step.PLACED, "the resolver has its copy out of the way")
    if out is None and target.kind is Kind.KNOT and target.reload is not None:
        # To reload is to run what its copy is configured by.
        return ended(Step.UNHEARD, "it does not say whether its copy is out, and is not reloaded")
    if not target.may_act():
        return ended(Step.PLACED, _MAY_NOT)
    say(f"{target.name}: reloading")
    step, problem = await _reloaded(target, facts, rng)
    if step is Step.DONE:
        await aside(lambda: _note(kept, target, serial))
        return ended(Step.DONE, _remark(target, facts))
    if step is Step.UNHEARD:
        return ended(step, problem)
    say(f"{target.name}: {problem}; taking it back")
    why = "there was none" if previous is None else await _unusable(previous, anchors, wall, limits)
    if previous is None or why:
        return ended(Step.STUCK, f"{problem}; and the file before is not put back: {why}")
    back = await _take_back(target, previous)
    if back:
        return ended(Step.STUCK, f"{problem}; and the file before is not in use again: {back}")
    return ended(Step.TAKEN_BACK, problem)


def is_published(kept: Kept, copy: Copy, target: Target) -> bool:
    """Whether this copy is what the resolver was last given, answered from, and still has."""
    noted = kept.note().published.get(str(target.file))
    return noted == copy.facts.serial and read_head(target.file) == copy


def _remark(target: Target, facts: ZoneFacts) -> str:
    """What is to be said of a publication that worked."""
    remarks = [] if target.reload else ["the resolver loads the file by itself"]
    if facts.unknown_types:
        remarks.append(f"with types in the form of RFC 3597: {', '.join(facts.unknown_types)}")
    return "; ".join(remarks)


def _without(kept: Kept, target: Target) -> dict[str, int]:
    """What is noted as published, without this resolver."""
    return {f: n for f, n in kept.note().published.items() if f != str(target.file)}


def _note(kept: Kept, target: Target, serial: int) -> None:
    """Notes that the resolver answers from this serial. Raises OSError."""
    kept.keep(published={**_without(kept, target), str(target.file): serial})


def _place(kept: Kept, target: Target, draft: Path) -> Path | None:
    """Renames the draft to the resolver's file; the file before, None: there is none.

    Until the resolver has answered from the new one, nothing is noted as published, so that a
    process that dies in between leaves it to the next to do it again. Then the file is the new one
    already, and the one before is kept on. Raises OSError.
    """
    kept.keep(published=_without(kept, target))
    previous = target.file.with_name(f"{target.file.name}.previous")
    try:
        again = filecmp.cmp(draft, target.file, shallow=False)
        if not again:
            files.link(target.file, previous)
    except FileNotFoundError:
        previous.unlink(missing_ok=True)
    files.check_no_link(target.file)
    files.make_like(draft, target.file)
    draft.replace(target.file)
    sync_directory(target.file.parent)
    return previous if previous.exists() else None


def _unfit(facts: ZoneFacts, copy: Copy) -> str:
    """Why the file must not be used; empty: it is good, and that copy."""
    if facts.problems:
        return "; ".join(facts.problems)
    if facts.serial != copy.facts.serial:
        return f"the file has serial {facts.serial}, and says {copy.facts.serial}"
    return ""


async def _check(target: Target, draft: Path) -> None:
    """Has the resolver's own program read the file. Raises NotDoneError, OSError."""
    assert target.check is not None
    configuration = draft.with_name(f"{draft.name}.conf")
    command, text = target.check(draft)
    if not text:
        await command.run()
        return
    try:
        await aside(lambda: files.new(configuration, text.encode()))
        await command.run(str(configuration))
    finally:
        await aside(lambda: files.remove(configuration))


async def _reloaded(target: Target, facts: ZoneFacts, rng: random.Random) -> tuple[Step, str]:
    """Reloads, and asks: DONE, TAKEN_BACK where that is to be done, or UNHEARD; and why."""
    if target.reload is not None:
        try:
            await target.reload()
        except NotDoneError as error:
            return Step.TAKEN_BACK, str(error)
    if target.address is None:
        return Step.DONE, ""
    old = await _not_loaded(target, target.address, facts, rng)
    gone = await ends.missing(target.address, facts, rng, port=target.port)
    if gone.silent:
        return Step.UNHEARD, f"it has the file, and answers nothing: {gone.problems[0]}"
    if old:
        return Step.TAKEN_BACK, old
    if gone.problems:
        gone_ones = "; ".join(gone.problems)
        return Step.TAKEN_BACK, f"it does not answer from the whole zone: {gone_ones}"
    return Step.DONE, ""


async def _unusable(file: Path, anchors: Anchors, wall: WallTime, limits: Limits) -> str:
    """Why a file must not be used now; empty: it is good."""
    facts = await examine(file, ROOT, anchors, wall, limits)
    return facts.because if isinstance(facts, Failed) else "; ".join(facts.problems)


async def _not_loaded(target: Target, address: str, facts: ZoneFacts, rng: random.Random) -> str:
    """Waits until the resolver shows the new serial, where it loads by itself after the command.

    Returns why it does not; empty: it does.
    """
    limit = _LOADS_WITHIN.get(target.kind)
    if limit is None or target.reload is None:
        return ""
    until, shown = time.monotonic() + limit, None
    while time.monotonic() < until:
        shown = await ends.serial(address, facts.zone, rng, port=target.port)
        if shown is not None and (shown == facts.serial or newer(shown, facts.serial)):
            return ""
        await asyncio.sleep(_LOOK)
    return f"it shows {'no serial' if shown is None else f'serial {shown}'} after {limit:g} s"


async def _take_back(target: Target, previous: Path) -> str:
    """Puts the file before back and reloads; what went wrong, empty: nothing."""
    try:
        await aside(lambda: _put_back(target, previous))
    except OSError as error:
        return f"{error.filename or target.file}: {error.strerror or error}"
    if target.reload is not None:
        try:
            await target.reload()
        except NotDoneError as error:
            return str(error)
    return ""


def _put_back(target: Target, previous: Path) -> None:
    files.link(previous, target.file)
    sync_directory(target.file.parent)
