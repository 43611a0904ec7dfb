"""What validators read and the parser refuses: names compressed in RDATA, odd DS records."""

from __future__ import annotations

import struct

import dns.dnssec
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.DS
import dns.rrset
import pytest
from responses import keys_of, question
from signedzone import NOW, Key, SignedZone

from steering.model import Kind, Outcome
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.parse import decode
from steering.observe.dnssec.response import classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.tolerated import tolerated
from steering.observe.dnssec.trust import Trust

DS = dns.rdtypes.ANY.DS.DS
CHILD = Key(257)
ODD = (0, 0x3F, 0xC0, 0xFF)
"""Octets that mean much in a name."""
RIGHT = CHILD.ds(dns.name.from_text("sub.com."))


def odd(kind: int, digest: bytes) -> DS:
    """A DS record that the library would not make."""
    made = RIGHT.replace(digest_type=255, digest=digest)
    assert isinstance(made, DS)
    object.__setattr__(made, "digest_type", kind)
    return made


def answer(*records: DS) -> bytes:
    """Asked for the DS of sub.com., signed as it stands."""
    zone = SignedZone("com.", children={"sub": records}, nsec3=False)
    wire = zone.ask("sub.com.", "DS").to_wire()
    asked = question("sub.com.", "DS", Kind.DELEGATION)
    trust = Trust(secure={"com.": keys_of(zone)})
    reading = classify(wire, asked, 7, trust, wall=NOW, skew=0, signatures=Signatures())
    assert reading.outcome is Outcome.SECURE, reading
    return wire


@pytest.mark.parametrize(
    ("kind", "digest"),
    [
        (0, b"\0"),
        (0, bytes(32)),
        (1, bytes(32)),
        (2, b""),
        (2, bytes(31)),
        (2, bytes(33)),
        (4, b"x"),
    ],
)
def test_a_digest_of_no_use_leaves_the_rrset_around_it_as_it_is(kind: int, digest: bytes) -> None:
    for records in ((RIGHT, odd(kind, digest)), (odd(kind, digest),)):
        read = decode(answer(*records))
        assert not isinstance(read, Classified)
        (held,) = [rrset for rrset in read.answer if rrset.rdtype == dns.rdatatype.DS]
        assert {(ds.digest_type, ds.digest) for ds in held} == {
            (ds.digest_type, ds.digest) for ds in records
        }


def compressed(*, onward: bool = False) -> tuple[bytes, SignedZone]:
    """An address with its signature, whose signer is a pointer to the name in the question."""
    zone = SignedZone("com.", nsec3=False)
    wire = bytearray(zone.ask("www.com.", "A").to_wire())
    signer = b"\3com\0"
    at = wire.rindex(signer)
    length = at - 20  # RDLENGTH, then 18 octets up to the signer (RFC 4034 3.1)
    (size,) = struct.unpack_from("!H", wire, length)
    struct.pack_into("!H", wire, length, size - len(signer) + 2)
    target = at + 40 if onward else 12 + len(b"\3www")
    wire[at : at + len(signer)] = struct.pack("!H", 0xC000 | target)
    return bytes(wire), zone


def test_a_compressed_signer_is_expanded() -> None:
    """RFC 3597 4: no server may send it, every receiver expands it."""
    wire, zone = compressed()
    with pytest.raises(Exception, match="forbidden"):
        dns.message.from_wire(wire)
    trust = Trust(secure={"com.": keys_of(zone)})
    asked = question("www.com.", "A", Kind.WITNESS)
    reading = classify(wire, asked, 7, trust, wall=NOW, skew=0, signatures=Signatures())
    assert reading.outcome is Outcome.SECURE, reading


def test_a_pointer_onward_is_still_refused() -> None:
    wire, _ = compressed(onward=True)
    with pytest.raises((dns.exception.DNSException, ValueError)):
        tolerated(wire)
    assert isinstance(decode(wire), Classified)


def test_a_message_that_the_parser_reads_is_the_same() -> None:
    """What is written anew says nothing else."""
    wire = (
        SignedZone("com.", children={"sub": (RIGHT,), "plain": ()})
        .ask("x.plain.com.", "A")
        .to_wire()
    )
    assert tolerated(wire) == dns.message.from_wire(wire)


def test_whatever_is_wrong_with_such_a_message_it_is_read_or_refused() -> None:
    """A stranger's octets end nothing: cut at each place, and each octet replaced."""
    wires = [compressed()[0], answer(RIGHT, odd(0, b"\0"))]
    read = 0
    for wire in wires:
        for at in range(len(wire)):
            for changed in (wire[:at], *(wire[:at] + bytes([o]) + wire[at + 1 :] for o in ODD)):
                read += not isinstance(decode(changed), Classified)
    assert read > 100
