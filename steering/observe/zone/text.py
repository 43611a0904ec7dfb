"""A zone as a file (RFC 1035 5.1): read with suspicion, written so that every loader reads it.

Types that some loader may not know by name are written in the form of RFC 3597, also where an RRSIG
or a bitmap names them: in October 2023 a resolver kept an outdated copy of the root for days since
it could not read one word. Each record is one line, in canonical order (RFC 4034 6.1).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.tokenizer
import dns.transaction
import dns.zone
import dns.zonefile

from steering.observe.zone.facts import EVERYWHERE, Copy
from steering.observe.zone.messages import HEAD, packed
from steering.system.files import read_regular

_NAMING: Final = {dns.rdatatype.RRSIG: 0, dns.rdatatype.NSEC: 1, dns.rdatatype.NSEC3: 5}
"""Records that name types in their text, and the number of the word from which on they do. In an
RRSIG it is that one word."""
_DIRECTIVES: Final = ("$ORIGIN", "$TTL")
"""Not $INCLUDE, which reads other files, and not $GENERATE, which makes records without end."""


class UnreadableZoneError(Exception):
    """The file, or the transfer, is no whole zone: what is wrong, and where."""


def read_zone(file: Path, name: str, at_most: int) -> tuple[dns.zone.Zone, int]:
    """The zone in a file of at most so many octets, and its octets. Raises UnreadableZoneError."""
    try:
        octets = read_regular(file, at_most)
    except OSError as error:
        raise UnreadableZoneError(f"{file}: {error.strerror}") from error
    try:
        return parsed(octets.decode("ascii"), name, str(file)), len(octets)
    except UnicodeDecodeError:
        raise UnreadableZoneError(f"{file}: is no text file") from None


def parsed(text: str, name: str, source: str) -> dns.zone.Zone:
    """The zone in a text; `source` is the file's name. Raises UnreadableZoneError."""
    zone = dns.zone.Zone(name, dns.rdataclass.IN, relativize=False)
    tokens = dns.tokenizer.Tokenizer(io.StringIO(text), filename=source)
    try:
        with zone.writer(replacement=True) as writer:
            writer.check_put_rdataset(_OneSoa())
            dns.zonefile.Reader(
                tokens, dns.rdataclass.IN, writer, allow_include=False, allow_directives=_DIRECTIVES
            ).read()
        zone.check_origin()
    except (dns.exception.DNSException, ValueError) as error:
        line = str(error) or type(error).__doc__ or type(error).__name__
        raise UnreadableZoneError(f"{source}: {line}") from error
    return zone


class _OneSoa:
    """Refuses a second SOA. The library would let it replace the first; a loader may not."""

    def __init__(self) -> None:
        self._seen: dns.rdata.Rdata | None = None

    def __call__(
        self,
        _: dns.transaction.Transaction,
        name: dns.name.Name,
        rdataset: dns.rdataset.Rdataset,
    ) -> None:
        if rdataset.rdtype != dns.rdatatype.SOA:
            return
        if self._seen is not None and rdataset[0] != self._seen:
            raise ValueError(f"a second SOA at {name}")
        self._seen = rdataset[0]


def write_zone(zone: dns.zone.Zone, copy: Copy) -> str:
    """The text of a file with these records, which begins with what is known of them."""
    lines = (line for name in sorted(zone.nodes) for line in _lines(zone, name))
    return "\n".join((HEAD + json.dumps(packed(copy)), *lines, ""))


def _lines(zone: dns.zone.Zone, name: dns.name.Name) -> Iterator[str]:
    owner = name.to_text()
    node = zone.nodes[name]
    # The SOA first, since some loaders want it so; signatures behind what they cover.
    for rdataset in sorted(node, key=lambda r: (r.rdtype != dns.rdatatype.SOA, _order(r))):
        for rdata in sorted(rdataset):
            yield f"{owner}\t{rdataset.ttl}\tIN\t{_record(rdata)}"


def _order(rdataset: dns.rdataset.Rdataset) -> tuple[int, bool]:
    covers = rdataset.covers
    return (int(covers or rdataset.rdtype), bool(covers))


def _record(rdata: dns.rdata.Rdata) -> str:
    """Type and data of one record."""
    word = dns.rdatatype.to_text(rdata.rdtype)
    if word not in EVERYWHERE:
        generic = rdata.to_generic()
        return f"TYPE{int(rdata.rdtype)}\t{generic.to_text()}"
    text = rdata.to_text()
    if (first := _NAMING.get(rdata.rdtype)) is not None:
        words = text.split(" ")
        last = first + 1 if rdata.rdtype == dns.rdatatype.RRSIG else len(words)
        words[first:last] = (type_word(each) for each in words[first:last])
        text = " ".join(words)
    return f"{word}\t{text}"


def type_word(word: str) -> str:
    """A type by the name that every loader knows, else as TYPE123 (RFC 3597 5)."""
    return word if word in EVERYWHERE else f"TYPE{int(dns.rdatatype.from_text(word))}"
