"""What a process may do by its capabilities (capabilities(7)), and a user by a file's mode bits."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class Capability(enum.IntEnum):
    """By number, as in linux/capability.h."""

    CAP_CHOWN = 0
    CAP_KILL = 5
    CAP_SETGID = 6
    CAP_SETUID = 7
    CAP_NET_BIND_SERVICE = 10
    CAP_NET_ADMIN = 12  # SO_MARK asks for it too


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Of a process, as they were at one moment."""

    uid: int
    """The effective user."""
    effective: int
    """Capabilities: bit n is the one of number n."""

    def has(self, capability: Capability) -> bool:
        """Whether the process may use this capability now."""
        return bool(self.effective >> capability & 1)


def credentials(process: int | Literal["self"]) -> Credentials:
    """Reads them from /proc. Raises OSError where there is no such process."""
    # A process gives itself its name: in it the kernel escapes "\n", and no other end of a line.
    lines = Path(f"/proc/{process}/status").read_bytes().split(b"\n")
    status = {key: value for key, _, value in (line.partition(b":") for line in lines)}
    return Credentials(uid=int(status[b"Uid"].split()[1]), effective=int(status[b"CapEff"], 16))


def may_change_routes(process: int | Literal["self"], *, uid: int | None = None) -> bool:
    """Whether a process has CAP_NET_ADMIN and, if `uid` is given, runs as this user.

    Raises OSError if there is no such process.
    """
    found = credentials(process)
    return uid in (None, found.uid) and found.has(Capability.CAP_NET_ADMIN)


def may_pass(found: os.stat_result, *, uid: int | None = None, gid: int | None) -> bool:
    """Whether the bits let this user or group execute a program, or enter a directory.

    Without a user it is asked for any user of the group but the owner. Other groups of the user,
    access control lists and capabilities are not looked at.
    """
    if found.st_uid == uid:
        return bool(found.st_mode & 0o100)
    return bool(found.st_mode & (0o010 if found.st_gid == gid else 0o001))
