"""A file that somebody else writes to, read on from where it was left."""

from __future__ import annotations

from pathlib import Path


def added(path: Path, since: int) -> tuple[list[bytes], int]:
    """The whole lines behind so many bytes, and behind how many the next ones come.

    None of a file that is not there yet; the line that is being written waits for its end.
    """
    if not path.exists():
        return [], since
    with path.open("rb") as file:
        file.seek(since)
        fresh = file.read()
    whole = fresh[: fresh.rfind(b"\n") + 1]
    return whole.splitlines(), since + len(whole)
