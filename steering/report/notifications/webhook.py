"""Posts JSON to a web server, within a time limit, whatever the server does.

`http.client` has a limit for each read and none for the whole: a server that sends an octet now and
then would hold the thread for hours. So a timer shuts the socket down.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from steering.model import Seconds
from steering.report.notifications.notice import Notice, Sender, body
from steering.report.notifications.receiver import NotSentError

_SHOWN: Final = 200
"""Characters of an answer that a message shows."""
_TOKEN: Final = 4096
"""Octets of a token's file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A web server, and how to speak to it."""

    url: str
    timeout: Seconds
    token_file: Path | None = None
    """Holds what is sent as `Authorization: Bearer`. Read anew each time."""

    @property
    def place(self) -> str:
        """Host and port, for messages: the rest of a URL may be a secret."""
        return urlsplit(self.url).netloc

    def post(self, data: object) -> None:
        """Post data as JSON. Redirects are not followed. Raises NotSentError."""
        split = urlsplit(self.url)
        assert split.hostname is not None
        made: http.client.HTTPConnection
        if split.scheme == "https":
            context = ssl.create_default_context()
            made = http.client.HTTPSConnection(
                split.hostname, split.port, timeout=self.timeout, context=context
            )
        else:
            made = http.client.HTTPConnection(split.hostname, split.port, timeout=self.timeout)
        headers = {"Content-Type": "application/json", "User-Agent": "steering", **self._token()}
        path = (split.path or "/") + (f"?{split.query}" if split.query else "")
        deadline = _Deadline(made, self.timeout)
        try:
            deadline.start()
            made.request("POST", path, json.dumps(data).encode(), headers)
            deadline.open_one = made.sock  # which `made` forgets where the answer ends with it
            with made.getresponse() as answer:
                status, said = answer.status, answer.read(_SHOWN)
        except (OSError, http.client.HTTPException, ValueError, RuntimeError) as error:
            if deadline.late or isinstance(error, TimeoutError):
                raise NotSentError(f"no answer within {self.timeout:g} s") from error
            raise NotSentError(printable_line(str(error)) or type(error).__name__) from error
        finally:
            deadline.over.set()
            made.close()
        if deadline.late:  # what is cut looks like a whole answer that is short
            raise NotSentError(f"no answer within {self.timeout:g} s")
        if not 200 <= status < 300:
            raise NotSentError(f"answers {status}: {printable_line(said.decode(errors='replace'))}")

    def _token(self) -> dict[str, str]:
        if self.token_file is None:
            return {}
        try:
            with self.token_file.open("rb") as file:
                token = file.read(_TOKEN).decode("ascii").strip()
        except (OSError, ValueError) as error:
            raise NotSentError(f"{self.token_file}: {printable_line(str(error))}") from error
        if not re.fullmatch(r"[!-~]+", token):
            raise NotSentError(f"{self.token_file}: holds no token, wanted one word in one line")
        return {"Authorization": f"Bearer {token}"}


class _Deadline(threading.Thread):
    """Shuts a connection down where it is not over in time.

    The time that the look-up of a name takes is not counted: nothing can end that, and the
    resolvers of this host may be what fails.
    """

    def __init__(self, made: http.client.HTTPConnection, seconds: Seconds) -> None:
        super().__init__(name="deadline", daemon=True)
        self.late, self.over = False, threading.Event()
        self.open_one: socket.socket | None = None
        self._made, self._seconds = made, seconds

    def run(self) -> None:
        """Wait, from the connection on."""
        while not self.over.wait(self._seconds):
            if (open_one := self.open_one or self._made.sock) is not None:
                self.late = True
                with contextlib.suppress(OSError):
                    open_one.shutdown(socket.SHUT_RDWR)
                return


def printable_line(said: str) -> str:
    """What a stranger said, for a line of ours."""
    line = " ".join(said.split())
    return "".join(c if c.isprintable() else "?" for c in line)[:_SHOWN]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver that gets each notice by itself."""

    server: Server
    sender: Sender
    resend: Seconds | None = None

    def send(self, notices: Sequence[Notice]) -> str:
        """Post each notice. Raises NotSentError."""
        for notice in notices:
            self.server.post(body(notice, self.sender))
        return ""
