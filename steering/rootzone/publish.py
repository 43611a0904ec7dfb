"""Gives the copy to a resolver: checked first, written beside and renamed, reloaded, and asked.

A loader may stop in the middle of a file, say that it failed, and answer from the half (Unbound
1.17.1). So nothing is ever written in place. The very file that is renamed is verified once more
and read by the resolver's own checker, and after the reload names at the end of the zone are asked.
If they are not answered, the file before comes back.

A resolver whose copy was taken out of the way gets the file too, and is not reloaded: it needs a
good copy to be put back.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import filecmp
import os
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
from steering.rootzone.keep import ROOT, Kept
from steering.system.files import read_regular, sync_directory
from steering.system.side_thread import aside

Progress = Callable[[str], None]

_MODE: Final = 0o644

_LOADS_WITHIN: Final[Mapping[Kind, Seconds]] = {
    Kind.BIND: 15.0,
    Kind.POWERDNS: 90.0,
    Kind.KNOT: 15.0,
}
"""How soon after the command it has loaded the file. BIND and Knot begin to; the recursor looks
once a minute for a zone to load. Unbound has loaded it when its command ends, and may have the SOA
of before in its cache."""
_LOOK: Final[Seconds] = 0.5


class Step(enum.StrEnum):
    """How far a publication came."""

    DONE = "done"
    """The resolver answers from it; or it was not asked, as it has no address."""
    PLACED = "placed"
    """The file is there. The resolver has its copy out of the way, and was not reloaded."""
    REFUSED = "refused"
    """The copy is too old, or the resolver can't take it. Its file is as it was."""
    SPOILED = "spoiled"
    """The copy at hand does not verify any more. The resolver's file is as it was."""
    TAKEN_BACK = "taken_back"
    """It did not load or answer, and has the file before again."""
    STUCK = "stuck"
    """As above, but the file before could not be put back, or does not load either."""


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

    if wall > copy.verified + copy.facts.expire:
        return ended(Step.REFUSED, "no newer copy was found for longer than the SOA's expire")
    draft = target.file.with_name(f".{target.file.name}.steering")
    try:
        await aside(lambda: _write(kept.file, draft, limits.octets))
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
        previous = await aside(lambda: _place(kept, target, draft))
    except NotDoneError as error:
        return ended(Step.REFUSED, f"its own checker: {error}")
    except OSError as error:
        return ended(Step.REFUSED, f"{error.filename or target.file}: {error.strerror or error}")
    finally:
        await aside(lambda: _remove(draft))
    if await target.is_out():
        return ended(Step.PLACED, "the resolver has its copy out of the way")
    say(f"{target.name}: reloading")
    problem = await _problem(target, facts, rng)
    if not problem:
        await aside(lambda: _note(kept, target, serial))
        return ended(Step.DONE, _remark(target, facts))
    say(f"{target.name}: {problem}; taking it back")
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
            _link(target.file, previous)
    except FileNotFoundError:
        previous.unlink(missing_ok=True)
    draft.replace(target.file)
    sync_directory(target.file.parent)
    return previous if previous.exists() else None


def _link(file: Path, name: Path) -> None:
    """Gives a file a second name, in the place of what has that name. Raises OSError."""
    spare = name.with_name(f".{name.name}.steering")
    spare.unlink(missing_ok=True)
    spare.hardlink_to(file)
    spare.replace(name)


def _remove(draft: Path) -> None:
    with contextlib.suppress(OSError):
        draft.unlink()


def _unfit(facts: ZoneFacts, copy: Copy) -> str:
    """Why the file must not be used; empty: it is good, and that copy."""
    if facts.problems:
        return "; ".join(facts.problems)
    if facts.serial != copy.facts.serial:
        return f"the file has serial {facts.serial}, and says {copy.facts.serial}"
    return ""


def _write(source: Path, draft: Path, at_most: int) -> None:
    """A copy of the file, on the disk. Raises OSError."""
    _new(draft, read_regular(source, at_most))


def _new(file: Path, octets: bytes) -> None:
    """A new file with this content, that other users may read. Raises OSError."""
    file.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(file, flags, _MODE), "wb") as writing:
        os.fchmod(writing.fileno(), _MODE)
        writing.write(octets)
        writing.flush()
        os.fsync(writing.fileno())


async def _check(target: Target, draft: Path) -> None:
    """Has the resolver's own program read the file. Raises NotDoneError, OSError."""
    assert target.check is not None
    configuration = draft.with_name(f"{draft.name}.conf")
    command, text = target.check(draft)
    if not text:
        await command.run()
        return
    try:
        await aside(lambda: _new(configuration, text.encode()))
        await command.run(str(configuration))
    finally:
        await aside(lambda: _remove(configuration))


async def _problem(target: Target, facts: ZoneFacts, rng: random.Random) -> str:
    """Reloads, and asks; what went wrong, empty: nothing."""
    if target.reload is not None:
        try:
            await target.reload()
        except NotDoneError as error:
            return str(error)
    if target.address is None:
        return ""
    if problem := await _not_loaded(target, target.address, facts, rng):
        return problem
    gone = await ends.missing(target.address, facts, rng, port=target.port)
    return f"it does not answer from the whole zone: {'; '.join(gone)}" if gone else ""


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


async def _take_back(target: Target, previous: Path | None) -> str:
    """Puts the file before back and reloads; what went wrong, empty: nothing."""
    if previous is None:
        return "there was none"
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
    _link(previous, target.file)
    sync_directory(target.file.parent)
