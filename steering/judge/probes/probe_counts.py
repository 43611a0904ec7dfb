"""Counts the answers to probes: what the rounds of one turn add to the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from steering.index import CLASSES, Settings
from steering.judge.edit import Draft
from steering.judge.known import failed_names
from steering.judge.known.baseline import TIMEOUT
from steering.judge.known.instance import Sight
from steering.judge.known.ledger import RECENT_ANSWERS, SILENCES, PathRecord
from steering.judge.known.stream import Poured
from steering.judge.probes.group_trial import pair_group
from steering.judge.probes.losses import count_losses, watched
from steering.judge.probes.reach import count_reach
from steering.judge.probes.recent_evidence import look
from steering.judge.probes.shown_copies import note_copy
from steering.judge.probes.trials import pair
from steering.judge.probes.worsening import count_worse
from steering.model import (
    LOCAL,
    NEVER,
    Evidence,
    Health,
    Kind,
    Observation,
    Outcome,
    Round,
    Verdict,
    WallTime,
)

SMOOTH = 1 / 8
"""Weight of a new round-trip time in the smoothed one (RFC 6298 section 2.3)."""

_LOSSY = (Verdict.TIMEOUT, Verdict.ERROR)
_BY_DATE = (Outcome.EXPIRED, Outcome.NOT_YET_VALID)
_KEEP = 1 - 1 / RECENT_ANSWERS


def count(draft: Draft, rounds: Iterable[Round]) -> None:
    """Count all rounds; each is also a pair of the trial of its address, if there is one.

    Live answers are for verification only. After a reload some answers are of an address or a path
    that is measured no more.
    """
    known = draft.index.path_number
    for item in _by_turns(rounds):
        address = item.address
        if address not in draft.index.settings:
            continue
        seen = {o.path: o for o in item.observations if o.path in known and not o.live}
        pair(draft, address, item, seen)
        pair_group(draft, address, item, seen)
        look(draft, address, item, seen)
        count_losses(draft, address, item, seen)
        count_reach(draft, address, seen)
        _count_round(draft, item, seen)
        if item.name_is_bad:
            record = draft.edit_address(address)
            record.ignored = failed_names.ignore(record.ignored, (item.question.name,), draft.now)


def _by_turns(rounds: Iterable[Round]) -> list[Round]:
    """First the first round of each address, then the second of each, and so on."""
    times: dict[str, int] = {}
    placed = []
    for item in rounds:
        times[item.address] = times.get(item.address, -1) + 1
        placed.append((times[item.address], item))
    return [item for _, item in sorted(placed, key=lambda each: each[0])]


def _count_round(draft: Draft, item: Round, seen: Mapping[str, Observation]) -> None:
    settings = draft.index.settings[item.address]
    came = {path: _came(one) for path, one in seen.items()}
    for path, one in seen.items():
        record = draft.edit(item.address, path)
        record.counts = {**record.counts, one.outcome: record.counts.get(one.outcome, 0) + 1}
        _count_silence(record, item, one, came=came[path])
    judged = {path: one for path, one in seen.items() if one.verdict is not Verdict.NOTHING}
    for path, one in judged.items():
        draft.touched[item.address, path] = None
        draft.edit(item.address, path).seen = draft.now
        if one.nsid is not None:
            _meet(draft, item.address, path, one.nsid)
    zone, alone = item.question.zone, not any(came.values())
    if zone in settings.policy.zones:
        for path, one in judged.items():
            note_copy(draft, settings, path, zone, one)
    for path, one in judged.items():
        _count_answer(draft, settings, item, path, one, alone=alone)


def _came(seen: Observation) -> bool:
    """Whether an answer came, judged or not."""
    verdict = seen.verdict
    return verdict is not Verdict.TIMEOUT and (seen.reached or verdict is not Verdict.NOTHING)


def _count_silence(record: PathRecord, item: Round, seen: Observation, *, came: bool) -> None:
    """Count what came at all, and probes in a row without an answer or that did not leave."""
    if seen.reached:
        record.reached = max(record.reached, item.at)
    before = record.answered
    # A loss that becomes known after the answer to a later probe is no silence.
    silent = seen.verdict is Verdict.TIMEOUT and not item.at < before
    if came:
        record.answered = max(before, item.at)
        record.streak, record.silent_since = 0, None
    elif silent:
        record.streak += 1
        if record.streak == SILENCES:
            record.silent_since = item.at
    record.stuck = record.stuck + 1 if seen.outcome is Outcome.LOCAL_ERROR else 0


def _count_answer(
    draft: Draft,
    settings: Settings,
    item: Round,
    path: str,
    seen: Observation,
    *,
    alone: bool,
) -> None:
    """Count one judged answer. `alone`: no answer came over any path of the round."""
    address, verdict = item.address, seen.verdict
    record = draft.edit(address, path)
    witness = item.question.kind is Kind.WITNESS
    bad = verdict is not Verdict.GOOD
    fault = bad and verdict in settings.acts_on
    if not witness:  # names asked again were chosen as failing
        record.recent = record.recent.count(
            draft.now, bad, 1.0, dated=seen.outcome in _BY_DATE, keep=_KEEP
        )
    run = record.run
    if path == LOCAL:
        real = fault and (verdict is Verdict.BOGUS or run == 0)
        count_worse(draft, address, bad=bad, fault=real, witness=witness, run=run)
    record.run = 0 if bad else run + 1
    if seen.rtt is not None:
        old = record.rtt
        record.rtt = seen.rtt if old is None else old + (seen.rtt - old) * SMOOTH
    counts = _tally(draft, item, path, verdict, witness=witness, alone=alone)
    if bad:
        record.evidence = seen.evidence or Evidence(
            owner=item.question.name, rdtype=item.question.rdtype, detail=_shown(seen)
        )
        if fault and path == LOCAL:
            lossy = verdict is not Verdict.BOGUS and watched(draft, draft.index, address)
            _note_bad_local(draft, item, counts=counts and not lossy)
    if record.bucket is not None and item.is_evidence:
        # Failures that the policy does not count are clean.
        lost = fault and verdict in _LOSSY
        behind = item.question.zone in settings.policy.zones and record.behind
        old = behind or _outdated(record, item.question.zone, seen.expires, draft.wall)
        clean = not fault and not old
        record.bucket = record.bucket.count(clean=clean, lost=lost, bad=not clean and not lost)


def _shown(seen: Observation) -> str:
    """What happened, if no RRset is the cause; a server's own text is quoted and cut."""
    return f"{seen.outcome} ({seen.detail[:80]!r})" if seen.detail else str(seen.outcome)


