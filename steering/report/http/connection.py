"""One connection: a request and its answer, with one deadline for both."""

from __future__ import annotations

import enum
import select
import socket
from dataclasses import dataclass, field
from http import HTTPStatus

from steering.model import Instant
from steering.report.http.ipc import TEXT, Answer
from steering.report.http.request import MOST, BadRequest, Request, head, parse, split

_PIECE = 1 << 14
_CHUNK = 1 << 18  # bytes written at once, while others wait


class Phase(enum.Enum):
    """What the connection waits for."""

    HEAD = "a request"
    ANSWER = "an answer to be rendered"
    ROOM = "the client, to take the answer"
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
    def more(self) -> bool:
        """Whether a part of a next request is already there."""
        return self.phase is Phase.HEAD and bool(self._in)

    def respond(self, answer: Answer, *, keep: bool = True) -> None:
        """Begin to send this answer; `keep`: another request may follow."""
        self._keep = self._keep and keep
        self._head = memoryview(head(answer.code, answer.kind, len(answer.body), keep=self._keep))
        self._out = memoryview(answer.body if self._body else b"")
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
        self._keep = isinstance(found, Request) and found.keep
        return found


def refused(refusal: BadRequest) -> Answer:
    """The answer to a bad request."""
    return Answer(code=refusal.code, kind=TEXT, body=f"{refusal.text}\n".encode())


def _too_long(came: bytearray) -> BadRequest:
    if b"\n" not in came[:MOST]:
        return BadRequest(code=HTTPStatus.REQUEST_URI_TOO_LONG, text="the request line is too long")
    code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return BadRequest(code=code, text=f"the headers have more than {MOST} bytes")
