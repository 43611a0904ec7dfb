"""The user who types a command: the name that is recorded with its effect."""

from __future__ import annotations

import getpass
import os


def author() -> str:
    """The user who called sudo, or this user; the number if its id has no name on this host."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (ImportError, KeyError, OSError):  # what getpass raises depends on the version of Python
        return f"uid {os.getuid()}"