def _outdated(record: PathRecord, zone: str, expires: WallTime | None, wall: WallTime) -> bool:
    """Whether an answer about one of the policy's zones shows an outdated copy."""
    floor = record.floors.get(zone)
    return expires is not None and floor is not None and expires - wall <= floor


def _tally(
    draft: Draft, item: Round, path: str, verdict: Verdict, *, witness: bool, alone: bool
) -> bool:
    """Count for the breach buckets, by class. Returns whether it counts as a failing name."""
    # A name asked again was counted when it failed first; it would count twice, or hide others.
    # A silence that all paths of the round share counts against none of them.
    if witness or (verdict is Verdict.TIMEOUT and alone):
        return False
    address, counts = item.address, verdict is not Verdict.GOOD
    if verdict is Verdict.BOGUS:
        name = item.question.name
        if failed_names.holds(draft.address(address).ignored, name, draft.now):
            return False
        counts = draft.edit(address, path).count_name(name, draft.now)
    poured = draft.poured.setdefault((address, path), Poured())
    for number, mine in enumerate(CLASSES):
        # A silence is not good for the signatures' class. For the losses' class any answer is good.
        good = verdict is Verdict.GOOD or (number == TIMEOUT and verdict is not mine)
        poured.add(number, bad=counts and verdict is mine, good=good)
    return counts


def _note_bad_local(draft: Draft, item: Round, *, counts: bool) -> None:
    """Note when bad local answers began, and probe fast while that is news."""
    if draft.address(item.address).first_bad is None:
        draft.edit_address(item.address).first_bad = item.at
    # A suspect address is probed by its trial. A fault that is everywhere must not keep it fast.
    if counts and draft.was.path(item.address).health not in (Health.SUSPECT, Health.FAILING):
        draft.probe_fast((item.address,))


def _meet(draft: Draft, address: str, path: str, nsid: str) -> None:
    """Note which server answered; evidence about another anycast instance is dropped.

    The recovery bucket is kept, as it counts the answers over the path by any instance. A path
    over which other instances answer well has recovered, and a bad answer of any of them counts.
    """
    key = address, path
    was = draft.instances[key]
    instance, sight = was.see(nsid, draft.now)
    if instance is not was:
        draft.instances[key] = instance
    if sight is Sight.ANOTHER:
        _begin_anew(draft, address, path)
        draft.add_event(
            "instance_changed",
            address,
            "three answers in a row had another NSID: earlier counts are dropped",
            path,
            was=was.name,
            now=instance.name,
        )
    elif sight is Sight.MIXED:
        draft.add_event(
            "instances_mixed",
            address,
            "too many NSIDs, or changes of them, to tell instances apart: for a day all answers"
            " count as those of one instance",
            path,
        )


def _begin_anew(draft: Draft, address: str, path: str) -> None:
    record = draft.edit(address, path)
    record.forget()
    record.streak = record.run = record.late_count = record.losses = 0
    record.silent_since = record.late_since = None
    record.behind = record.late = False
    record.copies = {}
    if draft.heard(address, path).at != NEVER:
        draft.traffic.to_write((address, path)).forget()
    if path == LOCAL:
        if draft.address(address).trial is not None:
            draft.edit_address(address).trial = None
        for other in draft.index.paths:
            if draft.path(address, other).losses:
                draft.edit(address, other).losses = 0
