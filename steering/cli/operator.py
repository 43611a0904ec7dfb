"""Who types a command: the name that stays with what it did."""

from __future__ import annotations

import getpass
import os


def author() -> str:
    """The user behind sudo, or this one; where its id has no name on this host, its number."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (ImportError, KeyError, OSError):  # what getpass raises has changed with Python's age
        return f"uid {os.getuid()}"
