"""The sites that an address may be steered to: proven good, or in use and not bad."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from steering.decide.moves.ranking import LONE, SURE
from steering.decide.state import State
from steering.index import Settings
from steering.judge.known.ledger import SILENCES
from steering.judge.known.legs import Leg
from steering.judge.probes.peer_paths import is_standing
from steering.judge.probes.reach import comes_back, is_cut, lost
from steering.judge.traffic.forwarded import dropping, unproven
from steering.model import LOCAL, Family, Health

MOSTLY = 0.5
"""A local path is mostly bad if more than this share of its answers is."""
ENOUGH = 20
"""Recent answers over both paths that are enough to compare their shares: some seconds at the fast
interval."""


def worse(state: State) -> Mapping[str, frozenset[str]]:
    """Address -> sites over which it lately fails more than over its failing local path.

    Few answers do not distinguish two shares, so the answers of a group count together: of its
    failing addresses, compared with their local paths, and also for the addresses that move with
    them. By its own answers a path is worse only if it clearly is. A single bad answer is ignored,
    and an outdated path is not compared. The failing share of the resolvers' traffic over the local
    path counts where it is higher.
    """
    index, ledger = state.index, state.ledger
    failing = index.in_order(a for a in ledger.open if _health(state, a) is Health.FAILING)
    if not any(ledger.path(a, site).recent.bad for a in failing for site in index.sites):
        return {}
    groups: dict[str, dict[str, float]] = {}
    for address in failing:
        known = groups.setdefault(index.settings[address].group, {})
        if (here := _local_share(state, address)) is not None:
            known[address] = here
    found: dict[str, frozenset[str]] = {}
    for group, known in groups.items():
        together, each = _worse_in_group(state, known)
        for address in index.groups[group]:
            if _health(state, address) is not Health.STALE:
                found[address] = together | each.get(address, frozenset())
    return found


def _health(state: State, address: str) -> Health:
    return state.ledger.path(address).health


def _local_share(state: State, address: str) -> float | None:
    own = state.ledger.path(address).recent.share(state.now)
    heard = state.ledger.heard(address).recent.share(state.now)
    return own if own is None or heard is None else max(own, heard)


def _worse_in_group(
    state: State, known: Mapping[str, float]
) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """The sites that are worse by the answers of a group together, and by those of each address.

    `known`: its failing addresses with the failing share of their local paths.
    """
    ledger, together = state.ledger, set[str]()
    each: dict[str, set[str]] = {address: set() for address in known}
    for site in state.index.sites:
        there, here, asked, bad_there = 0.0, 0.0, 0.0, 0
        for address, share in known.items():
            record = ledger.path(address, site)
            bad, answers = record.recent.bad, record.recent.all
            if bad - LONE - SURE * math.sqrt(bad) > answers * share:
                each[address].add(site)
            bad_there += record.health >= Health.SUSPECT
            if record.health is Health.HEALTHY:
                there += bad
                here += answers * share
                asked += min(answers, ledger.path(address).recent.all)
        # Most of the group can't use it: a few good answers of one address may be chance.
        mostly = bad_there * 2 > len(known)
        if mostly or (there > LONE and (there > here or asked < ENOUGH)):
            together.add(site)
    return frozenset(together), {address: frozenset(sites) for address, sites in each.items()}


def proven(state: State, addresses: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Address -> the sites that it may take, in the order of the paths."""
    if not addresses:
        return {}
    through = state.ledger.carried, state.forwarded, state.index, state.now
    families = {state.index.settings[address].family for address in addresses}
    dropped = dropping(*through)
    shut = {
        (family, site)
        for family in families
        for site in state.index.sites
        if not comes_back(state.ledger.legs, state.sources, family, site)
    }
    whole = _Whole(
        worse=worse(state),
        closed=dropped.union(unproven(*through), shut),
        dropped=dropped,
        partly=lost(state.ledger.legs, state.sources, partial=True),
        gone=lost(state.ledger.legs, state.sources, partial=False),
    )
    return {address: _proven(state, whole, address) for address in addresses}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    """What is so of whole sites and groups in this turn."""

    worse: Mapping[str, frozenset[str]]
    closed: frozenset[tuple[Family, str]]
    """Not known to carry every source, or datagrams do not come back to some source."""
    dropped: frozenset[tuple[Family, str]]
    """Do not carry some source."""
    partly: tuple[Leg, ...]
    """Legs over which a part of the answers gets lost, by TCP or large."""
    gone: tuple[Leg, ...]
    """Legs over which all do."""


def _proven(state: State, whole: _Whole, address: str) -> tuple[str, ...]:
    if address in state.bypassed:
        return ()  # a detour would do nothing for it
    ledger, index, now, path = state.ledger, state.index, state.now, state.path_of(address)
    settings = index.settings[address]
    family, partly = settings.family, _loses_part(state, whole, settings)
    # If the local path is silent since, all paths may be, and only some were probed since.
    since = ledger.path(address).silent_since if path != LOCAL else None
    worse_here = whole.worse.get(address, frozenset())

    def may_take(site: str) -> bool:
        record = ledger.path(address, site)
        return (
            record.run > 0
            and site not in worse_here
            and (family, site) not in whole.closed
            and (since is None or record.answered >= since)
        )

    def may_stay(site: str) -> bool:
        return (family, site) not in whole.dropped and not is_cut(whole.gone, settings, site)

    sites = [
        site
        for site in settings.order
        if is_standing(ledger, index, address, site, now)
        and site not in partly
        and (may_stay(site) if site == path else may_take(site))
    ]
    return _to_try(state, address, sites)


def _loses_part(state: State, whole: _Whole, settings: Settings) -> frozenset[str]:
    """The sites over which a part of the answers, by TCP or large, does not come back.

    These are a part of the traffic: a local path that is mostly bad is worse.
    """
    share = state.ledger.path(settings.address).recent.share(state.now) if whole.partly else None
    if share is None or not share < MOSTLY:
        return frozenset()
    if state.ledger.path(settings.address).streak >= SILENCES:
        return frozenset()
    return frozenset(s for s in state.index.sites if is_cut(whole.partly, settings, s))


def _to_try(state: State, address: str, sites: list[str]) -> tuple[str, ...]:
    """Those of the sites that are not avoided for the address now."""
    if not state.avoid_until:
        return tuple(sites)
    avoided = {site for site in sites if state.avoids(address, site)}
    path, banned = state.path_of(address), state.override_state.banned.get(address, {})
    elsewhere = any(site not in avoided and site not in banned for site in sites)
    return tuple(
        site
        for site in sites
        if site not in avoided
        or (gives_way(state, address, site) and (site == path or not elsewhere))
    )


def gives_way(state: State, address: str, site: str) -> bool:
    """Whether a site may be used although it is avoided, if there is no other one.

    It was left because its path had turned bad; `proven` requires that it has recovered. A site
    that did not help although its path was good has nothing to recover from.
    """
    return (address, site) in state.turned
