"""Answers counted: what the rounds of one turn add to the ledger."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from steering.judge import failed_names
from steering.judge.copy_on_write import own, write
from steering.judge.edit import Draft
from steering.judge.group_trial import pair_group
from steering.judge.instance import Instance, Sight
from steering.judge.ledger import RECENT, RECENT_ANSWERS, SILENCES, Key
from steering.judge.losses import count_losses, watched
from steering.judge.probe_columns import (
    BOGUS,
    CLASS_OF,
    EXPIRED,
    GOOD,
    LOCAL_ERROR,
    NOT_YET_VALID,
    NOTHING,
    SECURE,
    TIMEOUT,
    Answers,
    Floats,
    Mask,
    waves,
)
from steering.judge.reach import count_reach
from steering.judge.recent_evidence import look
from steering.judge.traffic_ledger import forget
from steering.judge.trials import pair
from steering.judge.worsening import count_worse
from steering.layout import CLASSES
from steering.model import Evidence, Health, Observation, Round, Verdict

SMOOTH = 1 / 8
"""Weight of a new round-trip time in the smoothed one (RFC 6298 section 2.3)."""

_LOSSY = (Verdict.TIMEOUT, Verdict.ERROR)
_LOST = CLASSES.index(Verdict.TIMEOUT)
_SIGNED = CLASSES.index(Verdict.BOGUS)


def count(draft: Draft, rounds: Iterable[Round]) -> None:
    """Count all rounds; each is also a pair of the trial of its address, if there is one."""
    for wave in waves(draft.layout, rounds):
        for a, (item, seen) in wave.items():
            pair(draft, a, item, seen)
            pair_group(draft, a, item, seen)
            look(draft, a, item, seen)
            count_losses(draft, a, item, seen)
            count_reach(draft, a, seen)
        _count(draft, Answers.of(draft.layout, wave))
        for a, (item, _) in wave.items():
            if item.moot:
                known = draft.ignored.get(a, failed_names.NONE)
                draft.ignored[a] = failed_names.ignore(known, (item.question.name,), draft.now)


def _count(draft: Draft, wave: Answers) -> None:
    if not wave.seen:
        return
    own(draft.book, "counts")[wave.outcome, wave.a, wave.p] += 1
    _count_silence(draft, wave)
    wave = wave.where(wave.verdict != NOTHING)
    key = wave.a, wave.p
    draft.touched[key] = True
    own(draft.book, "seen")[key] = draft.now
    _meet_all(draft, wave)
    bad = wave.verdict != GOOD
    _count_recent(draft, wave.where(~wave.witness))
    run = draft.book.run[key]
    count_worse(draft, wave, run)
    own(draft.book, "run")[key] = np.where(bad, 0, run + 1)
    _time(draft, wave)
    outdated = _count_copies(draft, wave)
    counts = _tally(draft, wave)
    of = CLASS_OF[wave.verdict]
    fault = bad & draft.layout.acts_on[of, wave.a]
    for i in np.flatnonzero(bad).tolist():
        seen, item, (a, p) = wave.seen[i], wave.items[i], (int(wave.a[i]), int(wave.p[i]))
        draft.evidence[a, p] = seen.evidence or Evidence(
            owner=item.question.name, rdtype=item.question.rdtype, detail=_shown(seen)
        )
        if fault[i] and p == 0:
            known = of[i] != _SIGNED and watched(draft.book, a)
            _mind(draft, a, item, counts=bool(counts[i]) and not known)
    if draft.buckets:
        _recover(draft, wave, fault, outdated)


def _shown(seen: Observation) -> str:
    """What happened, where no RRset is to blame; a server's own words are quoted and cut."""
    return f"{seen.outcome} ({seen.detail[:80]!r})" if seen.detail else str(seen.outcome)


def _count_silence(draft: Draft, wave: Answers) -> None:
    """What came at all; questions in a row that stayed unanswered, or did not get out."""
    book, key = draft.book, (wave.a, wave.p)
    write(book, "reached", key, _latest(book.reached[key], wave, wave.reached))
    before = book.answered[key]
    write(book, "answered", key, _latest(before, wave, wave.came))
    # A loss known only after a later question was answered is no silence.
    silent = (wave.verdict == TIMEOUT) & ~(wave.at < before)
    streak = np.where(wave.came, 0, book.streak[key] + silent)
    since = np.where(silent & (streak == SILENCES), wave.at, book.silent_since[key])
    certain = ~np.isnan(since)
    if certain.any():
        own(book, "silent_since")[key] = np.where(wave.came, np.nan, since)
    write(book, "streak", key, streak)
    stuck = wave.outcome == LOCAL_ERROR
    write(book, "stuck", key, np.where(stuck, book.stuck[key] + 1, 0))


def _latest(before: Floats, wave: Answers, where: Mask) -> Floats:
    return np.where(where, np.fmax(before, wave.at), before)


def _count_recent(draft: Draft, wave: Answers) -> None:
    """For the failing share; witnesses are not in it, they were asked because they fail."""
    book, now, key = draft.book, draft.now, (wave.a, wave.p)
    fade = np.exp((book.recent_at[key] - now) / RECENT) * (1 - 1 / RECENT_ANSWERS)
    dated = (wave.outcome == EXPIRED) | (wave.outcome == NOT_YET_VALID)
    write(book, "recent_bad", key, book.recent_bad[key] * fade + (wave.verdict != GOOD))
    write(book, "recent_dated", key, book.recent_dated[key] * fade + dated)
    write(book, "recent_all", key, book.recent_all[key] * fade + 1)
    write(book, "recent_at", key, np.full(len(fade), now))


