"""The files of a resolver's copy: written beside, renamed, and the one before kept."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from steering.system.files import read_regular

_MODE: Final = 0o644


def link(file: Path, name: Path) -> None:
    """Gives a file a second name, in the place of what has that name. Raises OSError."""
    spare = name.with_name(f".{name.name}.steering")
    spare.unlink(missing_ok=True)
    spare.hardlink_to(file)
    spare.replace(name)


def remove(draft: Path) -> None:
    with contextlib.suppress(OSError):
        draft.unlink()


def write(source: Path, draft: Path, at_most: int) -> None:
    """A copy of the file, on the disk. Raises OSError."""
    new(draft, read_regular(source, at_most))


def new(file: Path, octets: bytes) -> None:
    """A new file with this content, that other users may read. Raises OSError."""
    file.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(file, flags, _MODE), "wb") as writing:
        os.fchmod(writing.fileno(), _MODE)
        writing.write(octets)
        writing.flush()
        os.fsync(writing.fileno())


def check_no_link(file: Path) -> None:
    """Raises OSError for a link, whose name would be replaced."""
    if file.is_symlink():
        raise OSError(None, "is a link, wanted the file itself", str(file))


def make_like(draft: Path, file: Path) -> None:
    """Gives a draft the owner and permissions of the file that it replaces. Raises OSError.

    Where there is none, or this process may not give files away or read such a file, the draft
    stays as it is: other users may read it, and a zone is public.
    """
    try:
        like = file.lstat()
    except FileNotFoundError:
        return
    if not os.access(file, os.R_OK):
        return
    now = draft.lstat()
    if (now.st_uid, now.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.chown(draft, like.st_uid, like.st_gid, follow_symlinks=False)
        except PermissionError:
            return
    with contextlib.suppress(PermissionError):
        draft.chmod(stat.S_IMODE(like.st_mode))
