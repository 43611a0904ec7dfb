"""Answers of a signed com. as resolvers get them, and a verifier of samples of them."""

from __future__ import annotations

import functools
import random
import time
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from steering.lab.servers.answers import Answers, Asked
from steering.lab.servers.zone import FRESH, Fault, SignedZone, ZoneSpec, sign
from steering.lab.servers.zone import Keys as Signers
from steering.model import LOCAL, Heard
from steering.observe.dnssec.trust import Keys, Trust
from steering.observe.traffic.verify import SampledResponse, SampleVerifier

NOW = float(int(time.time()))
SIGNERS = Signers.fresh()
SPEC = ZoneSpec.like_com("com.", serial=int(NOW), count=60, secure=0.5)
ADDRESS = "192.5.6.30"


@functools.cache
def served(fault: Fault = FRESH) -> SignedZone:
    return sign(SPEC, SIGNERS, fault=fault)


def answer(zone: SignedZone, name: str, rdtype: str = "A", *, do: bool = True) -> bytes:
    asked = Asked.parse(dns.message.make_query(name, rdtype, want_dnssec=do).to_wire())
    assert asked is not None
    return Answers.of([zone]).reply(asked).render(asked, nsid=b"x", limit=65_535)


@dataclass
class Known:
    """Keys, as the store holds them."""

    trust: Trust
    missed: list[str] = field(default_factory=list)

    def trust_for(self, _zones: object, _server: object) -> Trust:
        return self.trust

    def miss(self, zone: str, _server: object) -> None:
        self.missed.append(zone)


def known(zone: SignedZone) -> Known:
    wire = answer(zone, "com.", "DNSKEY")
    rrset = next(r for r in dns.message.from_wire(wire).answer if r.rdtype == dns.rdatatype.DNSKEY)
    keys = Keys(zone="com.", rdataset=rrset, inception=NOW - 1, expiration=NOW + 1e6, checked=NOW)
    return Known(Trust(secure={"com.": keys}))


class Bench:
    """A second look with clocks of its own: nothing costs anything."""

    def __init__(self, keys: Known | None = None) -> None:
        self.keys = keys or known(served())
        self.now = 1000.0
        self.look = SampleVerifier(
            self.keys,
            wall=lambda: NOW,
            monotonic=lambda: self.now,
            cpu=lambda: 0.0,
            rng=random.Random(7),
        )

    def see(self, *messages: bytes, drawn: bool = True, turns: int = 1) -> list[Heard]:
        for message in messages:
            self.look.offer(
                SampledResponse(
                    address=ADDRESS,
                    path=LOCAL,
                    at=self.now,
                    message=message,
                    drawn=drawn,
                    zones=("com.",),
                    skew=0.0,
                )
            )
        for _ in range(2 * len(messages) + turns):
            self.look.work()
        return list(self.look.take())
