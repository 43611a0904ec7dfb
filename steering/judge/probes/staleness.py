"""Staleness: an outdated copy of a zone, found before its first signature expires.

Two signals, both relative to the *other paths* of the same address and zone at the same time, so
that no format or schedule has to be configured:

- serial lag: how long some path has shown a newer serial (RFC 1982) than this one; for
  zones whose serial is the time of the edit also how much older the edit is.
- signature life: the shortest remaining RRSIG lifetime here beside the shortest elsewhere.

A copy is late when lag * 12 reaches the shortest remaining lifetime over all paths (6 h for com
and net, about a day for the root), or when the local lifetime is at most 2/3 of the others' and no
more than two days. The limits of a policy's `stale` replace these. By the share alone, a copy that
gets a new signing some minutes after the others would be late: of signatures that live seven days
and are renewed at four and a half, it shows less than 2/3 until then. com and net never show less
than three days, so a frozen copy is found with two of them left.

If every path is equally late, the zone is late, and no detour would help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steering.index import Settings
from steering.judge.edit import Draft
from steering.judge.known.zone_copies import UNSEEN, age, lag
from steering.model import Seconds

LAG_PARTS = 12
LIFE_SHARE = 2 / 3
SHORT: Seconds = 2 * 86_400.0
"""Signatures that live longer than this are not late, whatever other paths show."""
TWO = 2
"""Paths that must agree before the zone itself counts as late."""

Known = Sequence[Seconds | None]
"""By path; None: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """What is outdated of one zone at one address."""

    behind: frozenset[str]
    """Paths that are late by serial."""
    short: frozenset[str]
    """Paths that are late by the life of their signatures."""
    floors: Mapping[str, Seconds]
    """Path -> an answer with a signature that ends within so many seconds is outdated."""
    everywhere: bool
    """Every path is late: the zone itself is."""


def late(draft: Draft, settings: Settings, zone: str) -> Lateness:
    """How late the copy of a zone is over each path."""
    paths, now, wall, epoch = draft.index.paths, draft.now, draft.wall, settings.epoch
    stale, history = settings.policy.breach.stale, draft.zone(settings.upstream, zone)
    lag_limit, life_limit = stale.serial_lag, stale.signature_remaining
    copies = [draft.path(settings.address, path).copies.get(zone, UNSEEN) for path in paths]
    lags = [lag(copy, history, now, epoch=epoch) for copy in copies]
    lives = [copy.soonest.comparable_life(draft.windows, wall) for copy in copies]
    ages = [age(copy, wall, epoch=epoch) for copy in copies]
    behind, short, floors = set[str](), set[str](), dict[str, Seconds]()
    others_live, others_lag = _elsewhere(lives), _elsewhere(lags, least=True)
    for number, (path, mine, life) in enumerate(zip(paths, lags, lives, strict=True)):
        # What is not known is not late.
        elsewhere, others = others_live[number], others_lag[number]
        if mine and others is not None and mine > others:
            limit = lag_limit if lag_limit is not None else _part(elsewhere, LAG_PARTS)
            if limit is not None and mine >= limit > 0:
                behind.add(path)
        if elsewhere is not None and elsewhere > (life_limit or 0.0):
            floor = min(elsewhere * LIFE_SHARE, SHORT) if life_limit is None else life_limit
            floors[path] = floor
            if life is not None and life <= floor:
                short.add(path)
    limit = lag_limit if lag_limit is not None else _part(_most(lives), LAG_PARTS)
    oldest = [_most(both) for both in zip(lags, ages, strict=True)]
    return Lateness(
        behind=frozenset(behind),
        short=frozenset(short),
        floors=floors,
        everywhere=(limit is not None and limit > 0 and _all_known(oldest, at_least=limit))
        or (life_limit is not None and _all_known(lives, at_most=life_limit)),
    )


def _part(length: Seconds | None, parts: int) -> Seconds | None:
    return None if length is None else length / parts


def _most(values: Known) -> Seconds | None:
    return max((value for value in values if value is not None), default=None)


def _elsewhere(values: Known, *, least: bool = False) -> list[Seconds | None]:
    """For each path the greatest value of the other ones, or the least; None: none is known."""
    known = sorted(
        ((value, i) for i, value in enumerate(values) if value is not None), reverse=not least
    )
    found: list[Seconds | None] = [known[0][0] if known else None] * len(values)
    if known:
        found[known[0][1]] = known[1][0] if len(known) > 1 else None
    return found


def _all_known(
    values: Known, *, at_least: Seconds | None = None, at_most: Seconds | None = None
) -> bool:
    """Whether all paths with known values are late, if they are enough."""
    known = [value for value in values if value is not None]
    return len(known) >= TWO and all(
        (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        for value in known
    )
