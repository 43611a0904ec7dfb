"""What a parent zone says about a name below it: its DS records, or what their absence means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import dns.message
import dns.name
import dns.rdatatype

from steering.model import Instant, Seconds
from steering.observe.dnssec.denial import Cut
from steering.observe.dnssec.keys.chain import Resolvers, Unobtainable, answer_of
from steering.observe.dnssec.keys.server_keys import PARENT
from steering.observe.dnssec.keys.verify import Verifier
from steering.observe.dnssec.keys.zone_entry import ZoneEntry, entry_of
from steering.observe.dnssec.trust import Keys, text_of

_AGAIN: Final[Seconds] = 10.0
"""After the parent's own servers gave no answer."""


@dataclass(slots=True)
class Delegations:
    """Asks resolvers for them, or the parent's own servers if a cached copy may be too old."""

    resolvers: Resolvers
    verifier: Verifier
    monotonic: Callable[[], Instant]
    _parent_asked: dict[str, Instant] = field(default_factory=dict)

    def copy_from(self, known: Delegations) -> None:
        """Take over when the parents' own servers were asked."""
        self._parent_asked = dict(known._parent_asked)

    def may_ask_parent(self, zone: str) -> bool:
        """Whether the last question to the parent's own servers is long enough ago."""
        return self.monotonic() - self._parent_asked.get(zone, -math.inf) >= PARENT

    async def of(
        self, cut: dns.name.Name, parent: Keys, resolver: str, *, by_parent: bool
    ) -> ZoneEntry | Cut:
        """The parent's DS records for a name, or what their absence means."""
        zone, by = text_of(cut), resolver
        message = None
        if by_parent:
            self._parent_asked[zone] = self.monotonic()
            if found := await self.resolvers.ask_parent(parent.zone, zone, "DS", resolver):
                message, by = found
            else:
                self._parent_asked[zone] -= PARENT - _AGAIN
        if message is None:
            message = await self.resolvers.ask(zone, "DS", resolver)
        rrset, rrsigs = answer_of(message, cut, dns.rdatatype.DS)
        if rrset is not None:
            if self.verifier.require(rrset, rrsigs, parent) is not None:
                raise Unobtainable(f"{cut} DS: made from a wildcard")
            if not (good := self.verifier.good(rrset, rrsigs, parent)):
                raise Unobtainable(f"{cut} DS: too many signatures")
            entry = entry_of(rrset, good, by, self.monotonic(), self.verifier.wall())
            return Cut.INSECURE if entry is None else entry
        alias, rrsigs = answer_of(message, cut, dns.rdatatype.CNAME)
        if alias is not None:  # no other data stands beside an alias (RFC 2181 10.1), so no cut
            made = self.verifier.require(alias, rrsigs, parent)
            missing = made is not None and self.verifier.proof(message, parent).not_closer(
                cut, made
            )
            return Cut.UNPROVEN if missing else Cut.NONE
        proof = self.verifier.proof(message, parent)
        return Cut.INSECURE if proof.beyond_reach else proof.no_ds(cut)
