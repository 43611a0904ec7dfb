"""Files: written whole or not at all, and read without blocking on what is not a regular file.

A user who may write in a directory can replace a file between a check and its opening: by a pipe
without a writer, a device, an endless file. So a file is checked through a descriptor that does not
open it (O_PATH), is opened through that one without blocking, and is read up to a limit.
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
    """Writes a file whole or not at all, readable by its owner only.

    `durable`: the file and its name in the directory are on the disk when this returns, which may
    take as long as the disk does. Without it a power cut may leave the file that was there before,
    an empty one, or none.

    Raises OSError, and then the file is as it was. But where only the sync of the directory failed,
    the new file is in place and may not outlast a power cut.
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
    """The names in a directory, sorted. Raises OSError: E2BIG for more than so many."""
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in itertools.islice(entries, at_most + 1))
    if len(names) > at_most:
        raise OSError(errno.E2BIG, f"holds more than {at_most} files", str(directory))
    return names


def sync_directory(directory: Path) -> None:
    """Writes the names in a directory to the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Makes a directory and its parents. The new ones are on the disk when this returns.

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
    """Removes a file durably; whether it was there. Raises OSError.

    The directory is synced in either case: a process that removed the name before may have ended
    before its sync.
    """
    try:
        path.lstat()  # on a read-only file system, unlink fails even where there is no file
        path.unlink()
        was = True
    except FileNotFoundError:
        was = False
    except NotADirectoryError:
        return False
    with contextlib.suppress(FileNotFoundError):
        sync_directory(path.parent)
    return was


def read_regular(path: Path, at_most: int, *, within: Path | None = None) -> bytes:
    """The content of a regular file of at most so many bytes.

    `within`: links are followed within this directory alone. Otherwise a user who may write in it
    could have files read that they may not read themselves.

    Raises OSError: EINVAL for what is no regular file, EFBIG for a larger one, EXDEV for one that
    is not `within`. Blocks on the file system alone, but for ever where that hangs.
    """
    with open_regular(path, within=within) as file:
        try:
            return read_open(file, at_most)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def read_open(file: io.FileIO, at_most: int) -> bytes:
    """The content of an open file. Raises OSError: EFBIG where it is more than so many bytes."""
    size = os.fstat(file.fileno()).st_size
    if size > at_most:
        raise OSError(errno.EFBIG, f"is {size} bytes long, wanted at most {at_most}")
    content = bytearray()
    while part := file.read(at_most + 1 - len(content)):
        content += part
    if len(content) > at_most:  # it grows, or the kernel makes it and gives no size
        raise OSError(errno.EFBIG, f"holds more than {at_most} bytes")
    return bytes(content)


def open_regular(path: Path, *, within: Path | None = None) -> io.FileIO:
    """Opens a regular file for reading. Raises OSError, as `read_regular` does.

    It is checked before it is opened, through a descriptor that does not open it (O_PATH, open(2)).
    To open a device may have an effect of its own: a watchdog starts its countdown.
    """
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if within is not None:
            _check_within(handle, found, path, within)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return io.FileIO(os.open(f"/proc/self/fd/{handle}", flags), "rb")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(handle)


def _check_within(handle: int, found: os.stat_result, path: Path, directory: Path) -> None:
    """Raises OSError where the file is outside the directory, or may have another name there."""
    where = Path(f"/proc/self/fd/{handle}").readlink()
    if not where.is_relative_to(os.path.realpath(directory)):
        raise OSError(errno.EXDEV, f"leads out of {directory}", str(path))
    if found.st_nlink > 1:
        raise OSError(errno.EXDEV, "has another name (a hard link) as well", str(path))
