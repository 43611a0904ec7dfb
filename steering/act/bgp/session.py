"""One neighbour's session as ExaBGP tells of it, and what its table lacks of a wanted one. Pure.

Two tables count: `rib`, what ExaBGP holds to be announced, and `sent`, what really went out. They
differ when a session flaps in between, and then what was sent is believed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from steering.act.bgp.output import Down, EndOfRib, Listed, Negotiated, Sent, Up, host
from steering.act.bgp.render import prefix
from steering.act.bgp.settings import NO_EXPORT, Attributes, Table
from steering.model import Family, Instant, Seconds

MENDED_AT_MOST = 5
"""What is sent wrongly more often can't be mended."""
_ON_ITS_WAY: Seconds = 0.5
"""What ExaBGP has not sent so long after the last change, it has not at all."""
_LOST: Seconds = 5.0
"""A withdrawal that ExaBGP has no more in its table, and has not sent so long after, it forgot."""
_UNENDED: Seconds = 5.0
"""An End-of-RIB that isn't reported within this time is not waited for."""
_REFUSED_FOR: Seconds = 10.0
_WITHIN = Attributes(next_hop="", communities=frozenset({NO_EXPORT}))
"""For a route of which nobody knows what it was announced with."""


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
    unsent: dict[str, Instant] = field(default_factory=dict)
    """Address -> since when a change of it is on the way."""
    told: dict[str, Attributes] = field(default_factory=dict)
    """Address -> all that it was last announced with, for who has to announce it once more."""
    refused: dict[str, Instant] = field(default_factory=dict)
    """Address -> until when it is not tried again."""
    mended: Counter[str] = field(default_factory=Counter)
    spoken_at: Instant = float("-inf")
    """When a change was last said of it: it may be on its way still, session or no session."""

    def carries(self, address: str) -> bool:
        """Whether this address could be announced in the session that is up."""
        return self.up and Family.of(address) in self.negotiated

    def settled(self, now: Instant) -> bool:
        """Whether its first routes are out."""
        return not self.unended or now >= self.filling_until

    def hear(self, message: Up | Down | Negotiated | Sent | EndOfRib, now: Instant) -> None:
        """What ExaBGP said of it."""
        match message:
            case Negotiated():
                self.negotiated = message.families
            case Up():
                families = self.negotiated
                self._lose("")
                self.up, self.negotiated = True, families
                self.unended, self.filling_until = families, now + _UNENDED
            case Down():
                self._lose(message.because)
                self.unsent.clear()
            case EndOfRib():
                self.unended -= {message.family}
            case Sent():
                self.sent.update(message.announced)
                for address in message.withdrawn:
                    self.sent.pop(address, None)
                    self.told.pop(address, None)
                for address in (*message.announced, *message.withdrawn):
                    self.unsent.pop(address, None)

    def meet(self, families: frozenset[Family], now: Instant) -> None:
        """It was found established."""
        self.up, self.negotiated, self.because = True, families, ""
        self.unended, self.filling_until = frozenset(), now

    def read(self, listed: Listed, *, met: bool) -> None:
        """One route of adj-rib-out; `met`: nobody remembers what it was sent before."""
        self.rib[listed.prefix] = listed.attributes
        address = host(listed.prefix)
        if address is None:
            return
        self.told[address] = listed.attributes
        if met and self.carries(address):
            self.sent.setdefault(address, listed.attributes.next_hop)

    def said(self, addresses: Iterable[str], now: Instant) -> None:
        """A change of these was said."""
        self.spoken_at = now
        self.unsent |= {address: now for address in addresses if self.carries(address)}

    def refuse(self, addresses: Iterable[str], now: Instant) -> None:
        """ExaBGP would not take a change of these."""
        for address in addresses:
            self.refused[address] = now + _REFUSED_FOR
            self.unsent.pop(address, None)

    def forget(self, because: str) -> None:
        """Nothing is known any more."""
        self._lose(because)
        self.rib.clear()
        self.unsent.clear()
        self.refused.clear()

    def missing(self, wanted: Table, now: Instant) -> dict[str, Attributes]:
        """What is to be announced: the wanted, and what could not be withdrawn else."""
        missing: dict[str, Attributes] = {}
        for address, attributes in wanted.items():
            right = self.rib.get(prefix(address)) == attributes
            asked_for = Family.of(address) in self.families
            if asked_for and not right and not self._refuses(address, now):
                missing[address] = attributes
        # What was sent and is neither wanted nor in the table could not be withdrawn.
        for address, hop in self.sent.items():
            lost = address not in wanted and prefix(address) not in self.rib
            since = self.unsent.get(address, float("-inf"))
            if lost and self._calm(now) and now - since >= _LOST:
                # With all it had: a moment without NO_EXPORT would tell it to the world.
                missing[address] = replace(self.told.get(address, _WITHIN), next_hop=hop)
        return missing

    def strangers(self) -> Iterator[str]:
        """Prefixes in the table that are no host routes, and so not ours."""
        return (what for what in self.rib if host(what) is None)

    def surplus(self, wanted: Table, now: Instant) -> dict[str, Attributes]:
        """What is to be withdrawn: the unwanted, and what was sent wrongly, to come again."""
        gone: dict[str, Attributes] = {}
        for what, attributes in self.rib.items():
            address = host(what)
            if address is None or self._refuses(address, now):
                continue
            if address not in wanted:
                gone[address] = attributes
            elif attributes == wanted[address] and self._sent_wrongly(address, attributes, now):
                # ExaBGP takes it for announced already, so it must go before it can come.
                self.mended[address] += 1
                gone[address] = attributes
        return gone

    def _lose(self, because: str) -> None:
        """The session is down: what was sent in it stands nowhere."""
        self.up, self.because, self.negotiated = False, because, frozenset()
        self.sent.clear()
        self.told.clear()
        self.mended.clear()

    def _refuses(self, address: str, now: Instant) -> bool:
        return now < self.refused.get(address, now)

    def _calm(self, now: Instant) -> bool:
        return now - self.spoken_at >= _ON_ITS_WAY

    def _sent_wrongly(self, address: str, attributes: Attributes, now: Instant) -> bool:
        return (
            self._calm(now)
            and self.carries(address)
            and self.sent.get(address) != attributes.next_hop
            and self.mended[address] < MENDED_AT_MOST
        )
