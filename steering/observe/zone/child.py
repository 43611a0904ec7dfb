"""Starts the child process that looks at a zone, and takes what it says.

The agent never holds a zone: the child transfers, parses and verifies it, with limits of memory, of
CPU and of time, and says what the zone amounts to. A child that says nothing in time, or too much,
is killed. That is this host's fault, not the zone's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from steering.model import WallTime
from steering.observe.dnssec.anchors import Anchors
from steering.observe.zone.facts import (
    EVERYWHERE,
    LIMITS,
    Failed,
    Fault,
    Fetched,
    Limits,
    Source,
    ZoneFacts,
)
from steering.observe.zone.messages import Result, Task, packed, result_from
from steering.system.processes import environment

Progress = Callable[[str], None]
"""Is told what the child does now, for people."""

_MODULE: Final = "steering.observe.zone.work"
_LINE: Final = 1 << 16
"""Octets of the longest line that the child may print."""
_LINES: Final = 1000


async def examine(
    file: Path,
    zone: str,
    anchors: Anchors,
    wall: WallTime,
    limits: Limits = LIMITS,
    *,
    understood: frozenset[str] = EVERYWHERE,
    digest_required: bool = True,
    progress: Progress | None = None,
) -> ZoneFacts | Failed:
    """What a zone's file (RFC 1035 5.1) amounts to at this time, seen by a child process.

    The chain begins at the zone's own anchor. `understood`: the types that the resolver which reads
    the file knows. Without `digest_required` a zone without ZONEMD may be good.
    """
    task = Task(
        zone=zone,
        anchors=_records(anchors, zone),
        wall=wall,
        file=file,
        limits=limits,
        understood=understood,
        digest_required=digest_required,
    )
    found = await _run(task, progress)
    assert not isinstance(found, Fetched)
    return found


async def fetch(
    sources: Sequence[Source],
    into: Path,
    zone: str,
    anchors: Anchors,
    *,
    wall: WallTime,
    limits: Limits = LIMITS,
    newer_than: int | None = None,
    progress: Progress | None = None,
) -> Fetched | Failed:
    """Asks the sources for the zone's serial, then the one with the newest for the zone.

    What is newer than the copy at hand and good is in the file `into` then, and on the disk; what
    else may be there is not to be used. There must be a source.
    """
    task = Task(
        zone=zone,
        anchors=_records(anchors, zone),
        wall=wall,
        file=into,
        limits=limits,
        sources=tuple(sources),
        newer_than=newer_than,
    )
    found = await _run(task, progress)
    assert not isinstance(found, ZoneFacts)
    return found


def _records(anchors: Anchors, zone: str) -> str:
    """A zone's anchor in zone-file form; a comment where it has none."""
    anchor = anchors.get(zone)
    if anchor is None:
        return "; none"
    ds = [f"{zone} IN DS {record.to_text()}" for record in anchor.ds]
    return "\n".join((*ds, *(f"{zone} IN DNSKEY {key.to_text()}" for key in anchor.dnskey)))


async def _run(task: Task, progress: Progress | None) -> Result:
    words = [sys.executable, "-P", "-m", _MODULE]
    try:
        child = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment({"LANG": "C.UTF-8"}),
            cwd="/",
            start_new_session=True,
            limit=_LINE,
        )
    except OSError as error:
        return _ours(f"no process: {error.strerror}")
    try:
        async with asyncio.timeout(task.limits.time):
            return await _said(child, task, progress)
    except TimeoutError:
        return _ours(f"not done after {task.limits.time:g} s")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


async def _said(child: asyncio.subprocess.Process, task: Task, progress: Progress | None) -> Result:
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(ConnectionError):
        child.stdin.write(json.dumps(packed(task)).encode())
        await child.stdin.drain()
    child.stdin.close()
    for _ in range(_LINES):
        try:
            line = await child.stdout.readline()
        except ValueError:
            return _ours("it printed too long a line")
        if not line.endswith(b"\n"):
            status = await child.wait()
            return _ours(_how(status, task.limits))
        try:
            made = json.loads(line)
            if "progress" not in made:
                return result_from(made)
            if progress is not None:
                progress(str(made["progress"]))
        except (ValueError, TypeError, KeyError) as error:
            return _ours(f"it printed what can't be read: {error!r}")
    return _ours("it printed too many lines")


def _how(status: int, limits: Limits) -> str:
    if status in {-signal.SIGXCPU, -signal.SIGKILL}:
        return f"ended by a limit, that of {limits.cpu:g} s of CPU"
    return f"ended with status {status}"


def _ours(how: str) -> Failed:
    return Failed(because=f"the process that looks at the zone: {how}", fault=Fault.HOST)
