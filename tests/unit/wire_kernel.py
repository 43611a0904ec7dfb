"""A kernel that speaks netlink and routes nothing: what is sent to it, bytes in and bytes out.

It keeps routes and rules as the kernel does, refuses what that refuses, and reports changes to
the sockets that listen. The labs show that the real one does the same (`tests/lab/test_kernel.py`).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest

from steering.act.kernel import netlink
from steering.act.kernel.decoding import route_from, rule_from
from steering.act.kernel.rtnetlink import Route, route_body, rule_body
from steering.act.kernel.rules import Rule

_HEAD: Final = struct.Struct("=IHHII")
_ERROR, _DONE, _MULTI, _DUMP = 2, 3, 2, 0x300
_REPLACE, _EXCLUSIVE, _CREATE = 0x100, 0x200, 0x400
NEWROUTE, DELROUTE, GETROUTE, NEWRULE, DELRULE, GETRULE, GETADDR = 24, 25, 26, 32, 33, 34, 22
Refuse = Callable[[int, bytes], int]
"""Message type and body -> errno, or 0."""


def _message(kind: int, sequence: int, body: bytes, flags: int = 0) -> bytes:
    return _HEAD.pack(_HEAD.size + len(body), kind, flags, sequence, 0) + body


def _no_refusal(_kind: int, _body: bytes) -> int:
    return 0


@dataclass
class WireKernel:
    """Routes and rules; `refuse` and `ignore` are knobs for tests."""

    routes: dict[object, Route] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    own: tuple[str, ...] = ()
    refuse: Refuse = _no_refusal
    ignore: bool = False
    """It acknowledges changes, and makes none."""
    changes: list[tuple[int, Route | Rule]] = field(default_factory=list)
    """What was sent to it to change, refused or not."""
    requests: int = 0
    listeners: list[WireSocket] = field(default_factory=list)
    dumps: dict[int, list[bytes]] = field(default_factory=dict)
    """What it has of other types, by the type of the request: bodies."""
    lookups: dict[str, bytes] = field(default_factory=dict)
    """Destination -> body of the route to it."""
    torn: int = 0
    """So many dumps say that the table changed meanwhile."""

    def add(self, *what: Route | Rule) -> None:
        """By another program."""
        for one in what:
            if isinstance(one, Route):
                self.routes[one.place] = one
                self._report(NEWROUTE, route_body(one))
            else:
                self.rules.append(one)
                self._report(NEWRULE, rule_body(one))

    def remove(self, *what: Route | Rule) -> None:
        """By another program."""
        for one in what:
            if isinstance(one, Route):
                del self.routes[one.place]
                self._report(DELROUTE, route_body(one))
            else:
                self.rules.remove(one)
                self._report(DELRULE, rule_body(one))

    def _report(self, kind: int, body: bytes) -> None:
        for listener in self.listeners:
            listener.queue.append(_message(kind, 0, body))

    def answer(self, kind: int, flags: int, body: bytes) -> tuple[list[bytes], int]:
        """The bodies that a request is answered with, and the errno."""
        self.requests += 1
        if kind in {NEWROUTE, DELROUTE, NEWRULE, DELRULE}:
            return [], self._change(kind, flags, body)
        if flags & _DUMP != _DUMP:
            asked = route_from(body)
            assert asked is not None
            there = self.lookups.get(asked.destination)
            return ([], errno.ENETUNREACH) if there is None else ([there], 0)
        if kind in self.dumps:
            return self.dumps[kind], self.refuse(kind, body)
        family = body[0]
        if kind == GETROUTE:
            wanted = route_from(body)
            assert wanted is not None
            return [
                route_body(route)
                for route in self.routes.values()
                if (route.family, route.table) == (wanted.family, wanted.table)
                and wanted.protocol in {0, route.protocol}
            ], 0
        if kind == GETRULE:
            bodies = [rule_body(rule) for rule in self.rules]
            return [body for body in bodies if body[0] == family], 0
        assert kind == GETADDR
        return [
            struct.pack("=4Bi", 2, 32, 0, 0, 1) + struct.pack("=HH", 8, 2) + socket.inet_aton(own)
            for own in self.own
        ], 0

    def _change(self, kind: int, flags: int, body: bytes) -> int:
        what = route_from(body) if kind in {NEWROUTE, DELROUTE} else rule_from(body)
        assert what is not None
        self.changes.append((kind, what))
        if number := self.refuse(kind, body):
            return number
        if isinstance(what, Rule):
            return self._change_rule(kind, flags, what)
        there = self.routes.get(what.place)
        if kind == DELROUTE:
            if there is None or there.protocol != what.protocol:
                return errno.ESRCH
            if not self.ignore:
                self.remove(there)
            return 0
        if there is None and not flags & _CREATE:
            return errno.ENOENT
        if there is not None and flags & _EXCLUSIVE:
            return errno.EEXIST
        assert there is None or flags & _REPLACE, "IPv4 would have two, IPv6 a multipath route"
        if not self.ignore:
            self.add(what)
        return 0

    def _change_rule(self, kind: int, flags: int, what: Rule) -> int:
        there = what in self.rules
        if kind == NEWRULE:
            if not flags & _CREATE:
                return errno.ENOENT
            if there:
                assert flags & _EXCLUSIVE, "there would be two"
                return errno.EEXIST
            if not self.ignore:
                self.add(replace(what, body=b""))
            return 0
        if not there:
            return errno.ENOENT
        if not self.ignore:
            self.remove(what)
        return 0

    @property
    def places(self) -> set[Route]:
        return set(self.routes.values())


class WireSocket:
    """A netlink socket to a `WireKernel`."""

    def __init__(self, kernel: WireKernel) -> None:
        self.kernel = kernel
        self.queue: deque[bytes | OSError] = deque()
        self.groups = 0
        self.closed = False
        self.options: dict[tuple[int, int], Any] = {}

    def setsockopt(self, level: int, option: int, value: Any) -> None:  # noqa: ANN401
        self.options[level, option] = value

    def setblocking(self, _flag: bool) -> None: ...

    def bind(self, address: tuple[int, int]) -> None:
        self.groups = address[1]
        if self.groups:
            self.kernel.listeners.append(self)

    def fileno(self) -> int:
        return 99

    def close(self) -> None:
        self.closed = True

    def send(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            length, kind, flags, sequence, _ = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + length]
            bodies, number = self.kernel.answer(kind, flags, body)
            torn = 0
            if self.kernel.torn and flags & _DUMP == _DUMP:
                self.kernel.torn, torn = self.kernel.torn - 1, 0x10
            self.queue.extend(_message(kind - 2, sequence, one, _MULTI | torn) for one in bodies)
            if flags & _DUMP == _DUMP:
                self.queue.append(
                    _message(_DONE, sequence, struct.pack("=i", -number), _MULTI | torn)
                )
            elif not bodies:
                self.queue.append(
                    _message(_ERROR, sequence, struct.pack("=i", -number) + data[at : at + 16])
                )
            at += (length + 3) & ~3

    def recv(self, _most: int) -> bytes:
        if not self.queue:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        one = self.queue.popleft()
        if isinstance(one, OSError):
            raise one
        return one


class _Sockets:
    """The module `socket` with sockets to this kernel."""

    def __init__(self, kernel: WireKernel) -> None:
        self._kernel = kernel

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(socket, name)

    def socket(self, *_: int) -> WireSocket:
        return WireSocket(self._kernel)


def wire_kernel(monkeypatch: pytest.MonkeyPatch) -> WireKernel:
    """A kernel that every netlink socket of the agent speaks to from now on."""
    kernel = WireKernel()
    monkeypatch.setattr(netlink, "socket", _Sockets(kernel))
    return kernel
