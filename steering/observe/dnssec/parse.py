"""From the bytes of an answer to a message as resolvers read it, or the reason why it is none."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from steering.model import Classified, Question
from steering.observe.dnssec.classified import malformed
from steering.observe.dnssec.skim import skim
from steering.observe.dnssec.tolerated import tolerated
from steering.observe.dnssec.trust import name_of

MOST_RECORDS: Final = 400
"""More records than any real answer to a probe has; an answer with more is not parsed."""

_HEADER: Final = struct.Struct("!HHHHHH")


def parse(wire: bytes, question: Question, query_id: int) -> dns.message.Message | Classified:
    """The message in the bytes, or the outcome `malformed` with its reason."""
    if len(wire) >= _HEADER.size and int.from_bytes(wire[:2], "big") != query_id:
        return malformed("another query's id")
    message = decode(wire)
    if isinstance(message, Classified):
        return message
    if not message.question and message.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return message  # servers may leave the question out of an error
    if len(message.question) != 1 or not _same(message.question[0], question):
        return malformed("another question's answer")
    return _not_truncated(message)


def decode(wire: bytes) -> dns.message.Message | Classified:
    """The response in the bytes, to any question, or the reason why they are none."""
    if len(wire) < _HEADER.size:
        return malformed("shorter than a header")
    _, flags, *counts = _HEADER.unpack_from(wire)
    if not flags & dns.flags.QR:
        return malformed("a query, not a response")
    if flags & 0x7800:
        return malformed("another opcode than QUERY")
    if sum(counts) > MOST_RECORDS:
        return malformed(f"oversized: {sum(counts)} records")
    try:
        message = _read(skim(wire))
        message.rcode()
    except (IndexError, struct.error):
        return malformed("cut short")
    except (dns.exception.DNSException, ValueError) as error:
        return malformed(str(error) or type(error).__name__)
    return message


def _read(wire: bytes) -> dns.message.Message:
    """The message in skimmed bytes. Raises dns.exception.DNSException or ValueError."""
    try:
        message = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        message = _read_in_part(wire)
    records = sum(_HEADER.unpack_from(wire)[3:5])
    if sum(map(len, (*message.answer, *message.authority))) < records:
        _restore(message, wire)
    return message


def _read_in_part(wire: bytes) -> dns.message.Message:
    """The part that resolvers read, of bytes that the parser refuses. Raises as `_read`."""
    with suppress(dns.exception.DNSException, ValueError, struct.error, IndexError):
        return tolerated(wire)
    # Resolvers ignore records that they don't use, so unreadable records matter in the answer
    # section only. If that section can't be parsed by itself, this raises again.
    header = _HEADER.pack(*_HEADER.unpack_from(wire)[:4], 0, 0)
    dns.message.from_wire(header + wire[_HEADER.size :], ignore_trailing=True)
    return dns.message.from_wire(wire, continue_on_error=True)


def _restore(message: dns.message.Message, wire: bytes) -> None:
    """Restore records that the parser dropped: of two CNAMEs at one name it keeps the last.

    Both belong to one RRset, which a signature covers as a whole.
    """
    single = dns.message.from_wire(wire, one_rr_per_rrset=True, continue_on_error=True)
    for section, records in (
        (message.answer, single.answer),
        (message.authority, single.authority),
    ):
        held = {(rrset.name, rrset.rdtype, rrset.covers): rrset for rrset in section}
        for record in records:
            # The RRset's own method would first clear an RRset of such a type.
            held[record.name, record.rdtype, record.covers].items.update(record.items)


def _not_truncated(message: dns.message.Message) -> dns.message.Message | Classified:
    if message.flags & dns.flags.TC:
        return malformed("truncated")
    return message


def _same(asked: dns.rrset.RRset, question: Question) -> bool:
    return (
        asked.name == name_of(question.name)
        and asked.rdtype == dns.rdatatype.from_text(question.rdtype)
        and asked.rdclass == dns.rdataclass.IN
    )
