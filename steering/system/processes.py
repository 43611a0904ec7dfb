"""Modules of this program as processes of their own, and those of them that outlive the agent."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW


def command(module: str, *words: str) -> list[str]:
    """Runs a module of this program.

    With -S, and the path of this very package in `environment`, it loads nothing but the standard
    library and the code that the agent runs.
    """
    return [sys.executable, "-P", "-S", "-m", module, *words]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """All the environment of such a process."""
    return {"PATH": os.defpath, **more, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def start_detached(
    module: str, words: Sequence[str], more: Mapping[str, str], *, log: Path | None = None
) -> int:
    """Starts a process that outlives this one; its process id. Raises OSError.

    In a session of its own no signal to the agent's group, and no end of its terminal, reaches it.
    `log` is the file to which its standard error is appended; without one it is the agent's.
    """
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    if log is not None:
        actions.append((os.POSIX_SPAWN_OPEN, 2, str(log), _APPEND, 0o600))
    return os.posix_spawn(
        sys.executable,
        command(module, *words),
        environment(more),
        file_actions=actions,
        setsid=True,
        setsigmask=(),
    )


def has_ended(child: int) -> bool:
    """Whether a child of this process has ended. Once this says so its process id is free."""
    try:
        return os.waitpid(child, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True
