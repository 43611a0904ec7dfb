"""Why the health of a path is what it is, in words and numbers."""

from __future__ import annotations

from steering.format import duration, percent
from steering.index import Index
from steering.judge.known.ledger import SILENCES, Book, worst_lag
from steering.judge.known.paired_test import CONFIRM_AT, Trial
from steering.model import LOCAL, NEVER, Health, Instant

SHOWN = 0.0005
"""A smaller share would be shown as 0.0%, and is left out."""


def reason(book: Book, index: Index, address: str, path: str, now: Instant) -> str:
    """Why the health of an address over a path is what it is, in numbers."""
    record, settings = book.path(address, path), index.settings[address]
    share = record.recent.share(now)
    failing = "nothing answered lately" if share is None else f"{percent(share)} failing lately"
    last = f"; last: {record.evidence}" if record.evidence is not None else ""
    if record.health is Health.UNKNOWN:
        if record.stuck:
            return f"{record.stuck} probes in a row did not leave this host over this path"
        if record.seen == NEVER:
            return "not measured yet"
        if record.streak:
            return f"{record.streak} probes unanswered (silence alone is no fault)"
        return failing
    if record.health is Health.HEALTHY:
        return f"{record.run} good answers in a row, {failing}"
    if record.health is Health.STALE:
        late = worst_lag(book, settings, path, now)
        lagging = duration(float("nan") if late is None else late)
        return f"older copy than over other paths: serial lag {lagging}, {failing}"
    if record.streak >= SILENCES:
        return f"{record.streak} probes in a row unanswered while another path answers{last}"
    trial = book.address(address).trial if path == LOCAL else None
    compared = _compared(trial) if trial is not None else ""
    # The share may be 0 where the fault is known by names asked again (which no share counts), by
    # the group, or by the resolvers' traffic.
    own = failing if share is not None and share >= SHOWN else ""
    parts = (own, last.removeprefix("; "), compared, _of_traffic(book, address, path, now))
    return "; ".join(part for part in parts if part) or failing


def _compared(trial: Trial) -> str:
    so_far = (
        f"score {trial.score:+d} of +{CONFIRM_AT} after {trial.pairs} pairs"
        if trial.pairs
        else "not compared yet"
    )
    return f"trial against {trial.candidate}: {so_far}"


def _of_traffic(book: Book, address: str, path: str, now: Instant) -> str:
    known = book.heard(address, path)
    share = known.recent.share(now)
    if share is None or share < SHOWN:
        return ""
    last = f"; last: {known.evidence}" if known.evidence is not None else ""
    return f"{percent(share)} of the answers to the resolvers failed{last}"
