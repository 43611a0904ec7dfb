"""Answers counted: what one round of observations adds to the ledger."""

from __future__ import annotations

import math

import numpy as np

from steering.judge import names
from steering.judge.draft import Draft
from steering.judge.hearsay import forget
from steering.judge.herd import pair_herd
from steering.judge.instance import Instance
from steering.judge.ledger import RECENT, RECENT_ANSWERS, SILENCES, Key
from steering.judge.trials import pair
from steering.layout import CLASSES
from steering.model import OUTCOMES, Evidence, Health, Kind, Observation, Outcome, Round, Verdict

SMOOTH = 1 / 8
"""Weight of a new round-trip time in the smoothed one (RFC 6298 section 2.3)."""

_COLUMN_OF = {outcome: i for i, outcome in enumerate(OUTCOMES)}
_CLASS_OF = {verdict: c for c, verdict in enumerate(CLASSES)}
_DATED = (Outcome.EXPIRED, Outcome.NOT_YET_VALID)
_LOSSY = (Verdict.TIMEOUT, Verdict.ERROR)


def count_round(draft: Draft, item: Round) -> None:
    """Count one round; it is also a pair of the trial of its address, if there is one."""
    a = draft.layout.row.get(item.address)
    if a is None:
        return  # a policy was reloaded while the question was under way
    seen: dict[int, Observation] = {}
    for observation in item.observations:
        p = draft.layout.column.get(observation.path)
        if p is not None and not observation.live:  # live answers are the proof's
            seen[p] = observation
    pair(draft, a, item, seen)
    pair_herd(draft, a, item, seen)
    answered = [p for p, observation in seen.items() if _came(observation)]
    for p, observation in seen.items():
        _count(draft, (a, p), item, observation, alone=not answered)
    if item.moot:
        known = draft.ignored.get(a, names.NONE)
        draft.ignored[a] = names.ignore(known, (item.question.name,), draft.now)


def _came(seen: Observation) -> bool:
    """Whether an answer came, judged or not."""
    return seen.verdict is not Verdict.TIMEOUT and (
        seen.reached or seen.verdict is not Verdict.NOTHING
    )


def _count(draft: Draft, key: Key, item: Round, seen: Observation, *, alone: bool) -> None:
    book, now, verdict = draft.book, draft.now, seen.verdict
    book.counts[_COLUMN_OF[seen.outcome]][key] += 1
    if seen.reached:
        book.reached[key] = np.fmax(book.reached[key], item.at)
    _count_silence(draft, key, item, seen)
    book.stuck[key] = book.stuck[key] + 1 if seen.outcome is Outcome.LOCAL_ERROR else 0
    if verdict is Verdict.NOTHING:
        return
    draft.touched.add(key)
    book.seen[key] = now
    if seen.nsid is not None:
        _meet(draft, key, seen.nsid)
    bad = verdict is not Verdict.GOOD
    if item.question.kind is not Kind.WITNESS:
        _count_recent(draft, key, seen, bad=bad)
    book.run[key] = 0 if bad else book.run[key] + 1
    if seen.rtt is not None:
        old = book.rtt[key]
        book.rtt[key] = seen.rtt if math.isnan(old) else old + (seen.rtt - old) * SMOOTH
    if bad:
        draft.evidence[key] = seen.evidence or Evidence(
            owner=item.question.name, rdtype=item.question.rdtype, detail=_shown(seen)
        )
    outdated = _count_copy(draft, key, item, seen)
    counts = _tally(draft, key, item, verdict, alone=alone)
    fault = bad and bool(draft.layout.acts_on[_CLASS_OF[verdict], key[0]])
    if fault and key[1] == 0:
        _mind(draft, key[0], item, counts=counts)
    if (bucket := draft.buckets.get(key)) is not None and not item.moot:
        # What the policy does not count against a path does not keep traffic away from it.
        lost = fault and verdict in _LOSSY
        clean = not fault and not outdated
        draft.buckets[key] = bucket.count(clean=clean, lost=lost, bad=not clean and not lost)


def _count_recent(draft: Draft, key: Key, seen: Observation, *, bad: bool) -> None:
    """One answer for the failing share; witnesses were asked because they fail."""
    book, now = draft.book, draft.now
    fade = math.exp((book.recent_at[key] - now) / RECENT) * (1 - 1 / RECENT_ANSWERS)
    book.recent_bad[key] = book.recent_bad[key] * fade + bad
    book.recent_dated[key] = book.recent_dated[key] * fade + (seen.outcome in _DATED)
    book.recent_all[key] = book.recent_all[key] * fade + 1
    book.recent_at[key] = now


