"""Questions to resolvers, for what lies between a trust anchor and a policy's zones.

They are asked with CD and never believed: who asks verifies (keys.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from steering.model import Kind, Question, Seconds
from steering.observe.ask import inquire, query
from steering.observe.classify import Reading, parse
from steering.observe.signatures import RRSIG
from steering.observe.trust import name_of
from steering.system.files import read_regular

_LARGEST = 1 << 20
"""Bytes of resolv.conf that are still read."""


class Unobtainable(Exception):  # noqa: N818 - it is the world's fault, and says what is missing
    """A link of the chain that could not be had just now."""


class Resolvers:
    """Some resolvers, asked in order until one answers."""

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        timeout: Seconds = 2.0,
        port: int = 53,
        rng: random.Random | None = None,
    ) -> None:
        """`timeout` is in seconds, for each resolver, and again where it takes TCP."""
        self._addresses = tuple(addresses)
        self._timeout, self._port = timeout, port
        self._rng = rng or random.Random()
        self.latest = b""
        """The latest answer, whatever is in it."""

    def __bool__(self) -> bool:
        return bool(self._addresses)

    async def ask(self, name: str, rdtype: str) -> dns.message.Message:
        """The first usable answer. Raises Unobtainable if no resolver has one."""
        question = Question(zone=name, name=name, rdtype=rdtype, kind=Kind.DNSKEY)
        trouble = "no resolver to ask"
        for address in self._addresses:
            query_id = self._rng.getrandbits(16)
            reply = await inquire(
                query(name, rdtype, recursive=True),
                query_id,
                address,
                patience=self._timeout,
                port=self._port,
            )
            if reply.wire is None:
                trouble = f"{reply.detail} ({address})"
                continue
            self.latest = reply.wire
            message = parse(reply.wire, question, query_id)
            if isinstance(message, Reading):
                trouble = f"{message.detail} ({address})"
            elif message.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
                return message
            else:
                trouble = f"{dns.rcode.to_text(message.rcode())} ({address})"
        raise Unobtainable(f"{name} {rdtype}: {trouble}")


def system_resolvers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The resolvers of the host, none where the file is missing (resolv.conf(5))."""
    try:
        lines = read_regular(path, _LARGEST).decode(errors="replace").splitlines()
    except OSError:
        return ()
    words = [line.split() for line in lines]
    return tuple(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")


def dnskeys(message: dns.message.Message, zone: str) -> tuple[dns.rrset.RRset, list[RRSIG]] | None:
    """The zone's DNSKEY set in an answer, with its signatures: what `KeyStore.offer` takes."""
    rrset, rrsigs = answer_of(message, name_of(zone), dns.rdatatype.DNSKEY)
    return None if rrset is None else (rrset, rrsigs)


def answer_of(
    message: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> tuple[dns.rrset.RRset | None, list[RRSIG]]:
    """The RRset that was asked for, with the signatures over it."""
    for rrset in message.answer:
        if rrset.name == name and rrset.rdtype == rdtype:
            return rrset, signers_of(message.answer, rrset)
    return None, []


def signers_of(section: Iterable[dns.rrset.RRset], covered: dns.rrset.RRset) -> list[RRSIG]:
    """The signatures over an RRset in its section."""
    return [
        rdata
        for rrset in section
        if rrset.name == covered.name and rrset.covers == covered.rdtype
        for rdata in rrset
        if isinstance(rdata, RRSIG)
    ]
