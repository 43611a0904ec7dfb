"""Abstract sockets by which agents of this network namespace find each other.

An agent binds an abstract socket (unix(7)) whose name ends with random characters, and lists the
sockets whose names begin in the same way. A name that can't be guessed can't be taken by another
process. The kernel reports the owner of each (sock_diag(7)), so the owner can't be forged.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from steering.act.kernel import framing
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
    """An abstract socket."""

    name: str
    """Not unique: sockets of another type (unix(7)) may have the same name."""
    inode: int
    uid: int
    """The user who made it, as the kernel reports."""

    @property
    def pid(self) -> int | None:
        """The process id in the name, which may be wrong; None: there is none."""
        text = self.name.split("/")[-2:][0]
        return int(text) if text.isdecimal() and len(text) < 10 else None


def be_present(what: str) -> socket.socket:
    """Binds a socket with a name of this beginning. Nothing can be sent to it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.bind(f"\0{what}/{os.getpid()}/{secrets.token_hex(16)}")
    return sock


def others(what: str, mine: socket.socket) -> tuple[PresenceSocket, ...]:
    """All other sockets whose names begin so.

    Raises OSError if the kernel can't list sockets: then not even `mine` is listed.
    """
    matching = [one for one in _named() if one.name.startswith(f"\0{what}/")]
    inode = os.fstat(mine.fileno()).st_ino
    if inode not in {one.inode for one in matching}:
        raise OSError(errno.EOPNOTSUPP, "this kernel does not list sockets (unix_diag)")
    return tuple(one for one in matching if one.inode != inode)


def _named() -> Iterator[PresenceSocket]:
    request = (socket.AF_UNIX, 0, 0, _ANY, 0, _SHOW_NAME | _SHOW_UID, _ANY, _ANY)
    with QuerySocket(_NETLINK_SOCK_DIAG) as query:
        bodies = query.dump(_BY_FAMILY, _REQUEST.pack(*request))
    for body in bodies:
        found = framing.attributes(body, _ANSWER.size)
        if _NAME in found and (uid := framing.number(found.get(_UID))) is not None:
            (inode,) = _ANSWER.unpack_from(body)
            yield PresenceSocket(name=found[_NAME].decode(errors="replace"), inode=inode, uid=uid)
