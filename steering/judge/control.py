"""The control: the same probe without a mark, before an address is moved for silence or errors.

A firewall or NAT on this host may treat packets with our mark differently: then our probes are
lost or refused, and the resolvers' queries are answered. So while an address on the local path is
on trial for losses or errors, each fast probe is also sent without a mark, and takes the path of
the host's traffic. Bad with the mark and good without it gives a point; good with it and bad
without takes three; bad both ways takes all. For a fault that both share this is a random walk
that reaches six in 2.6 % of all cases and falls back soon (`paired_test`). A fault of the mark
reaches six within the first eight probes of a trial. With six or more the address is not moved.

If the host's firewall refuses the marked probes, nothing counts against the upstream, and there is
no trial. They are compared all the same, about once a second, for an alarm.

In the slow part of a trial (`backoff`), which shows whether fast probing caused the failures, the
control is sent now and then, and only if it already indicates a fault of the mark. Nor is it sent
again soon if the address may limit its answers and the last control was lost as well: a server
that allows one query a second should not get two.
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
"""Points from which on the mark is at fault."""
LASTS: Seconds = 30.0
"""How long the latest control is current: it covers the slow part of a trial."""
PAUSE: Seconds = 6.0
"""Least time between two controls in the slow part of a trial."""

_BOGUS = CLASSES.index(Verdict.BOGUS)
_LOST = [CLASSES.index(verdict) for verdict in (Verdict.TIMEOUT, Verdict.ERROR)]


def control(draft: Draft, rounds: Iterable[Round], installed: Mapping[str, str]) -> None:
    """Compare probes with and without a mark; comes before the answers are counted.

    Only for an address on the local path: otherwise probes without a mark take the detour.
    """
    for item in rounds:
        a = draft.layout.row.get(item.address)
        if a is None or draft.away[a] or item.address in installed or not item.is_evidence:
            continue
        by = {o.path: o for o in item.observations if not o.live}
        live = next((o for o in item.observations if o.live), None)
        if live is not None and (local := by.get(LOCAL)) is not None:
            _pair(draft, a, item.at, local, live)
    for a in [a for a in draft.controls if draft.away[a] or _well(draft, a)]:
        del draft.controls[a]


def _well(draft: Draft, a: int) -> bool:
    bad = draft.was.health[a, 0] > Health.HEALTHY or draft.was.stuck[a, 0] >= SILENCES
    return not bad and a not in draft.trials


def _pair(draft: Draft, a: int, at: Instant, local: Observation, live: Observation) -> None:
    here, there = _bad(draft, a, local), live.verdict is not Verdict.GOOD
    if here is None or live.verdict is Verdict.NOTHING:
        return
    known = draft.controls.get(a) or Control(
        score=0, at=at, lost=bool(draft.was.run[a, 0] == 0), live_lost=False
    )
    # As in a trial, one lost packet is no evidence; the second in a row counts.
    first = (here and not known.lost) or (there and not known.live_lost)
    score = known.score if first else _score(known.score, here=here, there=there)
    draft.controls[a] = Control(score=score, at=at, lost=here, live_lost=there)


def _bad(draft: Draft, a: int, local: Observation) -> bool | None:
    """Whether a marked probe was lost or refused; None: it is no evidence for either."""
    if local.outcome is Outcome.LOCAL_ERROR and not local.reached:
        return True  # a firewall of this host refused it, perhaps for its mark
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
    """Whether row `a`, on the local path and in question, is to be probed without a mark."""
    if not (ledger.streak[a, 0] or ledger.levels[_LOST, a, 0].any()):
        return False  # neither losses nor errors
    trial, known, limited = ledger.trials.get(a), ledger.controls.get(a), ledger.backoffs.get(a)
    undecided = known is not None and known.live_lost and not known.score
    if limited and known and undecided and now < min(limited.until, known.at + PAUSE):
        return False
    if trial is None or trial.eased is None:
        return True
    return known is not None and known.score >= NEEDS and now - known.at > PAUSE


def refused(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A,) addresses whose probes don't leave by the local path while others' are answered."""
    rows = ledger.stuck[:, 0] >= SILENCES
    if rows.any():
        for family in FAMILIES:
            mine = layout.family_of == family
            answered = mine & ~rows & (now - ledger.answered[:, 0] <= layout.fresh)
            if not answered.any():
                rows = rows & ~mine
    return np.asarray(rows)


def marked(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A,) local paths that fail, or let no probe out, with our mark, and lately not without it.

    Bogus answers do not depend on the mark.
    """
    rows = np.zeros(len(layout.targets), dtype=np.bool_)
    for a, known in ledger.controls.items():
        rows[a] = known.score >= NEEDS and now - known.at <= LASTS
    rows &= (ledger.health[:, 0] == Health.FAILING) | (ledger.stuck[:, 0] >= SILENCES)
    if rows.any():
        rows &= ~ledger.levels[_BOGUS, :, 0].any(axis=1)
    return rows
