"""Requests to the status port, as they come on one connection; and what its process tells."""

from __future__ import annotations

import json
import random
import select
import socket
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final, NoReturn, cast
from unittest import mock

from fuzz.dnstap import changed
from fuzz.driver import Driver, Wrong
from fuzz.octets import TELLING, below, mangled
from steering.report.http import ipc, process, service
from steering.report.http.connection import Connection, Phase
from steering.report.http.ipc import FRONT, METRICS, OPENMETRICS, STATUS, TCP, Answer, Turned

_TARGETS: Final = (
    b"/",
    b"/metrics",
    b"/healthz",
    b"/readyz",
    b"/api/v1/status",
    b"/api/v1/explain?address=192.5.0.30",
    b"/api/v1/explain?address=2001:db8:5::0:30",
    b"/api/v1/explain?address=fe80::1%25eth0",
    b"/api/v1/explain?address=%ff%00",
    b"/api/v1/explain?address=%ed%a0%80",
    b"/api/v1/explain?address=" + b"1" * 5_000,
    b"/api/v1/explain?" + b"a=1&" * 2_000,
    b"/api/v1/explain?address=1;address=2",
    b"http://[",
    b"http://[::1",
    b"http://x/metrics",
    b"//[",
    b"*",
    b"",
    b"/" + b"x" * 70_000,
    b"/\xff",
    b"/%",
    b"/..%2f..",
)
_METHODS: Final = (*[b"GET"] * 12, b"HEAD", b"HEAD", b"POST", b"OPTIONS", b"get", b"\x16\3\1")
_VERSIONS: Final = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.1.1",
    b"HTTP/9999999999.1",
    b"HTTP/\xb2.1",
    b"HTTP/1.\xb9",
    b"",
    b"x y",
)
_HEADERS: Final = (
    b"Host: x",
    b"Accept: application/openmetrics-text; version=1.0.0",
    b"Accept: application/openmetrics-text; version=" + b"9" * 5_000,
    b"Accept: \xff",
    b"Accept: ;;;,,,",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b" folded",
    b": none",
    b"none",
    b"x" * 66_000 + b": y",
    b"\0: \0",
)
_ANSWER: Final = Answer(code=HTTPStatus.OK, kind=ipc.TEXT, body=b"x\n")


class Web(Driver):
    """One connection to the process that serves. A message is all that comes on it."""

    splinters = (
        *TELLING,
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"%",
        b"[",
        b"HTTP/1.1",
        b"GET / HTTP/1.1\r\n\r\n",
    )

    def __init__(self, _seed: int) -> None:
        super().__init__()
        ours, theirs = socket.socketpair()
        self.closing.enter_context(ours)
        self.closing.enter_context(theirs)
        self._process = process.Process(theirs)
        self.closing.callback(self._process.close)
        self._process._turned = Turned(number=1, at=1_000.0, ready=True)
        self._process._cache = dict.fromkeys((STATUS, FRONT, METRICS, OPENMETRICS), _ANSWER)

    def seeds(self) -> Sequence[bytes]:
        draw = random.Random(3)
        return [self.message(draw) for _ in range(100)]

    def message(self, draw: random.Random) -> bytes:
        made = b"".join(_request(draw) for _ in range(1 + (draw.random() < 0.1)))
        return mangled(draw, made, self.splinters) if draw.random() < 0.4 else made

    def take(self, message: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            client = Connection(socket=theirs, door=TCP, ours=False, accepted=0.0, since=0.0)
            here = self._process
            here._clients[theirs.fileno()] = client
            here._poll.register(theirs, client.events)
            said = b""
            for at in range(0, len(message) + 1, 1 << 14):
                ours.send(message[at : at + (1 << 14)])
                here._go_on(client, 1_000.0)
                while client in here._again:
                    here._again.discard(client)
                    here._take(client, 1_000.0)
                if theirs.fileno() < 0 or client.phase in {Phase.ANSWER, Phase.END}:
                    break
            if theirs.fileno() >= 0:
                here._drop(client)
            said = ours.recv(12)
        if said and not said.startswith(b"HTTP/1.1 "):
            raise Wrong(f"what was answered: {said!r}")


def _request(draw: random.Random) -> bytes:
    # Long ones are rare: they take long, and say little.
    target = b"/" + b"x" * 70_000
    while len(target) > 1_000 and draw.random() > 0.02:
        target = _TARGETS[below(draw, len(_TARGETS))]
    method = _METHODS[below(draw, len(_METHODS))]
    version = _VERSIONS[0 if draw.random() < 0.9 else below(draw, len(_VERSIONS))]
    lines = [method + b" " + target + b" " + version]
    for _ in range(below(draw, 4)):
        header = _HEADERS[below(draw, len(_HEADERS) if draw.random() < 0.3 else 7)]
        if len(header) < 1_000 or draw.random() < 0.02:
            lines.append(header)
    if draw.random() < 0.01:
        lines += [b"x: y"] * 200
    return b"\r\n".join(lines) + b"\r\n\r\n"


class _Control:
    """The agent's end of the socket to the process that serves."""

    came = b""

    def recv(self, _size: int) -> bytes:
        came, self.came = self.came, b""
        if not came:
            raise BlockingIOError
        return came

    def close(self) -> None: ...

    def fileno(self) -> int:
        return -1


class Wanted(Driver):
    """What the process that serves says to the agent. A message is one packet."""

    splinters = (*TELLING, b"null", b"[]", b"{}", b"-1", b'"\\ud800"', b"[" * 3_000, b"9" * 5_000)

    def __init__(self, _seed: int) -> None:
        super().__init__()
        self.closing.enter_context(mock.patch.object(service, "fork", _no_copy))
        self.closing.enter_context(mock.patch.object(socket, "send_fds", _sent))
        self.closing.enter_context(mock.patch.object(service, "_dropped", return_value=None))
        nowhere = Path("/nonexistent")
        self._service = service.Service(nowhere, nowhere, lambda _key: _ANSWER)
        self.closing.callback(self._service.close)
        self._control = _Control()
        self._service._process.poll.close()
        self._service._process.poll = cast("select.epoll", mock.MagicMock())

    def seeds(self) -> Sequence[bytes]:
        return [
            ipc.written(ipc.Wanted(lane="short", keys=(STATUS, "192.5.0.30"))),
            ipc.written(ipc.Failed(number=3, example="ValueError: x")),
            ipc.written(Turned(number=1, at=1.0, ready=True)),
            ipc.written(ipc.Rendering(lane="long", number=1)),
        ]

    def message(self, draw: random.Random) -> bytes:
        letter = self.seeds()[below(draw, 4)]
        return changed(draw, letter, self.splinters)

    def take(self, message: bytes) -> None:
        self._control.came = message
        self._service._process.socket = cast("socket.socket", self._control)
        self._service.pump(1_000.0)


def _no_copy(*_: object, **_more: object) -> NoReturn:
    raise OSError("no copies here")


def _sent(_socket: object, data: Sequence[bytes], *_: object) -> int:
    for letter in data:
        json.loads(letter)
    return 0
