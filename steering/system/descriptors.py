"""How many descriptors this process may have, and how many of them are for questions.

Each question has a socket of its own until it is answered or times out. All else that an agent
opens (netlink, lease, journal, the sockets of resolvers and operators, pipes to what it starts) is
bounded, and must never find no descriptor left.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import Final

RESERVED: Final = 44
"""For all but questions: counted in an agent with every feature in use, during a fork."""
LEAST: Final = 64
"""What an agent needs: twenty questions at once are enough for two policies."""


def claim() -> int:
    """Raises the soft limit to the hard one, and returns it.

    The soft limit of a shell is 1024, for programs that use select(2).
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def for_questions() -> int:
    """How many questions may wait for an answer at once, by the present limit."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, allowed - RESERVED)


def close_inherited() -> None:
    """Closes all descriptors above 2, for a process that outlives its parent.

    It closes those that are open. To try every possible number takes minutes where the limit is a
    thousand million.
    """
    numbers = list(range(3, 1024))
    with contextlib.suppress(OSError):  # no descriptor left to read the list, or no procfs
        numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    for descriptor in numbers:
        if descriptor > 2:
            with contextlib.suppress(OSError):  # the one that read the list is closed already
                os.close(descriptor)