def _time(draft: Draft, wave: Answers) -> None:
    wave = wave.where(~np.isnan(wave.rtt))
    key = wave.a, wave.p
    old = draft.book.rtt[key]
    write(
        draft.book,
        "rtt",
        key,
        np.where(np.isnan(old), wave.rtt, old + (wave.rtt - old) * SMOOTH),
    )


def _count_copies(draft: Draft, wave: Answers) -> Mask:
    """Note serials and signatures' ends; which answers show an outdated copy."""
    known, secure = wave.zone >= 0, wave.outcome == SECURE
    dated = known & ~np.isnan(wave.expires) & (secure | (wave.outcome == EXPIRED))
    if dated.any():
        key = wave.zone[dated], wave.a[dated], wave.p[dated]
        draft.copies().see_expiries(key, wave.expires[dated])
        draft.dated[wave.a[dated]] = True
    for i, seen in enumerate(wave.seen):
        if seen.serial is not None and known[i]:
            at = int(wave.zone[i]), int(wave.a[i]), int(wave.p[i])
            proven, wall = bool(secure[i]), draft.wall
            draft.copies().see_serial(
                draft.layout, at, seen.serial, proven=proven, wall=wall, now=draft.now
            )
            draft.dated[at[1]] = True
    floor = draft.book.floor[wave.zone, wave.a, wave.p]
    short = wave.expires - draft.wall <= floor  # NaN: no date, or no limit
    return np.asarray(known & (short | draft.book.behind[wave.a, wave.p]))


def _tally(draft: Draft, wave: Answers) -> Mask:
    """For the breach buckets, each class apart; which answers count as failing names."""
    # A witness was asked because it failed: it would count twice, or drown others.
    # Silence that all paths of the round share speaks against none of them.
    told = ~wave.witness & ~((wave.verdict == TIMEOUT) & wave.alone)
    counts: Mask = told & (wave.verdict != GOOD)
    for i in np.flatnonzero(told & (wave.verdict == BOGUS)).tolist():
        a, p, name = int(wave.a[i]), int(wave.p[i]), wave.items[i].question.name
        if failed_names.holds(draft.ignored.get(a, failed_names.NONE), name, draft.now):
            told[i] = counts[i] = False
            continue
        known = draft.counted.get((a, p), failed_names.NONE)
        draft.counted[a, p], counts[i] = failed_names.count_once(known, name, draft.now)
    of = CLASS_OF[wave.verdict]
    for c in range(len(CLASSES)):
        bad = counts & (of == c)
        # Silence says nothing good of the signatures; a bogus answer is an answer.
        good = told & ((wave.verdict == GOOD) | ((c == _LOST) & (of != c)))
        draft.pour(c, wave.a, wave.p, bad, good)
    return counts


def _mind(draft: Draft, a: int, item: Round, *, counts: bool) -> None:
    """A local answer was bad: note when it began, and look closer while it is news."""
    if np.isnan(draft.book.first_bad[a]):
        own(draft.book, "first_bad")[a] = item.at
    # Once it is suspect the trial asks. A fault that is everywhere must not be asked for ever.
    if counts and draft.was.health[a, 0] not in (Health.SUSPECT, Health.FAILING):
        draft.probe_fast(a)


def _recover(draft: Draft, wave: Answers, fault: Mask, outdated: Mask) -> None:
    """What the policy does not count against a path does not keep traffic away from it."""
    for i, key in enumerate(zip(wave.a.tolist(), wave.p.tolist(), strict=True)):
        bucket = draft.buckets.get(key)
        if bucket is None or not wave.items[i].telling:
            continue
        lost = bool(fault[i]) and wave.seen[i].verdict in _LOSSY
        clean = not fault[i] and not outdated[i]
        draft.buckets[key] = bucket.count(clean=clean, lost=lost, bad=not clean and not lost)


def _meet_all(draft: Draft, wave: Answers) -> None:
    for i, seen in enumerate(wave.seen):
        if seen.nsid is not None:
            _meet(draft, (int(wave.a[i]), int(wave.p[i])), seen.nsid)


def _meet(draft: Draft, key: Key, nsid: str) -> None:
    """See which server answered; evidence of another anycast instance is dropped.

    But for the recovery bucket: it counts what the path answers, whoever does. A path that
    other instances answer well is mended, and a bad answer of any of them fills it.
    """
    was, (a, p) = draft.book.instances.get(key, Instance()), key
    instance, sight = was.see(nsid, draft.now)
    if instance is not was:
        draft.meet(key, instance)
    if sight is Sight.ANOTHER:
        _begin_anew(draft, a, p)
        draft.tell(
            "instance_changed",
            a,
            "three answers in a row carried another NSID: what was counted before does not apply",
            p,
            was=was.name,
            now=instance.name,
        )
    elif sight is Sight.MIXED:
        draft.tell(
            "instances_mixed",
            a,
            "too many NSIDs, or changes of them, to tell one instance from another: for a day"
            " all answers count as those of one",
            p,
        )


def _begin_anew(draft: Draft, a: int, p: int) -> None:
    book, key = draft.book, (a, p)
    own(book, "levels")[:, a, p] = 0
    for count in ("streak", "run", "late_count", "losses"):
        own(book, count)[key] = 0
    for value in ("recent_bad", "recent_dated", "recent_all"):
        own(book, value)[key] = 0.0
    for instant in ("silent_since", "late_since"):
        own(book, instant)[key] = np.nan
    own(book, "behind")[key] = own(book, "late")[key] = False
    draft.copies().forget(a, p)
    draft.counted.pop(key, None)
    draft.evidence.pop(key, None)
    if not np.isnan(book.traffic.at[key]):
        forget(draft.listen(), a, p)
    if p == 0:
        draft.trials.pop(a, None)
        own(book, "losses")[a] = 0
