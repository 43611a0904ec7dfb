"""What the parent and the child say to each other, and the first line of a file: values as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from steering.model import WallTime
from steering.observe.zone.facts import (
    EVERYWHERE,
    LIMITS,
    Copy,
    Digest,
    Failed,
    Fault,
    Fetched,
    Limits,
    Question,
    Shown,
    Source,
    ZoneFacts,
)
from steering.system.files import open_regular

HEAD: Final = "; steering "
"""Begins the first line of a file of ours; the rest of the line is the packed copy."""

_MANY: Final = 1 << 37
"""More than any count here. As seconds it is after the year 6000, and can be written as a date."""
_LONGEST_HEAD: Final = 1 << 16

Result = ZoneFacts | Fetched | Failed
"""What the child says at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the child is to do: look at a file, or, with `sources`, make a new one."""

    zone: str
    anchors: str
    """DS and DNSKEY records of the zone in zone-file form."""
    wall: WallTime
    file: Path
    """To be read; with `sources` to be written."""
    limits: Limits = LIMITS
    understood: frozenset[str] = EVERYWHERE
    digest_required: bool = True
    sources: tuple[Source, ...] = ()
    newer_than: int | None = None
    """The serial of the copy at hand."""


def packed(value: object) -> dict[str, Any]:
    """A value as JSON has it. Infinite and NaN numbers do not occur."""
    assert isinstance(value, ZoneFacts | Copy | Fetched | Failed | Task)
    made: dict[str, Any] = asdict(value)
    if isinstance(value, Task):
        made |= {"file": str(value.file), "understood": sorted(value.understood)}
    return made


def task_from(made: Mapping[str, Any]) -> Task:
    """The task that `packed` made."""
    return Task(
        **{
            **made,
            "file": Path(made["file"]),
            "limits": Limits(**made["limits"]),
            "understood": frozenset(made["understood"]),
            "sources": tuple(Source(**each) for each in made["sources"]),
        }
    )


def seconds_from(value: object) -> float:
    """A time or a length of time, as JSON has it. Raises ValueError, TypeError."""
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not 0 <= value < _MANY:  # nor is it NaN
        raise ValueError(f"{value!r} is no time")
    return float(value)


def whole_from(value: object, limit: int) -> int:
    """A whole number below the limit. Raises ValueError, TypeError."""
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    if not 0 <= value < limit:
        raise ValueError(f"{value!r} is out of its range")
    return value


def facts_from(made: Mapping[str, Any]) -> ZoneFacts:
    """The facts that `packed` made. Raises ValueError, TypeError or KeyError for anything else."""
    expires = made["expires"]
    return ZoneFacts(
        **{
            **made,
            "zone": str(made["zone"]),
            "serial": whole_from(made["serial"], 1 << 32),
            "refresh": seconds_from(made["refresh"]),
            "retry": seconds_from(made["retry"]),
            "expire": seconds_from(made["expire"]),
            "records": whole_from(made["records"], _MANY),
            "octets": whole_from(made["octets"], _MANY),
            "expires": None if expires is None else seconds_from(expires),
            "digest": Digest(made["digest"]),
            "unknown_types": tuple(map(str, made["unknown_types"])),
            "algorithms": tuple(whole_from(one, 256) for one in made["algorithms"]),
            "problems": tuple(map(str, made["problems"])),
            "ends_with": tuple(Question(**each) for each in made["ends_with"]),
        }
    )


def copy_from(made: Mapping[str, Any]) -> Copy:
    """The copy that `packed` made. Raises ValueError, TypeError or KeyError for anything else."""
    return Copy(
        facts=facts_from(made["facts"]),
        source=str(made["source"]),
        verified=seconds_from(made["verified"]),
    )


def read_head(file: Path) -> Copy | None:
    """What the first line of a file of ours says; None: it is no such file, or not readable."""
    try:
        with open_regular(file) as opened:
            line, end, _ = opened.read(_LONGEST_HEAD).partition(b"\n")
        text = line.decode("ascii")
        if not end or not text.startswith(HEAD):
            return None
        return copy_from(json.loads(text.removeprefix(HEAD)))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def result_from(made: Mapping[str, Any]) -> Result:
    """The result that `packed` made. Raises ValueError, TypeError or KeyError for anything else."""
    if "fault" in made:
        return Failed(because=str(made["because"]), fault=Fault(made["fault"]))
    if "shown" in made:
        copy = made["copy"]
        return Fetched(
            copy=None if copy is None else copy_from(copy),
            shown=tuple(Shown(**each) for each in made["shown"]),
        )
    return facts_from(made)
