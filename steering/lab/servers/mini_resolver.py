"""A small validating resolver, for machines without Unbound.

It answers on 127.0.0.1 port 53 by UDP. Each question goes to the zone's addresses in turn, from
sockets without a mark, so it takes the path of the host's own traffic. If an answer does not
validate, the next address is asked; after three tries the client gets SERVFAIL. Only keys are
cached. Referrals are not followed but passed on.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

from steering.lab.servers.mini_validator import BogusError, trusted_keys, validate
from steering.model import Instant

_TRIES = 3
_TIMEOUT = 0.6  # seconds for one try
_KEYS_LIVE = 3_600.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the resolver resolves: zones, their anchors (DS text) and their addresses."""

    anchors: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Settings:
        text = json.loads(path.read_text())
        return cls(
            anchors=tuple((zone, ds) for zone, ds in text["anchors"]),
            addresses=tuple(text["addresses"]),
        )

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


@dataclass(slots=True)
class Resolver:
    """Answers one question at a time; many threads may ask at once."""

    settings: Settings
    _turn: Iterator[str] = field(init=False)
    _keys: dict[dns.name.Name, tuple[Instant, dns.rrset.RRset]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._turn = itertools.cycle(self.settings.addresses)

    def resolve(self, query: dns.message.Message) -> dns.message.Message:
        """The answer for a client."""
        answer = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        zones = [(dns.name.from_text(zone), ds) for zone, ds in self.settings.anchors]
        enclosing = [(zone, ds) for zone, ds in zones if question.name.is_subdomain(zone)]
        if not enclosing:
            answer.set_rcode(dns.rcode.REFUSED)
            return answer
        zone, ds = max(enclosing, key=lambda found: len(found[0]))
        for _ in range(_TRIES):
            try:
                keys = self._keys_of(zone, ds)
                answer_ = self._ask(question.name, question.rdtype)
                validate(answer_, keys, now=time.time())
            except (BogusError, OSError, dns.exception.DNSException) as error:
                print(f"{question.name}: {error}", flush=True)
                continue
            answer.set_rcode(answer_.rcode())
            answer.flags |= dns.flags.AD
            answer.answer, answer.authority = answer_.answer, answer_.authority
            return answer
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer

    def _keys_of(self, zone: dns.name.Name, ds: str) -> dns.rrset.RRset:
        until, keys = self._keys.get(zone, (0.0, None))
        if keys is None or until < time.monotonic():
            answer_ = self._ask(zone, dns.rdatatype.DNSKEY)
            keys = trusted_keys(answer_, [ds], zone, now=time.time())
            self._keys[zone] = (time.monotonic() + _KEYS_LIVE, keys)
        return keys

    def _ask(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, want_dnssec=True, payload=1232)
        query.flags &= ~dns.flags.RD
        answer_, _ = dns.query.udp_with_fallback(query, next(self._turn), timeout=_TIMEOUT)
        if answer_.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise BogusError(dns.rcode.to_text(answer_.rcode()))
        return answer_


def serve(settings: Settings) -> None:
    """Answer until killed. Raises OSError if port 53 can't be bound."""
    resolver = Resolver(settings)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))

    def one(packet: bytes, peer: tuple[str, int]) -> None:
        try:
            query = dns.message.from_wire(packet)
            if query.question:
                udp.sendto(resolver.resolve(query).to_wire(max_size=4096), peer)
        except dns.exception.DNSException as error:
            print(f"{peer[0]}: {error}", flush=True)

    with ThreadPoolExecutor(32) as pool:
        while True:
            pool.submit(one, *udp.recvfrom(4096))


if __name__ == "__main__":
    serve(Settings.read(Path(sys.argv[1])))
