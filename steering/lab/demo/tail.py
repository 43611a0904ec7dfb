"""Reads new lines of a file that another program appends to."""

from __future__ import annotations

from pathlib import Path


def added(path: Path, since: int) -> tuple[list[bytes], int]:
    """The complete lines after an offset, and the offset after them.

    A missing file has no lines. An incomplete last line is returned by a later call.
    """
    if not path.exists():
        return [], since
    with path.open("rb") as file:
        file.seek(since)
        fresh = file.read()
    whole = fresh[: fresh.rfind(b"\n") + 1]
    return whole.splitlines(), since + len(whole)
