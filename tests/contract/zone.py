"""A zone that answers well: signed as it goes, by any algorithms, with NSEC or NSEC3.

Not for serving millions: every name is looked for in a list. What a mutation changes in a zone
(keys, parameters of its NSEC3 records, digests at its parent) it changes here before it is asked.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import dns.dnssec
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.DNAME import DNAME

from contract.keys import DAY, Key, Signed

A, NS, SOA, TXT = dns.rdatatype.A, dns.rdatatype.NS, dns.rdatatype.SOA, dns.rdatatype.TXT
DS, DNSKEY, RRSIG = dns.rdatatype.DS, dns.rdatatype.DNSKEY, dns.rdatatype.RRSIG
NSEC, NSEC3 = dns.rdatatype.NSEC, dns.rdatatype.NSEC3
_MOST_ALIASES: Final = 8


class Denial(enum.Enum):
    """How a zone shows what is not there."""

    NSEC = "NSEC"
    NSEC3 = "NSEC3"
    OPT_OUT = "NSEC3 with opt-out"
    EXACT = "NSEC for each name by itself"  # RFC 9824: it knows no other name
    NONE = "unsigned"


@dataclass
class Reply:
    """The sections of an answer."""

    rcode: int = dns.rcode.NOERROR
    authoritative: bool = True
    answer: list[Signed] = field(default_factory=list)
    authority: list[Signed] = field(default_factory=list)
    additional: list[Signed] = field(default_factory=list)


@dataclass
class Zone:
    """One zone. Dates are in UNIX seconds around `now`."""

    apex: dns.name.Name
    address: str
    now: int
    ksks: list[Key]
    zsks: list[Key]
    denial: Denial = Denial.NSEC
    salt: bytes = b""
    iterations: int = 0
    shown: list[Key] = field(default_factory=list)
    """Further keys in the DNSKEY RRset, which sign nothing."""
    sets: dict[dns.name.Name, dict[int, Signed]] = field(default_factory=dict)
    tampers: dict[tuple[dns.name.Name, int], Callable[[Signed], object]] = field(
        default_factory=dict
    )
    """What is done to an RRset, whenever it was signed."""
    _made: dict[tuple[dns.name.Name, int], Signed] = field(default_factory=dict)
    _hashes: list[tuple[bytes, dns.name.Name]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.add("@", "SOA", "ns host 1 1800 900 604800 300")
        self.add("@", "NS", "ns")
        self.add("ns", "A", self.address)

    def name(self, text: str) -> dns.name.Name:
        """A name in it."""
        return self.apex if text == "@" else dns.name.from_text(text, self.apex)

    def add(self, owner: str, rdtype: str, *rdatas: str, ttl: int = 3600) -> None:
        """Puts an RRset into it."""
        made = [
            dns.rdata.from_text("IN", rdtype, one, self.apex, relativize=False) for one in rdatas
        ]
        self.put(self.name(owner), made, ttl)

    def put(self, owner: dns.name.Name, rdatas: list[dns.rdata.Rdata], ttl: int = 3600) -> None:
        """The same with records that are made."""
        kind = int(rdatas[0].rdtype)
        self.sets.setdefault(owner, {})[kind] = Signed(owner, kind, ttl, rdatas)

    def delegate(self, label: str, address: str, ds: list[dns.rdata.Rdata]) -> None:
        """A zone below it, without DS if there is none."""
        self.add(label, "NS", f"ns.{label}")
        self.add(f"ns.{label}", "A", address)
        if ds:
            self.put(self.name(label), ds)

    def sign(self, rrset: Signed) -> Signed:
        """The RRset with the signatures that it has to have."""
        at = rrset.owner, rrset.rdtype
        if self.denial is Denial.NONE:
            return Signed(rrset.owner, rrset.rdtype, rrset.ttl, list(rrset.rdatas))
        if at not in self._made:
            made = Signed(rrset.owner, rrset.rdtype, rrset.ttl, list(rrset.rdatas), [], rrset.over)
            keys = self.ksks if rrset.rdtype == DNSKEY else self.zsks
            dates = self.now - DAY, self.now + 10 * DAY
            made.sigs = [key.sign(made, self.apex, *dates) for key in keys]
            if (tamper := self.tampers.get(at)) is not None:
                tamper(made)
            self._made[at] = made
        made = self._made[at]
        return Signed(
            made.owner, made.rdtype, made.ttl, list(made.rdatas), list(made.sigs), made.over
        )

    def keys(self) -> Signed:
        """Its DNSKEY RRset."""
        held = dict.fromkeys(key.dnskey for key in (*self.ksks, *self.zsks, *self.shown))
        return Signed(self.apex, DNSKEY, 3600, list(held))

    # --- answering ---------------------------------------------------------------------------

    def reply(self, name: dns.name.Name, rdtype: int) -> Reply:
        """The answer to a question about a name at or below the apex."""
        reply = Reply()
        for _ in range(_MOST_ALIASES):
            target = self._step(reply, name, rdtype)
            if target is None or not target.is_subdomain(self.apex):
                break
            name = target
        return reply

    def _step(self, reply: Reply, name: dns.name.Name, rdtype: int) -> dns.name.Name | None:
        """What is said of one name; the name that it leads on to."""
        cut = self.cut(name)
        if cut is not None and not (name == cut and rdtype == DS):
            if not reply.answer:
                self._refer(reply, cut)
            return None
        dname = next(
            (a for a in self._above(name) if dns.rdatatype.DNAME in self.sets.get(a, {})), None
        )
        if dname is not None:
            return self._redirect(reply, dname, name)
        held = self._at(name)
        over = None
        if held is None and not self._exists(name):
            closest = next(a for a in self._above(name) if self._exists(a))
            over = dns.name.Name((b"*", *closest.labels))
            held = self.sets.get(over)
            if held is None:
                reply.rcode = dns.rcode.NXDOMAIN
                self._deny(reply, self.no_name(name, closest, over))
                return None
        alias = dns.rdatatype.CNAME
        kind = alias if held and alias in held and rdtype != alias else rdtype
        if held and kind in held:
            found = self.sign(held[kind])
            if over is not None:
                found.owner, found.over = name, over
                reply.authority += self.not_closer(name, over)
            reply.answer.append(found)
            target = found.rdatas[0]
            return target.target if kind == alias and isinstance(target, CNAME) else None
        proof = self.at(name) if over is None else self.no_type_by(name, over)
        self._deny(reply, proof)
        return None

    def _refer(self, reply: Reply, cut: dns.name.Name) -> None:
        reply.authoritative = False
        servers = self.sets[cut][NS]
        reply.authority.append(Signed(cut, NS, servers.ttl, list(servers.rdatas)))
        if DS in self.sets[cut]:
            reply.authority.append(self.sign(self.sets[cut][DS]))
        else:
            reply.authority += self.at(cut)
        for rdata in servers.rdatas:
            glue = self.sets.get(dns.name.from_text(rdata.to_text()), {}).get(A)
            if glue:
                reply.additional.append(Signed(glue.owner, A, glue.ttl, list(glue.rdatas)))

    def _redirect(
        self, reply: Reply, dname: dns.name.Name, name: dns.name.Name
    ) -> dns.name.Name | None:
        found = self.sign(self.sets[dname][dns.rdatatype.DNAME])
        reply.answer.append(found)
        rdata = found.rdatas[0]
        assert isinstance(rdata, DNAME)
        target = name.relativize(dname).concatenate(rdata.target)
        cname = dns.rdata.from_text("IN", "CNAME", target.to_text())
        reply.answer.append(Signed(name, int(dns.rdatatype.CNAME), found.ttl, [cname]))
        return target

    def _deny(self, reply: Reply, proof: list[Signed]) -> None:
        reply.authority.append(self.sign(self.sets[self.apex][SOA]))
        reply.authority += proof

    def cut(self, name: dns.name.Name) -> dns.name.Name | None:
        """The delegation at or above a name."""
        around = [name, *self._above(name)]
        return next(
            (a for a in reversed(around) if a != self.apex and NS in self.sets.get(a, {})), None
        )

    def _at(self, name: dns.name.Name) -> dict[int, Signed] | None:
        held = self.sets.get(name)
        if name == self.apex and held is not None and self.denial is not Denial.NONE:
            held = held | {int(DNSKEY): self.keys()}
        return held

    def _above(self, name: dns.name.Name) -> list[dns.name.Name]:
        above = []
        while name != self.apex:
            name = name.parent()
            above.append(name)
        return above

    def _exists(self, name: dns.name.Name) -> bool:
        if self.denial is Denial.EXACT:
            return True
        return any(owner.is_subdomain(name) for owner in self.sets)

    # --- proofs ------------------------------------------------------------------------------

    def no_name(
        self, name: dns.name.Name, closest: dns.name.Name, wildcard: dns.name.Name
    ) -> list[Signed]:
        """That a name does not exist, and no wildcard for it."""
        longer = name.split(len(closest) + 1)[1]
        if self.denial is Denial.NSEC:
            return _unique([self.nsec(name), self.nsec(wildcard)])
        return self._hashed(closest, longer, wildcard)

    def not_closer(self, name: dns.name.Name, wildcard: dns.name.Name) -> list[Signed]:
        """That a wildcard had to answer."""
        if self.denial is Denial.NSEC:
            return [self.nsec(name)]
        return self._hashed(name.split(len(wildcard))[1])

    def no_type_by(self, name: dns.name.Name, wildcard: dns.name.Name) -> list[Signed]:
        """That the wildcard which answers has no such type."""
        if self.denial is Denial.NSEC:
            return _unique([self.nsec(name), self.nsec(wildcard)])
        return self._hashed(wildcard.parent(), name.split(len(wildcard))[1], wildcard)

    def at(self, name: dns.name.Name) -> list[Signed]:
        """What types an existing name has."""
        if self.denial in {Denial.NSEC, Denial.EXACT}:
            return [self.nsec(name)]
        if self.denial is Denial.OPT_OUT and name not in self._hashable():
            closest = next(a for a in self._above(name) if a in self._hashable())
            return self._hashed(closest, name.split(len(closest) + 1)[1])
        return self._hashed(name)

    def nsec(self, name: dns.name.Name) -> Signed:
        """The NSEC record at or before a name."""
        if self.denial is Denial.EXACT:
            owner, after = name, dns.name.Name((b"\0", *name.labels))
        else:
            owners = sorted(owner for owner in self.sets if self.cut(owner) in {None, owner})
            at = max(i for i, owner in enumerate(owners) if owner <= name)
            owner, after = owners[at], owners[(at + 1) % len(owners)]
        bitmap = " ".join([*self._bitmap(owner), "RRSIG", "NSEC"])
        rdata = dns.rdata.from_text("IN", "NSEC", f"{after} {bitmap}")
        return self.sign(Signed(owner, int(NSEC), 300, [rdata]))

    def _hashed(self, *names: dns.name.Name) -> list[Signed]:
        if self.denial is Denial.NONE:
            return []
        return _unique([self.nsec3(name) for name in names])

    def nsec3(self, name: dns.name.Name) -> Signed:
        """The NSEC3 record that matches or covers a name."""
        if not self._hashes:
            self._hashes = sorted((self.hash(one), one) for one in self._hashable())
        wanted = self.hash(name)
        at = max((i for i, (hashed, _) in enumerate(self._hashes) if hashed <= wanted), default=-1)
        low, owner = self._hashes[at]
        high, _ = self._hashes[(at + 1) % len(self._hashes)]
        types = self._bitmap(owner)
        bitmap = " ".join([*types, "RRSIG"] if types and types != ["NS"] else types)
        flags = int(self.denial is Denial.OPT_OUT)
        text = f"1 {flags} {self.iterations} {self.salt.hex() or '-'} {_b32(high)} {bitmap}"
        rdata = dns.rdata.from_text("IN", "NSEC3", text)
        return self.sign(Signed(self.name(_b32(low)), int(NSEC3), 300, [rdata]))

    def hash(self, name: dns.name.Name) -> bytes:
        """RFC 5155 5."""
        made = dns.dnssec.nsec3_hash(name, self.salt, self.iterations, 1)
        return base64.b32hexdecode(made)

    def _hashable(self) -> set[dns.name.Name]:
        """The names that NSEC3 speaks of: empty non-terminals too, insecure cuts as it is."""
        kept = set()
        for owner, held in self.sets.items():
            inside = self.cut(owner)
            hidden = self.denial is Denial.OPT_OUT and inside == owner and DS not in held
            if inside in {None, owner} and not hidden:
                kept |= {owner, *self._above(owner)}
        return kept

    def _bitmap(self, owner: dns.name.Name) -> list[str]:
        held = self._at(owner) or {}
        types = (
            sorted(held) if owner == self.apex or NS not in held else sorted({NS, DS} & held.keys())
        )
        return [dns.rdatatype.to_text(dns.rdatatype.RdataType.make(one)) for one in types]


def _unique(rrsets: list[Signed]) -> list[Signed]:
    return list({rrset.owner: rrset for rrset in rrsets}.values())


def _b32(digest: bytes) -> str:
    return base64.b32hexencode(digest).decode().lower()
