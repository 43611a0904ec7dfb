"""The client of the running agent, for `steering status` and `explain`: at its socket in `runtime`.

Any local user can listen at a port before the agent does, so an answer there proves nothing. At the
socket the kernel shows the user of the listening process: it must be root or the agent's user.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, Protocol

from steering.config import Listen
from steering.errors import FAILED, WRONG_INPUT, CommandError
from steering.model import Seconds
from steering.report.http.listeners import NAME, peer
from steering.report.http.request import SERVER

_PATIENCE: Final[Seconds] = 15.0
"""An agent of many addresses on a busy host takes seconds to render its status."""
_WRITABLE: Final = 0o022


class UnreachableError(CommandError):
    """The agent can't be reached, and why."""

    def __init__(self, because: str) -> None:
        super().__init__(FAILED, because)


class NotFoundError(CommandError):
    """The agent answered that what was asked for does not exist."""

    def __init__(self, because: str) -> None:
        super().__init__(WRONG_INPUT, because)


class AgentAddress(Protocol):
    """The parts of a configuration that say where the agent listens."""

    @property
    def runtime(self) -> Path: ...
    @property
    def status(self) -> Listen: ...


def fetch(config: AgentAddress, path: str) -> dict[str, object]:
    """One answer of the agent of this configuration. Raises UnreachableError or NotFoundError."""
    where = str(config.runtime / NAME)
    try:
        connected = _connected(config.runtime)
    except PermissionError as error:
        # A user who may not connect there gets what the port shows to every local user.
        where = _name(config.status)
        print(
            f"steering: {error.filename or config.runtime / NAME}: {error.strerror}: "
            f"asking at {where}, where any local user could answer",
            file=sys.stderr,
        )
        connected = None
    except OSError as error:
        raise _no_answer(where, error) from error
    # No proxy, no redirect: the agent is on this host.
    connection = HTTPConnection(config.status.host, config.status.port, timeout=_PATIENCE)
    connection.sock = connected
    try:
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
    except (OSError, HTTPException) as error:
        raise _no_answer(where, error) from error
    another = UnreachableError(f"what answers at {where} is not the agent")
    if answer.getheader("Server", "").strip() != SERVER:
        raise another
    text = body.decode(errors="replace").strip()
    if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        raise NotFoundError(_error_of(text))
    if answer.status != HTTPStatus.OK:
        raise UnreachableError(f"the agent at {where} answers: {text}")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise another from error
    if not isinstance(value, dict):
        raise another
    return value


def _connected(runtime: Path) -> socket.socket:
    """The agent's socket. Raises OSError, or UnreachableError where another process listens."""
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(_PATIENCE)
        made.connect(str(runtime / NAME))
        _check(peer(made), runtime)
    except BaseException:
        made.close()
        raise
    return made


def _check(user: int, runtime: Path) -> None:
    """Raises UnreachableError if no agent would run as this user."""
    if user not in {0, os.geteuid(), *_owners(runtime)}:
        raise UnreachableError(
            f"what answers at {runtime / NAME} is not the agent: it is a process of user {user}"
        )


def _owners(runtime: Path) -> Iterator[int]:
    """The owner of the directory, if only root or the owner can have created it."""
    owner = runtime.stat().st_uid
    for parent in runtime.absolute().parents:
        found = parent.stat()
        if found.st_uid not in (0, owner) or found.st_mode & _WRITABLE:
            return
    yield owner


def _name(listen: Listen) -> str:
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"{host}:{listen.port}"


def _no_answer(where: str, error: Exception) -> UnreachableError:
    reason = str(error) or type(error).__name__
    return UnreachableError(f"no agent answers at {where} ({reason}); is `steering run` running?")


def _error_of(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text
