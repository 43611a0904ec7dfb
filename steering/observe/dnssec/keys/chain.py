"""Questions to resolvers for the chain from a trust anchor to a policy's zones.

They are asked with CD, and their answers are not trusted: the caller verifies them (key_store.py).
A resolver's cache may hold old records. Where that matters, the servers of the parent zone are
asked, whose addresses the resolver gives.
"""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.NS
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rrset

from steering.model import Kind, Question, Seconds
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.parse import parse
from steering.observe.dnssec.signatures import RRSIG
from steering.observe.dnssec.trust import name_of
from steering.observe.nonce import system_random
from steering.observe.probe.echo import Echo
from steering.observe.query import query, send_query
from steering.system.files import read_regular

_LARGEST = 1 << 20
"""Largest size of resolv.conf in bytes."""

_PARENTS: Final = 3
"""Servers of a parent zone that are asked."""


COPY: Final = "copy of the root zone"
"""In the place of a resolver's address: the copy that is kept on this host."""

FromCopy = Callable[[str, str], Awaitable[dns.message.Message | None]]
"""From a name and a type to an answer, to be verified like any other."""


class Lack(enum.StrEnum):
    """Why keys are missing, or what is wrong with them; each has its remedy."""

    ANCHOR = "anchor"
    RESOLVER = "resolver"
    UNREACHABLE = "unreachable"
    CHAIN = "chain"
    DS = "ds"
    SIGNATURE = "signature"
    ALGORITHM = "algorithm"
    SOURCES = "sources"
    SERVERS = "servers"


class Unobtainable(Exception):  # noqa: N818 - not a fault of this program; it names what is missing
    """A link of the chain that is not available now."""

    def __init__(self, because: str, lack: Lack = Lack.CHAIN) -> None:
        super().__init__(because)
        self.lack = lack


class Resolvers:
    """Several resolvers, asked in order until one answers; or one of them alone."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        timeout: Seconds = 2.0,
        port: int = 53,
        parents_port: int = 53,
        rng: random.Random | None = None,
        copy: FromCopy | None = None,
    ) -> None:
        """`timeout` is in seconds, for each resolver, and once more if TCP is needed. `copy` gives
        what a copy of a zone has, by the name COPY in the place of a resolver's address.
        """
        self.addresses = tuple(addresses)
        self.sources = self.addresses if copy is None else (*self.addresses, COPY)
        self._copy = copy
        self._parents_port = parents_port
        self._timeout, self._port = timeout, port
        self.latest = b""
        """The bytes of the latest answer."""
        self._rng = rng or system_random()
        self._echoes = {address: Echo() for address in self.addresses}

    def __bool__(self) -> bool:
        return bool(self.sources)

    async def ask(self, name: str, rdtype: str, by: str | None = None) -> dns.message.Message:
        """The first usable answer, of all resolvers or of `by`. Raises Unobtainable if none is."""
        reason = "no resolver to ask"
        for address in self.addresses if by is None else (by,):
            answer = await self._ask_one(name, rdtype, address)
            if isinstance(answer, dns.message.Message):
                return answer
            reason = answer
        raise Unobtainable(f"{name} {rdtype}: {reason}", Lack.UNREACHABLE)

    async def ask_parent(
        self, parent: str, name: str, rdtype: str, by: str
    ) -> tuple[dns.message.Message, str] | None:
        """The answer of a server of the parent zone, and its address; None if none answers.

        `by` is the resolver that is asked for the servers. Their names and addresses need not be
        verified, since their answer is. Takes at most three times the timeout.
        """
        servers = await self._records(parent, "NS", by)
        names = [r.target.to_text() for r in servers if isinstance(r, _NS)]
        chosen = self._rng.sample(names, min(_PARENTS, len(names)))
        wanted = [(server, family) for server in chosen for family in ("A", "AAAA")]
        held = await asyncio.gather(*(self._records(*each, by) for each in wanted))
        found = [r.address for records in held for r in records if isinstance(r, _IP)]
        answers = await asyncio.gather(
            *(self._ask_one(name, rdtype, at, recursive=False) for at in found[:_PARENTS])
        )
        for answer, address in zip(answers, found, strict=False):
            if isinstance(answer, dns.message.Message):
                return answer, address
        return None

    async def _records(self, name: str, rdtype: str, by: str) -> list[dns.rdata.Rdata]:
        """All records in the answer section; empty if no answer came."""
        answer = await self._ask_one(name, rdtype, by)
        if not isinstance(answer, dns.message.Message):
            return []
        return [record for rrset in answer.answer for record in rrset]

    async def _ask_one(
        self, name: str, rdtype: str, address: str, *, recursive: bool = True
    ) -> dns.message.Message | str:
        """The answer, or the reason why there is none."""
        if address == COPY and self._copy is not None:
            return await self._copy(name, rdtype) or f"not in the {COPY} at hand"
        question = Question(zone=name, name=name, rdtype=rdtype, kind=Kind.DNSKEY)
        query_id = self._rng.getrandbits(16)
        reply = await send_query(
            query(name, rdtype, recursive=recursive, rng=self._rng),
            query_id,
            address,
            time_limit=self._timeout,
            port=self._port if recursive else self._parents_port,
            echo=self._echoes[address] if recursive else Echo(),
        )
        if reply.wire is None:
            return f"{reply.detail} ({address})"
        self.latest = reply.wire
        message = parse(reply.wire, question, query_id)
        if isinstance(message, Classified):
            return f"{message.detail} ({address})"
        if message.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            return f"{dns.rcode.to_text(message.rcode())} ({address})"
        return message


_NS = dns.rdtypes.ANY.NS.NS
_IP = (dns.rdtypes.IN.A.A, dns.rdtypes.IN.AAAA.AAAA)


def system_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The addresses of the host's resolvers; none if the file is missing (resolv.conf(5))."""
    try:
        lines = read_regular(path, _LARGEST).decode(errors="replace").splitlines()
    except OSError:
        return ()
    words = [line.split() for line in lines]
    return tuple(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")


def dnskeys(message: dns.message.Message, zone: str) -> tuple[dns.rrset.RRset, list[RRSIG]] | None:
    """The zone's DNSKEY set in an answer and its signatures, as `KeyStore.offer` takes them."""
    rrset, rrsigs = answer_of(message, name_of(zone), dns.rdatatype.DNSKEY)
    return None if rrset is None else (rrset, rrsigs)


def answer_of(
    message: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> tuple[dns.rrset.RRset | None, list[RRSIG]]:
    """The RRset that was asked for, and the signatures over it."""
    for rrset in message.answer:
        if rrset.name == name and rrset.rdtype == rdtype:
            return rrset, signers_of(message.answer, rrset)
    return None, []


def signers_of(section: Iterable[dns.rrset.RRset], covered: dns.rrset.RRset) -> list[RRSIG]:
    """The signatures over an RRset that stand in the same section."""
    return [
        rdata
        for rrset in section
        if rrset.name == covered.name and rrset.covers == covered.rdtype
        for rdata in rrset
        if isinstance(rdata, RRSIG)
    ]
