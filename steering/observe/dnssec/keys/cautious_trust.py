"""The trust to judge one server's answers by: all keys, or fewer proofs before it showed its own.

In a zone for which the server has not shown its keys yet, a signature by an unknown key proves
nothing (server_keys.py).
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from steering.observe.dnssec.trust import Keys, Trust


@dataclass(slots=True)
class CautiousTrust:
    """Makes it from the trust in all keys, and caches it until that changes."""

    _made: dict[AbstractSet[str], tuple[Trust, Trust]] = field(default_factory=dict)
    _unconfirmed: dict[str, tuple[Keys, Keys]] = field(default_factory=dict)

    def within(self, trust: Trust, undecided: frozenset[str]) -> Trust:
        """The trust, with the keys of undecided zones as if no server had shown them lately."""
        of, cautious = self._made.get(undecided, (None, trust))
        if of is not trust:
            secure = dict(trust.secure)
            for zone in undecided:
                secure[zone] = self._keys(zone, trust.secure[zone])
            cautious = replace(trust, secure=secure)
            self._made[undecided] = (trust, cautious)
        return cautious

    def forget(self) -> None:
        """Drop what was made of an earlier trust."""
        self._made = {}

    def _keys(self, zone: str, held: Keys) -> Keys:
        """A zone's keys as if no server had shown them lately, so that no absent key is proven bad.

        The value is cached: with policies of hundreds of zones it is needed after each new set.
        """
        of, made = self._unconfirmed.get(zone, (None, held))
        if of is not held:
            made = replace(held, checked=-math.inf)
            self._unconfirmed[zone] = (held, made)
        return made
