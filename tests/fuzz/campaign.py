"""Many messages for one parser, and what was found: each kind once, kept to be seen again."""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.driver import Driver
from steering.system.unreadable import HERE

SLOW = 0.5
"""Seconds of CPU that no message may cost."""
_TELL = 10.0
"""Seconds between two words of how it goes."""
_TRIES = 3
"""A message that was slow is timed again: the machine may have been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One message, and what came of it that must not."""

    what: str
    message: bytes
    trace: str = ""


@dataclass(slots=True, kw_only=True)
class Result:
    """What came of all messages to one parser."""

    parser: str
    messages: int = 0
    seconds: float = 0.0
    """Of CPU, with what it took to make them."""
    left: int = 0
    """Exceptions that left a message."""
    dropped: int = 0
    """Messages over which an exception was caught where they are read."""
    slowest: float = 0.0
    slow: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    """By kind: where it was raised, and what."""

    @property
    def clean(self) -> bool:
        return not self.findings

    def note(self, finding: Finding) -> None:
        """Keep the shortest message of each kind."""
        held = self.findings.get(finding.what)
        if held is None or len(finding.message) < len(held.message):
            self.findings[finding.what] = finding


def take(driver: Driver, message: bytes, result: Result) -> None:
    """Give a parser one message."""
    began = time.process_time()
    try:
        driver.take(message)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        result.left += 1
        result.note(Finding(what=_kind(error), message=message, trace=traceback.format_exc()))
    took = time.process_time() - began
    for unread in HERE.news(0.0, quiet=0.0):
        result.dropped += unread.times
        if not driver.drops:
            result.note(Finding(what=f"dropped: {unread.error}", message=message))
    result.messages += 1
    if took > result.slowest:
        if took > SLOW:
            took = min(_timed(driver, message) for _ in range(_TRIES))
        result.slowest = max(result.slowest, took)
        if took > SLOW:
            result.slow += 1
            result.note(Finding(what=f"slow: {took:.1f} s", message=message))


def run(
    name: str,
    make: Callable[[int], Driver],
    *,
    messages: int,
    seed: int,
    seconds: float = float("inf"),
    told: Callable[[Result], None] = lambda _result: None,
) -> Result:
    """Give a parser so many messages, or as many as it takes in so many seconds."""
    result = Result(parser=name)
    with make(seed) as driver:
        HERE.news(0.0, quiet=float("-inf"))  # what others of this process could not read
        began, tell = time.process_time(), time.monotonic() + _TELL
        until = time.monotonic() + seconds
        for message in _stream(driver, random.Random(f"{name} {seed}")):
            take(driver, message, result)
            result.seconds = time.process_time() - began
            if result.messages >= messages:
                break
            if not result.messages & 63 and (now := time.monotonic()) > min(tell, until):
                if now > until:
                    break
                told(result)
                tell = now + _TELL
    return result


def keep(result: Result, into: Path) -> Iterator[tuple[Path, Finding]]:
    """Write each finding down: the message, and beside it what came of it."""
    for finding in result.findings.values():
        into.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(finding.what.encode(errors="replace")).hexdigest()[:8]
        file = into / f"{result.parser}-{digest}"
        file.write_bytes(finding.message)
        text = f"{finding.what}\n{finding.trace}"
        file.with_suffix(".txt").write_text(text, errors="replace")
        yield file, finding


def _stream(driver: Driver, draw: random.Random) -> Iterator[bytes]:
    """The seeds as they are, with others in between, and then these alone."""
    for seed in driver.seeds():
        yield seed
        yield driver.message(draw)
    while True:
        yield driver.message(draw)


def _timed(driver: Driver, message: bytes) -> float:
    began = time.process_time()
    with contextlib.suppress(Exception):  # it was noted the first time
        driver.take(message)
    HERE.news(0.0, quiet=0.0)
    return time.process_time() - began


def _kind(error: Exception) -> str:
    """An exception by its type and the places in our own code that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "/steering/" in f.filename]
    return f"{type(error).__qualname__} at {' < '.join(reversed(ours[-3:])) or 'the driver'}"
