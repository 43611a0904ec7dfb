"""Dnstap payloads for tests: as Unbound writes them, odd ones, and how they are to be read."""

from __future__ import annotations

import importlib.util
import random
import struct
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import dns.name

from steering.observe.dnstap import counter

NOW: Final = 1_795_000_000
ADDRESS: Final = "192.5.6.30"
PACKED: Final = bytes([192, 5, 6, 30])
ZONES: Final = ("com.", "example.com.", ".")
SIGNERS: Final = [dns.name.from_text(zone).to_wire() for zone in ZONES]
APART: Final = ("net.", "com.")
"""Zones of which none lies in another."""


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes, *, wire: int | None = None) -> bytes:
    """One protobuf field: a varint, or bytes behind their length (`wire` 1 and 5: as they are)."""
    if isinstance(value, int):
        return varint(number << 3 | (wire or 0)) + varint(value)
    if wire in (1, 5):
        return varint(number << 3 | wire) + value
    return varint(number << 3 | 2) + varint(len(value)) + value


def payload(
    kind: int,
    *,
    message: bytes | None = None,
    query: bytes | None = None,
    address: bytes = PACKED,
    asked: bool = True,
    answered: bool = True,
    zone: bytes = b"\3com\0",
    identity: bytes = b"host",
) -> bytes:
    """A Dnstap as Unbound writes it."""
    inner = field(1, kind) + field(2, 1 if len(address) == 4 else 2) + field(3, 1)
    inner += field(4, b"\0" * len(address)) + field(5, address) + field(6, 40_000) + field(7, 53)
    if asked:
        inner += field(8, NOW) + field(9, b"\1\2\3\4", wire=5)
    if query is not None:
        inner += field(10, query)
    inner += field(11, zone)
    if message is not None:
        if answered:
            inner += field(12, NOW) + field(13, b"\1\2\3\4", wire=5)
        inner += field(14, message)
    return field(1, identity) + field(2, b"unbound 1.17.1") + field(14, inner) + field(15, 1)


