"""Makes adj-rib-out equal to the wanted table, in cycles. Pure: no pipe, no clock.

ExaBGP sends pending changes in groups of equal attributes, not in the order of the commands:
announce A, B, A for one prefix, written at once, ends with B. So a cycle has at most one command
for each prefix and neighbour, additions first. It ends when every command is answered and every
UPDATE is reported as sent. Then adj-rib-out is read back and compared again. Only reported UPDATEs
count, not `done`, which comes without a session as well.

A session that has just come up is not changed until the End-of-RIB of its families: first ExaBGP
sends, in its own order, what was changed while the session was down. That is corrected afterwards.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from steering.act.bgp.output import Answered, EndOfRib, Listed, Message, Sent, Sessions, Version
from steering.act.bgp.render import announcements, withdrawals
from steering.act.bgp.session import CORRECTIONS_AT_MOST, Session
from steering.act.bgp.settings import Attributes, Peer, Table
from steering.model import Instant, Seconds

KNOWN = "5.0."
"""The version of ExaBGP whose interface this is; 4.2 and 6.0 have others."""
READ_BACK: Seconds = 1.0
"""Between two readings of adj-rib-out when nothing changes."""
SILENT: Seconds = 10.0
"""If a command has no answer for this long, the speaker is replaced."""
_UNSENT: Seconds = 1.0
"""How long to wait for the report of an UPDATE; after that the next reading decides."""


class Phase(enum.Enum):
    """The step of a cycle."""

    DISCONNECTED = "no bridge is connected"
    GREETING = "asking which ExaBGP it is"
    SESSIONS = "asking which sessions are established"
    READING = "reading adj-rib-out"
    IDLE = "nothing to send"
    ADDING = "announcing"
    REMOVING = "withdrawing"
    USELESS = "another version of ExaBGP"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """A command that waits for its answer."""

    peer: str | None
    addresses: tuple[str, ...]
    at: Instant


class Sync:
    """The exchange with one ExaBGP. Methods that return a list return the lines to write now."""

    def __init__(self, peers: tuple[Peer, ...]) -> None:
        self.sessions = {peer.address: Session(families=frozenset(peer.families)) for peer in peers}
        self.phase = Phase.DISCONNECTED
        self.version = ""
        self.updates = 0
        """UPDATEs sent so far, by all speakers."""
        self.readings = 0
        """How often adj-rib-out was read."""
        self.acknowledged: list[Seconds] = []
        """Delays of the answers to announcements and withdrawals. The reader empties it."""
        self.ready = False
        """Whether it is known what is announced."""
        self._wanted: Table | None = None
        """None: no plan yet, so nothing is changed."""
        self._unanswered: deque[_Command] = deque()
        self._unsent_until: Instant = 0.0
        self._listed: list[Listed] = []
        self._changed_any = False
        """Whether this cycle has changed anything."""
        self._due: Instant = 0.0
        """When adj-rib-out is to be read again."""

    def set_peers(self, peers: tuple[Peer, ...]) -> None:
        """Takes these neighbours; the state of those that stay is kept."""
        known, self.sessions = self.sessions, {}
        for peer in peers:
            families, session = frozenset(peer.families), known.get(peer.address)
            if session is None or session.families != families:
                session = Session(families=families)
            self.sessions[peer.address] = session

    def want(self, table: Table, now: Instant) -> list[str]:
        """Takes a new wanted table."""
        self._wanted = dict(table)
        return self._cycle(now) if self.phase is Phase.IDLE else []

    def connected(self, now: Instant) -> list[str]:
        """A bridge has connected: everything is asked again."""
        self.disconnected("the speaker has just been connected")
        self.phase = Phase.GREETING
        return [self._ask("version", now)]

    def disconnected(self, because: str) -> None:
        """The bridge is disconnected: nothing is known."""
        self.phase = Phase.DISCONNECTED
        self.ready = False
        self._unanswered.clear()
        self._listed.clear()
        for session in self.sessions.values():
            session.reset(because)

    def receive(self, message: Message, now: Instant) -> list[str]:
        """One message of ExaBGP."""
        match message:
            case Answered():
                return self._answered(message, now)
            case Version():
                self.version = message.text
            case Listed():
                self._listed.append(message)
            case Sessions():
                self._established(message, now)
            case _ if session := self.sessions.get(message.peer):
                session.receive(message, now)
                self.updates += isinstance(message, Sent)
                if isinstance(message, EndOfRib):
                    self._due = now
        return self.tick(now)

    def tick(self, now: Instant) -> list[str]:
        """What is due at this time without a message."""
        waiting = now < self._unsent_until and any(s.unsent for s in self.sessions.values())
        if self._unanswered or waiting:
            return []
        if self.phase is Phase.ADDING:
            return self._remove(now)
        if self.phase is Phase.REMOVING:
            return self._read(now)
        if self.phase is Phase.IDLE and now >= self._due:
            return self._read(now)
        return []

    def silent(self, now: Instant) -> bool:
        """Whether an answer is overdue."""
        return bool(self._unanswered) and now - self._unanswered[0].at > SILENT

    def announced(self) -> Mapping[str, str]:
        """Address -> next hop, of the routes sent in at least one established session."""
        return {
            address: hop
            for session in reversed(self.sessions.values())
            if session.up
            for address, hop in session.sent.items()
        }

    def sent_everywhere(self, address: str, attributes: Attributes | None) -> bool:
        """Whether this was sent in every session that can carry it, and there is one."""
        able = [s for s in self.sessions.values() if s.carries(address)]
        hop = attributes.next_hop if attributes else None
        return bool(able) and all(s.sent.get(address) == hop for s in able)

    def refused(self, now: Instant) -> Mapping[str, str]:
        """Address -> neighbour, of the commands that ExaBGP refused recently."""
        return {
            address: peer
            for peer, session in self.sessions.items()
            for address, until in session.refused.items()
            if now < until
        }

    def uncorrectable(self) -> Mapping[str, str]:
        """Address -> neighbour, of the routes that are wrong after so many corrections."""
        return {
            address: peer
            for peer, session in self.sessions.items()
            for address, times in session.corrections.items()
            if times >= CORRECTIONS_AT_MOST
        }

    def _ask(self, command: str, now: Instant) -> str:
        self._unanswered.append(_Command(peer=None, addresses=(), at=now))
        return command

    def _answered(self, answer: Answered, now: Instant) -> list[str]:
        if not self._unanswered:
            return []
        command = self._unanswered.popleft()
        if command.addresses and command.peer:
            self.acknowledged.append(now - command.at)
            if not answer.accepted and command.peer in self.sessions:
                self.sessions[command.peer].refuse(command.addresses, now)
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
                return self._compare(now)
        return self.tick(now)

    def _read(self, now: Instant) -> list[str]:
        self.phase = Phase.READING
        self._listed.clear()
        return [self._ask("show adj-rib out extensive", now)]

    def _compare(self, now: Instant) -> list[str]:
        self.readings += 1
        first, self.ready, self._due = not self.ready, True, now + READ_BACK
        for session in self.sessions.values():
            session.rib.clear()
        for one in self._listed:
            if session_of := self.sessions.get(one.peer):
                session_of.read(one, first=first)
        self._listed.clear()
        self.phase = Phase.IDLE
        return self._cycle(now)

    def _established(self, message: Sessions, now: Instant) -> None:
        for peer, families in message.established.items():
            if (session := self.sessions.get(peer)) and not session.up:
                session.found_established(families, now)

    def _cycle(self, now: Instant) -> list[str]:
        """Begins a cycle with the announcements."""
        if self._wanted is None:
            return []
        self.phase, self._changed_any = Phase.ADDING, False
        lines = [line for peer in self._changeable(now) for line in self._announce_to(peer, now)]
        return lines or self.tick(now)

    def _changeable(self, now: Instant) -> Iterator[str]:
        """The neighbours whose routes may be changed now."""
        for peer, session in self.sessions.items():
            if not session.up or session.settled(now):
                yield peer

    def _announce_to(self, peer: str, now: Instant) -> Iterator[str]:
        session = self.sessions[peer]
        missing = session.missing(self._wanted or {}, now)
        session.announced_with |= missing
        yield from self._send(announcements(peer, missing), peer, now)

    def _remove(self, now: Instant) -> list[str]:
        self.phase = Phase.REMOVING
        lines = [line for peer in self._changeable(now) for line in self._withdraw_from(peer, now)]
        if lines:
            return lines
        if self._changed_any:
            return self._read(now)
        self.phase = Phase.IDLE
        return []

    def _withdraw_from(self, peer: str, now: Instant) -> Iterator[str]:
        session = self.sessions[peer]
        for prefix in session.foreign():
            self._changed_any = True
            yield self._ask(f"neighbor {peer} withdraw route {prefix}", now)
        gone = session.surplus(self._wanted or {}, now)
        yield from self._send(withdrawals(peer, gone), peer, now)

    def _send(
        self, commands: tuple[tuple[str, tuple[str, ...]], ...], peer: str, now: Instant
    ) -> Iterator[str]:
        session = self.sessions[peer]
        for line, addresses in commands:
            session.commanded(addresses, now)
            self._unanswered.append(_Command(peer=peer, addresses=addresses, at=now))
            self._unsent_until, self._changed_any = now + _UNSENT, True
            yield line
