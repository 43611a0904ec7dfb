"""The control: the same question without a mark, before an address is moved for silence or errors.

A firewall or a NAT on this host may treat packets with our mark in a way of its own: then our
questions vanish or are refused, and the resolvers' are answered. So while an address at home is on
trial for losses or errors, each fast question goes out without a mark as well, and takes the host's
own way. Bad with the mark and good without it gives a point, good with it and bad without takes
three, bad both ways takes all. For a fault that both have alike that is a random walk which reaches
six in 2.6 % of all cases and falls back soon (`paired_test`); a fault of the mark brings them with
the first eight questions of a trial. While there are so many the address stays where it is.

Where the host's firewall refuses the marked questions, nothing counts against the upstream, and
there is no trial. They are compared all the same, about once a second, so that somebody is told.

In the slow part of a trial (`backoff`), which is to see whether our haste was to blame, the
control is asked now and then, and only where it speaks against our mark already. Nor is it asked
again soon where the address may limit what it answers, and the last one was lost as well: a server
that allows one question a second is not to be asked two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from steering.judge.edit import Draft
from steering.judge.ledger import SILENCES, Control, Ledger, Mask
from steering.judge.paired_test import BAD_HERE, BAD_THERE, CONFIRM_AT
from steering.layout import CLASSES, FAMILIES, Layout
from steering.model import LOCAL, Health, Instant, Observation, Outcome, Round, Seconds, Verdict

NEEDS = CONFIRM_AT // 2
"""Points that speak against our mark."""
LASTS: Seconds = 30.0
"""How long the latest control speaks of the present: the slow part of a trial included."""
PAUSE: Seconds = 6.0
"""Between two controls in the slow part of a trial, at least."""

_BOGUS = CLASSES.index(Verdict.BOGUS)
_LOST = [CLASSES.index(verdict) for verdict in (Verdict.TIMEOUT, Verdict.ERROR)]


def control(draft: Draft, rounds: Iterable[Round], installed: Mapping[str, str]) -> None:
    """Compare what went out with and without a mark; comes before the answers are counted.

    Only of an address that is at home: else what has no mark takes the detour.
    """
    for item in rounds:
        a = draft.layout.row.get(item.address)
        if a is None or draft.away[a] or item.address in installed or not item.telling:
            continue
        by = {o.path: o for o in item.observations if not o.live}
        live = next((o for o in item.observations if o.live), None)
        if live is not None and (local := by.get(LOCAL)) is not None:
            _pair(draft, a, item.at, local, live)
    for a in [a for a in draft.controls if draft.away[a] or _well(draft, a)]:
        del draft.controls[a]


def _well(draft: Draft, a: int) -> bool:
    ill = draft.was.health[a, 0] > Health.HEALTHY or draft.was.stuck[a, 0] >= SILENCES
    return not ill and a not in draft.trials


def _pair(draft: Draft, a: int, at: Instant, local: Observation, live: Observation) -> None:
    here, there = _bad(draft, a, local), live.verdict is not Verdict.GOOD
    if here is None or live.verdict is Verdict.NOTHING:
        return
    known = draft.controls.get(a) or Control(
        score=0, at=at, lost=bool(draft.was.run[a, 0] == 0), live_lost=False
    )
    # As in a trial, one lost packet says nothing; the second in a row counts.
    first = (here and not known.lost) or (there and not known.live_lost)
    score = known.score if first else _score(known.score, here=here, there=there)
    draft.controls[a] = Control(score=score, at=at, lost=here, live_lost=there)


def _bad(draft: Draft, a: int, local: Observation) -> bool | None:
    """Whether a marked question was lost or refused; None: it says nothing of that."""
    if local.outcome is Outcome.LOCAL_ERROR and not local.reached:
        return True  # a firewall of this host that says no, where it says so of the mark alone
    if local.verdict is Verdict.GOOD:
        return False
    lost = local.verdict in (Verdict.TIMEOUT, Verdict.ERROR)
    if not lost or not draft.layout.acts_on[CLASSES.index(local.verdict), a]:
        return None
    return True


def _score(score: int, *, here: bool, there: bool) -> int:
    if here and there:
        return 0
    step = BAD_HERE if here else BAD_THERE if there else 0
    return min(max(0, score + step), CONFIRM_AT)


def wanted(ledger: Ledger, a: int, now: Instant) -> bool:
    """Whether the address in row `a`, at home and in question, is to be asked without a mark."""
    if not (ledger.streak[a, 0] or ledger.levels[_LOST, a, 0].any()):
        return False  # neither losses nor errors
    trial, known, limited = ledger.trials.get(a), ledger.controls.get(a), ledger.backoffs.get(a)
    untold = known is not None and known.live_lost and not known.score
    if limited and known and untold and now < min(limited.until, known.at + PAUSE):
        return False
    if trial is None or trial.eased is None:
        return True
    return known is not None and known.score >= NEEDS and now - known.at > PAUSE


def refused(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A,) what does not get out over the local path, while others of its family are answered."""
    rows = ledger.stuck[:, 0] >= SILENCES
    if rows.any():
        for family in FAMILIES:
            mine = layout.family_of == family
            answered = mine & ~rows & (now - ledger.answered[:, 0] <= layout.fresh)
            if not answered.any():
                rows = rows & ~mine
    return np.asarray(rows)


def marked(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A,) local paths that fail, or let nothing out, with our mark, and lately not without it.

    What is bogus is so whatever the mark.
    """
    rows = np.zeros(len(layout.targets), dtype=np.bool_)
    for a, known in ledger.controls.items():
        rows[a] = known.score >= NEEDS and now - known.at <= LASTS
    rows &= (ledger.health[:, 0] == Health.FAILING) | (ledger.stuck[:, 0] >= SILENCES)
    if rows.any():
        rows &= ~ledger.levels[_BOGUS, :, 0].any(axis=1)
    return rows
