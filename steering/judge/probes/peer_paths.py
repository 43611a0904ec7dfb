"""One path beside the others: candidates for a trial, and whose fault a silence is."""

from __future__ import annotations

import math
from collections.abc import Collection

from steering.index import Index
from steering.judge.known.ledger import SILENCES, Book, PathRecord
from steering.model import NEVER, Family, Health, Instant


def candidates(book: Book, index: Index, address: str, now: Instant) -> tuple[str, ...]:
    """The remote paths of an address that are candidates, in the order of the paths."""
    order = index.settings[address].order
    return tuple(path for path in order if is_candidate(book, index, address, path, now))


def is_candidate(book: Book, index: Index, address: str, path: str, now: Instant) -> bool:
    """Whether a remote path is good now: healthy by recent answers, the last one good."""
    return book.path(address, path).run > 0 and is_standing(book, index, address, path, now)


def is_standing(book: Book, index: Index, address: str, path: str, now: Instant) -> bool:
    """Whether a remote path is good, whatever the last answer: one lost packet is no fault.

    A path is not good if its probes don't leave this host, as its link or gateway is gone.
    """
    known = book.path(address, path)
    return (
        known.health is Health.HEALTHY
        and not known.late
        and known.stuck < SILENCES
        and now - known.answered < index.fresh
        and path in index.settings[address].order
    )


def is_silent(record: PathRecord) -> bool:
    """Whether three or more probes in a row were unanswered."""
    return record.streak >= SILENCES


def answered_elsewhere(book: Book, index: Index, address: str, path: str) -> bool:
    """Whether another path has answered since a path became silent."""
    since = _silent_since(book.path(address, path))
    return any(
        book.path(address, other).answered >= since for other in index.paths if other != path
    )


def _silent_since(record: PathRecord) -> Instant:
    return math.inf if record.silent_since is None else record.silent_since


def cut_off(book: Book, index: Index, addresses: Collection[str]) -> frozenset[str]:
    """Those of `addresses` whose silence on the local path this host may have caused.

    It counts against an upstream only if probes leave this host: something of the same family
    must have come back over the local path to a probe sent after the silence began.
    """
    mute: dict[Family, dict[str, Instant]] = {}
    for address in addresses:
        record = book.path(address)
        if is_silent(record):
            family = index.settings[address].family
            mute.setdefault(family, {})[address] = _silent_since(record)
    own_fault: set[str] = set()
    for family, silences in mute.items():
        every, latest = index.families[family], max(silences.values())
        if any(book.path(other).reached >= latest for other in every):
            continue  # the usual case, and soon found
        last = max(book.path(other).reached for other in every)
        own_fault.update(address for address, since in silences.items() if last < since)
    return frozenset(own_fault)


def others_asked(book: Book, index: Index, addresses: Collection[str]) -> frozenset[str]:
    """Those of `addresses` for which other upstreams were probed too since they became silent.

    In the same family, over the local path. Those that are not silent, or have no other upstream,
    are among them.
    """
    latest: dict[Family, list[tuple[Instant, str]]] = {}
    not_asked = set()
    for address in addresses:
        record, settings = book.path(address), index.settings[address]
        if not is_silent(record):
            continue
        if settings.family not in latest:
            latest[settings.family] = _latest_asked(book, index, settings.family)
        others = [at for at, by in latest[settings.family] if by != settings.upstream]
        if others and not others[0] > _silent_since(record) + index.timeout:
            not_asked.add(address)
    return frozenset(addresses) - not_asked


def _latest_asked(book: Book, index: Index, family: Family) -> list[tuple[Instant, str]]:
    """The two upstreams of a family that were probed last, the latest first, and when."""
    asked: dict[str, Instant] = {}
    for address in index.families[family]:
        upstream = index.settings[address].upstream
        asked[upstream] = max(asked.get(upstream, NEVER), book.path(address).seen)
    return sorted(((at, upstream) for upstream, at in asked.items()), reverse=True)[:2]
