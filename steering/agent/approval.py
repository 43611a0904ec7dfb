"""Approval of changed files: three small files between the agent and the commands.

The agent writes `held`: which version of the files waits, and which steers it would end.
`steering reload` writes `accepted`: the version that the operator approves. An approval holds
only for the version of the files that it names. Commands that put a file in place write `whole`:
that version is complete, so the agent reads it at once; it may still be held.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from steering.config import Fingerprint
from steering.system.files import read_regular, write_atomically

_HELD, _ACCEPTED, _WHOLE = "held", "accepted", "whole"
_LONGEST_NAME, _LARGEST = 64, 1 << 24
"""Bytes of a version's name, and of `held` for ten thousand changed overrides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A version of the files that waits for approval."""

    version: str
    because: str
    """Which steers it would end."""
    changes: tuple[str, ...]
    """What is different in the files."""


def version_of(fingerprint: Fingerprint) -> str:
    """A short name for the files as they are."""
    return hashlib.sha256(repr(fingerprint).encode()).hexdigest()[:16]


def accept(runtime: Path, fingerprint: Fingerprint) -> None:
    """Approve these files, whichever steers they end. Raises OSError."""
    write_atomically(runtime / _ACCEPTED, version_of(fingerprint))


def accepted(runtime: Path, fingerprint: Fingerprint) -> bool:
    """Whether these files are approved. A file that can't be read approves nothing."""
    return _names(runtime / _ACCEPTED, fingerprint)


def mark_whole(runtime: Path, fingerprint: Fingerprint) -> None:
    """Note that these files are complete, and not just being written. Raises OSError."""
    write_atomically(runtime / _WHOLE, version_of(fingerprint))


def whole(runtime: Path, fingerprint: Fingerprint) -> bool:
    """Whether a command has noted that these files are complete."""
    return _names(runtime / _WHOLE, fingerprint)


def _names(file: Path, fingerprint: Fingerprint) -> bool:
    try:
        return read_regular(file, _LONGEST_NAME).decode("ascii") == version_of(fingerprint)
    except (OSError, ValueError):
        return False


def hold(runtime: Path, held: Held) -> None:
    """Write what waits. Raises OSError."""
    value = {"version": held.version, "because": held.because, "changes": held.changes}
    write_atomically(runtime / _HELD, json.dumps(value))


def clear(runtime: Path, fingerprint: Fingerprint | None = None) -> None:
    """Remove `held`, and the approval of these files; None: of any.

    An approval of other files stays: it may have been written while these were read.
    """
    names = (_ACCEPTED, _WHOLE)
    used = (name for name in names if fingerprint is None or _names(runtime / name, fingerprint))
    for name in (_HELD, *used):
        with contextlib.suppress(OSError):
            (runtime / name).unlink()


def waiting(runtime: Path) -> Held | None:
    """What the agent holds now; None: nothing. Raises OSError if that can't be read."""
    try:
        value = json.loads(read_regular(runtime / _HELD, _LARGEST))
        return Held(
            version=str(value["version"]),
            because=str(value["because"]),
            changes=tuple(map(str, value["changes"])),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None  # not written by an agent: there is nothing to approve