def _shown(seen: Observation) -> str:
    """What happened, where no RRset is to blame; a server's own words are quoted and cut."""
    return f"{seen.outcome} ({seen.detail[:80]!r})" if seen.detail else str(seen.outcome)


def _count_silence(draft: Draft, key: Key, item: Round, seen: Observation) -> None:
    book = draft.book
    if _came(seen):
        book.streak[key] = 0
        book.silent_since[key] = np.nan
        book.answered[key] = np.fmax(book.answered[key], item.at)
    elif seen.verdict is Verdict.TIMEOUT and not item.at < book.answered[key]:
        # A loss known only after a later question was answered is no silence.
        book.streak[key] += 1
        if book.streak[key] == SILENCES:
            book.silent_since[key] = item.at


def _count_copy(draft: Draft, key: Key, item: Round, seen: Observation) -> bool:
    """Note serial and signature's end; whether this answer shows an outdated copy."""
    book, (a, p) = draft.book, key
    z = draft.layout.zone(a, item.question.zone)
    if z is None:
        return False
    proven = seen.outcome is Outcome.SECURE
    if seen.expires is not None and (proven or seen.outcome is Outcome.EXPIRED):
        book.copies.see_expiry((z, a, p), seen.expires)
        draft.dated.add(a)
    if seen.serial is not None:
        book.copies.see_serial(
            draft.layout, (z, a, p), seen.serial, proven=proven, wall=draft.wall, now=draft.now
        )
        draft.dated.add(a)
    short = seen.expires is not None and seen.expires - draft.wall <= book.floor[z, a, p]
    return bool(short or book.behind[key])


def _tally(draft: Draft, key: Key, item: Round, verdict: Verdict, *, alone: bool) -> bool:
    """One answer for the breach buckets, each class apart; whether it counts as a failing name."""
    a, p = key
    name = item.question.name
    if item.question.kind is Kind.WITNESS:
        return False  # asked because it failed: it would count twice, or drown others
    if verdict is Verdict.TIMEOUT and alone:
        return False  # silence that all paths of the round share speaks against none of them
    if verdict is Verdict.BOGUS:
        if names.holds(draft.ignored.get(a, names.NONE), name, draft.now):
            return False
        known, counts = names.count_once(draft.counted.get(key, names.NONE), name, draft.now)
        draft.counted[key] = known
    else:
        counts = verdict is not Verdict.GOOD
    for c, counted in enumerate(CLASSES):
        cell = (c, a, p)
        if verdict is counted:
            if counts:
                draft.bad[cell] = draft.bad.get(cell, 0) + 1
        # Silence says nothing good of the signatures; a bogus answer is an answer.
        elif verdict is Verdict.GOOD or counted is Verdict.TIMEOUT:
            draft.good[cell] = draft.good.get(cell, 0) + 1
    return counts


def _mind(draft: Draft, a: int, item: Round, *, counts: bool) -> None:
    """A local answer was bad: note when it began, and look closer while it is news."""
    book = draft.book
    if np.isnan(book.first_bad[a]):
        book.first_bad[a] = item.at
    # Once it is suspect the trial asks. A fault that is everywhere must not be asked for ever.
    if counts and draft.was.health[a, 0] not in (Health.SUSPECT, Health.FAILING):
        draft.arouse(a)


def _meet(draft: Draft, key: Key, nsid: str) -> None:
    """See which server answered; evidence of another anycast instance is dropped."""
    was = draft.instances.get(key, Instance())
    instance, changed = was.see(nsid)
    if instance is not was:
        draft.instances[key] = instance
    if not changed:
        return
    book, (a, p) = draft.book, key
    book.levels[:, a, p] = 0
    for count in (book.streak, book.run, book.late_count):
        count[key] = 0
    for value in (book.recent_bad, book.recent_dated, book.recent_all):
        value[key] = 0.0
    for instant in (book.silent_since, book.late_since):
        instant[key] = np.nan
    book.behind[key] = book.late[key] = False
    book.copies.forget(a, p)
    draft.counted.pop(key, None)
    draft.evidence.pop(key, None)
    if (bucket := draft.buckets.get(key)) is not None:
        draft.buckets[key] = bucket.start(bucket.clean)
    if not np.isnan(book.hearsay.at[key]):
        forget(draft.listen(), a, p)
    if p == 0:
        draft.trials.pop(a, None)
    draft.tell(
        "instance_changed",
        a,
        "three answers in a row carried another NSID: what was counted before does not apply",
        p,
        was=was.name,
        now=instance.name,
    )
