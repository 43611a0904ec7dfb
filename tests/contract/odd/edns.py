"""Oddities of the OPT record (RFC 6891)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import dns.name

from contract.draft import Opt, Record
from contract.kinds import (
    PROBED,
    Making,
    Stage,
    variant,
)

WIRE, RECORDS = Stage.WIRE, Stage.RECORDS


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


_OPTIONS: Final = {
    "NSID": _option(3, b"sin1"),
    "cookie": _option(10, bytes(range(24))),
    "padding": _option(12, bytes(100)),
    "unknown option": _option(65_001, b"what"),
    "EDE with text": _option(15, b"\0\x06stale"),
    "EDE twice": _option(15, b"\0\x06") + _option(15, b"\0\x07x"),
    "client subnet": _option(8, b"\0\1\x18\x18\xc0\0\2"),
    "forty options": _option(65_001, b"ab") * 40,
    "option code 0": _option(0, b""),
    "EDE of one octet": _option(15, b"\0"),
    "EDE that is no UTF-8": _option(15, b"\0\0\xff\xfe"),
    "cookie of one octet": _option(10, b"x"),
    "client subnet too short": _option(8, b"\0"),
    "client subnet of no family": _option(8, b"\0\7\x18\x18\xc0\0\2"),
    "keepalive of one octet": _option(11, b"x"),
    "option longer than the record": b"\0\3\0\x20ab",
    "half an option": b"\0\3\0",
}
for _name, _octets in _OPTIONS.items():

    def _optional(m: Making, octets: bytes = _octets) -> None:
        m.draft.opts[:1] = [Opt(options=octets)]

    variant("edns", _name, WIRE, PROBED)(_optional)

_OPTS: Final[dict[str, Callable[[], list[Opt]]]] = {
    "none": list,
    "version 1": lambda: [Opt(version=1)],
    "version 255": lambda: [Opt(version=255)],
    "DO missing": lambda: [Opt(flags=0)],
    "all flags": lambda: [Opt(flags=0xFFFF)],
    "twice": lambda: [Opt(), Opt()],
    "twice, another version": lambda: [Opt(), Opt(version=1)],
    "size 0": lambda: [Opt(size=0)],
    "size 65535": lambda: [Opt(size=65_535)],
    "not the root's": lambda: [Opt(owner=b"\1x\0")],
    "owner is a pointer": lambda: [Opt(owner=b"\xc0\x0c")],
}
for _name, _make in _OPTS.items():

    def _edns(m: Making, make: Callable[[], list[Opt]] = _make) -> None:
        m.draft.opts = make()

    variant("edns", _name, WIRE, PROBED)(_edns)


@variant("edns", "before the other additional records", WIRE, ("secure", "bare"))
def _first(m: Making) -> None:
    m.draft.opt_first = True


for _section in ("answer", "authority"):

    def _misplaced(m: Making, section: str = _section) -> None:
        m.draft.records[section].append(Record(dns.name.root, 41, 0x8000, b"", 1232))
        m.draft.opts = []

    variant("edns", f"in the {_section} section", RECORDS, PROBED)(_misplaced)
