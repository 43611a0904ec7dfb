"""Trust anchors: the DS and DNSKEY records from which validation starts.

A file holds records in zone-file form (RFC 1035 5.1) for any zones; Unbound's and BIND's
``root.key``, ``dnssec-signzone``'s ``dsset-`` files and ``dig +short``-less output all fit.
Without a file the root's anchors as IANA publishes them are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.tokenizer
import dns.ttl
from dns.rdtypes.dnskeybase import Flag

from steering.errors import WRONG_INPUT, CommandError
from steering.observe.dnssec.trust import below, text_of
from steering.system.files import read_regular

# https://data.iana.org/root-anchors/root-anchors.xml: KSK-2017 and KSK-2024.
IANA = """\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
"""


LARGEST = 1 << 20
"""Largest size of an anchor file in bytes."""


class AnchorError(CommandError):
    """A trust anchor file that can't be used: ``file:line: what is wrong, what is wanted``."""

    def __init__(self, because: str) -> None:
        super().__init__(WRONG_INPUT, because)

    @property
    def lines(self) -> tuple[str, ...]:
        """The problems with file and line, one each."""
        return self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The trusted keys of one zone's apex, or digests of them."""

    zone: str
    ds: tuple[dns.rdtypes.ANY.DS.DS, ...] = ()
    dnskey: tuple[dns.rdtypes.ANY.DNSKEY.DNSKEY, ...] = ()


Anchors = Mapping[str, Anchor]
"""Zone name -> its anchor."""


def built_in() -> Anchors:
    """The root zone's anchors as published by IANA."""
    return parse(IANA, source="built-in anchors")


def read(path: Path) -> Anchors:
    """The anchors in a file. Raises AnchorError if it can't be read or used."""
    try:
        text = read_regular(path, LARGEST).decode("ascii")
    except OSError as error:
        raise AnchorError(f"{path}: {error.strerror}; wanted DS or DNSKEY records") from error
    except UnicodeDecodeError as error:
        raise AnchorError(f"{path}: not a text file; wanted DS or DNSKEY records") from error
    return parse(text, source=str(path))


def parse(text: str, *, source: str) -> Anchors:
    """The anchors in a text. Raises AnchorError, with `source` as the file's name."""
    tokens = dns.tokenizer.Tokenizer(text, filename=source)
    found: dict[str, list[dns.rdata.Rdata]] = {}
    for first in _firsts(tokens, source):
        line = tokens.where()[1]
        try:
            owner, rdata = _record(tokens, first)
        except (dns.exception.DNSException, ValueError) as error:
            raise AnchorError(f"{source}:{line}: {_reason(error)}") from error
        found.setdefault(text_of(owner), []).append(rdata)
    if not found:
        raise AnchorError(f"{source}:1: no anchor in it; wanted DS or DNSKEY records")
    return {zone: _anchor(zone, rdatas) for zone, rdatas in found.items()}


def closest(anchors: Anchors, zone: dns.name.Name) -> Anchor | None:
    """The anchor at the zone, else at its nearest ancestor that has one."""
    enclosing = [
        anchor
        for anchor in anchors.values()
        if (apex := dns.name.from_text(anchor.zone)) == zone or below(apex, zone)
    ]
    return max(enclosing, key=lambda anchor: len(dns.name.from_text(anchor.zone)), default=None)


def _firsts(tokens: dns.tokenizer.Tokenizer, source: str) -> Iterator[dns.tokenizer.Token]:
    """The first token of each record, blank lines left out."""
    while True:
        line = tokens.where()[1]
        try:
            token = tokens.get(want_leading=True)
            if token.is_whitespace() and (after := tokens.get()).is_eol_or_eof():
                token = after  # an indented comment
            elif token.is_whitespace():
                tokens.unget(after)
        except dns.exception.DNSException as error:
            raise AnchorError(f"{source}:{line}: {_reason(error)}") from error
        if token.is_eof():
            return
        if not token.is_eol():
            yield token


def _record(
    tokens: dns.tokenizer.Tokenizer, first: dns.tokenizer.Token
) -> tuple[dns.name.Name, dns.rdata.Rdata]:
    if first.is_whitespace() or first.value.startswith("$"):
        raise ValueError("no owner; wanted a record that begins with its zone's name")
    owner = tokens.as_name(first, dns.name.root)
    word = tokens.get_string()
    if word[:1].isdigit():
        dns.ttl.from_text(word)
        word = tokens.get_string()
    if word.upper() == "IN":
        word = tokens.get_string()
    if word[:1].isdigit():  # the class may stand before the TTL
        dns.ttl.from_text(word)
        word = tokens.get_string()
    rdtype = dns.rdatatype.from_text(word)
    if rdtype not in {dns.rdatatype.DS, dns.rdatatype.DNSKEY}:
        raise ValueError(f"{word} record; wanted DS or DNSKEY")
    rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, tokens, dns.name.root, relativize=False)
    if isinstance(rdata, dns.rdtypes.ANY.DNSKEY.DNSKEY) and not rdata.flags & Flag.ZONE:
        raise ValueError("DNSKEY without the zone flag; wanted flags 257 or 256")
    return owner, rdata


def _anchor(zone: str, rdatas: Iterable[dns.rdata.Rdata]) -> Anchor:
    held = list(rdatas)
    return Anchor(
        zone=zone,
        ds=tuple(rdata for rdata in held if isinstance(rdata, dns.rdtypes.ANY.DS.DS)),
        # Unbound keeps a revoked key in its file for a while (RFC 5011 2.1): it is no anchor.
        dnskey=tuple(
            rdata
            for rdata in held
            if isinstance(rdata, dns.rdtypes.ANY.DNSKEY.DNSKEY) and not rdata.flags & Flag.REVOKE
        ),
    )


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__doc__ or type(error).__name__
    return text if "wanted" in text else f"{text.rstrip('.')}; wanted a DS or DNSKEY record"
