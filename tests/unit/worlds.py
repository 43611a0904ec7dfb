"""A small world for a key store: a root, com. and net. below it, and a resolver that knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from scripted import Server, serving
from signedzone import NOW, RRSIG, SignedZone

from steering.model import LOCAL
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys.chain import dnskeys
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures

HERE = ("192.0.2.1", LOCAL)
OTHER = ("192.0.2.2", LOCAL)
"""Servers, each over a path."""

Zones = Mapping[str, SignedZone]
Story = Callable[[KeyStore, "World"], Awaitable[None]]


class World:
    """A root, com. below it, and a resolver that knows both; its clock stands still."""

    def __init__(self, *, ds: bool = True, nsec3: bool = True, opt_out: bool = True) -> None:
        self.com = SignedZone("com.")
        self.net = SignedZone("net.")
        com_ds = (self.com.ksk.ds(self.com.name),) if ds else ()
        self.root = SignedZone(
            ".",
            children={"com": com_ds, "net": (self.net.ksk.ds(self.net.name),)},
            nsec3=nsec3,
            opt_out=opt_out,
        )
        self.wall: float = NOW
        self.monotonic = 1000.0
        self.dead = False
        self.twist: Callable[[dns.message.Message], None] = lambda _message: None

    def respond(self, wire: bytes, tcp: bool) -> Iterable[bytes]:
        if self.dead:
            return
        query = dns.message.from_wire(wire)
        asked = query.question[0]
        zone = self.root
        if asked.rdtype == dns.rdatatype.DNSKEY:
            zone = {"com.": self.com, "net.": self.net}.get(asked.name.to_text().lower(), self.root)
        answer = zone.answer(query)
        self.twist(answer)
        if not tcp and asked.rdtype == dns.rdatatype.DNSKEY:
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.TC
        yield answer.to_wire(max_size=65535)

    def play(
        self, story: Story, *, zones: Iterable[str] = ("com.",), anchor: str | None = None
    ) -> Server:
        """Runs a story with a key store whose resolver this world is."""
        server = Server("127.0.0.1", self.respond)
        held = anchors.parse(anchor or self.root.anchor_text, source="test")

        async def run() -> None:
            async with serving(server) as port:
                store = KeyStore(
                    zones,
                    held,
                    ["127.0.0.1"],
                    signatures=Signatures(),
                    timeout=0.2,
                    port=port,
                    wall=lambda: self.wall,
                    monotonic=lambda: self.monotonic,
                )
                await story(store, self)

        asyncio.run(run())
        return server


def shown(zone: SignedZone) -> tuple[dns.rrset.RRset, list[RRSIG]]:
    found = dnskeys(zone.ask(zone.text, "DNSKEY"), zone.text)
    assert found is not None
    return found


class Parent(World):
    """A resolver whose DS set is from its cache; the parent's server says the new one itself."""

    def __init__(self) -> None:
        super().__init__()
        self.old = self.root.children["com"]
        self.questions: list[tuple[str, str, bool]] = []

    def respond(self, wire: bytes, tcp: bool) -> Iterable[bytes]:
        query = dns.message.from_wire(wire)
        asked, recursive = query.question[0], bool(query.flags & dns.flags.RD)
        rdtype = dns.rdatatype.to_text(asked.rdtype)
        self.questions.append((asked.name.to_text().lower(), rdtype, recursive))
        if rdtype in {"NS", "A", "AAAA"}:
            answer = dns.message.make_response(query)
            text = {"NS": "ns.example.", "A": "127.0.0.1", "AAAA": "::1"}[rdtype]
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", rdtype, text))
            yield answer.to_wire()
            return
        if rdtype == "DS" and recursive:
            new, self.root.children = self.root.children, {**self.root.children, "com": self.old}
            answer = self.root.answer(query)
            answer = dns.message.from_wire(answer.to_wire())  # the zone's own stay as they are
            for rrset in answer.answer:
                rrset.ttl = 200  # of 300: it came a hundred seconds ago
            self.root.children = new
            yield answer.to_wire()
            return
        yield from super().respond(wire, tcp)

    def store(self, port: int) -> KeyStore:
        return KeyStore(
            ["com."],
            anchors.parse(self.root.anchor_text, source="test"),
            ["127.0.0.1"],
            signatures=Signatures(),
            timeout=0.2,
            port=port,
            parents_port=port,
            wall=lambda: self.wall,
            monotonic=lambda: self.monotonic,
        )
