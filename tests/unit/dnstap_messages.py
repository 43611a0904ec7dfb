"""Responses that are meant to confuse who reads them: of some server, and after accidents."""

from __future__ import annotations

import random
import struct
from typing import Final

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from dnstap_frames import NOW


def rrsig(draw: random.Random, covers: str, signer: str, labels: int) -> str:
    """A signature's text; in nine of ten its dates are good."""
    inception, expiration = NOW - 3_600, NOW + 600_000
    match draw.randrange(20):
        case 0:
            inception, expiration = NOW - 700_000, NOW - draw.randrange(1, 90_000)
        case 1:
            inception, expiration = NOW + draw.randrange(1, 90_000), NOW + 700_000
        case 2 if draw.random() < 0.3:
            inception, expiration = (draw.getrandbits(32) for _ in range(2))
    algorithm = draw.choice((13, 13, 13, 13, 8, 15, 12, 200)) if draw.random() < 0.3 else 13
    tag = draw.randrange(65_536)
    signature = draw.choice(("AAAA", "AAAA" * 21 + "AAA="))
    dates = f"{expiration} {inception}"
    return f"{covers} {algorithm} {labels} 900 {dates} {tag} {signer} {signature}"


_NAMES: Final = (
    *("www.com.", "a.b.com.", "com.", "WWW.Com.", "x.sub.com.", "sub.com.", "example.com."),
    *(
        "www.example.com.",
        "com.example.com.",
        "x.moved.com.",
        ".",
        "net.",
        "x.org.",
        "\\003com.com.",
    ),
)
_RDATA: Final = {
    "A": ("192.0.2.1", "192.0.2.2"),
    "DS": (f"1 13 2 {'ab' * 32}",),
    "NS": ("ns.com.", "ns.example.com.", "ns.org."),
    "SOA": ("a.nic.com. host.com. 7 1 2 3 4", "a.nic.com. host.com. 8 1 2 3 4"),
    "CNAME": ("www.com.", "sub.com.", "x.org.", "a.example.com.", "x.target.com.", "x.moved.com."),
    "DNAME": ("target.com.", "org.", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 40}.com."),
    "NSEC": ("zzz.com. NS",),
    "NSEC3": (f"1 1 0 - {'0' * 32} NS",),
    "TXT": ('"' + "\\000\\046\\000\\001" * 3 + '"',),
    "DNSKEY": ("256 3 13 " + "AAAA" * 22,),
    "TYPE65280": (r"\# 4 002e0001",),
}


class _Maker:
    """One response, record by record."""

    def __init__(self, draw: random.Random, answer: dns.message.Message, zone: str) -> None:
        self.draw, self.answer, self.zone = draw, answer, zone

    def put(self, section: list[dns.rrset.RRset], owner: str, rdtype: str) -> None:
        """One RRset, mostly with a signature behind it."""
        chance = self.draw.random
        texts = _RDATA.get(rdtype, _RDATA["TXT"])
        if rdtype not in _RDATA:
            rdtype = "TXT"
        texts = texts if chance() < 0.1 else (self.draw.choice(texts),)
        section += [dns.rrset.from_text(owner, 900, "IN", rdtype, text) for text in texts]
        where = section if chance() < 0.97 else self.draw.choice(self.sections)
        for _ in range((1, 1, 1, 1, 1, 1, 1, 2, 0)[self.draw.randrange(9)]):
            signer = self.zone
            if chance() < 0.1:
                signer = self.draw.choice(("com.", "COM.", "example.com.", ".", "org.", "sub.com."))
            labels = owner.count(".") if owner != "." else 0
            labels -= (chance() < 0.1 and labels > 0) + owner.startswith("*")
            covers = rdtype if chance() < 0.98 else "A"
            text = rrsig(self.draw, covers, signer, labels)
            where.append(dns.rrset.from_text(owner, 900, "IN", "RRSIG", text))

    @property
    def sections(self) -> tuple[list[dns.rrset.RRset], ...]:
        return self.answer.answer, self.answer.authority, self.answer.additional

    def denial(self, name: str) -> None:
        beside, zone = self.answer.authority, self.zone
        kind = self.draw.choice(("NSEC", "NSEC3"))
        owners = [f"{n * 8}.{zone.lstrip('.')}" for n in ("0abc", "1def", "2ghi")]
        if kind == "NSEC":
            owners = [name, zone, "a.com."]
        for owner in owners[: self.draw.randrange(4)]:
            self.put(beside, owner, kind)

    def fill(self, name: str, rdtype: str) -> None:
        """What a server might answer to this question."""
        draw, answer = self.draw, self.answer
        kind = draw.randrange(7)
        if kind < 2:
            self.put(answer.answer, name, rdtype)
            if draw.random() < 0.3:
                self.put(answer.authority, self.zone, "NS")
            if draw.random() < 0.1:
                self.denial(name)
        elif kind == 2:
            self.put(answer.answer, name, "CNAME")
            if draw.random() < 0.5:
                self.put(answer.answer, draw.choice(_RDATA["CNAME"]), rdtype)
        elif kind == 3:
            above = name.partition(".")[2] or "."
            self.put(answer.answer, draw.choice((above, "moved.com.", name)), "DNAME")
            text = f"{name.partition('.')[0] or 'x'}.target.com."
            answer.answer.append(dns.rrset.from_text(name, 900, "IN", "CNAME", text))
            if draw.random() < 0.4:
                self.put(answer.answer, text, rdtype)
        elif kind == 4:
            cut = draw.choice((name, name, name.partition(".")[2] or ".", "sub.com.", self.zone))
            answer.flags &= ~dns.flags.AA
            for text in _RDATA["NS"][:2]:
                answer.authority.append(dns.rrset.from_text(cut, 900, "IN", "NS", text))
            if draw.random() < 0.5:
                self.put(answer.authority, cut, "DS")
            if draw.random() < 0.6:
                self.denial(cut)
        else:
            answer.set_rcode(dns.rcode.Rcode(draw.choice((0, 3))))
            later = draw.random() < 0.3
            if later:
                self.denial(name)
            if draw.random() < 0.9:
                self.put(answer.authority, self.zone, "SOA")
            if not later:
                self.denial(name)


