"""What the reader of dnstap meets: Frame Streams, protobuf in them, DNS messages in that.

And what the agent meets of the reader: its letters.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import dns.name
from signedzone import NOW

from fuzz import signed
from fuzz.driver import Driver, Wrong
from fuzz.messages import SPLINTERS, Messages
from fuzz.octets import TELLING, below, mangled
from steering.agent.dnstap_source import DnstapSource
from steering.journal.codec import Codec
from steering.model import Family, Heard, Target
from steering.observe.dnssec.trust import Trust
from steering.observe.dnstap.counter import FrameCounter
from steering.observe.dnstap.framestream import (
    CONTENT_TYPE,
    Control,
    FrameStream,
    GarbageError,
    control,
)
from steering.observe.dnstap.ipc import IpcMessages, read_tally, tally_message
from steering.observe.dnstap.tally import Interest, Watched
from steering.observe.dnstap.tally_builder import build_tally, upstreams
from steering.observe.traffic.verify import SampleVerifier

if TYPE_CHECKING:
    from steering.index import Index

_ADDRESSES: Final = ("192.5.6.30", "2001:503:a83e::2:30")
_PACKED: Final = (bytes([192, 5, 6, 30]), bytes.fromhex("20010503a83e00000000000000020030"))
_INTEREST: Final[Interest] = {
    _ADDRESSES[0]: Watched(zones=frozenset({"com.", "."}), skew=0.0),
    _ADDRESSES[1]: Watched(zones=frozenset({"com.", "net.", "x.com.", "y.com.", "z.com.", "."})),
}
_HEARD = Codec(Heard)
_HAND_OVER: Final = 64  # messages in a tally


# --- protobuf (dnstap.proto) ----------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def octets(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


_ODD_FIELDS: Final = (
    b"\x08" + b"\xff" * 9 + b"\1",
    b"\x08" + b"\xff" * 10,
    b"\x08" + b"\x80" * 200,
    b"\x72\xff\xff\xff\xff\x0f",
    b"\x72\x80\x80\x80\x80\x80\x80\x80\x80\x80\1",
    b"\x72\0",
    b"\x73\x74",  # a group, as old protobuf has them
    b"\x0d\0\0",
    b"\x09\0\0\0",
    b"\x07",
    b"\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\0",
    b"\x2a\x04\xc0\x05",
    b"\x2a\xff\x01",
    b"\x78\x01",
    b"\x78\x81\x80\x80\x80\x10",
)


def frame(draw: random.Random, message: bytes) -> bytes:
    """One Dnstap about a response; mostly as resolvers write it."""
    chance = draw.random
    kind = 4 if chance() < 0.85 else (1, 3, 5, 6, 7, 8, 0, 13, 1 << 33)[below(draw, 9)]
    who = _PACKED[chance() < 0.2] if chance() < 0.95 else draw.randbytes(below(draw, 20))
    fields = [
        number(1, kind),
        number(2, 1 if len(who) == 4 else 2),
        number(3, 1),
        octets(4, bytes(len(who))),
        octets(5, who),
        number(6, 40_000),
        number(7, 53),
        number(8, NOW),
        b"\x4d\1\2\3\4",
        number(12, NOW),
        b"\x6d\1\2\3\4",
        octets(14, message),
    ]
    if chance() < 0.1:
        fields.insert(9, octets(10, message[:300]))
        fields.insert(10, octets(11, b"\3com\0"))
    if chance() < 0.05:
        draw.shuffle(fields)
    if chance() < 0.05:
        del fields[below(draw, len(fields))]
    if chance() < 0.05:
        fields.insert(below(draw, len(fields)), _ODD_FIELDS[below(draw, len(_ODD_FIELDS))])
    inner = b"".join(fields)
    outer = [octets(1, b"host"), octets(2, b"unbound 1.17.1"), octets(14, inner), number(15, 1)]
    if chance() < 0.03:
        draw.shuffle(outer)
    if chance() < 0.03:
        outer.insert(below(draw, 4), outer[below(draw, 4)])
    if chance() < 0.03:
        outer.insert(below(draw, 4), _ODD_FIELDS[below(draw, len(_ODD_FIELDS))])
    made = b"".join(outer)
    if chance() < 0.1:
        made = mangled(draw, made, _ODD_FIELDS)
    return made


def behind_length(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


class _Frames:
    """A stock of DNS messages to put into frames: they are dear to make, and few are enough."""

    def __init__(self, seed: int) -> None:
        asked = [(signed.wire_of(name), kind) for name, kind in (("com.", 6), ("www.com.", 1))]
        messages, draw = Messages(seed, asked), random.Random(seed)
        self._stock = [wire for _, wire in messages.seeds()]
        self._stock += [wire for _ in range(500) if len(wire := messages.next(draw)[1]) < 4_000]

    def next(self, draw: random.Random) -> bytes:
        message = self._stock[below(draw, len(self._stock))]
        if draw.random() < 0.6:
            message = mangled(draw, message, SPLINTERS)
        return frame(draw, message)


# --- drivers --------------------------------------------------------------------------------


class _Counted(Driver):
    """A walker, whose counts are handed over now and then as the reader does."""

    def __init__(self) -> None:
        super().__init__()
        self.walker = FrameCounter(upstreams(_INTEREST), 1)
        self._since = 0

    def counted(self) -> None:
        """After each message."""
        self._since += 1
        if self._since < _HAND_OVER:
            return
        self._since = 0
        tally = build_tally(self.walker, began=0.0, ended=1.0)
        (letter,) = IpcMessages().receive(tally_message(tally))
        if read_tally(letter) != tally:
            raise Wrong("the agent reads another tally than was written")
        for item in tally.signed:
            for failure in item.failing:
                dns.name.from_text(failure.name)


class Walk(_Counted):
    """Frames, one by one. A message is a frame without its length."""

    splinters = SPLINTERS

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._frames = _Frames(seed)

    def seeds(self) -> Sequence[bytes]:
        draw = random.Random(3)
        return [self._frames.next(draw) for _ in range(300)]

    def message(self, draw: random.Random) -> bytes:
        return self._frames.next(draw)

    def take(self, message: bytes) -> None:
        if not message:
            return
        chunk = behind_length(message)
        if self.walker.walk(chunk, 0, NOW) != len(chunk):
            raise Wrong("a whole frame was left")
        self.counted()


_HANDSHAKE: Final = control(Control.START, content_type=CONTENT_TYPE)
_CONTROLS: Final = (
    control(Control.READY, content_type=CONTENT_TYPE),
    _HANDSHAKE,
    _HANDSHAKE,
    control(Control.START),
    control(Control.START, content_type=b"protobuf:other"),
    control(Control.STOP),
    control(Control.FINISH),
    control(Control.ACCEPT, content_type=CONTENT_TYPE),
    *(struct.pack("!II", 0, n) + bytes(n) for n in (0, 1, 3, 4, 5, 12, 511, 512)),
    struct.pack("!II", 0, 513),
    struct.pack("!II", 0, 0xFFFFFFFF),
    struct.pack("!IIIII", 0, 12, 2, 1, 0xFFFFFFFF),
    struct.pack("!IIIII", 0, 12, 2, 7, 0),
    struct.pack("!IIIII", 0, 12, 4, 1, 0),
    struct.pack("!IIIIIII", 0, 20, 4, 1, 0, 1, 0),
    struct.pack("!I", 0xFFFFFFFF),
    struct.pack("!I", 1 << 18) + b"x",
    struct.pack("!I", (1 << 18) + 1),
    b"GET / HTTP/1.1\r\n\r\n",
)


class Streams(_Counted):
    """Whole connections. A message is in how many pieces it comes, and the bytes of it."""

    splinters = (*TELLING, *_CONTROLS)

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._frames = _Frames(seed)

    def seeds(self) -> Sequence[bytes]:
        draw = random.Random(3)
        return [self.message(draw) for _ in range(200)]

    def message(self, draw: random.Random) -> bytes:
        chance = draw.random
        made = bytes([below(draw, 9)])
        made += _CONTROLS[below(draw, len(_CONTROLS))] if chance() < 0.2 else _HANDSHAKE
        for _ in range(below(draw, 4)):
            made += behind_length(self._frames.next(draw))
        if chance() < 0.5:
            made += _CONTROLS[below(draw, len(_CONTROLS))]
        if chance() < 0.02:
            made += (b"\0\0\0\1x" if chance() < 0.5 else b"\0\0\0\2\x0a\0") * 70
        return mangled(draw, made, _CONTROLS) if chance() < 0.3 else made

    def take(self, message: bytes) -> None:
        stream = FrameStream(self.walker)
        pieces = message[0] if message else 0
        step = max(len(message) // pieces, 1) if pieces else len(message) + 1
        try:
            for at in range(1, len(message), step):
                stream.receive(message[at : at + step], NOW, drop=pieces == 8)
        except GarbageError:
            pass
        self.counted()


class Tallies(Driver):
    """The reader's letters, as the agent meets them. A message is what comes on the socket.

    What is no letter of its own reader's the agent drops and counts: both are of one version.
    """

    drops = True

    splinters = (
        *TELLING,
        b"null",
        b"[]",
        b"{}",
        b"-1",
        b"1e999",
        b"NaN",
        b'"',
        b'"\\ud800"',
        b"[" * 3000,
        b'{"a":' * 3000,
        b"9" * 5000,
        b",",
        b":",
    )

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw, frames = random.Random(seed), _Frames(seed)
        self._letters = []
        for _ in range(40):
            walker = FrameCounter(upstreams(_INTEREST), 1)
            for _ in range(1 + below(draw, 6)):
                walker.walk(behind_length(frames.next(draw)), 0, NOW)
            letter = tally_message(build_tally(walker, began=0.0, ended=1.0))
            if len(letter) < 6_000:
                self._letters.append(letter)
        self._pipe = _Pipe()
        self._look = SampleVerifier(_Nobody(), wall=lambda: NOW, cpu=lambda: 0.0)
        self._begin()

    def _begin(self) -> None:
        self._now = 0.0
        self._source = DnstapSource(cast("Index", _Index()), [], self._look)
        self._source.evidence({}, 0.0)
        tap = self._source.reader
        reader = tap._process
        reader.poll.close()  # there is no reader, and no socket
        reader.poll = cast("select.epoll", self._pipe)
        reader.socket = cast("socket.socket", self._pipe)

    def seeds(self) -> Sequence[bytes]:
        return list(self._letters)

    def message(self, draw: random.Random) -> bytes:
        letter = self._letters[below(draw, len(self._letters))]
        if draw.random() < 0.2:
            return mangled(draw, letter, self.splinters)
        body = changed(draw, letter[4:], self.splinters)
        return behind_length(body)

    def take(self, message: bytes) -> None:
        self._pipe.came = message
        self._now += 1.0
        self._source.read(self._now)
        for heard in self._source.evidence({}, self._now):
            _HEARD.write(heard)
        self._source.status()
        self._source.problem(self._now)
        if self._source.reader._messages._buffer or self._now > 500.0:
            self._begin()


class _Pipe:
    """The end of the reader's socket that the agent has; and an epoll of it."""

    came = b""

    def recv(self, _size: int) -> bytes:
        came, self.came = self.came, b""
        if not came:
            raise BlockingIOError
        return came

    def send(self, data: bytes) -> int:
        return len(data)

    def register(self, *_: object) -> None: ...
    def unregister(self, *_: object) -> None: ...
    def modify(self, *_: object) -> None: ...
    def close(self) -> None: ...


