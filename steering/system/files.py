"""Files, written whole or not at all, and read without waiting for whoever swapped them.

Who may write in a directory can put anything in the place of a file between a look at it and its
opening: a pipe that nobody writes to, a device, a file without end. So what is read is opened
without blocking, looked at once it is open, and read up to a bound.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path


def write_atomically(path: Path, text: str, *, durable: bool = False) -> None:
    """Puts a file in place whole or not at all, readable by its owner only.

    `durable`: it is on the disk, and its name in the directory as well, when this returns. That
    may take as long as the disk does. Without it a power cut may leave the file that was there
    before, an empty one, or none.

    Raises OSError, and leaves nothing half-made then; but where only the directory's own sync
    failed, the file is in place and may not outlast a power cut.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Puts the names in a directory on the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Makes a directory and those above it; what it made is on the disk when this returns.

    Raises OSError.
    """
    try:
        path.mkdir()
    except FileNotFoundError:
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    sync_directory(path.parent)


def remove(path: Path) -> bool:
    """Takes a file away, and its name off the disk; whether it was there. Raises OSError.

    The directory is synced in either case: whoever removed the name before may have died then.
    """
    try:
        path.lstat()  # to remove what is not there is refused on a file system that is read-only
        path.unlink()
        was = True
    except FileNotFoundError:
        was = False
    except NotADirectoryError:
        return False
    with contextlib.suppress(FileNotFoundError):
        sync_directory(path.parent)
    return was


def read_regular(path: Path, at_most: int) -> bytes:
    """What a regular file holds, at most so many bytes of it.

    Raises OSError: EINVAL for what is no regular file, EFBIG for one that holds more. Waits for
    nobody but the file system: on one that hangs, that may be for ever.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        held = bytearray()
        while part := file.read(at_most + 1 - len(held)):
            held += part
        if len(held) > at_most:
            raise OSError(errno.EFBIG, f"holds more than {at_most} bytes", str(path))
        return bytes(held)
