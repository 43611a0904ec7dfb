"""One connection: a request and its answer, with one deadline for both."""

from __future__ import annotations

import enum
import select
import socket
import struct
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from steering.model import Instant, Seconds
from steering.report.http.ipc import TEXT, Answer
from steering.report.http.request import MOST, BadRequest, Request, head, parse, split

GRACE: Final[Seconds] = 1.0
"""A client keeps its place for at least so long."""
_PIECE = 1 << 14
_CHUNK = 1 << 18  # bytes written at once, while others wait
_SMALL = 1 << 10  # bytes that are not worth to be compressed
GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""RFC 1952, section 2.3: deflated data follows, of no file."""


class Phase(enum.Enum):
    """What the connection waits for."""

    HEAD = "a request"
    ANSWER = "an answer to be rendered"
    ROOM = "the client, to take the answer"
    STREAM = "changes, to tell them"
    END = "the client, to close the connection"


@dataclass(slots=True, kw_only=True, eq=False)
class Connection:
    """A client, and the state of its present request."""

    socket: socket.socket
    door: str
    ours: bool
    """The client is root or the agent's user, by the kernel."""
    accepted: Instant
    since: Instant
    """When the present request began or could have begun."""
    phase: Phase = Phase.HEAD
    key: str = ""
    """The key of the answer that it waits for."""
    number: int = 0
    """The turn that the answer has to show, or a later one."""
    answer: Answer | None = None
    """The answer that is being sent."""
    gzip: bool = False
    """The client takes compressed answers."""
    behind: bool = False
    """It has missed changes, and is to be told all."""
    _body: bool = True
    _keep: bool = True
    _in: bytearray = field(default_factory=bytearray)
    _looked: int = 0
    _out: memoryview = field(default_factory=lambda: memoryview(b""))
    _head: memoryview = field(default_factory=lambda: memoryview(b""))

    @property
    def events(self) -> int:
        """What to poll for."""
        if self.phase is Phase.ANSWER:
            return 0  # further bytes wait in the kernel, which limits them
        if self.phase is Phase.STREAM:
            return select.EPOLLOUT if self.sending else select.EPOLLIN
        return select.EPOLLOUT if self.phase is Phase.ROOM else select.EPOLLIN

    def receive(self) -> bool:
        """Read received bytes; False if the client has closed the connection."""
        try:
            came = self.socket.recv(_PIECE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if self.phase is Phase.HEAD:
            self._in += came
        return bool(came)

    def request(self) -> Request | BadRequest | None:
        """The next complete request, or why there will be none; None: not yet."""
        if not self._looked:
            del self._in[: len(self._in) - len(self._in.lstrip(b"\r\n"))]  # RFC 9112 2.2
        end = split(self._in, self._looked)
        if (end or len(self._in)) > MOST:
            return self._expect(_too_long(self._in))
        if end is None:
            self._looked = len(self._in)
            return None
        found = parse(bytes(self._in[:end]))
        del self._in[:end]
        self._looked = 0
        return self._expect(found)

    @property
    def sending(self) -> bool:
        """Whether something is not sent yet."""
        return bool(self._head or self._out)

    def stream(self, *, gzip: bool) -> None:
        """Begin an answer without an end (server-sent events, HTML Living Standard 9.2)."""
        started = head(HTTPStatus.OK, "text/event-stream", None, keep=False, gzip=gzip)
        self._head = memoryview(started + (GZIP_HEAD if gzip else b""))
        self.gzip, self.behind, self.phase = gzip, True, Phase.STREAM
        self._in.clear()

    def push(self, data: bytes) -> None:
        """Add to the answer without an end. Only when nothing is left to send."""
        self._out = memoryview(data)

    @property
    def more(self) -> bool:
        """Whether a part of a next request is already there."""
        return self.phase is Phase.HEAD and bool(self._in)

    def respond(self, answer: Answer, *, keep: bool = True) -> None:
        """Begin to send this answer; `keep`: another request may follow."""
        self._keep = self._keep and keep
        gzip = self.gzip and len(answer.body) > _SMALL
        body = answer.compressed if gzip else answer.body
        self._head = memoryview(
            head(answer.code, answer.kind, len(body), keep=self._keep, gzip=gzip)
        )
        self._out = memoryview(body if self._body else b"")
        self.answer, self.phase = answer, Phase.ROOM

    def send(self, now: Instant) -> bool:
        """Send as much as there is room for; False if the client has closed the connection."""
        try:
            sent = self.socket.sendmsg([self._head, self._out[:_CHUNK]], [], socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return True
        except OSError:
            return False
        first = min(sent, len(self._head))
        self._head, self._out = self._head[first:], self._out[sent - first :]
        if not self._head and not self._out:
            self._sent(now)
        return True

    def _sent(self, now: Instant) -> None:
        self.since, self.answer = now, None
        if self.phase is Phase.STREAM:
            return
        if self._keep:
            self.phase = Phase.HEAD
            return
        # Unread bytes at the close of a socket cause a reset, which may overtake the answer
        # (RFC 9112 9.6). So they are read for a moment, and discarded.
        self.phase = Phase.END
        self._in.clear()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the client has closed it

    def _expect(self, found: Request | BadRequest) -> Request | BadRequest:
        self._body = found.body
        self.gzip = isinstance(found, Request) and found.gzip
        self._keep = isinstance(found, Request) and found.keep
        return found


def long_there(there: list[Connection], now: Instant) -> list[Connection]:
    """Clients that may lose their places. One that waits for an answer is not slow itself."""
    return [c for c in there if c.phase is not Phase.ANSWER and now - c.accepted >= GRACE]


def user_of(client: socket.socket) -> int:
    """The user of the process that connected (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def refused(refusal: BadRequest) -> Answer:
    """The answer to a bad request."""
    return Answer(code=refusal.code, kind=TEXT, body=f"{refusal.text}\n".encode())


def _too_long(came: bytearray) -> BadRequest:
    if b"\n" not in came[:MOST]:
        return BadRequest(code=HTTPStatus.REQUEST_URI_TOO_LONG, text="the request line is too long")
    code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return BadRequest(code=code, text=f"the headers have more than {MOST} bytes")
