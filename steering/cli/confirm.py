"""The question that a command asks before it changes something."""

from __future__ import annotations

import sys


class NoTerminalError(Exception):
    """There is no terminal to ask at; the message says which option to use."""


def confirmed(what: str) -> bool:
    """Ask whether to do this, such as `add it`. Raises NoTerminalError."""
    sys.stdout.flush()
    if not sys.stdin.isatty():
        raise NoTerminalError(f"no terminal to ask: use --yes to {what}")
    try:
        answer = input(f"{what}? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in {"y", "yes"}
