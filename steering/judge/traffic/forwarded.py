"""Whether a site carries what this host only forwards: packets of pods, containers, other hosts.

Probes can't show it: packets that are translated (NAT) on one link may leave another untranslated.
So if a source is seen to send queries through this host, its family does not use a site until it is
known that the site carries the source: by the configuration, or by answers over a detour that was
there before. If its packets take a detour and many in a row get no answer, while probes to the
same addresses are answered, then the site does not carry it, whatever the configuration has. That
holds for a limited time; otherwise a host behind this one could end all detours for ever with
queries that no server answers.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from steering.facts import Forwarded, Passed
from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.carriage import NOTHING, Carriage
from steering.judge.known.legs import ADDRESSES, Leg, LegState, SiteReach
from steering.judge.probes.reach import sites_of
from steering.model import LOCAL, Family, Health, Instant

Senders = Mapping[Family, tuple[Forwarded, ...]]
Sites = frozenset[tuple[Family, str]]
"""Each for all addresses of the family."""

MOST = 512
"""Pairs of source and site that are kept beside those in use."""


def count_forwarded(
    draft: Draft, passed: Sequence[Passed], senders: Senders, installed: Mapping[str, str]
) -> None:
    """Count what became of the queries that this host forwarded.

    Losses count only where probes are answered: otherwise the cause may be the nameserver or the
    path. One answer in a turn counts for the whole turn, as the order within it is not known. If
    very many sources are known, only `senders` are kept.
    """
    index = draft.index
    back = {(each.path, each.source) for each in passed if each.answered}
    addresses = _addresses(index, installed) if passed else {}
    for each in passed:
        if not index.knows(each.address, each.path):
            continue  # asked before the files changed
        leg = Leg(each.path, index.settings[each.address].family, each.source, tcp=False)
        after = was = draft.carried.get(leg, NOTHING)
        if (each.path, each.source) in back:
            after = after.answered()
        elif each.lost and draft.path(each.address, each.path).health is Health.HEALTHY:
            # None: they were moved meanwhile.
            number = addresses.get((leg.site, leg.family)) or ADDRESSES
            after = after.unanswered(each.address, each.lost, number, draft.now)
        if after is not was:
            draft.carried[leg] = after
    if len(draft.carried) > MOST:
        known = {sender.source for those in senders.values() for sender in those}
        for leg in [leg for leg in draft.carried if leg.source not in known]:
            del draft.carried[leg]


def _addresses(index: Index, installed: Mapping[str, str]) -> Mapping[tuple[str, Family], int]:
    """How many addresses of each family take each path."""
    known = [
        (site, index.settings[a].family) for a, site in installed.items() if a in index.settings
    ]
    found = Counter(known)
    for family, every in index.families.items():
        found[LOCAL, family] += len(every) - sum(each is family for _, each in known)
    return found


def _legs(
    carried: Mapping[Leg, Carriage], senders: Senders, index: Index, now: Instant
) -> Iterator[tuple[Leg, Forwarded, LegState]]:
    """What is known of each source in use over each site."""
    for family, each in senders.items():
        for site in sites_of(index, family):
            for sender in each:
                leg = _leg(site, family, sender.source)
                known = carried.get(leg, NOTHING)
                yield leg, sender, LegState.UNTRIED if known.is_old(now) else known.state


@functools.lru_cache(maxsize=1024)
def _leg(site: str, family: Family, source: str) -> Leg:
    return Leg(site, family, source, tcp=False)


def unknown(
    carried: Mapping[Leg, Carriage], senders: Senders, index: Index, now: Instant
) -> tuple[tuple[Leg, Forwarded], ...]:
    """Sources in use of which it is not known whether a site carries them."""
    return tuple(
        (leg, sender)
        for leg, sender, state in _legs(carried, senders, index, now)
        if state is LegState.UNTRIED and not sender.carried
    )


def dropped(
    carried: Mapping[Leg, Carriage], senders: Senders, index: Index, now: Instant
) -> tuple[tuple[Leg, Forwarded], ...]:
    """Sources in use that a site does not carry.

    A source that gets no answers over the local path either is left out.
    """
    if not any(one.state is LegState.LOST and leg.site != LOCAL for leg, one in carried.items()):
        return ()  # the usual case; this is called for each site of each address
    return tuple(
        (leg, sender)
        for leg, sender, state in _legs(carried, senders, index, now)
        if state is LegState.LOST
        and carried.get(_leg(LOCAL, leg.family, leg.source), NOTHING).state is not LegState.LOST
    )


def unproven(
    carried: Mapping[Leg, Carriage], senders: Senders, index: Index, now: Instant
) -> Sites:
    """Sites of which it is not known whether they carry every source in use."""
    return frozenset((leg.family, leg.site) for leg, _ in unknown(carried, senders, index, now))


def dropping(
    carried: Mapping[Leg, Carriage], senders: Senders, index: Index, now: Instant
) -> Sites:
    """Sites that do not carry some source in use."""
    return frozenset((leg.family, leg.site) for leg, _ in dropped(carried, senders, index, now))


def states(
    carried: Mapping[Leg, Carriage], senders: Senders, index: Index, now: Instant
) -> Iterator[SiteReach]:
    """What is known, or configured, of each source and site, by UDP alone."""
    for leg, sender, state in _legs(carried, senders, index, now):
        by_config = state is LegState.UNTRIED and sender.carried
        yield SiteReach(leg, "udp", LegState.USABLE if by_config else state)
