"""What the agent meets of ExaBGP: lines of JSON and of text, through the link that they come by."""

from __future__ import annotations

import json
import random
import select
import socket
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Final, cast
from unittest import mock

from fuzz.dnstap import changed
from fuzz.driver import Driver, Wrong
from fuzz.octets import TELLING, below, mangled
from steering.act.bgp import link
from steering.act.bgp.link import Link
from steering.act.bgp.settings import Attributes, Peer

_PEERS: Final = (
    Peer(address="192.0.2.1", peer_as=65_001),
    Peer(address="2001:db8::1", peer_as=65_001),
)
_WANTED: Final = {
    "192.5.6.30": Attributes(next_hop="10.0.0.1", communities=frozenset({"no-export"})),
    "2001:503:a83e::2:30": Attributes(next_hop="fd00::1", med=5),
}


def _event(kind: str, peer: str = "192.0.2.1", **more: object) -> str:
    neighbor = {"address": {"local": "192.0.2.9", "peer": peer}, "asn": {"peer": 65_001}, **more}
    return json.dumps({"exabgp": "5.0.0", "type": kind, "neighbor": neighbor})


def _sent(family: str, hop: str, *addresses: str, peer: str = "192.0.2.1") -> str:
    routes = [{"nlri": address} for address in addresses]
    update = {"announce": {family: {hop: routes}}}
    return _event("update", peer, direction="send", message={"update": update})


def _listed(prefix: str, hop: str, rest: str = "", peer: str = "192.0.2.1") -> str:
    family = "ipv6" if ":" in prefix else "ipv4"
    return (
        f"neighbor {peer} local-ip 192.0.2.9 local-as 65001 peer-as 65001 router-id 192.0.2.9 "
        f"family-allowed in-open {family} unicast {prefix} next-hop {hop}{rest}"
    )


_SESSIONS: Final = json.dumps(
    [
        {
            "peer": {"address": peer.address},
            "fsm": "ESTABLISHED",
            "state": "up",
            "families": ["ipv4 unicast", "ipv6 unicast"],
        }
        for peer in _PEERS
    ]
)
_LINES: Final = (
    "done",
    "done",
    "done",
    "done",
    "error",
    "exabgp 5.0.15",
    "exabgp 4.2.0",
    _SESSIONS,
    _SESSIONS,
    "[]",
    _event("state", state="up"),
    _event("state", "2001:db8::1", state="up"),
    _event("state", state="down", reason="peer reset, message (closed) é"),
    _event("state", state="connected"),
    _event("negotiated", negotiated={"families": ["ipv4 unicast", "ipv6 unicast"]}),
    _event("update", direction="send", message={"eor": {"afi": "ipv4", "safi": "unicast"}}),
    _event("update", direction="send", message={"eor": {"afi": "ipv6", "safi": "unicast"}}),
    _event("update", direction="receive", message={"update": {}}),
    _event(
        "update",
        direction="send",
        message={"update": {"withdraw": {"ipv4 unicast": [{"nlri": "192.5.6.30/32"}]}}},
    ),
    _sent("ipv4 unicast", "10.0.0.1", "192.5.6.30/32"),
    _sent("ipv4 unicast", "10.0.0.9", "192.5.6.30/32", "10.0.0.0/8"),
    _sent("ipv6 unicast", "fd00::1", "2001:503:a83e::2:30/128", peer="2001:db8::1"),
    _sent("ipv6 unicast", "fd00::1", "2001:503:a83e::2:31%é/128"),
    _listed("192.5.6.30/32", "10.0.0.1", " local-preference 100 community no-export"),
    _listed("192.5.6.30/32", "10.0.0.1", " med 5 community [ no-export 65000:1 ]"),
    _listed("198.51.100.7/32", "10.0.0.1"),
    _listed("198.51.100.0/24", "10.0.0.1", " large-community [ 1:2:3 ]"),
    _listed("2001:503:a83e::2:30/128", "fd00::1", peer="2001:db8::1"),
    _listed("2001:503:a83e::2:30/128", "fd00::1", " med 99999999999999999999", "192.0.2.1"),
)


class _Link:
    """A socket that gives the bytes that it was given, and takes all lines."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.sent = b""

    def recv(self, _size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        return self.pieces.pop(0)

    def send(self, data: bytes) -> int:
        self.sent = data
        return len(data)

    def fileno(self) -> int:
        return 99

    def close(self) -> None:
        pass


class _Poll:
    """An epoll of nothing."""

    def register(self, *_: object) -> None: ...
    def unregister(self, *_: object) -> None: ...
    def modify(self, *_: object) -> None: ...
    def close(self) -> None: ...


class Speaker(Driver):
    """ExaBGP's lines. A message is what comes by the link, in one piece."""

    splinters = (
        *TELLING,
        b"\n",
        b"done\n",
        b"error\n",
        b"neighbor ",
        b"192.0.2.1",
        b" next-hop ",
        b"/32",
        b"%eth0",
        b"[",
        b"{",
        b'"',
        b"null",
        "é".encode(),
        b"\xc2\xa0",
        b"\xe2\x80\xa8",
        b"\r",
        b"\x1b",
        b"[" * 2_000,
        b"9" * 5_000,
    )

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._lines = [line.encode() for line in _LINES]
        clock = SimpleNamespace(monotonic=lambda: self._now)
        self.closing.enter_context(mock.patch.object(link, "time", clock))
        self._stock = random.Random(seed).sample(self._lines, len(self._lines))
        self._begin()

    def _begin(self) -> None:
        self._since, self._now = 0, 0.0
        self._talk = Link(_PEERS, welcome=lambda _: True, may_speak=lambda: True)
        self._talk._epoll.close()
        self._talk._epoll = cast("select.epoll", _Poll())
        self._talk.sync.want(_WANTED, 0.0)
        self._connect()

    def _connect(self) -> None:
        self._link = _Link()
        self._talk._link = cast("socket.socket", self._link)
        self._talk.send_lines(self._talk.sync.connected(0.0))

    def seeds(self) -> Sequence[bytes]:
        calm = [b"exabgp 5.0.15", b"done", self._lines[7], b"done", b"done", b"done", b"done"]
        return [*self._lines, b"\n".join(calm) + b"\n"]

    def message(self, draw: random.Random) -> bytes:
        made = []
        for _ in range(1 + below(draw, 3)):
            line = self._stock[below(draw, len(self._stock))]
            chance = draw.random()
            if chance < 0.35:
                line = mangled(draw, line, self.splinters)
            elif chance < 0.55 and line[:1] in {b"{", b"["}:
                line = changed(draw, line, self.splinters)
            made.append(line)
        return b"\n".join(made) + (b"\n" if draw.random() < 0.98 else b"")

    def take(self, message: bytes) -> None:
        self._since += 1
        if self._since > 500:
            self._begin()
        if not self._talk.linked:
            self._connect()
        self._now += 0.4
        self._link.pieces = [message] if message else []
        self._talk._exchange(select.EPOLLIN)
        self._talk.send_lines(self._talk.sync.tick(self._now))
        for line in self._link.sent.splitlines():
            if not line.isascii() or len(line) > 100_000:
                raise Wrong(f"a command that no speaker takes: {line[:80]!r}")
