"""Files, written whole or not at all, and read without waiting for whoever swapped them.

Who may write in a directory can put anything in the place of a file between a look at it and its
opening: a pipe that nobody writes to, a device, a file without end. So what is read is looked at
by a handle that opens nothing, opened by that without blocking, and read up to a bound.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
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


def names_in(directory: Path, at_most: int) -> list[str]:
    """The names in a directory, in order. Raises OSError: E2BIG where there are more than that."""
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in itertools.islice(entries, at_most + 1))
    if len(names) > at_most:
        raise OSError(errno.E2BIG, f"holds more than {at_most} files", str(directory))
    return names


def sync_directory(directory: Path) -> None:
    """Puts the names in a directory on the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_regular(path: Path, at_most: int, *, within: Path | None = None) -> bytes:
    """What a regular file holds, at most so many bytes of it.

    `within`: links are followed within this directory alone, for a directory whose writers shall
    not have files read that they may not read themselves.

    Raises OSError: EINVAL for what is no regular file, EFBIG for one that holds more, EXDEV for
    one that lies elsewhere. Waits for nobody but the file system: on one that hangs, that may be
    for ever.
    """
    with open_regular(path, within=within) as file:
        try:
            return read_open(file, at_most)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def read_open(file: io.FileIO, at_most: int) -> bytes:
    """What an open file holds. Raises OSError: EFBIG for one that holds more than so many bytes."""
    size = os.fstat(file.fileno()).st_size
    if size > at_most:
        raise OSError(errno.EFBIG, f"is {size} bytes long, wanted at most {at_most}")
    held = bytearray()
    while part := file.read(at_most + 1 - len(held)):
        held += part
    if len(held) > at_most:  # it grows, or is one of the kernel's, which have no size
        raise OSError(errno.EFBIG, f"holds more than {at_most} bytes")
    return bytes(held)


def open_regular(path: Path, *, within: Path | None = None) -> io.FileIO:
    """A regular file, open for reading. Raises OSError, as `read_regular` does.

    It is looked at before it is opened for reading, by a handle that opens nothing (O_PATH,
    open(2)): the opening alone of a device may do something, of a watchdog it starts a countdown.
    """
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if within is not None:
            _hold_within(handle, found, path, within)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return io.FileIO(os.open(f"/proc/self/fd/{handle}", flags), "rb")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(handle)


def _hold_within(handle: int, found: os.stat_result, path: Path, directory: Path) -> None:
    """Raises OSError where what was opened lies elsewhere, or may have another name elsewhere."""
    where = Path(f"/proc/self/fd/{handle}").readlink()
    if not where.is_relative_to(os.path.realpath(directory)):
        raise OSError(errno.EXDEV, f"leads out of {directory}", str(path))
    if found.st_nlink > 1:
        raise OSError(errno.EXDEV, "has another name (a hard link) as well", str(path))
