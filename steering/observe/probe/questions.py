"""The questions that probes ask, in an endless cycle.

About half of them ask for names that don't exist. The NSEC3 records in those answers come from the
whole zone, so they also find a single expired signature among hundreds; those at the apex don't.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from steering.model import Kind, Question
from steering.observe.dnssec.trust import below, name_of, text_of
from steering.observe.nonce import random_label

_ORDER: Final = (
    Kind.SOA,
    Kind.DENIAL,
    Kind.DNSKEY,
    Kind.DENIAL,
    Kind.DELEGATION,
    Kind.DENIAL,
)


def delegations(zones: Iterable[str], nameservers: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Zone -> the names delegated directly below it, as far as the policies contain them.

    These are the other zones, and the parents of the nameservers' names: ``gtld-servers.net.``
    in ``net.``, ``com.`` in the root.
    """
    known = {name_of(zone) for zone in zones}
    parents = {name.parent() for server in nameservers if len(name := name_of(server)) > 1}
    return {
        text_of(zone): tuple(
            sorted(
                text_of(name)
                for name in known | parents
                if below(zone, name) and len(name) == len(zone) + 1
            )
        )
        for zone in known
    }


@dataclass(slots=True)
class QuestionSet:
    """The questions for one address, in turn over its upstream's zones."""

    zones: Sequence[str]
    delegations: Mapping[str, Sequence[str]]
    rng: random.Random
    _asked: int = 0
    _fast: int = 0
    _large: int = 0

    def __post_init__(self) -> None:
        if not self.zones:
            raise ValueError("an upstream needs a zone to be asked about")
        # Addresses start at different places, so that together they soon ask everything.
        self._asked = self.rng.randrange(len(_ORDER) * len(self.zones))

    def fresh(self) -> Question:
        """The next question of the set."""
        kind = _ORDER[self._asked // len(self.zones) % len(_ORDER)]
        zone = self.zones[self._asked % len(self.zones)]
        self._asked += 1
        return self._make(kind, zone)

    def fast(self, witnesses: Sequence[str]) -> Question:
        """The next question of fast probing: every second one asks a failed name again."""
        self._fast += 1
        if self._fast % 2 or not witnesses:
            return self.fresh()
        name = witnesses[self._fast // 2 % len(witnesses)]
        zone = self._enclosing(name)
        if zone is None:  # a name of another upstream, which this server does not serve
            return self.fresh()
        return Question(zone=zone, name=name, rdtype="A", kind=Kind.WITNESS)

    def large(self) -> Question:
        """The question with the largest answer, that for the DNSKEY set; of each zone in turn."""
        self._large += 1
        return self.keys(self.zones[self._large % len(self.zones)])

    def keys(self, zone: str) -> Question:
        """The question for a zone's DNSKEY set, out of turn."""
        return self._make(Kind.DNSKEY, zone)

    def _make(self, kind: Kind, zone: str) -> Question:
        if kind in {Kind.SOA, Kind.DNSKEY}:
            return Question(zone=zone, name=zone, rdtype=kind.value.upper(), kind=kind)
        if kind is Kind.DELEGATION and (known := self.delegations.get(zone)):
            name = self.rng.choice(known)
            return Question(zone=zone, name=name, rdtype="DS", kind=kind)
        label = random_label(self.rng)
        name = f"{label}." if zone == "." else f"{label}.{zone}"
        return Question(zone=zone, name=name, rdtype="A", kind=Kind.DENIAL)

    def _enclosing(self, name: str) -> str | None:
        at = name_of(name)
        zones = [zone for zone in self.zones if at.is_subdomain(name_of(zone))]
        return max(zones, key=lambda zone: len(name_of(zone)), default=None)
