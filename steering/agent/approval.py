"""What the agent and an operator's commands say of changed files: three small files between them.

`held` is written by the agent and says what waits, and what it would take out; `accepted` is
written by `steering reload` and names the one version of the files that may pass. A word that
was given for other files than those that wait is no word. `whole` is written by commands that
put a file in place: that version need not be seen to lie still, and may pass no more than another.
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
_WORD, _LARGEST = 64, 1 << 24
"""Bytes of a word, and of what ten thousand changed overrides come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A version of the files that is not taken up without a word."""

    version: str
    because: str
    """What would go."""
    changes: tuple[str, ...]
    """What is different in the files."""


def version_of(fingerprint: Fingerprint) -> str:
    """A short name for the files as they are."""
    return hashlib.sha256(repr(fingerprint).encode()).hexdigest()[:16]


def accept(runtime: Path, fingerprint: Fingerprint) -> None:
    """Let these files pass, whatever they would take out. Raises OSError."""
    write_atomically(runtime / _ACCEPTED, version_of(fingerprint))


def accepted(runtime: Path, fingerprint: Fingerprint) -> bool:
    """Whether somebody let these files pass. What can't be read is no word."""
    return _names(runtime / _ACCEPTED, fingerprint)


def mark_whole(runtime: Path, fingerprint: Fingerprint) -> None:
    """Say that nobody is in the middle of writing these files. Raises OSError."""
    write_atomically(runtime / _WHOLE, version_of(fingerprint))


def whole(runtime: Path, fingerprint: Fingerprint) -> bool:
    """Whether somebody said that these files are written to their end."""
    return _names(runtime / _WHOLE, fingerprint)


def _names(word: Path, fingerprint: Fingerprint) -> bool:
    try:
        return read_regular(word, _WORD).decode("ascii") == version_of(fingerprint)
    except (OSError, ValueError):
        return False


def hold(runtime: Path, held: Held) -> None:
    """Say what waits. Raises OSError."""
    value = {"version": held.version, "because": held.because, "changes": held.changes}
    write_atomically(runtime / _HELD, json.dumps(value))


def settle(runtime: Path, fingerprint: Fingerprint | None = None) -> None:
    """Nothing waits any more, and the words for these files have served; None: any have.

    A word for other files may have been given while these were read.
    """
    words = (_ACCEPTED, _WHOLE)
    served = (w for w in words if fingerprint is None or _names(runtime / w, fingerprint))
    for name in (_HELD, *served):
        with contextlib.suppress(OSError):
            (runtime / name).unlink()


def waiting(runtime: Path) -> Held | None:
    """What the agent holds now; None: nothing. Raises OSError where that can't be read."""
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
        return None  # half of a file that nobody writes in halves: there is nothing to let pass
