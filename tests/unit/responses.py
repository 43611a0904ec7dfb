"""Questions to a signed com., its keys, and what an answer of it is read as."""

from __future__ import annotations

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.node
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.rrset
from signedzone import DAY, NOW, Key, SignedZone

from steering.model import Kind, Question
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.response import classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Keys, Trust

COM_CHILD = Key(257).ds(dns.name.from_text("safe.com."))


def com(**more: object) -> SignedZone:
    children = {"safe": (COM_CHILD,), "plain": ()}
    return SignedZone("com.", children=children, **more)  # type: ignore[arg-type]


def keys_of(zone: SignedZone, checked: float = NOW) -> Keys:
    return Keys(
        zone=zone.text,
        rdataset=dns.rdataset.from_rdata_list(3600, list(zone.dnskey())),
        inception=NOW - DAY,
        expiration=NOW + DAY,
        checked=checked,
    )


def question(name: str, rdtype: str, kind: Kind, zone: str = "com.") -> Question:
    return Question(zone=zone, name=name, rdtype=rdtype, kind=kind)


SOA = question("com.", "SOA", Kind.SOA)
DNSKEY = question("com.", "DNSKEY", Kind.DNSKEY)
DENIAL = question("f3kq0zx71abcde.com.", "A", Kind.DENIAL)
SIGNED_CHILD = question("safe.com.", "DS", Kind.DELEGATION)
PLAIN_CHILD = question("plain.com.", "DS", Kind.DELEGATION)
EVERY = (SOA, DNSKEY, DENIAL, SIGNED_CHILD, PLAIN_CHILD)


def read(
    message: dns.message.Message | bytes,
    asked: Question,
    zone: SignedZone | None,
    *,
    wall: float = NOW,
    skew: float = 0.0,
    trust: Trust | None = None,
) -> Classified:
    wire = message if isinstance(message, bytes) else message.to_wire(max_size=65535)
    if trust is None:
        trust = Trust(secure={zone.text: keys_of(zone)} if zone else {})
    return classify(wire, asked, 7, trust, wall=wall, skew=skew, signatures=Signatures())


def ask(zone: SignedZone, asked: Question) -> dns.message.Message:
    return zone.ask(asked.name, asked.rdtype)
