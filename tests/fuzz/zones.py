"""Whole zones: messages of a transfer, files of others, and the first line of a file of ours."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import dns.message
import dns.name
import dns.rdata

from fuzz.driver import Driver, Wrong
from fuzz.octets import mangled
from steering.observe.zone.facts import Copy, Digest, Question, ZoneFacts
from steering.observe.zone.messages import HEAD, packed, read_head
from steering.observe.zone.text import UnreadableZoneError, parsed
from steering.observe.zone.transfer import SilentSourceError, records_in

ID: Final = 4711
_TEXT: Final = """\
. 86400 IN SOA a.root. nstld. 7 1800 900 604800 86400
. 86400 IN NS a.root.
. 86400 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0d xCjjnopKl+GqJxpVXckHAeF+
. 86400 IN RRSIG NS 13 0 86400 20261214140514 20261201140514 19950 . MdsswUyr3DPW132mOi8V9w==
. 86400 IN NSEC a.root. NS SOA RRSIG NSEC DNSKEY ZONEMD TYPE65400
. 86400 IN ZONEMD 7 1 1 (
 000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f )
a.root. 60 IN A 192.0.2.1 ; a comment
x. 60 IN DS 1 13 2 000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f
x. 60 IN TYPE65400 \\# 3 010203
"""
_COPY: Final = Copy(
    facts=ZoneFacts(
        zone=".",
        serial=7,
        refresh=1800.0,
        retry=900.0,
        expire=604800.0,
        records=9,
        octets=900,
        expires=1.8e9,
        digest=Digest.VERIFIED,
        unknown_types=("TYPE65400",),
        algorithms=(13,),
        ends_with=(Question(name="x.", rdtype="DS"),),
    ),
    source="192.0.2.1",
    verified=1.7e9,
)


class _Mangled(Driver):
    def __init__(self, _seed: int) -> None:
        super().__init__()
        self._seeds = self.seeds()

    def message(self, draw: random.Random) -> bytes:
        return mangled(draw, draw.choice(self._seeds), self.splinters)


class Transfer(_Mangled):
    """Messages of an AXFR."""

    splinters = (b"\xc0\x0c", b"\0\xfc\0\1", b"\0\6\0\1", b"\0\3", b"\xff\xff", b"\0")

    def seeds(self) -> Sequence[bytes]:
        query = dns.message.make_query(".", "AXFR", id=ID)
        answer = dns.message.make_response(query)
        zone = parsed(_TEXT, ".", "seed")
        answer.answer = [zone.find_rrset(n, r.rdtype, r.covers) for n in zone for r in zone[n]]
        return [answer.to_wire(), dns.message.make_response(query).to_wire()]

    def take(self, message: bytes) -> None:
        try:
            for _, ttl, rdata in records_in(message, ID, dns.name.root):
                if not 0 <= ttl < 1 << 32 or not isinstance(rdata, dns.rdata.Rdata):
                    raise Wrong(f"{ttl} {rdata!r}")
        except (UnreadableZoneError, SilentSourceError) as error:
            str(error).encode()


class ZoneText(_Mangled):
    """Zone files."""

    splinters = (
        b"$TTL ",
        b"$INCLUDE /",
        b"$GENERATE 1-9 ",
        b"(",
        b'"',
        b"\\",
        b"@ ",
        b"CH ",
        b"*.",
    )

    def seeds(self) -> Sequence[bytes]:
        return [_TEXT.encode()]

    def take(self, message: bytes) -> None:
        try:
            zone = parsed(message.decode("ascii"), ".", "fuzzed")
        except (UnreadableZoneError, UnicodeDecodeError) as error:
            str(error).encode(errors="backslashreplace")
        else:
            if zone.get_soa() is None:
                raise Wrong("a zone without a SOA")


class Head(_Mangled):
    """The first line of a file of ours, which others may have written."""

    splinters = (b"null", b"-1", b"1e999", b"NaN", b"[]", b"{}", b'"', b"\n", HEAD.encode())

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._file = Path(self.closing.enter_context(tempfile.TemporaryDirectory())) / "zone"

    def seeds(self) -> Sequence[bytes]:
        return [(HEAD + json.dumps(packed(_COPY)) + "\n").encode()]

    def take(self, message: bytes) -> None:
        self._file.write_bytes(message)
        copy = read_head(self._file)
        if copy is not None and not isinstance(copy.best_before(), float):
            raise Wrong(f"best before {copy.best_before()!r}")
