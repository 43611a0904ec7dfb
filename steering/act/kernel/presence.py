"""Sockets that have a name in this network namespace, and whose they are.

Nobody can take a name that nobody can guess. So whoever wants to be known to others of his
kind binds an abstract socket (unix(7)) with a random end to its name, and looks who else has
one of that beginning. The kernel tells who owns each (sock_diag(7)), without a word from him.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from steering.act.kernel import rtnetlink
from steering.act.kernel.netlink import QuerySocket

# linux/sock_diag.h, linux/unix_diag.h
_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20
_SHOW_NAME, _SHOW_UID = 0x01, 0x40
_NAME, _UID = 0, 7
_REQUEST = struct.Struct("=BBHIIIII")  # family, protocol, states, inode, show, cookie
_ANSWER = struct.Struct("=4xI8x")  # struct unix_diag_msg: inode
_ANY = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceSocket:
    """A socket that has a name."""

    name: str
    """Others may have the same: a name is one of its kind of socket (unix(7)), not of all."""
    inode: int
    uid: int
    """The user who made it, in truth."""

    @property
    def pid(self) -> int | None:
        """The process that it says it is of; None: it says nothing of the kind."""
        said = self.name.split("/")[-2:][0]
        return int(said) if said.isdecimal() and len(said) < 10 else None


def be_present(what: str) -> socket.socket:
    """A socket with a name of this beginning, to which nothing can be sent."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.bind(f"\0{what}/{os.getpid()}/{secrets.token_hex(16)}")
    return sock


def others(what: str, mine: socket.socket) -> tuple[PresenceSocket, ...]:
    """All others of this beginning.

    Raises OSError where the kernel does not tell: then not even `mine` is to be seen.
    """
    found = [one for one in _named() if one.name.startswith(f"\0{what}/")]
    inode = os.fstat(mine.fileno()).st_ino
    if inode not in {one.inode for one in found}:
        raise OSError(errno.EOPNOTSUPP, "this kernel does not list sockets (unix_diag)")
    return tuple(one for one in found if one.inode != inode)


def _named() -> Iterator[PresenceSocket]:
    wanted = (socket.AF_UNIX, 0, 0, _ANY, 0, _SHOW_NAME | _SHOW_UID, _ANY, _ANY)
    with QuerySocket(_NETLINK_SOCK_DIAG) as asking:
        bodies = asking.dump(_BY_FAMILY, _REQUEST.pack(*wanted))
    for body in bodies:
        told = rtnetlink.attributes(body, _ANSWER.size)
        if _NAME in told and (uid := rtnetlink.number(told.get(_UID))) is not None:
            (inode,) = _ANSWER.unpack_from(body)
            yield PresenceSocket(name=told[_NAME].decode(errors="replace"), inode=inode, uid=uid)
