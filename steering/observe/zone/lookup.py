"""Answers from the copy of a zone that is kept here, for the agent's own validation alone.

When no resolver answers, the root's DNSKEY set and the DS sets below it are still at hand. The
answer is made of the file's lines as a server would make it, and is verified like any other: the
file proves nothing by itself. A copy past its date is not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset

from steering.model import WallTime
from steering.observe.dnssec.trust import name_of
from steering.observe.zone.facts import LIMITS
from steering.observe.zone.messages import read_head
from steering.system.files import read_regular
from steering.system.side_thread import aside

_MOST: Final = 100
"""Records of one name that are read."""


@dataclass(frozen=True, slots=True)
class ZoneFile:
    """The kept copy of a zone."""

    file: Path
    zone: str = "."
    wall: Callable[[], WallTime] = time.time

    async def ask(self, name: str, rdtype: str) -> dns.message.Message | None:
        """The records of a name, or the NSEC that denies them, with their signatures.

        None: there is no copy that may be used now, or it has neither.
        """
        return await aside(lambda: self._answer(name_of(name), rdtype))

    def _answer(self, name: dns.name.Name, rdtype: str) -> dns.message.Message | None:
        copy = read_head(self.file)
        if copy is None or not copy.verified <= self.wall() < copy.best_before():
            return None
        try:
            age = int(self.wall() - copy.verified)
            found = _records(read_regular(self.file, LIMITS.octets), name, age)
        except (OSError, ValueError, dns.exception.DNSException):
            return None
        wanted = dns.rdatatype.from_text(rdtype)
        message = dns.message.make_response(dns.message.make_query(name, wanted))
        message.flags |= dns.flags.AA
        types = {rrset.rdtype for rrset in found}
        section, of = (message.answer, wanted) if wanted in types else (message.authority, _NSEC)
        section += [r for r in found if of in (r.rdtype, r.covers)]
        return message if section else None


_NSEC: Final = dns.rdatatype.NSEC


def _records(octets: bytes, name: dns.name.Name, age: int) -> list[dns.rrset.RRset]:
    """The RRsets of a name in a file of ours, where they stand in lines one after another.

    As in a cache, their TTL is less by their age in seconds: it tells how old they are. Raises
    dns.exception.DNSException, ValueError.
    """
    mark = b"\n" + name.to_text().encode() + b"\t"
    at, rrsets = octets.find(mark), dict[tuple[int, int], dns.rrset.RRset]()
    for _ in range(_MOST):
        if at < 0 or not octets.startswith(mark, at):
            break
        end = octets.find(b"\n", at + 1)
        if end < 0:
            raise ValueError("the last line is cut")
        _, ttl, _, kind, text = octets[at + 1 : end].decode("ascii").split("\t", 4)
        rdata = dns.rdata.from_text("IN", kind, text, relativize=False)
        key = (int(rdata.rdtype), int(rdata.covers()))
        rrset = rrsets.setdefault(
            key, dns.rrset.RRset(name, rdata.rdclass, rdata.rdtype, rdata.covers())
        )
        rrset.add(rdata, max(0, int(ttl) - age))
        at = end
    return list(rrsets.values())
