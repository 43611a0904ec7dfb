"""What a resolver must say of a question, and what ours says of the answers that lead there."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from peers.scenario import Pair, Scenario
from peers.script import Script, Store, held_by
from steering.model import Kind, Outcome, Verdict
from steering.observe.dnssec.aliases import chain_of, signatures_in
from steering.observe.dnssec.anchors import closest
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.parse import decode
from steering.observe.dnssec.response import weigh
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust, name_of, text_of


class Word(enum.Enum):
    """What a client is told."""

    SECURE = "secure"
    GOOD = "good"
    BOGUS = "bogus"


class Excluded(Exception):  # noqa: N818 - nothing is wrong with it
    """A pair that says nothing of authoritative answers and DNSSEC."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One pair: the word of the peer, ours, and what ours rests on."""

    wanted: Word
    ours: Word
    because: str

    @property
    def agree(self) -> bool:
        """Good where the client gets the answer, secure where it gets it with AD."""
        if self.wanted is Word.GOOD:
            return self.ours is not Word.BOGUS
        return self.ours is self.wanted


OWN_DATA = (
    "local-zone",
    "local-data",
    "rpz-log",
    "zonefile",
    "zonemd-check",
    "val-permissive-mode",
    "serve-expired",
    "dns64-prefix",
    "respip",
    "response-ip",
    "harden-algo-downgrade",
    "harden-dnssec-stripped",
)
"""Options by which a resolver answers out of something else than what servers say."""


def compare(scenario: Scenario, pair: Pair) -> Compared:
    """One question of a scenario. Raises Excluded with the reason."""
    wanted = _wanted(scenario, pair)
    wall = scenario.wall
    if wall is None:
        raise Excluded("no date is stated")
    script = Script(scenario, pair.first, pair.last)
    case = Case(scenario, script, wall)
    heard = list(_follow(case, pair.asked.name, pair.asked.rdtype))
    if not heard:
        broken = [e for e in script.troubled if e.answers(pair.asked.name, pair.asked.rdtype)]
        raise Excluded(broken[0].trouble if broken else "no server of the script answers it")
    because = "; ".join(text for _, text in heard)
    words = {word for word, _ in heard}
    if wanted is Word.BOGUS and case.mixed and Word.BOGUS not in words:
        raise Excluded("some of its servers are good, and the peer does not get there")
    for word in (Word.BOGUS, Word.GOOD):
        if word in words:
            return Compared(wanted, word, because)
    return Compared(wanted, Word.SECURE, because)


def _wanted(scenario: Scenario, pair: Pair) -> Word:
    asked, wanted = pair.asked, pair.wanted
    if not scenario.values("trust-anchor"):
        raise Excluded("no trust anchor is stated")
    for option in OWN_DATA:
        if any(not value.endswith("nodefault") for value in scenario.values(option)):
            raise Excluded(f"the resolver has data or rules of its own: {option}")
    if asked.name.labels[0].lower().startswith(b"root-key-sentinel-"):
        raise Excluded("the resolver answers for its own anchors (RFC 8509)")
    if any("validator" not in value for value in scenario.values("module-config")):
        raise Excluded("the resolver does not validate")
    if asked.trouble or wanted.trouble:
        raise Excluded(asked.trouble or wanted.trouble)
    if asked.flags & dns.flags.CD:
        raise Excluded("asked with CD")
    if not wanted.match & {"all", "rcode", "flags"}:
        raise Excluded("no rcode is checked")
    match wanted.rcode:
        case dns.rcode.SERVFAIL:
            return Word.BOGUS
        case dns.rcode.NOERROR | dns.rcode.NXDOMAIN | dns.rcode.YXDOMAIN:
            checked = wanted.match & {"all", "flags"} and wanted.flags & dns.flags.AD
            return Word.SECURE if checked else Word.GOOD
    raise Excluded(f"the client gets {dns.rcode.to_text(wanted.rcode)}")