class _Index:
    """Addresses of one policy, and what it says of them."""

    def __init__(self) -> None:
        self.settings = {
            address: _Settings(
                Target(upstream="gtld", nameserver="a.", address=address, family=Family.of(address))
            )
            for address in _ADDRESSES
        }


@dataclass(frozen=True)
class _Settings:
    target: Target

    @property
    def policy(self) -> _Settings:
        return self

    zones = ("com.", ".")
    skew = 0.0


class _Nobody:
    """Who knows no keys."""

    trust = Trust()

    def trust_for(self, _zones: object, _server: object) -> Trust:
        return self.trust

    def miss(self, zone: str, _server: object) -> None: ...


def changed(draw: random.Random, text: bytes, splinters: Sequence[bytes]) -> bytes:
    """JSON with another value in some place, or some octets changed."""
    if draw.random() < 0.5:
        return mangled(draw, text, splinters)
    value = json.loads(text)
    for _ in range(1 + below(draw, 2)):
        value = _other(draw, value)
    return json.dumps(value).encode()


_VALUES: Final[tuple[object, ...]] = (
    None,
    True,
    0,
    -1,
    1 << 31,
    1 << 64,
    10**400,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "\ud800",
    "\0",
    "é∞",
    "x" * 2_000,
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    [1, 2, 3],
)


def _other(draw: random.Random, value: object) -> object:
    """The value with one part of it replaced, left out or doubled."""
    chance = draw.random()
    if isinstance(value, dict) and value and chance < 0.9:
        key = list(value)[below(draw, len(value))]
        if chance < 0.75:
            return {**value, key: _other(draw, value[key])}
        if chance < 0.83:
            return {other: item for other, item in value.items() if other != key}
        return {**value, ("more", "", "é", "\ud800")[below(draw, 4)]: value[key]}
    if isinstance(value, list) and value and chance < 0.9:
        at = below(draw, len(value))
        if chance < 0.75:
            return [*value[:at], _other(draw, value[at]), *value[at + 1 :]]
        return [*value[:at], *value[at + 1 :]] if chance < 0.83 else [*value, value[at]]
    return _VALUES[below(draw, len(_VALUES))]
