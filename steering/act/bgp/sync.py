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
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from steering.act.bgp.output import Answered, EndOfRib, Listed, Message, Sent, Sessions, Version
from steering.act.bgp.render import announcements, withdrawals
from steering.act.bgp.session import MENDED_AT_MOST, Session
from steering.act.bgp.settings import Attributes, Peer, Table
from steering.model import Instant, Seconds

KNOWN = "5.0."
"""The ExaBGP whose words these are; 4.2 and 6.0 have others."""
READ_BACK: Seconds = 1.0
"""Between two looks at adj-rib-out in calm times."""
SILENT: Seconds = 10.0
"""A command without an answer for so long: this speaker is of no use any more."""
_UNSENT: Seconds = 1.0
"""An UPDATE that isn't reported within this time is not waited for: the next look decides."""


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
        self._unsent_until: Instant = 0.0
        self._listed: list[Listed] = []
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
        self._listed.clear()
        for session in self.sessions.values():
            session.forget(because)

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
            case _ if session := self.sessions.get(message.peer):
                session.hear(message, now)
                self.updates += isinstance(message, Sent)
                if isinstance(message, EndOfRib):
                    self._due = now
        return self.tick(now)

    def tick(self, now: Instant) -> list[str]:
        """What time alone makes due."""
        waits = now < self._unsent_until and any(s.unsent for s in self.sessions.values())
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
        return {
            address: peer
            for peer, session in self.sessions.items()
            for address, until in session.refused.items()
            if now < until
        }

    def unmended(self) -> Mapping[str, str]:
        """Address -> neighbour, of what was sent wrongly again and again."""
        return {
            address: peer
            for peer, session in self.sessions.items()
            for address, times in session.mended.items()
            if times >= MENDED_AT_MOST
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
            if not answer.well and said.peer in self.sessions:
                self.sessions[said.peer].refuse(said.addresses, now)
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
            if session_of := self.sessions.get(one.peer):
                session_of.read(one, met=first)
        self._listed.clear()
        self.phase = Phase.CALM
        return self._cycle(now)

    def _established(self, message: Sessions, now: Instant) -> None:
        for peer, families in message.established.items():
            if (session := self.sessions.get(peer)) and not session.up:
                session.meet(families, now)

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
        session = self.sessions[peer]
        missing = session.missing(self._wanted or {}, now)
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
        session = self.sessions[peer]
        for stranger in session.strangers():
            self._spoke = True
            yield self._ask(f"neighbor {peer} withdraw route {stranger}", now)
        gone = session.surplus(self._wanted or {}, now)
        yield from self._say(withdrawals(peer, gone), peer, now)

    def _say(
        self, commands: tuple[tuple[str, tuple[str, ...]], ...], peer: str, now: Instant
    ) -> Iterator[str]:
        session = self.sessions[peer]
        for line, addresses in commands:
            session.said(addresses, now)
            self._awaited.append(_Said(peer=peer, addresses=addresses, at=now))
            self._unsent_until, self._spoke = now + _UNSENT, True
            yield line
