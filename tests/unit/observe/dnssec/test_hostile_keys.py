"""What signatures, keys and digests of one answer may cost (KeyTrap, CVE-2023-50387).

Each is looked at as an answer to a question of ours, and as one that was overheard.
"""

from __future__ import annotations

import functools
import struct
import time
from collections.abc import Callable, Iterable
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.rrset
import pytest
from signedzone import DAY, NOW, Key, SignedZone, twin

from steering.model import Kind, Outcome, Question
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.parse import MOST_RECORDS
from steering.observe.dnssec.response import MOST_SIGNATURES, classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Keys, Trust
from steering.observe.traffic.classify import verify_response

GOOD: Final = (NOW - DAY, NOW + DAY)
SAFE: Final = dns.name.from_text("safe.com.")
DS: Final = Key(257).ds(SAFE)
MOST_KEYS: Final = 48
"""In a set that is believed (`keys`)."""


@functools.cache
def zone() -> SignedZone:
    """A zone with as many keys as can be believed, of one tag all but one."""
    made = SignedZone("com.")
    made.extra_keys = tuple(twin(made.zsk, number) for number in range(MOST_KEYS - 2))
    return made


@functools.cache
def trust() -> Trust:
    rdataset = dns.rdataset.from_rdata_list(3600, list(zone().dnskey()))
    assert len(rdataset) == MOST_KEYS
    keys = Keys(
        zone="com.", rdataset=rdataset, inception=NOW - DAY, expiration=NOW + DAY, checked=NOW
    )
    return Trust(secure={"com.": keys})


def response(
    name: str,
    rdtype: str,
    answers: Iterable[dns.rrset.RRset],
    authority: Iterable[dns.rrset.RRset] = (),
) -> bytes:
    query = dns.message.make_query(name, rdtype, want_dnssec=True, id=7)
    made = dns.message.make_response(query)
    made.answer, made.authority = list(answers), list(authority)
    made.flags |= dns.flags.AA if made.answer else 0
    return made.to_wire(max_size=65_535)


def misfits(rrset: dns.rrset.RRset, number: int) -> list[dns.rrset.RRset]:
    """An RRset with so many signatures, right but for the arithmetic."""
    good = zone().zsk.sign(rrset, zone().name, GOOD)
    bad = [good.replace(signature=(2**300 + n).to_bytes(64, "big")) for n in range(number)]
    return [rrset, dns.rrset.from_rdata_list(rrset.name, rrset.ttl, bad)]


def delegation(*digests: bytes) -> list[dns.rrset.RRset]:
    """A DS RRset of one good record and those, rightly signed."""
    rrset = dns.rrset.from_rdata(SAFE, 300, DS)
    for digest in digests:
        rrset.items[dns.rdata.GenericRdata(rrset.rdclass, rrset.rdtype, digest)] = None
    return [rrset, dns.rrset.from_rdata(SAFE, 300, zone().zsk.sign(rrset, zone().name, GOOD))]


def ds(digest_type: int, digest: bytes, number: int = 0) -> bytes:
    return struct.pack("!HBB", number, 13, digest_type) + digest


def referral(*digests: bytes) -> bytes:
    servers = dns.rrset.from_text("safe.com.", 300, "IN", "NS", "ns.safe.com.")
    return response("x.safe.com.", "A", (), [servers, *delegation(*digests)])


def address(number: int = 1) -> dns.rrset.RRset:
    texts = [f"192.0.{n // 250}.{n % 250}" for n in range(number)]
    return dns.rrset.from_text("www.com.", 300, "IN", "A", *texts)


def several(count: int, signatures: int) -> bytes:
    names = [f"n{number}.com." for number in range(count)]
    denial = [dns.rrset.from_text(n, 300, "IN", "NSEC", "z.com. A RRSIG NSEC") for n in names]
    soa = misfits(zone().soa(), 1)
    made = dns.message.from_wire(
        response("gone.com.", "A", (), [*soa, *(r for d in denial for r in misfits(d, signatures))])
    )
    made.flags |= dns.flags.AA
    return made.to_wire(max_size=65_535)


def keys(number: int, signatures: int) -> bytes:
    shown = [*zone().dnskey()]
    for n in range(number - len(shown)):
        tail = struct.pack("!H", n)
        shown.append(zone().zsk.dnskey.replace(key=zone().zsk.dnskey.key[:-2] + tail))
    rrset = dns.rrset.from_rdata_list("com.", 300, shown)
    return response("com.", "DNSKEY", misfits(rrset, signatures))


ASKED: Final = {
    "A": ("www.com.", Kind.WITNESS),
    "DNSKEY": ("com.", Kind.DNSKEY),
    "DS": ("safe.com.", Kind.DELEGATION),
    "gone": ("gone.com.", Kind.DENIAL),
    "below": ("x.safe.com.", Kind.WITNESS),
}
COSTLY: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "more signatures than are read": (
        "A",
        lambda: response("www.com.", "A", misfits(address(), 600)),
    ),
    "as many as are read": (
        "A",
        lambda: response("www.com.", "A", misfits(address(), MOST_SIGNATURES)),
    ),
    "the same over many records": (
        "A",
        lambda: response("www.com.", "A", misfits(address(340), MOST_SIGNATURES)),
    ),
    "over several RRsets": ("gone", lambda: several(6, 7)),
    "more keys than are read": ("DNSKEY", lambda: keys(600, 8)),
    "as many keys as are read": ("DNSKEY", lambda: keys(MOST_RECORDS - 50, MOST_SIGNATURES)),
    "digests of odd length": (
        "below",
        lambda: referral(*(ds(2, bytes(n % 90), n) for n in range(340))),
    ),
    "digests of all types": (
        "below",
        lambda: referral(*(ds(n % 256, bytes(32), n) for n in range(340))),
    ),
    "long digests": ("DS", lambda: response("safe.com.", "DS", delegation(ds(9, bytes(60_000))))),
}


def question(which: str) -> Question:
    name, kind = ASKED[which]
    return Question(zone="com.", name=name, rdtype=which if which.isupper() else "A", kind=kind)


def look(wire: bytes, which: str) -> Classified:
    held = Signatures()
    return classify(wire, question(which), 7, trust(), wall=NOW, skew=0, signatures=held)


@pytest.mark.parametrize(("which", "make"), COSTLY.values(), ids=COSTLY)
def test_no_answer_costs_more_than_a_moment(which: str, make: Callable[[], bytes]) -> None:
    """Each signature is tried with each key of its tag, of which there are 47.

    That takes 0.1 ms for one, and only MOST_TRIED signatures of an RRset and MOST_FAILED of an
    answer are tried.
    """
    wire, spent = make(), []
    assert len(wire) < 65_536
    for _ in range(3):
        began = time.thread_time()
        reading = look(wire, which)
        middle = time.thread_time()
        verify_response(
            wire, ["com."], trust(), wall=NOW, skew=0, signatures=Signatures(), secret=b"x"
        )
        spent.append((middle - began, time.thread_time() - middle))
    assert isinstance(reading, Classified)
    assert min(first for first, _ in spent) < 0.3, spent
    assert min(second for _, second in spent) < 0.3, spent


def test_digests_of_types_that_nobody_knows_do_not_matter_beside_a_good_one() -> None:
    odd = [ds(digest_type, bytes(20), digest_type) for digest_type in (5, 6, 7, 99, 255)]
    assert look(referral(*odd), "below").outcome is Outcome.SECURE
    assert look(response("safe.com.", "DS", delegation(*odd)), "DS").outcome is Outcome.SECURE
