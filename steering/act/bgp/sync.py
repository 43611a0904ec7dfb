"""Makes adj-rib-out be the wanted table, one careful cycle at a time. Pure: no pipe, no clock.

ExaBGP sends pending changes in groups of equal attributes, not in the order of the commands:
announce A, B, A for one prefix, written at once, ends on B. So a cycle has at most one command
for each prefix and neighbour, additions first, and it ends when every command is answered and
every UPDATE was reported as sent. Then adj-rib-out is read back and compared again. What was
sent is believed, not `done`, which comes without any session as well.

A session that has just come up is left alone until the End-of-RIB of its families: what was
changed while it was down is sent first, in ExaBGP's order, and mended afterwards.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from steering.act.bgp.hear import (
    Answered,
    Down,
    EndOfRib,
    Listed,
    Message,
    Negotiated,
    Sent,
    Sessions,
    Up,
    Version,
    host,
)
from steering.act.bgp.terms import NO_EXPORT, Attributes, Peer, Table
from steering.act.bgp.text import announcements, prefix, withdrawals
from steering.model import Family, Instant, Seconds

KNOWN = "5.0."
"""The ExaBGP whose words these are; 4.2 and 6.0 have others."""
READ_BACK: Seconds = 1.0
"""Between two looks at adj-rib-out in calm times."""
SILENT: Seconds = 10.0
"""A command without an answer for so long: this speaker is of no use any more."""
_UNSENT: Seconds = 1.0
"""An UPDATE that isn't reported within this time is not waited for: the next look decides."""
_ON_ITS_WAY: Seconds = 0.5
"""What ExaBGP has not sent so long after the last change, it has not at all."""
_LOST: Seconds = 5.0
"""A withdrawal that ExaBGP has no more in its table, and has not sent so long after, it forgot."""
_UNENDED: Seconds = 5.0
"""The same for the End-of-RIB after a session came up."""
_MENDED_AT_MOST = 5
_REFUSED_FOR: Seconds = 10.0
_WITHIN = Attributes(next_hop="", communities=frozenset({NO_EXPORT}))
"""For a route of which nobody knows what it was announced with."""


class Phase(enum.Enum):
    """What a cycle is at."""

    APART = "no bridge is connected"
    GREETING = "asking which ExaBGP it is"
    SESSIONS = "asking which sessions are established"
    READING = "reading adj-rib-out"
    CALM = "nothing to say"
    ADDING = "announcing"
    REMOVING = "withdrawing"
    USELESS = "another version of ExaBGP"