def frame(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


# --- protobuf, said once more and slowly ----------------------------------------------------


def fields(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """Number, wire type and value of each field. Raises ValueError or IndexError."""
    found: list[tuple[int, int, int | bytes]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value = 0
        for place in range(10):
            byte = data[at]
            at += 1
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value
        raise ValueError

    while at < len(data):
        key = number()
        wire = key & 7
        value: int | bytes
        if wire == 0:
            value = number()
        elif wire in (1, 2, 5):
            length = {1: 8, 5: 4}.get(wire) or number()
            value = data[at : at + length]
            if len(value) < length:
                raise ValueError
            at += length
        else:
            raise ValueError
        if key < 8:
            raise ValueError
        found.append((key >> 3, wire, value))
    return found


def expected_frame(body: bytes) -> tuple[str, bytes | None]:
    """What a Dnstap is: query, forwarded, other, ignored, malformed, or a response."""
    try:
        top = fields(body)
        inner = [
            f for n, w, v in top if (n, w) == (14, 2) and isinstance(v, bytes) for f in fields(v)
        ]
    except (ValueError, IndexError):
        return "malformed", None
    said = {(n, w): v for n, w, v in top}
    if said.get((15, 0)) != 1:
        return "malformed", None
    said = {(n, w): v for n, w, v in inner}
    kind = said.get((1, 0))
    message = said.get((14, 2))
    if kind not in (3, 4, 7, 8):
        return "ignored", None
    if kind in (4, 8):
        if (8, 0) in said and (12, 0) not in said:
            return "ignored", None
        if not isinstance(message, bytes):
            return "malformed", None
    if said.get((5, 2)) != PACKED:
        return "other", None
    if kind in (4, 8):
        assert isinstance(message, bytes)
        return "response", message
    return "query" if kind == 3 else "forwarded", None


def odd_payload(draw: random.Random) -> bytes:
    """A Dnstap in the usual order or another, with fields left out, repeated, or of no sense."""
    address = draw.choice((PACKED, PACKED, bytes(16), b"", bytes(5)))
    query, message = draw.choice((None, bytes(40))), draw.choice((None, bytes(20), bytes(200)))
    usual = payload(
        draw.choice((3, 4, 4, 7, 8, 5, 6, 1)),
        query=query,
        message=message,
        address=address,
        asked=draw.random() < 0.9,
        answered=draw.random() < 0.9,
        identity=draw.choice((b"host", b"other")),
    )
    if draw.random() < 0.3:
        return usual
    top = fields(usual)
    inner = fields(next(v for n, _, v in top if n == 14 and isinstance(v, bytes)))
    odd = [(n, w, v) for n, w, v in inner if draw.random() < 0.95]
    extra: list[tuple[int, int, int | bytes]] = [
        (1, 0, draw.choice((3, 4, 2**31, 2**63))),
        (5, 2, draw.choice((PACKED, b"\1\2\3\4"))),
        (12, 0, 1),
        (8, 5, bytes(4)),
        (14, 0, 7),
        (14, 2, bytes(draw.choice((0, 1, 127, 128, 300)))),
        (draw.choice((15, 16, 99, 2**28)), 2, b"new"),
        (17, 1, bytes(8)),
    ]
    for one in extra:
        if draw.random() < 0.15:
            odd.insert(draw.randrange(len(odd) + 1), one)
    if draw.random() < 0.1:
        draw.shuffle(odd)

    def render(what: Sequence[tuple[int, int, int | bytes]]) -> bytes:
        return b"".join(field(n, v, wire=w) for n, w, v in what)

    top = [(n, w, render(odd) if n == 14 else v) for n, w, v in top]
    for one in ((15, 0, 2), (14, 2, render(odd[:3])), (3, 2, b"extra"), (14, 2, b"")):
        if draw.random() < 0.05:
            top.insert(draw.randrange(len(top) + 1), one)
    return render(top)


# --- builds of the walk ---


def interpreted() -> ModuleType:
    """The module as plain Python, whatever was compiled beside it."""
    return counter if counter.__file__.endswith(".py") else _loaded("interpreted")


def as_compiled() -> ModuleType:
    """The module in plain Python, with the branches that only the compiled one takes."""
    module = _loaded("as_compiled")
    vars(module)["_INTERPRETED"] = False
    return module


def _loaded(name: str) -> ModuleType:
    path = counter.__file__.partition(".")[0] + ".py"
    spec = importlib.util.spec_from_file_location(f"steering_dnstap_walk_{name}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def walker_of(module: ModuleType, zones: Sequence[str] = ZONES) -> Any:  # noqa: ANN401
    signers = [dns.name.from_text(zone).to_wire() for zone in zones]
    upstream = module.Upstream(ADDRESS, signers, 0)
    return module.FrameCounter({PACKED: upstream}, 1)


class Framed:
    """One build of the walk, asked about one Dnstap after the other."""

    def __init__(self, module: ModuleType, *, shortcut: bool = True) -> None:
        self.module = module
        self.walker = walker_of(module)
        (self.upstream,) = self.walker.upstreams.values()
        if not shortcut:
            self.walker._shortcut = lambda *_: False

    def verdict(self, body: bytes) -> tuple[str, bytes | None]:
        self.upstream.begin()
        self.walker.begin()
        chunk = frame(body) + frame(b"x")[:3]
        assert self.walker.walk(chunk, 0, NOW) == len(chunk) - 3
        counts = {
            "malformed": self.walker.malformed,
            "ignored": self.walker.ignored,
            "other": self.walker.other,
            "query": self.upstream.queries,
            "forwarded": self.upstream.forwarded,
            "response": self.upstream.responses,
        }
        (what,) = [what for what, count in counts.items() if count]
        return what, self.walker.drawn[0][1] if what == "response" else None


def compare_frame(body: bytes, builds: Sequence[Framed]) -> str:
    """What all agree on. Raises AssertionError where two differ."""
    wanted = expected_frame(body)
    for build in builds:
        found = build.verdict(body)
        assert found == wanted, f"{build.module.__file__}: {found} for {wanted}: {body.hex()}"
    return wanted[0]
