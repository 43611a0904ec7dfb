"""The addresses that a turn has to look at although there is no news of them (`Ledger.open`)."""

from __future__ import annotations

from dataclasses import replace
from math import floor

from steering.index import Index, Key
from steering.judge.known.ledger import BAD, SILENCES, Ledger, PathRecord
from steering.model import Health, Instant


def is_open(ledger: Ledger, index: Index, address: str, now: Instant) -> bool:
    """Whether a turn has to look at an address without news of it."""
    if address not in index.settings:
        return False
    known = ledger.address(address)
    return (
        known.first_bad is not None
        or known.curious_until > now
        or known.shown_since is not None
        or known.zone_since is not None
        or known.quick >= BAD
        or known.trial is not None
        or known.control is not None
        or known.backoff is not None
        or ledger.group(index.settings[address].group).trial is not None
        or known.raised
        or _is_unusual(ledger.path(address))
        or any(_is_watched(ledger.path(address, site)) for site in index.sites)
        or _is_dated(ledger, index, address)
    )


def _is_unusual(local: PathRecord) -> bool:
    return (
        local.health >= Health.SUSPECT
        or local.bucket is not None
        or local.streak >= SILENCES
        or local.stuck >= SILENCES
    )


def _is_watched(remote: PathRecord) -> bool:
    """Whether a site's path is looked at without news; it is not while it is only bad."""
    return remote.losses > 0 or (remote.bucket is not None and remote.bucket.empty)


def _is_dated(ledger: Ledger, index: Index, address: str) -> bool:
    """Whether the address may be one whose signatures look out of date on every path."""
    local = ledger.path(address)
    if local.health is not Health.UNKNOWN:
        return local.recent.mostly_dated
    return any(ledger.path(address, path).recent.mostly_dated for path in index.paths)


def reopened(ledger: Ledger, index: Index, now: Instant) -> Ledger:
    """The ledger with all that is looked at without news, as worked out from its records.

    For a ledger that was read from a journal, or that goes on with other policies.
    """
    stay = (address for address in index.settings if is_open(ledger, index, address, now))
    due: dict[int, set[Key]] = {}
    for key, record in ledger.paths.items():
        if record.health in (Health.HEALTHY, Health.SUSPECT):
            due.setdefault(floor(max(record.seen + index.fresh, now)), set()).add(key)
    return replace(
        ledger,
        open=frozenset(stay),
        held=frozenset(a for a, known in ledger.addresses.items() if known.hold is not None),
        due={second: frozenset(keys) for second, keys in due.items()},
    )
