"""The child process: reads one task from its standard input, does it, and prints the result.

First it limits itself. Where a limit ends it, it says so if it still can, and the parent knows
otherwise. It prints lines of JSON: `{"progress": …}`, and at the end the result.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Final

from steering.model import Instant
from steering.observe.dnssec import anchors
from steering.observe.dnssec.anchors import Anchor
from steering.observe.nonce import system_random
from steering.observe.zone.facts import (
    Copy,
    Failed,
    Fault,
    Fetched,
    Limits,
    Shown,
    Source,
    ZoneFacts,
    newer,
)
from steering.observe.zone.messages import Result, Task, packed, task_from
from steering.observe.zone.text import UnreadableZoneError, read_zone, write_zone
from steering.observe.zone.transfer import Connection, SilentSourceError
from steering.observe.zone.verify import RefusedAlgorithmError, verify

_NICE: Final = 5
_OOM: Final = "500"
"""Where memory runs out, this goes before the agent, whose own value it would have."""
_OWN_SHARE: Final = 0.8
"""Of the time, so that it can say what it found before the parent ends it."""
_MODE: Final = 0o644
"""A public zone, which a resolver reads as another user."""


def main() -> None:
    """Does the one task."""
    task = task_from(json.load(sys.stdin))
    _limit(task.limits)
    print(json.dumps(packed(_done(task))), flush=True)


def _limit(limits: Limits) -> None:
    os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM, encoding="ascii")
    cpu = max(1, round(limits.cpu))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.octets, limits.octets))


def _done(task: Task) -> Result:
    try:
        anchor = anchors.parse(task.anchors, source="the trust anchors").get(task.zone)
        if anchor is None:
            return Failed(because=f"{task.zone} has no trust anchor", fault=Fault.HOST)
        return _fetched(task, anchor) if task.sources else _examined(task, anchor)
    except UnreadableZoneError as error:
        return Failed(because=str(error), fault=Fault.FILE)
    except RefusedAlgorithmError as error:
        return Failed(because=str(error), fault=Fault.HOST)
    except MemoryError:
        because = f"it does not fit into {task.limits.memory} octets of memory"
        return Failed(because=because, fault=Fault.FILE)
    except OSError as error:
        return Failed(because=f"{task.file}: {error.strerror}", fault=Fault.HOST)


def _examined(task: Task, anchor: Anchor) -> ZoneFacts:
    _say(f"reading {task.file}")
    zone, octets = read_zone(task.file, task.zone, task.limits.octets)
    _say("verifying")
    return verify(
        zone,
        anchor,
        task.wall,
        octets=octets,
        understood=task.understood,
        digest_required=task.digest_required,
    )


def _fetched(task: Task, anchor: Anchor) -> Fetched:
    """Asks all sources, and takes the zone from the one with the newest that is good."""
    until = time.monotonic() + _OWN_SHARE * task.limits.time
    shown: list[Shown] = []
    for source in task.sources:
        _say(f"asking {source}")
        shown.append(_serial(task, source, until))
    order = sorted(
        (n for n, one in enumerate(shown) if one.serial is not None),
        key=lambda n: (
            -sum(
                newer(shown[n].serial or 0, other.serial)
                for other in shown
                if other.serial is not None
            )
        ),
    )
    for number in order:
        serial = shown[number].serial
        assert serial is not None
        if task.newer_than is not None and not newer(serial, task.newer_than):
            because = "" if serial == task.newer_than else "older than the copy at hand"
            shown[number] = _because(shown[number], because)
            continue
        now = time.monotonic()
        # A source that sends an octet now and then leaves half of the time to the others.
        found = _taken(task, anchor, number, now + (until - now) / 2)
        if isinstance(found, Copy):
            return Fetched(copy=found, shown=tuple(shown))
        shown[number] = _because(shown[number], found)
    return Fetched(shown=tuple(shown))


def _because(one: Shown, because: str) -> Shown:
    return Shown(source=one.source, serial=one.serial, because=because)


def _serial(task: Task, source: Source, until: Instant) -> Shown:
    try:
        connection = Connection(source, task.zone, system_random(), until)
        try:
            return Shown(source=str(source), serial=connection.serial())
        finally:
            connection.close()
    except SilentSourceError as error:
        return Shown(source=str(source), because=str(error))


def _taken(task: Task, anchor: Anchor, number: int, until: Instant) -> Copy | str:
    """The zone that a source gave, which is in the file then; or why not."""
    source = task.sources[number]
    _say(f"transferring from {source}")
    try:
        connection = Connection(source, task.zone, system_random(), until)
        try:
            zone, octets = connection.zone(task.limits)
        finally:
            connection.close()
    except (SilentSourceError, UnreadableZoneError) as error:
        return str(error)
    _say("verifying")
    try:
        facts = verify(
            zone,
            anchor,
            task.wall,
            octets=octets,
            understood=task.understood,
            digest_required=task.digest_required,
        )
    except RefusedAlgorithmError as error:
        return str(error)  # it may be a signature that only this source has
    if not facts.good:
        return "; ".join(facts.problems)
    if task.newer_than is not None and not newer(facts.serial, task.newer_than):
        return f"it gave serial {facts.serial}, which is not newer than {task.newer_than}"
    copy = Copy(facts=facts, source=str(source), verified=task.wall)
    _write(task.file, write_zone(zone, copy))
    return copy


def _write(file: Path, text: str) -> None:
    """Writes a new file through to the disk. Raises OSError.

    An earlier child that is being killed may have one of that name open.
    """
    file.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(file, flags, _MODE), "w", encoding="ascii") as writing:
        os.fchmod(writing.fileno(), _MODE)
        writing.write(text)
        writing.flush()
        os.fsync(writing.fileno())


def _say(what: str) -> None:
    print(json.dumps({"progress": what}), flush=True)


if __name__ == "__main__":
    main()
