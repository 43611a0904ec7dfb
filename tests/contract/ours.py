"""Our verdict on a case: the key store's on its zone, then the classifier's on the answer."""

from __future__ import annotations

import time

import dns.message
import dns.name
import dns.rdatatype

from contract.authority import Authority
from contract.case import Case
from contract.words import Word
from steering.model import Kind, Question, Verdict
from steering.observe.dnssec import anchors
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.keys.chain import Resolvers, Unobtainable
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.parse import decode
from steering.observe.dnssec.response import classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust, name_of, text_of


class _Told(Resolvers):
    """A resolver that hands on what the servers say."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(["192.0.2.53"])
        self._authority = authority

    async def ask(self, name: str, rdtype: str, by: str | None = None) -> dns.message.Message:  # noqa: ARG002
        """What the zone says that has to, whoever is asked."""
        asked, kind = name_of(name), int(dns.rdatatype.from_text(rdtype))
        zone = self._authority.zone_of(asked, kind)
        wire = self._authority.reply(zone.address, asked, kind)
        if wire is None:
            raise Unobtainable(f"{name} {rdtype}: no answer")
        message = decode(wire)
        if isinstance(message, Classified):
            raise Unobtainable(f"{name} {rdtype}: {message.detail}")
        return message


class _Store(KeyStore):
    """A key store that asks the lab's servers alone."""

    def __init__(self, zone: str, held: anchors.Anchors, authority: Authority, wall: float) -> None:
        super().__init__([zone], held, ["192.0.2.53"], signatures=Signatures(), wall=lambda: wall)
        self._resolvers = self._delegations.resolvers = _Told(authority)


async def judged(case: Case, authority: Authority, held: anchors.Anchors) -> tuple[Word, str]:
    """The word on a case's answer, and what it rests on."""
    zone, wall = text_of(case.zone.apex), time.time()
    store = _Store(zone, held, authority, wall)
    await store.refresh(zone)
    trouble = store.troubles.get(zone, "")
    if trouble:
        return Word.REFUSED, f"keys: {trouble}"
    said = _of(case.wire, zone, case.name, case.rdtype, trust=store.trust, wall=wall)
    if not said[0].good:
        return said
    # An answer behind an alias is asked for by itself, by validators and by us, and judged there.
    for (name, rdtype), wire in case.others.items():
        if rdtype == case.rdtype:
            further = _of(wire, zone, name, rdtype, trust=store.trust, wall=wall)
            if not further[0].good:
                return further
    return said


def _of(
    wire: bytes, zone: str, name: dns.name.Name, rdtype: int, *, trust: Trust, wall: float
) -> tuple[Word, str]:
    kind = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rdtype))
    question = Question(zone=zone, name=text_of(name), rdtype=kind, kind=Kind.DENIAL)
    reading = classify(wire, question, 0, trust, wall=wall, skew=0.0, signatures=Signatures())
    text = f"{reading.outcome} {reading.detail}".strip()
    if not reading.judged:
        return Word.UNJUDGED, text
    good = reading.outcome.verdict is Verdict.GOOD
    return Word.ACCEPTED if good else Word.REFUSED, text
