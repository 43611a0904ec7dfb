"""Counts the answers to probes: what the rounds of one turn add to the ledger."""

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
            if item.name_is_bad:
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
            _note_bad_local(draft, a, item, counts=bool(counts[i]) and not known)
    if draft.buckets:
        _recover(draft, wave, fault, outdated)


def _shown(seen: Observation) -> str:
    """What happened, if no RRset is the cause; a server's own text is quoted and cut."""
    return f"{seen.outcome} ({seen.detail[:80]!r})" if seen.detail else str(seen.outcome)


def _count_silence(draft: Draft, wave: Answers) -> None:
    """Count what came at all, and probes in a row without an answer or that did not leave."""
    book, key = draft.book, (wave.a, wave.p)
    write(book, "reached", key, _latest(book.reached[key], wave, wave.reached))
    before = book.answered[key]
    write(book, "answered", key, _latest(before, wave, wave.came))
    # A loss that becomes known after the answer to a later probe is no silence.
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
    """Count for the failing share, without names asked again, as those were chosen as failing."""
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
    """Note serials and signatures' ends. Returns which answers show an outdated copy."""
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
    """Count for the breach buckets, by class. Returns which answers count as failing names."""
    # A name asked again was counted when it failed first; it would count twice, or hide others.
    # A silence that all paths of the round share counts against none of them.
    valid = ~wave.witness & ~((wave.verdict == TIMEOUT) & wave.alone)
    counts: Mask = valid & (wave.verdict != GOOD)
    for i in np.flatnonzero(valid & (wave.verdict == BOGUS)).tolist():
        a, p, name = int(wave.a[i]), int(wave.p[i]), wave.items[i].question.name
        if failed_names.holds(draft.ignored.get(a, failed_names.NONE), name, draft.now):
            valid[i] = counts[i] = False
            continue
        known = draft.counted.get((a, p), failed_names.NONE)
        draft.counted[a, p], counts[i] = failed_names.count_once(known, name, draft.now)
    of = CLASS_OF[wave.verdict]
    for c in range(len(CLASSES)):
        bad = counts & (of == c)
        # A silence is not good for the signatures' class. For the losses' class any answer is good.
        good = valid & ((wave.verdict == GOOD) | ((c == _LOST) & (of != c)))
        draft.pour(c, wave.a, wave.p, bad, good)
    return counts


def _note_bad_local(draft: Draft, a: int, item: Round, *, counts: bool) -> None:
    """Note when bad local answers began, and probe fast while that is news."""
    if np.isnan(draft.book.first_bad[a]):
        own(draft.book, "first_bad")[a] = item.at
    # A suspect address is probed by its trial. A fault that is everywhere must not keep it fast.
    if counts and draft.was.health[a, 0] not in (Health.SUSPECT, Health.FAILING):
        draft.probe_fast(a)


def _recover(draft: Draft, wave: Answers, fault: Mask, outdated: Mask) -> None:
    """Count for the recovery buckets. Failures that the policy does not count are clean."""
    for i, key in enumerate(zip(wave.a.tolist(), wave.p.tolist(), strict=True)):
        bucket = draft.buckets.get(key)
        if bucket is None or not wave.items[i].is_evidence:
            continue
        lost = bool(fault[i]) and wave.seen[i].verdict in _LOSSY
        clean = not fault[i] and not outdated[i]
        draft.buckets[key] = bucket.count(clean=clean, lost=lost, bad=not clean and not lost)


def _meet_all(draft: Draft, wave: Answers) -> None:
    for i, seen in enumerate(wave.seen):
        if seen.nsid is not None:
            _meet(draft, (int(wave.a[i]), int(wave.p[i])), seen.nsid)


def _meet(draft: Draft, key: Key, nsid: str) -> None:
    """Note which server answered; evidence about another anycast instance is dropped.

    The recovery bucket is kept, as it counts the answers over the path by any instance. A path
    over which other instances answer well has recovered, and a bad answer of any of them counts.
    """
    was, (a, p) = draft.book.instances.get(key, Instance()), key
    instance, sight = was.see(nsid, draft.now)
    if instance is not was:
        draft.meet(key, instance)
    if sight is Sight.ANOTHER:
        _begin_anew(draft, a, p)
        draft.add_event(
            "instance_changed",
            a,
            "three answers in a row had another NSID: earlier counts are dropped",
            p,
            was=was.name,
            now=instance.name,
        )
    elif sight is Sight.MIXED:
        draft.add_event(
            "instances_mixed",
            a,
            "too many NSIDs, or changes of them, to tell instances apart: for a day all answers"
            " count as those of one instance",
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
        forget(draft.traffic(), a, p)
    if p == 0:
        draft.trials.pop(a, None)
        own(book, "losses")[a] = 0