@dataclass(slots=True)
class Session:
    """What is known of one neighbour."""

    families: frozenset[Family]
    """Those that were asked for."""
    up: bool = False
    negotiated: frozenset[Family] = frozenset()
    because: str = "not established yet"
    """Why it is down."""
    filling_until: Instant = 0.0
    """Its first routes are on their way until then, or its End-of-RIB."""
    unended: frozenset[Family] = frozenset()
    rib: dict[str, Attributes] = field(default_factory=dict)
    """Prefix -> attributes, as adj-rib-out had them when it was read."""
    sent: dict[str, str] = field(default_factory=dict)
    """Address -> next hop, of what went out since the session came up."""
    told: dict[str, Attributes] = field(default_factory=dict)
    """Address -> all that it was last announced with, for who has to announce it once more."""
    mended: Counter[str] = field(default_factory=Counter)
    spoken_at: Instant = float("-inf")
    """When a change was last said of it: it may be on its way still, session or no session."""

    def carries(self, address: str) -> bool:
        """Whether this address could be announced in the session that is up."""
        return self.up and Family.of(address) in self.negotiated

    def lose(self, because: str) -> None:
        """The session is down: what was sent in it stands nowhere."""
        self.up, self.because, self.negotiated = False, because, frozenset()
        self.sent.clear()
        self.told.clear()
        self.mended.clear()

    def settled(self, now: Instant) -> bool:
        """Whether its first routes are out."""
        return not self.unended or now >= self.filling_until


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A command that waits for its answer."""

    peer: str | None
    addresses: tuple[str, ...]
    at: Instant


class Sync:
    """The talk with one ExaBGP. Every method returns the lines to write now."""

    def __init__(self, peers: tuple[Peer, ...]) -> None:
        self.sessions = {peer.address: Session(families=frozenset(peer.families)) for peer in peers}
        self.phase = Phase.APART
        self.version = ""
        self.updates = 0
        """UPDATEs that went out, of all speakers."""
        self.looks = 0
        """How often adj-rib-out was read."""
        self.acknowledged: list[Seconds] = []
        """How long answers to announcements and withdrawals took. The reader empties it."""
        self.ready = False
        """Whether it is known what is announced."""
        self._wanted: Table | None = None
        """None: nobody has said yet, so nothing is changed."""
        self._awaited: deque[_Said] = deque()
        self._unsent: dict[tuple[str, str], Instant] = {}
        """(neighbour, address) -> since when its change is on the way."""
        self._unsent_until: Instant = 0.0
        self._listed: list[Listed] = []
        self._refused: dict[tuple[str, str], Instant] = {}
        self._spoke = False
        """Whether this cycle has changed anything."""
        self._due: Instant = 0.0
        """When adj-rib-out is to be read again."""

    def speak_to(self, peers: tuple[Peer, ...]) -> None:
        """Has these neighbours from now on; what is known of one that stays is kept."""
        known, self.sessions = self.sessions, {}
        for peer in peers:
            families, session = frozenset(peer.families), known.get(peer.address)
            if session is None or session.families != families:
                session = Session(families=families)
            self.sessions[peer.address] = session

    def want(self, table: Table, now: Instant) -> list[str]:
        """Replaces what is wanted."""
        self._wanted = dict(table)
        return self._cycle(now) if self.phase is Phase.CALM else []

    def connected(self, now: Instant) -> list[str]:
        """A bridge has come: all is asked anew."""
        self.apart("the speaker has just been met")
        self.phase = Phase.GREETING
        return [self._ask("version", now)]

    def apart(self, because: str) -> None:
        """The bridge is gone: nothing is known."""
        self.phase = Phase.APART
        self.ready = False
        self._awaited.clear()
        self._unsent.clear()
        self._listed.clear()
        self._refused.clear()
        for session in self.sessions.values():
            session.lose(because)
            session.rib.clear()

    def heard(self, message: Message, now: Instant) -> list[str]:
        """One thing that ExaBGP said."""
        match message:
            case Answered():
                return self._answered(message, now)
            case Version():
                self.version = message.text
            case Listed():
                self._listed.append(message)
            case Sessions():
                self._established(message, now)
            case _ if session_of := self.sessions.get(message.peer):
                self._of_session(session_of, message, now)
        return self.tick(now)

    def tick(self, now: Instant) -> list[str]:
        """What time alone makes due."""
        waits = self._unsent and now < self._unsent_until
        if self._awaited or waits:
            return []
        if self.phase is Phase.ADDING:
            return self._remove(now)
        if self.phase is Phase.REMOVING:
            return self._read(now)
        if self.phase is Phase.CALM and now >= self._due:
            return self._read(now)
        return []

    def silent(self, now: Instant) -> bool:
        """Whether an answer is overdue."""
        return bool(self._awaited) and now - self._awaited[0].at > SILENT

    def announced(self) -> Mapping[str, str]:
        """Address -> next hop, of what some established session has been sent and keeps."""
        return {
            address: hop
            for session in reversed(self.sessions.values())
            if session.up
            for address, hop in session.sent.items()
        }

    def everywhere(self, address: str, attributes: Attributes | None) -> bool:
        """Whether each session that could carry it has been sent this, and there is one."""
        able = [s for s in self.sessions.values() if s.carries(address)]
        hop = attributes.next_hop if attributes else None
        return bool(able) and all(s.sent.get(address) == hop for s in able)

    def refused(self, now: Instant) -> Mapping[str, str]:
        """Address -> neighbour, of what ExaBGP would not take lately."""
        return {a: peer for (peer, a), until in self._refused.items() if now < until}

    def unmended(self) -> Mapping[str, str]:
        """Address -> neighbour, of what was sent wrongly again and again."""
        return {
            address: peer
            for peer, session in self.sessions.items()
            for address, times in session.mended.items()
            if times >= _MENDED_AT_MOST
        }

    def _ask(self, command: str, now: Instant) -> str:
        self._awaited.append(_Said(peer=None, addresses=(), at=now))
        return command

    def _answered(self, answer: Answered, now: Instant) -> list[str]:
        if not self._awaited:
            return []
        said = self._awaited.popleft()
        if said.addresses and said.peer:
            self.acknowledged.append(now - said.at)
            if not answer.well:
                for address in said.addresses:
                    self._refused[said.peer, address] = now + _REFUSED_FOR
                    self._unsent.pop((said.peer, address), None)
        match self.phase:
            case Phase.GREETING if not self.version.startswith(KNOWN):
                self.phase = Phase.USELESS
                return []
            case Phase.GREETING:
                self.phase = Phase.SESSIONS
                return [self._ask("show neighbor json", now)]
            case Phase.SESSIONS:
                return self._read(now)
            case Phase.READING:
                return self._has_read(now)
        return self.tick(now)

    def _read(self, now: Instant) -> list[str]:
        self.phase = Phase.READING
        self._listed.clear()
        return [self._ask("show adj-rib out extensive", now)]

    def _has_read(self, now: Instant) -> list[str]:
        self.looks += 1
        first, self.ready, self._due = not self.ready, True, now + READ_BACK
        for session in self.sessions.values():
            session.rib.clear()
        for one in self._listed:
            if not (found := self.sessions.get(one.peer)):
                continue
            found.rib[one.prefix] = one.attributes
            address = host(one.prefix)
            if address is None:
                continue
            found.told[address] = one.attributes
            if first and found.carries(address):
                # Met with its session established: what it was sent nobody remembers.
                found.sent.setdefault(address, one.attributes.next_hop)
        self._listed.clear()
        self.phase = Phase.CALM
        return self._cycle(now)

    def _established(self, message: Sessions, now: Instant) -> None:
        for peer, families in message.established.items():
            if (session := self.sessions.get(peer)) and not session.up:
                session.up, session.negotiated, session.because = True, families, ""
                session.unended, session.filling_until = frozenset(), now

    def _of_session(
        self, session: Session, message: Up | Down | Negotiated | Sent | EndOfRib, now: Instant
    ) -> None:
        match message:
            case Negotiated():
                session.negotiated = message.families
            case Up():
                families = session.negotiated
                session.lose("")
                session.up, session.negotiated = True, families
                session.unended, session.filling_until = families, now + _UNENDED
            case Down():
                session.lose(message.because)
                for pair in [pair for pair in self._unsent if pair[0] == message.peer]:
                    del self._unsent[pair]
            case EndOfRib():
                session.unended -= {message.family}
                self._due = now
            case Sent():
                self.updates += 1
                session.sent.update(message.announced)
                for address in message.withdrawn:
                    session.sent.pop(address, None)
                    session.told.pop(address, None)
                for address in (*message.announced, *message.withdrawn):
                    self._unsent.pop((message.peer, address), None)

    def _cycle(self, now: Instant) -> list[str]:
        """Begins with what is to be announced."""
        if self._wanted is None:
            return []
        self.phase, self._spoke = Phase.ADDING, False
        lines = [line for peer in self._open(now) for line in self._add(peer, now)]
        return lines or self.tick(now)

    def _open(self, now: Instant) -> Iterator[str]:
        """The neighbours whose table may be changed now."""
        for peer, session in self.sessions.items():
            if not session.up or session.settled(now):
                yield peer

    def _add(self, peer: str, now: Instant) -> Iterator[str]:
        session, wanted = self.sessions[peer], self._wanted or {}
        missing: dict[str, Attributes] = {}
        for address, attributes in wanted.items():
            right = session.rib.get(prefix(address)) == attributes
            if (
                Family.of(address) in session.families
                and not right
                and now >= self._refused.get((peer, address), now)
            ):
                missing[address] = attributes
        # What was sent and is neither wanted nor in the table could not be withdrawn.
        for address, hop in session.sent.items():
            lost = address not in wanted and prefix(address) not in session.rib
            since = self._unsent.get((peer, address), float("-inf"))
            if lost and now - session.spoken_at >= _ON_ITS_WAY and now - since >= _LOST:
                # With all it had: a moment without NO_EXPORT would tell it to the world.
                missing[address] = replace(session.told.get(address, _WITHIN), next_hop=hop)
        session.told |= missing
        yield from self._say(announcements(peer, missing), peer, now)

    def _remove(self, now: Instant) -> list[str]:
        self.phase = Phase.REMOVING
        lines = [line for peer in self._open(now) for line in self._take(peer, now)]
        if lines:
            return lines
        if self._spoke:
            return self._read(now)
        self.phase = Phase.CALM
        return []

    def _take(self, peer: str, now: Instant) -> Iterator[str]:
        session, wanted = self.sessions[peer], self._wanted or {}
        gone: dict[str, Attributes] = {}
        for what, attributes in session.rib.items():
            address = host(what)
            if address is None:
                self._spoke = True
                yield self._ask(f"neighbor {peer} withdraw route {what}", now)
            elif now < self._refused.get((peer, address), now):
                continue
            elif address not in wanted:
                gone[address] = attributes
            elif (
                attributes == wanted[address]
                and now - session.spoken_at >= _ON_ITS_WAY
                and self._sent_wrongly(session, address, attributes)
            ):
                # ExaBGP takes it for announced already, so it must go before it can come.
                session.mended[address] += 1
                gone[address] = attributes
        yield from self._say(withdrawals(peer, gone), peer, now)

    def _sent_wrongly(self, session: Session, address: str, attributes: Attributes) -> bool:
        return (
            session.carries(address)
            and session.sent.get(address) != attributes.next_hop
            and session.mended[address] < _MENDED_AT_MOST
        )

    def _say(
        self, commands: tuple[tuple[str, tuple[str, ...]], ...], peer: str, now: Instant
    ) -> Iterator[str]:
        session = self.sessions[peer]
        for line, addresses in commands:
            session.spoken_at = now
            self._awaited.append(_Said(peer=peer, addresses=addresses, at=now))
            self._unsent |= {(peer, a): now for a in addresses if session.carries(a)}
            self._unsent_until, self._spoke = now + _UNSENT, True
            yield line
