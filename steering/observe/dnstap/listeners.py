"""The sockets that resolvers connect to for dnstap.

The agent creates and holds them, so a writer that connects while the reader is being restarted
waits in the queue. The unix socket of a process that has ended is replaced; one on which another
process listens is left alone.
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
    """Where to listen, and the owner, group and mode of a unix socket."""

    at: str
    """An absolute path, or tcp://address:port."""
    owner: str | None = None
    group: str | None = None
    mode: int = 0o660


class Listener:
    """A socket that listens at a place."""

    def __init__(self, place: Place) -> None:
        """Raises OSError if it can't listen there, LookupError for an unknown owner or group."""
        self.place = place
        self.owns: tuple[int, int] | None = None
        """Device and inode of the socket's file, if this listener has to remove it."""
        if place.at.startswith("tcp://"):
            self.socket = _tcp(place.at)
        else:
            self.socket = self._unix(Path(place.at))
        self.socket.setblocking(False)
        self._inode = self.owns

    @property
    def name(self) -> str:
        """Where it listens: the place, with the actual port if port 0 was asked for."""
        if self.socket.family == socket.AF_UNIX:
            return self.place.at
        host, port = self.socket.getsockname()[:2]
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    def share(self) -> Listener:
        """A second listener on the same socket; this one owns the file until `hand_over_to`."""
        other = copy.copy(self)
        other.socket, other.owns = self.socket.dup(), None
        other.socket.setblocking(False)
        return other

    def hand_over_to(self, successor: Listener) -> None:
        """Give the socket's file to a shared listener, so that closing this one leaves it."""
        successor.owns, self.owns = self.owns, None

    def in_place(self) -> bool:
        """Whether connections to the place come here: the file may be missing or replaced."""
        if self.socket.family != socket.AF_UNIX or self._inode is None:
            return True
        try:
            return _inode(Path(self.place.at)) == self._inode
        except OSError:
            return False

    def replace(self, other: Listener) -> None:
        """Listen with the other's socket from now on, and close the present one."""
        self.close()
        self.socket, self.owns, self._inode = other.socket, other.owns, other._inode

    def close(self) -> None:
        """Stop listening, and remove the socket's file if it is still the one created here."""
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
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(path))
            # No writer can connect before `listen`, so not before owner and mode are set.
            try:
                path.chmod(self.place.mode)
                _give(path, self.place)
                sock.listen(_BACKLOG)
            except BaseException:
                path.unlink()
                raise
        except BaseException:
            sock.close()
            raise
        self.owns = _inode(path)
        return sock


def _give(path: Path, place: Place) -> None:
    if place.owner is None and place.group is None:
        return
    try:
        shutil.chown(path, place.owner, place.group)  # type: ignore[arg-type]
    except PermissionError as error:
        # Without CAP_CHOWN the owner must be a member of the file's new group (chown(2)).
        whom = " and ".join(filter(None, (place.owner, place.group)))
        raise PermissionError(
            error.errno,
            f"can't be given to {whom}: wanted SupplementaryGroups={place.group} in the unit",
            str(path),
        ) from None


def place_problems(place: Place) -> Iterator[str]:
    """What would prevent a socket at a place, or its group from reaching it; creates nothing.

    It is no problem here if a process listens there already: that may be the agent itself.
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
        parent = next(parent for parent in path.parents if parent.exists())
        if not parent.is_dir():
            yield f"{path}: {parent} is no directory"
        elif not os.access(parent, os.W_OK | os.X_OK):
            yield f"{path}: no permission to write in {parent}"
        elif path.exists() and not path.is_socket():
            yield f"{path}: it exists and is no socket"
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
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: Path) -> None:
    """Remove a unix socket on which no process listens.

    Raises OSError if a process listens on it, or if the path is no socket.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue shows a listener too
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        else:
            raise FileExistsError(f"another process listens on {path}")


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
