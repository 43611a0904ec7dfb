"""The three places where DNS answers are read: the prober, the second look, the key store."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Final
from unittest import mock

import dns.rdatatype
from signedzone import NOW

from fuzz import signed
from fuzz.driver import Driver, Wrong
from fuzz.messages import ID, SPLINTERS, Messages
from steering.journal.codec import Codec
from steering.model import LOCAL, Family, Heard, Kind, Question, Round, Target
from steering.observe.copies.ask import read
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys import chain
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust
from steering.observe.probe.open_round import OpenRound
from steering.observe.probe.prober import Path, Prober
from steering.observe.probe.questions import QuestionSet
from steering.observe.probe.schedule import Pace
from steering.observe.query import Reply, query
from steering.observe.traffic.verify import SampledResponse, SampleVerifier

_ADDRESS: Final = "192.5.6.30"
_ZONES: Final = ("com.", ".", "net.")
_TARGET: Final = Target(
    upstream="gtld", nameserver="a.gtld-servers.net.", address=_ADDRESS, family=Family.IPV4
)
_ASKED: Final = (
    Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA),
    Question(zone="com.", name="com.", rdtype="DNSKEY", kind=Kind.DNSKEY),
    Question(zone="com.", name="nothere.com.", rdtype="A", kind=Kind.DENIAL),
    Question(zone="com.", name="www.com.", rdtype="A", kind=Kind.WITNESS),
    Question(zone="com.", name="safe.com.", rdtype="DS", kind=Kind.DELEGATION),
    Question(zone="com.", name="bare.com.", rdtype="DS", kind=Kind.DELEGATION),
    Question(zone="com.", name="x.safe.com.", rdtype="A", kind=Kind.WITNESS),
    Question(zone=".", name=".", rdtype="SOA", kind=Kind.SOA),
    Question(zone=".", name="nothere.", rdtype="A", kind=Kind.DENIAL),
    Question(zone=".", name="com.", rdtype="DS", kind=Kind.DELEGATION),
    Question(zone="net.", name="net.", rdtype="SOA", kind=Kind.SOA),
)
_ROUND, _HEARD = Codec(Round), Codec(Heard)
_LONGEST: Final = 4 * 255 + 2  # a name's text with every octet escaped, and its dots


def _question(name: str, rdtype: str) -> tuple[bytes, int]:
    return signed.wire_of(name), int(dns.rdatatype.from_text(rdtype))


class _Gtld:
    name = "gtld"
    zones: Sequence[str] = _ZONES
    skew = 0.0


class _Always(random.Random):
    """Draws the same query id each time."""

    def getrandbits(self, k: int, /) -> int:
        return ID & ((1 << k) - 1)


class _Held(KeyStore):
    """A key store that believes the same after each message."""

    def __init__(self) -> None:
        zones = (signed.ZONE, signed.ROOT_ZONE)
        text = "".join(zone.anchor_text for zone in zones)
        super().__init__(
            ("com.", "."),
            anchors.parse(text, source="test"),
            ["192.0.2.53"],
            signatures=Signatures(),
            wall=lambda: NOW,
            monotonic=lambda: 1000.0,
        )
        self.trust = signed.TRUST


class Probe(Driver):
    """Answers to the prober's own questions. A message is the question's number, and the answer."""

    splinters = SPLINTERS

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._messages = Messages(seed, [_question(q.name, q.rdtype) for q in _ASKED])
        self._rounds: list[Round] = []
        self._keys = _Held()
        self._prober = Prober(
            [_TARGET],
            [_Gtld()],
            [Path(name=LOCAL)],
            Pace(),
            keys=self._keys,
            signatures=Signatures(),
            deliver=self._rounds.append,
            wall=lambda: NOW,
            monotonic=lambda: 1000.0,
            rng=random.Random(seed),
        )
        self._questions = QuestionSet(_ZONES, {}, random.Random(seed))

    def seeds(self) -> Sequence[bytes]:
        return [bytes([number]) + wire for number, wire in self._messages.seeds()]

    def message(self, draw: random.Random) -> bytes:
        number, wire = self._messages.next(draw)
        return bytes([number]) + wire

    def take(self, message: bytes) -> None:
        question = _ASKED[message[0] % len(_ASKED)] if message else _ASKED[0]
        round_ = OpenRound(_TARGET, question, 1000.0, (LOCAL,))
        self._prober._rounds[id(round_)] = round_
        reply = Reply(wire=message[1:], reached=True, rtt=0.01)
        self._prober._take_reply(round_, LOCAL, ID, reply)
        if self._keys.trust is not signed.TRUST:  # a set was shown that verifies
            self._keys.trust = signed.TRUST
        (landed,), self._rounds[:] = list(self._rounds), []
        (one,) = landed.observations
        for text in (one.nsid, one.detail):
            if text is not None and (len(text) > 4 * _LONGEST or not _writable(text)):
                raise Wrong(f"{len(text)} characters of text: {text[:80]!r}")
        _ROUND.write(landed)
        if one.evidence is not None:
            _asked_again(self._questions, one.evidence.owner)


class Overheard(Driver):
    """Answers to others' questions. A message is the zone's number, and the answer."""

    splinters = SPLINTERS

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._messages = Messages(seed, [_question(q.name, q.rdtype) for q in _ASKED])
        self._now = 1000.0
        self._look = SampleVerifier(
            _Believing(),
            wall=lambda: NOW,
            monotonic=lambda: self._now,
            cpu=lambda: 0.0,
            rng=random.Random(seed),
        )
        self._questions = QuestionSet(_ZONES, {}, random.Random(seed))

    def seeds(self) -> Sequence[bytes]:
        return [bytes([number]) + wire for number, wire in self._messages.seeds()]

    def message(self, draw: random.Random) -> bytes:
        number, wire = self._messages.next(draw)
        return bytes([number]) + wire

    def take(self, message: bytes) -> None:
        self._now += 0.5
        drawn = bool(message and message[0] & 1)
        self._look.offer(
            SampledResponse(
                address=_ADDRESS,
                path=LOCAL,
                at=self._now,
                message=message[1:],
                drawn=drawn,
                zones=_ZONES,
                skew=0.0,
            )
        )
        looked = self._look.looked + self._look.dropped
        while self._look.looked + self._look.dropped == looked:
            self._look.work()
        for heard in self._look.take():
            _HEARD.write(heard)
            for failure in (*heard.failures, *heard.disproved):
                if failure.ask is not None:
                    _asked_again(self._questions, failure.ask)


class _Believing:
    @property
    def trust(self) -> Trust:
        return signed.TRUST

    def trust_for(self, _zones: object, _server: object) -> Trust:
        return self.trust

    def miss(self, zone: str, _server: object) -> None:
        if zone not in _ZONES:
            raise Wrong(f"a key of {zone!r} was missed, which is no zone of the policy")


class Resolved(Driver):
    """Answers of resolvers to the key store. A message is which of three it is, and the answer.

    The other two are honest, so each link of the chain is tried.
    """

    splinters = SPLINTERS
    _CHAIN: Final = ((".", "DNSKEY"), ("com.", "DS"), ("com.", "DNSKEY"))

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._messages = Messages(seed, [_question(*asked) for asked in self._CHAIN])
        self._signatures = Signatures()
        self._anchors = anchors.parse(signed.ROOT_ZONE.anchor_text, source="test")
        self._honest = {
            (".", "DNSKEY"): signed.ROOT_ZONE.ask(".", "DNSKEY", ID).to_wire(want_shuffle=False),
            ("com.", "DS"): signed.ROOT_ZONE.ask("com.", "DS", ID).to_wire(want_shuffle=False),
            ("com.", "DNSKEY"): signed.ZONE.ask("com.", "DNSKEY", ID).to_wire(want_shuffle=False),
        }
        self._said: Mapping[bytes, bytes] = {}
        self.closing.enter_context(mock.patch.object(chain, "send_query", self._send_query))

    def seeds(self) -> Sequence[bytes]:
        return [bytes([number]) + wire for number, wire in self._messages.seeds()]

    def message(self, draw: random.Random) -> bytes:
        number, wire = self._messages.next(draw)
        return bytes([number]) + wire

    def take(self, message: bytes) -> None:
        link = self._CHAIN[message[0] % 3 if message else 0]
        answers = {**self._honest, link: message[1:]}
        self._said = {query(*asked, recursive=True): wire for asked, wire in answers.items()}
        store = KeyStore(
            ("com.",),
            self._anchors,
            ["192.0.2.53"],
            signatures=self._signatures,
            wall=lambda: NOW,
            monotonic=lambda: 1000.0,
            rng=_Always(),
        )
        finished(store.refresh("com."))
        if "com." in store.trust.insecure and "com." in store.trust.secure:
            raise Wrong("a zone is both signed and not")

    async def _send_query(self, body: bytes, *_: object, **__: object) -> Reply:
        wire = self._said.get(body)
        return Reply(instead="not asked before") if wire is None else Reply(wire=wire, reached=True)


class OfCopies(Driver):
    """Answers of resolvers and servers about a zone that has copies."""

    splinters = SPLINTERS

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._messages = Messages(seed, [_question(q.name, q.rdtype) for q in _ASKED])

    def seeds(self) -> Sequence[bytes]:
        return [wire for _, wire in self._messages.seeds()]

    def message(self, draw: random.Random) -> bytes:
        return self._messages.next(draw)[1]

    def take(self, message: bytes) -> None:
        for zone in _ZONES:
            answer = read(message, ID, zone)
            if isinstance(answer, str):
                continue
            if answer.serial is not None and not 0 <= answer.serial < 1 << 32:
                raise Wrong(f"serial {answer.serial}")
            for name in answer.names:
                if len(name) > _LONGEST or not _writable(name):
                    raise Wrong(f"{len(name)} characters of name: {name[:80]!r}")


def finished(coroutine: Coroutine[object, object, None]) -> None:
    """Run what never waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise Wrong("it waits, though everything is there")


def _asked_again(questions: QuestionSet, name: str) -> None:
    """What names that failed are for: they are asked for again."""
    for _ in range(2):
        asked = questions.fast((name,))
        query(asked.name, asked.rdtype)


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
