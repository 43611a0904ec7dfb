"""What is known of copies of zones over a restart: `copies.json` in `state`.

Ages are by the monotonic clock as long as the host runs, whatever happens to its wall clock. Only
over a restart of the host they are by wall time, since nothing else went on.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from steering.decide.copy_course import Course, Phase, Remedy
from steering.judge.copies import Copy
from steering.model import NEVER, Health, Instant, Seconds
from steering.system.files import read_regular, write_atomically
from steering.system.side_thread import aside

NAME: Final = "copies.json"
VERSION: Final = 1
WITHIN: Final[Seconds] = 2.0
"""How long a write is waited for."""
_LARGEST: Final = 1 << 20
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")

Known = Mapping[tuple[str, str], tuple[Copy, Course]]
"""(name of the zone's copy, resolver) -> what is known of it."""


class CopiesFile:
    """The file, read once and written whenever something changed."""

    def __init__(self, state: Path) -> None:
        self._file = state / NAME
        self._boot = _boot()
        self._writing = False
        self.problem = ""
        """What is wrong with the file; empty: nothing."""

    async def read(self) -> Known:
        """What an earlier agent knew; nothing where there is no such file, or a damaged one."""
        try:
            async with asyncio.timeout(WITHIN):
                data = await aside(functools.partial(read_regular, self._file, _LARGEST))
            return parsed(data, self._boot)
        except FileNotFoundError:
            pass
        except OSError as error:  # also where it was not read in time
            why = error.strerror or "not read in time"
            self.problem = f"{self._file} can't be read: {why}: {_LOST}"
        except ValueError as error:
            self.problem = f"{self._file} is damaged ({str(error)[:200]}): {_LOST}"
        return {}

    async def write(self, known: Known) -> None:
        """Write it, and wait for that at most WITHIN. A disk that hangs is a problem to tell."""
        if self._writing:
            self.problem = f"{self._file} has not been written in time: {_LOST}"
            return
        self._writing = True
        try:
            async with asyncio.timeout(WITHIN):
                await aside(functools.partial(self._write, self._text(known)))
            self.problem = ""
        except OSError as error:
            why = error.strerror or "not written in time"
            self.problem = f"{self._file} can't be written: {why}: {_LOST}"

    def _write(self, text: str) -> None:
        try:
            write_atomically(self._file, text, durable=True)
        finally:
            self._writing = False

    def _text(self, known: Known) -> str:
        return json.dumps(
            {
                "version": VERSION,
                "boot": self._boot,
                "monotonic": time.monotonic(),
                "wall": time.time(),
                "copies": [
                    {"copy": name, "resolver": resolver, **_packed(copy, course)}
                    for (name, resolver), (copy, course) in known.items()
                ],
            },
            allow_nan=False,
        )


def parsed(data: bytes, boot: str) -> Known:
    """What is in the file, at this run of the host. Raises ValueError: `write` did not write it."""
    try:
        return _known(json.loads(data), boot)
    except (TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _known(data: object, boot: str) -> Known:
    match data:
        case {
            "version": 1,
            "boot": str(then_boot),
            "monotonic": then,
            "wall": wall,
            "copies": all_,
        }:
            same = boot == then_boot
        case _:
            raise ValueError("not of this version")
    # Within one run of the host an instant means the same to every process.
    passed = max(0.0, time.time() - _finite(wall))
    shift = 0.0 if same else time.monotonic() - _finite(then) - passed
    return {
        (str(one["copy"]), str(one["resolver"])): _unpacked(one, shift, same=same) for one in all_
    }


def _packed(copy: Copy, course: Course) -> Mapping[str, object]:
    return {
        "health": copy.health.word,
        "because": copy.because,
        "proven": copy.proven,
        "watched": copy.watched,
        "behind": copy.behind,
        "expire": copy.expire,
        "phase": str(course.phase),
        "used": course.used,
        "tried": course.tried,
        "serial": course.serial,
        "since": _written(course.since),
        "failed_before": sorted(course.failed_before),
        "trouble": course.trouble,
        "vain": course.vain,
        "returns": course.returns,
        "untaken": course.untaken,
        "not_before": _written(course.not_before),
    }


def _written(instant: Instant) -> Instant | None:
    return instant if math.isfinite(instant) else None


def _unpacked(one: Mapping[str, Any], shift: Seconds, *, same: bool) -> tuple[Copy, Course]:
    """Raises ValueError, TypeError or LookupError."""

    def instant(key: str) -> Instant | None:
        return None if one[key] is None else _finite(one[key]) + shift

    copy = Copy(
        health=Health[str(one["health"]).upper()],
        because=str(one["because"]),
        proven=instant("proven"),
        watched=_finite(one["watched"]) + shift,
        # By wall time nothing is overdue: it is seen anew.
        behind=instant("behind") if same else None,
        expire=None if one["expire"] is None else _finite(one["expire"]),
    )
    course = Course(
        phase=Phase(one["phase"]),
        used=tuple(map(Remedy, one["used"])),
        tried=tuple(map(Remedy, one["tried"])),
        serial=_number(one["serial"]),
        # What was not carried out, and what was half done, is done again.
        since=NEVER if Phase(one["phase"]).moving else instant("since") or NEVER,
        failed_before=frozenset(map(str, one["failed_before"])),
        trouble=str(one["trouble"]),
        vain=int(one["vain"]),
        returns=int(one["returns"]),
        untaken=_number(one["untaken"]),
        not_before=instant("not_before") or NEVER,
    )
    return copy, course


def _finite(value: Any) -> float:  # noqa: ANN401
    """Raises ValueError, TypeError or ArithmeticError where it is no finite number."""
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{number} is no time")
    return number


def _number(value: object) -> int | None:
    return None if value is None else int(str(value))


_LOST = "a restart does not know how old copies are, nor which are out"


def _boot() -> str:
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return "unknown"
