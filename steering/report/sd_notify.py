"""sd_notify(3): reports the state of the agent to the service manager, if there is one."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send one state line, for example READY=1; without a service manager nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.connect(address.replace("@", "\0", 1))
        to.send(state.encode())
