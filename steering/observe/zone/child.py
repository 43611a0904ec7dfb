"""Starts the child process that looks at a zone, and takes what it says.

The agent never holds a zone: the child transfers, parses and verifies it, with limits of memory, of
CPU and of time, and says what the zone amounts to. A child that says nothing in time, or too much,
is killed. That is this host's fault, not the zone's. Nothing that starts or ends it is done in the
agent's loop, and nothing waits for it without a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

from steering.model import Seconds, WallTime
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
from steering.system.side_thread import aside

Progress = Callable[[str], None]
"""Is told what the child does now, for people."""

_MODULE: Final = "steering.observe.zone.work"
_LINE: Final = 1 << 16
"""Octets of the longest line that the child may print."""
_LINES: Final = 1000
_KILLED: Final[Seconds] = 1.0
"""How long a killed child is waited for. One that waits for a disk may not end."""
_LOOK: Final[Seconds] = 0.01


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
    child = _Child(json.dumps(packed(task)).encode())
    try:
        async with asyncio.timeout(task.limits.time):
            try:
                output = await aside(child.start)
            except TimeoutError:
                raise
            except OSError as error:
                return _ours(f"no process: {error.strerror}")
            return await _said(child, output, task, progress)
    except TimeoutError:
        return _ours(f"not done after {task.limits.time:g} s")
    finally:
        try:
            await aside(lambda: child.end(0.0))
        except OSError:  # no thread is to be had, and the child must not stay
            child.end(0.0)


class _Child:
    """The process. No call that starts or ends one is sure to return: each is made in a thread."""

    def __init__(self, told: bytes) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False
        """It has been ended, or is to be as soon as it has started."""

    def start(self) -> IO[bytes]:
        """Starts it and tells it what to do. Returns its output. Raises OSError."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment({"LANG": "C.UTF-8"}),
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with self._lock:
            self._process, late = process, self._over
        if late:
            _end(process, 0.0)
            process.stdout.close()
        with contextlib.suppress(ConnectionError), process.stdin as pipe:
            pipe.write(self._told)
        return process.stdout

    def end(self, patience: Seconds) -> int | None:
        """Ends all of it, and waits no more than a second. Its status; None: it had to be killed.

        It has `patience` to end of its own.
        """
        with self._lock:
            process, over, self._over = self._process, self._over, True
        return None if process is None or over else _end(process, patience)


def _end(process: subprocess.Popen[bytes], patience: Seconds) -> int | None:
    until, look = time.monotonic() + patience, os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        while not (ended := os.waitid(os.P_PID, process.pid, look)) and time.monotonic() < until:
            time.sleep(_LOOK)
    except ChildProcessError:  # who started this process has it ignore SIGCHLD
        return process.wait()
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet: the number is its own
    try:
        status = process.wait(_KILLED)
    except subprocess.TimeoutExpired:
        return None
    return status if ended else None


async def _said(child: _Child, output: IO[bytes], task: Task, progress: Progress | None) -> Result:
    lines = asyncio.StreamReader(limit=_LINE)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), output
    )
    try:
        return await _result(child, lines, task, progress)
    finally:
        pipe.close()


async def _result(
    child: _Child, lines: asyncio.StreamReader, task: Task, progress: Progress | None
) -> Result:
    for _ in range(_LINES):
        try:
            line = await lines.readline()
        except ValueError:
            return _ours("it printed too long a line")
        if not line.endswith(b"\n"):
            status = await aside(lambda: child.end(_KILLED))
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


def _how(status: int | None, limits: Limits) -> str:
    if status is None:
        return "it closed its output, and did not end"
    if status in {-signal.SIGXCPU, -signal.SIGKILL}:
        return f"ended by a limit, that of {limits.cpu:g} s of CPU"
    return f"ended with status {status}"


def _ours(how: str) -> Failed:
    return Failed(because=f"the process that looks at the zone: {how}", fault=Fault.HOST)
