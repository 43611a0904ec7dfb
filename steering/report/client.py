"""Asks the running agent over HTTP, for `steering status` and `steering explain`."""

from __future__ import annotations

import contextlib
import json
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final

from steering.config import Listen
from steering.excuse import FAILED, WRONG_INPUT, Excuse

SERVER: Final = "steering"
"""What the agent calls itself in its answers (RFC 9110 10.2.4), and nobody else."""
_PATIENCE = 5.0  # seconds


class Unreachable(Excuse):
    """The agent cannot be asked, and why."""

    def __init__(self, because: str) -> None:
        super().__init__(FAILED, because)


class Unknown(Excuse):
    """The agent answered that there is no such thing."""

    def __init__(self, because: str) -> None:
        super().__init__(WRONG_INPUT, because)


def fetch(listen: Listen, path: str) -> dict[str, object]:
    """One answer of the agent that listens there. Raises Unreachable or Unknown."""
    where = f"[{listen.host}]" if ":" in listen.host else listen.host
    where = f"{where}:{listen.port}"
    # No proxy and no other place: the agent is on this host, whatever others say.
    connection = HTTPConnection(listen.host, listen.port, timeout=_PATIENCE)
    try:
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
    except (OSError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(
            f"no agent answers at {where} ({reason}); is `steering run` running?"
        ) from error
    another = Unreachable(f"what answers at {where} is not the agent")
    if answer.getheader("Server", "").strip() != SERVER:
        raise another
    text = body.decode(errors="replace").strip()
    if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        raise Unknown(_error_of(text))
    if answer.status != HTTPStatus.OK:
        raise Unreachable(f"the agent at {where} says: {text}")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise another from error
    if not isinstance(value, dict):
        raise another
    return value


def _error_of(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text
