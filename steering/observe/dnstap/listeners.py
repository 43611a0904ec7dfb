"""The sockets that resolvers connect to: made before they start, kept while the reader changes.

The agent makes them and holds them, so a writer that connects while the reader is being
restarted waits in the queue. A unix socket of a process that is no more is replaced; one on
which somebody listens is not ours to take.
"""

from __future__ import annotations

import contextlib
import copy
import grp
import ipaddress
import os
import shutil
import socket
import stat
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from steering.system.permissions import may_pass

_BACKLOG = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to listen, and for a unix socket who may write to it."""

    at: str
    """An absolute path, or tcp://address:port."""
    owner: str | None = None
    group: str | None = None
    mode: int = 0o660


class Listener:
    """A socket that listens at a place."""

    def __init__(self, place: Place) -> None:
        """Raises OSError where nobody can listen, LookupError for an unknown owner or group."""
        self.place = place
        self.owns: tuple[int, int] | None = None
        """The socket's file, if it is this one's to remove."""
        if place.at.startswith("tcp://"):
            self.socket = _tcp(place.at)
        else:
            self.socket = self._unix(Path(place.at))
        self.socket.setblocking(False)
        self._inode = self.owns

    @property
    def name(self) -> str:
        """Where it listens: the place, with the port in full where any was asked for."""
        if self.socket.family == socket.AF_UNIX:
            return self.place.at
        host, port = self.socket.getsockname()[:2]
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    def share(self) -> Listener:
        """A second hold on the same socket; the file stays this one's until `hand_over_to`."""
        other = copy.copy(self)
        other.socket, other.owns = self.socket.dup(), None
        other.socket.setblocking(False)
        return other

    def hand_over_to(self, heir: Listener) -> None:
        """Leave the socket's file to a shared one: closing this one does not end it."""
        heir.owns, self.owns = self.owns, None

    def in_place(self) -> bool:
        """Whether who connects at the place comes here: its file may be gone, or another's."""
        if self.socket.family != socket.AF_UNIX or self._inode is None:
            return True
        try:
            return _inode(Path(self.place.at)) == self._inode
        except OSError:
            return False

    def replace(self, other: Listener) -> None:
        """Listen with the other's socket from now on; the one that was lost is closed."""
        self.close()
        self.socket, self.owns, self._inode = other.socket, other.owns, other._inode

    def close(self) -> None:
        """Stop listening, and remove the socket's file if it is still the one made here."""
        self.socket.close()
        if self.owns:
            with contextlib.suppress(OSError):
                if _inode(Path(self.place.at)) == self.owns:
                    Path(self.place.at).unlink()
            self.owns = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unix(self, path: Path) -> socket.socket:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.bind(str(path))
            # Nobody can connect before it listens, so not before owner and mode are right.
            try:
                path.chmod(self.place.mode)
                _give(path, self.place)
                made.listen(_BACKLOG)
            except BaseException:
                path.unlink()
                raise
        except BaseException:
            made.close()
            raise
        self.owns = _inode(path)
        return made


def _give(path: Path, place: Place) -> None:
    if place.owner is None and place.group is None:
        return
    try:
        shutil.chown(path, place.owner, place.group)  # type: ignore[arg-type]
    except PermissionError as error:
        # Without CAP_CHOWN a file goes to a group of which its owner is a member (chown(2)).
        whom = " and ".join(filter(None, (place.owner, place.group)))
        raise PermissionError(
            error.errno,
            f"can't be given to {whom}: wanted SupplementaryGroups={place.group} in the unit",
            str(path),
        ) from None


def objections(place: Place) -> Iterator[str]:
    """What would keep a socket from being made at a place, or its group from it; makes nothing.

    Whether somebody listens there already is not among them: it may be the agent itself.
    """
    if place.at.startswith("tcp://"):
        return
    path, group = Path(place.at), None
    if place.group is not None:
        try:
            group = grp.getgrnam(place.group).gr_gid
        except KeyError:
            yield f"{path}: there is no group {place.group}"
    try:
        there = next(parent for parent in path.parents if parent.exists())
        if not there.is_dir():
            yield f"{path}: {there} is no directory"
        elif not os.access(there, os.W_OK | os.X_OK):
            yield f"{path}: {there} can't be written in"
        elif path.exists() and not path.is_socket():
            yield f"{path}: something is there that is no socket"
        for parent in path.parents if group is not None else ():
            if parent.exists() and not may_pass(parent.stat(), gid=group):
                yield f"{path}: {place.group} can't enter {parent}"
    except OSError as error:
        yield f"{path}: {error.strerror}"


def _tcp(at: str) -> socket.socket:
    parts = urllib.parse.urlsplit(at)
    host, port = parts.hostname or "", parts.port or 0
    version = ipaddress.ip_address(host).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _remove_stale(path: Path) -> None:
    """Raises OSError if something is at the path that is not a socket nobody listens on."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.setblocking(False)  # a full queue is somebody's too
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        else:
            raise FileExistsError(f"somebody listens on {path}")


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
