"""How many descriptors this process may have, and how many of them are for questions.

Each question under way has a socket of its own, and an upstream that is silent holds it for the
timeout. What else an agent opens (netlink, lease, journal, the sockets of resolvers and operators,
pipes to what it starts) is bounded, and must not wait for that.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import Final

RESERVED: Final = 44
"""For all but questions: counted in an agent that does all there is, with a fork under way."""
LEAST: Final = 64
"""What an agent needs: twenty questions at once are enough for two policies."""


def claim() -> int:
    """Have as many as are allowed; how many that is.

    A shell's soft limit is 1024, for programs that use select(2); the hard one is what counts.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def for_questions() -> int:
    """How many questions may be under way at once, by the limit as it is."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, allowed - RESERVED)


def close_inherited() -> None:
    """Closes what the parent left open beside its output: what is there, not all that could be.

    For a process that outlives its parent. A host may allow a thousand million descriptors, and to
    close each takes minutes.
    """
    there = list(range(3, 1024))
    with contextlib.suppress(OSError):  # no descriptor for the list, or no procfs
        there = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    for descriptor in there:
        if descriptor > 2:
            with contextlib.suppress(OSError):  # the list's own is among them
                os.close(descriptor)
