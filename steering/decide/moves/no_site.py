"""Breached addresses without a proven site: which sites are probed fast for them.

Such an address stays on a bad path until a site is found to be usable again. So a site that answers
again is probed fast until it has answered well for long enough, and so is one that is healthy but
fails more than the local path, since few answers do not distinguish two shares. A silent site is
probed fast for few addresses and for some minutes; later the slow round finds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steering.decide.moves.usable_sites import gives_way
from steering.decide.state import State
from steering.judge.known.baseline import BOGUS, ERROR
from steering.judge.known.buckets import EMPTY
from steering.judge.known.ledger import SILENCES, PathRecord
from steering.model import LOCAL, Health, Seconds

SILENT_FOR: Seconds = 300.0
"""How long a silent site is probed fast: most outages of a link are shorter."""
SCOUTS = 8
"""Addresses for which silent sites are probed fast. If one is answered the others follow."""


def nowhere(state: State) -> Mapping[str, frozenset[str]]:
    """Address -> the sites to probe fast for it."""
    situation = state.situation
    if situation is None or state.off:
        return {}
    kinds = {
        address: _kinds(state, address, one.banned)
        for address, one in situation.addresses.items()
        if (one.own or one.breached)
        and state.path_of(address) == LOCAL
        and not one.ordered
        and not one.proven
    }
    back = frozenset(site for each in kinds.values() for site in each.back)
    scouts = [address for address, each in kinds.items() if each.silent][:SCOUTS]
    asked = {
        address: each.fit
        | each.back
        | (each.bad & back)
        | (each.silent if address in scouts else frozenset())
        for address, each in kinds.items()
    }
    return {address: sites for address, sites in asked.items() if sites}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """Sites that an address could use, by what is known of them."""

    fit: frozenset[str]
    """Healthy, and not avoided."""
    bad: frozenset[str]
    back: frozenset[str]
    """Bad, and recovering."""
    silent: frozenset[str]
    """Bad, and silent for not too long."""


def _kinds(state: State, address: str, banned: frozenset[str]) -> _Kinds:
    fit, bad, back, silent = set[str](), set[str](), set[str](), set[str]()
    for site in state.index.settings[address].order.keys() - banned:
        record = state.ledger.path(address, site)
        if record.health is Health.HEALTHY:
            if not state.avoids(address, site) or gives_way(state, address, site):
                fit.add(site)
        elif record.health is not Health.STALE:
            bad.add(site)
            if _recovers(state, record):
                back.add(site)
            if record.streak >= SILENCES and _silent_lately(state, record):
                silent.add(site)
    return _Kinds(
        fit=frozenset(fit), bad=frozenset(bad), back=frozenset(back), silent=frozenset(silent)
    )


def _silent_lately(state: State, record: PathRecord) -> bool:
    since = record.silent_since
    return since is not None and state.now - since < SILENT_FOR


def _recovers(state: State, record: PathRecord) -> bool:
    """Whether the last answer over a path was good, or it answered just now and lost the others.

    The last losses of an outage become known after the first answers.
    """
    lost = all(record.levels[number] == EMPTY for number in (BOGUS, ERROR))
    just_now = state.now - record.answered < 2 * state.index.timeout
    return record.run > 0 or (just_now and lost)
