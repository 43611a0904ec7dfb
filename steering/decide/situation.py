"""The situation: all that the rules look at, for each address of which anything is not as usual.

An address is *usual* when nothing was found against its local path, it is not steered, no override
orders it and no address of its group is breached. It has no entry, and of it is decided by its
health and by what is so of all (`rules.of_usual`). So a turn costs by what is not as usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.decide.moves.room import Held, Room
from steering.model import LOCAL, Family, Health

Operators = tuple[str, ...]
"""Names of operators, in the order of the policies."""
NO_CAUSES: Mapping[Family, Operators] = dict.fromkeys(Family, ())


@dataclass(slots=True, kw_only=True)
class AddressSituation:
    """The situation of one address in one turn. Written to by `breaches` and `look` alone."""

    address: str
    local: Health
    """Health of the local path."""
    path: str = LOCAL
    """The planned path before this turn."""
    ordered: bool = False
    """An override sets its path, and can be obeyed."""
    ordered_to: str = LOCAL
    """That path; the planned one where none does."""
    banned: frozenset[str] = frozenset()
    """Sites that an override avoids."""
    defied: bool = False
    """The override contradicts the measurements, or can't be obeyed."""
    self_doubt: bool = False
    marked: bool = False
    """Fails over the local path with our mark, and not without it: a move would not help."""
    hasty: bool = False
    """Left the local path just before a common cause was found."""
    own: bool = False
    """Breached itself: failing, or stale where the policy acts on it."""
    unshown: bool = False
    """Breached itself and still on the local path, but the last few seconds do not show the fault:
    it is probed fast until they do, or until it is healthy."""
    breached: bool = False
    """Breached, or moving along with its group."""
    settling: bool = False
    """Its move waits for trials of its group, or this host may have caused its silence."""
    proven: tuple[str, ...] = ()
    """The sites that it may take, in the order of the paths."""
    all_bad: bool = False
    """The local path and every usable remote one are known to be bad."""
    onward: bool = False
    """On a detour, and will change its site. Evidence of remote paths decides that, so it also
    happens while rule `clock` or `self` applies."""
    detour_worse: bool = False
    """The detour in use is bad, and clearly worse than the local path."""
    returning: bool = False
    """On a detour, and the local path is healthy again."""
    damped: bool = False
    """Would move, and moved too often lately."""
    best: str | None = None
    """The best proven site; None: there is none. With the budget applied, the one with room."""
    held: Held = Held.NOT
    """Would move, and has to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The situation of one turn."""

    off: bool
    clock_doubt: bool
    dated: frozenset[str]
    """Upstreams whose signatures look out of date on every path."""
    common_causes: Mapping[Family, Operators]
    """By family, the operators that failed at once, if the cause is most likely this host."""
    open_groups: frozenset[str]
    addresses: Mapping[str, AddressSituation]
    """Of each address that is not as usual, in the order of the policies."""
    room: Room
    scouts: tuple[str, ...] = ()
    """Addresses that return to the local path before the others of their group."""
    leaving: tuple[str, ...] = ()
    """Addresses that should take another site than they have, in order, before the budget."""
    cost: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Address -> site -> what it costs each of those (`ranking.costs`); not proven: left out."""
    scouting: frozenset[str] = frozenset()
    """Groups whose first address back on the local path is being verified."""
    scouted: frozenset[str] = frozenset()
    """Groups whose first address back on the local path is verified."""

    def of(self, address: str, family: Family, local: Health) -> AddressSituation:
        """That of one address; of a usual one made of what is so of all."""
        known = self.addresses.get(address)
        if known is not None:
            return known
        doubt = bool(self.common_causes[family])
        return AddressSituation(address=address, local=local, self_doubt=doubt)
