"""The servers of a scenario, and a key store that asks nobody else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from peers.scenario import SECTIONS, Entry, Scenario
from steering.observe.dnssec import anchors
from steering.observe.dnssec.denial import NSEC, Cut, types
from steering.observe.dnssec.keys.chain import Resolvers, Unobtainable
from steering.observe.dnssec.keys.delegations import Delegations
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.keys.zone_entry import ZoneEntry as KeyEntry
from steering.observe.dnssec.signatures import RRSIG, Signatures
from steering.observe.dnssec.trust import Keys, name_of

_APEX = frozenset({dns.rdatatype.SOA, dns.rdatatype.DNSKEY, dns.rdatatype.DS, dns.rdatatype.NS})


_TURNS = 12


class Script:
    """What the servers of a scenario answer at one of its steps."""

    def __init__(self, scenario: Scenario, first: int, last: int) -> None:
        until = [held for held in scenario.ranges if held.first <= last]
        self._servers: dict[str, list[Entry]] = {}
        """What is given at these steps, by address."""
        self.troubled: list[Entry] = []
        for held in until:
            if held.last >= first:
                for address in held.addresses or ("any",):
                    self._servers.setdefault(address, []).extend(held.entries)
                self.troubled += [entry for entry in held.entries if entry.trouble]
        self._ever = [entry for held in until for entry in held.entries if not entry.trouble]
        self.cuts = frozenset(self._cuts())
        self.asked_ds = frozenset(e.name for e in self._ever if e.rdtype == dns.rdatatype.DS)
        """The names whose DS records somebody has to look for: they may be cuts."""

    def _cuts(self) -> Iterator[dns.name.Name]:
        """The names that are zones of their own, as far as one of the answers says so."""
        for entry in self._ever:
            for section in SECTIONS[:2]:
                for rrset in entry.sections[section]:
                    for rdata in rrset:
                        if rrset.rdtype in _APEX:
                            yield rrset.name
                        if isinstance(rdata, RRSIG):
                            yield rdata.signer
                        if isinstance(rdata, NSEC) and dns.rdatatype.NS in types(rdata):
                            yield rrset.name

    def answers(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, *, ever: bool = False
    ) -> list[dns.message.Message]:
        """What the servers say to a question: each the first entry that fits; or all that was
        `ever` said before. What a referral says of a DS is an answer too.
        """
        servers = [self._ever] if ever else self._servers.values()
        fitting = [[e for e in entries if e.answers(name, rdtype)] for entries in servers]
        given = [e for entries in fitting for e in (entries if ever else entries[:1])]
        usable = [entry for entry in given if not entry.trouble]
        made = [message_of(entry, name, rdtype) for entry in usable if not entry.referral]
        if rdtype == dns.rdatatype.DS:
            made += self._referred([e for entries in servers for e in entries], name)
        return made

    def denied(self, cut: dns.name.Name) -> list[dns.message.Message]:
        """What other answers say of what is not there: a resolver puts that together as well."""
        said = []
        for entry in self._ever:
            if entry.sections["AUTHORITY"] and not entry.referral:
                message = message_of(entry, cut, dns.rdatatype.DS)
                message.answer = []
                said.append(message)
        return said

    def _referred(self, entries: list[Entry], cut: dns.name.Name) -> Iterator[dns.message.Message]:
        for entry in entries:
            authority = entry.sections["AUTHORITY"]
            servers = {r.name for r in authority if r.rdtype == dns.rdatatype.NS}
            said = [r for r in authority if r.rdtype != dns.rdatatype.NS]
            if cut in servers and entry.referral and said and not entry.trouble:
                message = message_of(entry, cut, dns.rdatatype.DS)
                message.answer = [r for r in said if dns.rdatatype.DS in {r.rdtype, r.covers}]
                message.authority = [r for r in said if r not in message.answer]
                yield message


def message_of(
    entry: Entry, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> dns.message.Message:
    """An entry as the answer to a question.

    It is authoritative, whether the file says so or not: Unbound does not mind, and ours asks
    nobody but authoritative servers. And signatures that stand in another section than what they
    cover are put beside it, as Unbound does: no server sends such, but many of the files do.
    """
    query = dns.message.make_query(name, rdtype, want_dnssec=True, id=7)
    message = dns.message.make_response(query)
    message.flags |= dns.flags.AA
    message.set_rcode(entry.rcode)
    message.answer = list(entry.sections["ANSWER"])
    message.authority = list(entry.sections["AUTHORITY"])
    for rrset in entry.sections["ADDITIONAL"]:
        for section in (message.answer, message.authority):
            if rrset.covers and (rrset.name, rrset.covers) in {(r.name, r.rdtype) for r in section}:
                section.append(rrset)
    return message


class Told(Resolvers):
    """A resolver that hands on what the servers of a script say."""

    def __init__(self, script: Script) -> None:
        super().__init__(["192.0.2.53"])
        self._script = script
        self.rng: random.Random | None = None
        """Draws whose answer is handed on, where several give one. None: the best."""

    async def ask(
        self,
        name: str,
        rdtype: str,
        by: str | None = None,  # noqa: ARG002 - there is one
    ) -> dns.message.Message:
        """The answer that says most: records, then a denial by the zone above."""
        at, kind = name_of(name), dns.rdatatype.from_text(rdtype)
        said = [*self._script.answers(at, kind), *self._script.answers(at, kind, ever=True)]
        if kind == dns.rdatatype.DS and not said:
            said = self._script.denied(at)
        if not said:
            raise Unobtainable(f"{name} {rdtype}: the script has no answer")
        said.sort(key=lambda message: _about(message, at, kind), reverse=True)
        # As it would come: records of one set put together.
        best = self.rng.choice(said) if self.rng else said[0]
        return dns.message.from_wire(best.to_wire(max_size=65535))


def _about(
    message: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> int:
    """How much an answer says of what was asked, roughly."""
    held = {rrset.rdtype for rrset in message.answer if rrset.name == name}
    if rdtype in held:
        return 3
    if dns.rdatatype.CNAME in held:
        return 2
    return int(any(r.rdtype == dns.rdatatype.SOA and r.name != name for r in message.authority))


@dataclass(kw_only=True)
class Scripted(Delegations):
    """What the scripted parents say. A name that the script takes for no zone is no cut."""

    script: Script

    async def of(
        self, cut: dns.name.Name, parent: Keys, resolver: str, *, by_parent: bool
    ) -> KeyEntry | Cut:
        if cut not in self.script.cuts | self.script.asked_ds:
            return Cut.NONE
        return await Delegations.of(self, cut, parent, resolver, by_parent=by_parent)


class Store(KeyStore):
    """The key store, told by a script."""

    def __init__(self, zone: str, scenario: Scenario, script: Script, wall: float) -> None:
        super().__init__(
            [zone],
            held_by(scenario),
            ["192.0.2.53"],
            signatures=Signatures(),
            wall=lambda: wall,
        )
        self._told = self._resolvers = Told(script)
        self._delegations = Scripted(self._told, self._verifier, self._monotonic, script=script)

    def learn(self, zone: str) -> str:
        """Follows the chain to a zone; why it could not be, "" if it could.

        A resolver tries another server where one gives what it can't use.
        """
        for turn in range(_TURNS):
            self._told.rng = random.Random(turn) if turn else None
            asyncio.run(self.refresh(zone))
            if not self.troubles:
                break
        return self.troubles.get(zone, "")

    @property
    def retried(self) -> bool:
        """Whether the first answers did not do."""
        return self._told.rng is not None


def held_by(scenario: Scenario) -> anchors.Anchors:
    """The trust anchors that a scenario states, but for those that can't be read."""
    good = []
    for text in scenario.values("trust-anchor"):
        try:
            anchors.parse(text, source="the scenario")
        except anchors.AnchorError:
            continue
        good.append(text)
    return anchors.parse("\n".join(good), source="the scenario") if good else {}