def _follow(
    case: Case, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> Iterator[tuple[Word, str]]:
    """The words on each answer on the way from a question, with what they rest on.

    Of what several servers say the best counts, as a resolver asks the next one. Behind an alias
    the target is asked for, and what stands behind it in the same message is an answer as well.
    """
    passed: set[dns.name.Name] = set()
    rest: list[dns.message.Message] = []
    while name not in passed:
        passed.add(name)
        said = [*case.script.answers(name, rdtype), *rest]
        if not said:
            return
        tried = [_judged(case, message, name, rdtype) for message in said]
        bad = [found[0] is Word.BOGUS for found in tried]
        case.mixed |= any(bad) and not all(bad)
        order = (Word.SECURE, Word.GOOD, Word.BOGUS)
        word, text, after, message = min(tried, key=lambda found: order.index(found[0]))
        yield word, text
        if after is None or word is Word.BOGUS:
            return
        name, rest = after, []
        message.answer = [rrset for rrset in message.answer if rrset.name not in passed]
        if message.answer or message.authority:
            rest = [message]
    raise Excluded("aliases in a circle: no single answer is bad")


@dataclass(slots=True)
class Case:
    """What the answers of one pair are judged by."""

    scenario: Scenario
    script: Script
    wall: float
    mixed: bool = False
    """Whether some servers gave good answers and others bad ones."""


def _judged(
    case: Case, message: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> tuple[Word, str, dns.name.Name | None, dns.message.Message]:
    """The word on one answer, what it rests on, and the name that an alias leads on to.

    The zone whose server was asked is the lowest around the name that turns out to be one.
    """
    read = decode(message.to_wire(max_size=65535))
    if isinstance(read, Classified):
        return Word.BOGUS, f"{text_of(name)}: {read.detail}", None, message
    found: tuple[Word, str, dns.name.Name | None, dns.message.Message]
    for apex in _zones(case, read, name, rdtype):
        chain = chain_of(read, apex, name, rdtype, signatures_in(read))
        # A DNAME leads nowhere where the name that it makes is too long (RFC 6672 2.2).
        leads = chain.links and (chain.end != name or chain.links[-1].rdtype == dns.rdatatype.CNAME)
        after = chain.end if leads and not chain.answered else None
        word, text = _by_zone(case, read, text_of(apex), name, rdtype)
        found = word, f"{text_of(name)} by {text_of(apex)} {text}".strip(), after, message
        guessed = apex not in case.script.cuts and text.startswith("lame")
        above = "is no zone of its own" in text or text.startswith("lame SOA of")
        if not guessed and not above:
            return found
    return found  # the root is always among them


def _by_zone(
    case: Case,
    message: dns.message.Message,
    zone: str,
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
) -> tuple[Word, str]:
    """The word on an answer of a zone's server, and what it rests on."""
    for domain in case.scenario.values("domain-insecure"):
        if name.is_subdomain(dns.name.from_text(domain)):
            return Word.GOOD, "a negative anchor"
    store = Store(zone, case.scenario, case.script, case.wall)
    if closest(store.anchors, name_of(zone)) is None:
        return Word.GOOD, "below no anchor"
    trouble = store.learn(zone)
    case.mixed |= store.retried and not trouble
    reading = weigh(
        message,
        zone=zone,
        name=name,
        rdtype=rdtype,
        kind=Kind.DENIAL,
        trust=Trust() if trouble else store.trust,
        wall=case.wall,
        skew=0.0,
        signatures=Signatures(),
    )
    text = f"{reading.outcome} {reading.detail}".strip()
    if trouble:
        return Word.BOGUS, f"{text} (keys: {trouble})"
    if reading.outcome is Outcome.SECURE:
        return Word.SECURE, text
    return Word.GOOD if reading.outcome.verdict is Verdict.GOOD else Word.BOGUS, text


def _zones(
    case: Case,
    message: dns.message.Message,
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
) -> list[dns.name.Name]:
    """The zones around a name, the lowest first.

    A DS record is asked of the zone above (RFC 4035 2.4). A name whose DS somebody has to look
    for counts where the answer is not signed.
    """
    above = rdtype == dns.rdatatype.DS and name != dns.name.root
    cuts = set(case.script.cuts)
    if not any(owner == name for owner, _ in signatures_in(message)):
        cuts |= case.script.asked_ds
    cuts |= {name_of(zone) for zone in held_by(case.scenario)}
    around = [cut for cut in cuts if name.is_subdomain(cut) and not (above and cut == name)]
    return sorted({*around, dns.name.root}, key=len, reverse=True)
