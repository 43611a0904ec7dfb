"""One neighbour's session as ExaBGP reports it, and its differences from the wanted table. Pure.

There are two tables: `rib` is what ExaBGP takes for announced, `sent` is what was really sent. They
differ when a session flaps in between; then `sent` counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from steering.act.bgp.output import Down, EndOfRib, Listed, Negotiated, Sent, Up, host
from steering.act.bgp.render import prefix
from steering.act.bgp.settings import NO_EXPORT, Attributes, Table
from steering.model import Family, Instant, Seconds

CORRECTIONS_AT_MOST = 5
"""A route that was sent wrongly this often is not corrected again."""
_SEND_TIME: Seconds = 0.5
"""What ExaBGP has not sent this long after the last command, it will not send."""
_LOST_AFTER: Seconds = 5.0
"""A withdrawal that is out of ExaBGP's table, and not sent this long after, is lost."""
_END_OF_RIB_WAIT: Seconds = 5.0
"""How long to wait for the report of an End-of-RIB."""
_REFUSED_FOR: Seconds = 10.0
_UNKNOWN_ATTRIBUTES = Attributes(next_hop="", communities=frozenset({NO_EXPORT}))
"""For a route whose attributes are not known."""


@dataclass(slots=True)
class Session:
    """The state of one neighbour."""

    families: frozenset[Family]
    """The configured ones."""
    up: bool = False
    negotiated: frozenset[Family] = frozenset()
    because: str = "not established yet"
    """Why it is down."""
    end_wait_until: Instant = 0.0
    """Until then its first routes, or its End-of-RIB, may be outstanding."""
    awaiting_end: frozenset[Family] = frozenset()
    rib: dict[str, Attributes] = field(default_factory=dict)
    """Prefix -> attributes, at the last reading of adj-rib-out."""
    sent: dict[str, str] = field(default_factory=dict)
    """Address -> next hop, of the routes sent since the session came up."""
    unsent: dict[str, Instant] = field(default_factory=dict)
    """Address -> since when a change of it is pending."""
    announced_with: dict[str, Attributes] = field(default_factory=dict)
    """Address -> its attributes in the last announcement, to announce it again."""
    refused: dict[str, Instant] = field(default_factory=dict)
    """Address -> until when it is not tried again."""
    corrections: Counter[str] = field(default_factory=Counter)
    commanded_at: Instant = float("-inf")
    """When the last command was given; it may still be pending, with or without a session."""

    def carries(self, address: str) -> bool:
        """Whether the session is up and can carry this address's family."""
        return self.up and Family.of(address) in self.negotiated

    def settled(self, now: Instant) -> bool:
        """Whether its first routes are sent."""
        return not self.awaiting_end or now >= self.end_wait_until

    def receive(self, message: Up | Down | Negotiated | Sent | EndOfRib, now: Instant) -> None:
        """One message of ExaBGP about it."""
        match message:
            case Negotiated():
                self.negotiated = message.families
            case Up():
                families = self.negotiated
                self._mark_down("")
                self.up, self.negotiated = True, families
                self.awaiting_end, self.end_wait_until = families, now + _END_OF_RIB_WAIT
            case Down():
                self._mark_down(message.because)
                self.unsent.clear()
            case EndOfRib():
                self.awaiting_end -= {message.family}
            case Sent():
                self.sent.update(message.announced)
                for address in message.withdrawn:
                    self.sent.pop(address, None)
                    self.announced_with.pop(address, None)
                for address in (*message.announced, *message.withdrawn):
                    self.unsent.pop(address, None)

    def found_established(self, families: frozenset[Family], now: Instant) -> None:
        """It was found already established."""
        self.up, self.negotiated, self.because = True, families, ""
        self.awaiting_end, self.end_wait_until = frozenset(), now

    def read(self, listed: Listed, *, first: bool) -> None:
        """One route of adj-rib-out; `first`: first reading, what was sent before is not known."""
        self.rib[listed.prefix] = listed.attributes
        address = host(listed.prefix)
        if address is None:
            return
        self.announced_with[address] = listed.attributes
        if first and self.carries(address):
            self.sent.setdefault(address, listed.attributes.next_hop)

    def commanded(self, addresses: Iterable[str], now: Instant) -> None:
        """A command for these was given."""
        self.commanded_at = now
        self.unsent |= {address: now for address in addresses if self.carries(address)}

    def refuse(self, addresses: Iterable[str], now: Instant) -> None:
        """ExaBGP refused a command for these."""
        for address in addresses:
            self.refused[address] = now + _REFUSED_FOR
            self.unsent.pop(address, None)

    def reset(self, because: str) -> None:
        """The link is gone: nothing is known any more."""
        self._mark_down(because)
        self.rib.clear()
        self.unsent.clear()
        self.refused.clear()

    def missing(self, wanted: Table, now: Instant) -> dict[str, Attributes]:
        """What to announce: wanted routes, and routes that can't be withdrawn otherwise."""
        missing: dict[str, Attributes] = {}
        for address, attributes in wanted.items():
            right = self.rib.get(prefix(address)) == attributes
            asked_for = Family.of(address) in self.families
            if asked_for and not right and not self._is_refused(address, now):
                missing[address] = attributes
        # A route that was sent, and is neither wanted nor in the table, could not be withdrawn.
        for address, hop in self.sent.items():
            lost = address not in wanted and prefix(address) not in self.rib
            since = self.unsent.get(address, float("-inf"))
            if lost and self._is_quiet(now) and now - since >= _LOST_AFTER:
                # With all its attributes: for a moment without NO_EXPORT it could leave the AS.
                attributes = self.announced_with.get(address, _UNKNOWN_ATTRIBUTES)
                missing[address] = replace(attributes, next_hop=hop)
        return missing

    def foreign(self) -> Iterator[str]:
        """Prefixes in the table that are not host routes, so not ours."""
        return (what for what in self.rib if host(what) is None)

    def surplus(self, wanted: Table, now: Instant) -> dict[str, Attributes]:
        """What to withdraw: unwanted routes, and wrongly sent ones, to announce them again."""
        withdrawn: dict[str, Attributes] = {}
        for what, attributes in self.rib.items():
            address = host(what)
            if address is None or self._is_refused(address, now):
                continue
            if address not in wanted:
                withdrawn[address] = attributes
            elif attributes == wanted[address] and self._sent_wrongly(address, attributes, now):
                # ExaBGP takes it for announced, so it must be withdrawn before it can be announced.
                self.corrections[address] += 1
                withdrawn[address] = attributes
        return withdrawn

    def _mark_down(self, because: str) -> None:
        """The session is down: the neighbour has dropped its routes."""
        self.up, self.because, self.negotiated = False, because, frozenset()
        self.sent.clear()
        self.announced_with.clear()
        self.corrections.clear()

    def _is_refused(self, address: str, now: Instant) -> bool:
        return now < self.refused.get(address, now)

    def _is_quiet(self, now: Instant) -> bool:
        return now - self.commanded_at >= _SEND_TIME

    def _sent_wrongly(self, address: str, attributes: Attributes, now: Instant) -> bool:
        return (
            self._is_quiet(now)
            and self.carries(address)
            and self.sent.get(address) != attributes.next_hop
            and self.corrections[address] < CORRECTIONS_AT_MOST
        )
