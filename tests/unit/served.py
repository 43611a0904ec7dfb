"""The agent's side of HTTP without an agent: a loop in a thread that turns and answers."""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from unittest import mock

from steering.config import Listen
from steering.lab.waiting import until
from steering.report.http import service as serving_side
from steering.report.http.ipc import Answer
from steering.report.http.service import Service
from steering.system.unreadable import Unreadable


class UnixServer(socketserver.UnixStreamServer):
    """For a handler that answers in place of an agent, at the path of a socket."""

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        made, _ = super().get_request()
        return made, ("local", 0)  # what a handler would log


def told(key: str) -> Answer:
    """An answer that names what was asked for."""
    return Answer(
        code=HTTPStatus.OK, kind="application/json", body=f'{{"key": "{key}"}}\n'.encode()
    )


@dataclass
class Loop:
    """What an agent's loop does for HTTP, and what of it a test changes."""

    runtime: Path
    status: Listen
    service: Service
    hung: bool = False
    """It neither turns nor deals with anything."""
    blank: bool = False
    """There was no turn yet, and there comes none."""
    unread: Unreadable = field(default_factory=Unreadable)
    gaps: list[float] = field(default_factory=list)
    """Seconds between one turn and the next."""

    errors: list[str] = field(default_factory=list)
    """What requests met, as an event would name it."""

    @property
    def port(self) -> int:
        until(lambda: self.service.port is not None)
        assert self.service.port is not None
        return self.service.port

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=20)

    def get(self, path: str) -> tuple[int, str]:
        """By TCP."""
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@contextlib.contextmanager
def serving(
    runtime: Path,
    *,
    answer: Callable[[str], Answer] = told,
    blank: bool = False,
    status: Listen | None = None,
) -> Iterator[Loop]:
    """A loop that turns ten times a second."""
    unread = Unreadable()
    service = Service(runtime, runtime / "state", answer)
    listen = status or Listen(host="127.0.0.1", port=0)
    loop = Loop(runtime, listen, service, blank=blank, unread=unread)
    over = threading.Event()

    def run() -> None:
        turned = due = time.monotonic()
        while not over.is_set():
            if loop.hung:
                time.sleep(0.01)
                continue
            now = time.monotonic()
            if now >= due:
                service.tend(loop.status, now, ["x"])
                if not loop.blank:
                    service.turned(now, ready=True)
                loop.gaps.append(now - turned)
                turned, due = now, now + 0.1
            loop.errors += [unread.error for unread in loop.unread.news(now, quiet=0.0)]
            if select.select([service.fileno()], [], [], max(0.0, due - time.monotonic()))[0]:
                service.pump(time.monotonic())

    thread = threading.Thread(target=run)
    with mock.patch.object(serving_side, "HERE", unread):
        thread.start()
        try:
            yield loop
        finally:
            over.set()
            thread.join()
            service.close()