def message(draw: random.Random) -> bytes:
    """A response of some server, with what no server would put in it."""
    chance = draw.random
    name = draw.choice(_NAMES)
    rdtype = draw.choice(("A", "A", "A", "DS", "DNSKEY", "CNAME", "ANY", "RRSIG", "NSEC", "DNAME"))
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    query.id = draw.getrandbits(16)
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.AA
    around = [z for z in ("example.com.", "com.", ".") if name.lower().endswith(z.lstrip("."))]
    zone = around[0] if around and chance() < 0.9 else draw.choice(("com.", ".", "sub.com."))
    maker = _Maker(draw, answer, zone)
    maker.fill(name, rdtype)
    while chance() < 0.25:
        section = maker.sections[draw.choice((0, 1, 1, 2))]
        maker.put(section, draw.choice(_NAMES), draw.choice(tuple(_RDATA)))
    if chance() < 0.05:
        maker.fill(draw.choice(_NAMES), rdtype)
    if chance() < 0.1:
        draw.shuffle(answer.answer)
        draw.shuffle(answer.authority)
    if chance() < 0.05:
        answer.flags ^= draw.choice((dns.flags.AA, dns.flags.TC))
    if chance() < 0.1:
        answer.set_rcode(dns.rcode.Rcode(draw.choice((0, 3, 2, 5, 6))))
    return answer.to_wire(max_size=65_535)


_SPLINTERS: Final = (
    b"\0\x2e\0\1",
    b"\xc0\x0c",
    b"\xc0\x00",
    b"\xff\xff",
    b"\0\0",
    b"\3com\0",
    b"\0",
    b"\x3f",
    b"\x40",
    b"\0\6\0\1",
    b"\xc0",
)


def mutated(draw: random.Random, wire: bytes) -> bytes:
    """The message after a few accidents."""
    out = bytearray(wire)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(out) + 1)
        match draw.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(out):
                out[at] = draw.randrange(256)
            case 2:
                del out[at:]
            case 3:
                splinter = draw.choice(_SPLINTERS)
                out[at : at + len(splinter)] = splinter
            case 4:
                out[at:at] = draw.choice(_SPLINTERS)
            case 5:  # a pointer to anywhere
                out[at : at + 2] = struct.pack(
                    "!H", 0xC000 | draw.randrange(len(out) + 20) & 0x3FFF
                )
            case 6 if len(out) > 12:
                out[draw.randrange(4, 12)] = draw.choice((0, 1, 2, 3, 255))
            case _:
                del out[at : at + draw.randrange(1, 5)]
        if not out:
            break
    return bytes(out)
