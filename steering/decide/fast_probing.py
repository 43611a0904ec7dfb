"""What to ask fast, and over which paths: suspicion, trials, detours and their recovery.

What is being found out is asked at the fast interval. What is known, and only watched, is asked at
a leisurely one: detours that do well while the local path stays bad, and what a rule holds back.
That is as many questions as their decisions need, and a share of the machine that does not grow
with their number.
"""

from __future__ import annotations

from itertools import islice, zip_longest

import numpy as np
from numpy.typing import NDArray

from steering.decide.budget import Held
from steering.decide.common_cause import bad_now
from steering.decide.no_site import nowhere
from steering.decide.state import State
from steering.judge.backoff import gap
from steering.judge.control import refused, wanted
from steering.judge.failed_names import NONE, WITNESSES, holds
from steering.judge.losses import EVERY, watched_slowly
from steering.model import Attention, Health, Seconds

Mask = NDArray[np.bool_]

AT_ONCE = 128
"""Most addresses asked fast at the same time: at the default cadence that is some 1,500
questions a second, what one process can ask and judge. The others wait their turn; the sample of
the operators (`Layout.sample`) comes beside them."""
LEISURE = 5
"""Fast rounds between two questions of what is held back."""
LEISURELY = 25
"""Addresses that are asked in one fast round, of all that are held back; the sample of the
operators is, however many there are."""
CALM_LEISURE, CALM_LEISURELY = 10, 10
"""The same for detours that do well: nothing waits for what they answer."""
HEALING = 64
"""A recovery is worth hurrying for when this part of its clean answers came in a row."""


def attention(state: State) -> dict[str, Attention]:
    """Address -> what is asked of it at the fast interval, or in a while; those left out stay slow.

    A suspect with nobody to be compared with is not asked faster: it would go on for as
    long as every path is bad, and prove nothing.
    """
    layout, ledger = state.layout, state.ledger
    none = np.zeros(len(layout.targets), dtype=np.bool_)
    curious = ledger.curious_until > state.now
    on_trial, watched, unproved = none.copy(), none.copy(), none.copy()
    on_trial[list(ledger.trials)] = True
    watched[list(state.verifications)] = True
    unproved[[a for a, proof in state.verifications.items() if not proof.proved]] = True
    unshown, held = _held(state)
    compared = _without_mark(state, unshown)
    sample = _heard_beside(state, curious)
    away = state.plan > 0
    calm = away & ~unproved & _calm(state)
    stranded = nowhere(state)
    waits = none.copy()
    waits[list(stranded)] = True
    hurried = (away & ~calm) | curious | on_trial | watched & ~calm | unshown | waits
    rows = np.flatnonzero(hurried & ~sample)
    asked: dict[str, Attention] = {}
    # Proofs first, since traffic depends on them; then trials, news of whom has failed, what is to
    # be shown anew, other news, those with nowhere to go, and last recoveries.
    bad = ledger.run[:, 0] == 0
    by = [unproved, on_trial, curious & bad, unshown, curious, waits]
    urgency = np.select(by, range(len(by)), len(by))[rows]
    chosen = rows[np.argsort(urgency, kind="stable")][:AT_ONCE].tolist()
    for a in (*np.flatnonzero(sample).tolist(), *chosen):
        sites = stranded.get(a, frozenset()) if not curious[a] else frozenset()
        asked[layout.targets[a].address] = _asked(state, a, sites=sites, live=bool(compared[a]))
    mute = refused(ledger, layout, state.now) & ~away & (not state.off)
    beside = watched_slowly(ledger, layout)
    loses: Mask = np.asarray(beside.any(axis=1))
    patient = np.flatnonzero((calm | held | loses | mute) & ~hurried & ~sample)
    for a in patient.tolist():
        if calm[a]:
            rounds = max(CALM_LEISURE, np.count_nonzero(calm) / CALM_LEISURELY)
        else:
            rounds = LEISURE if layout.sample[a] else max(LEISURE, patient.size / LEISURELY)
        every, sites = rounds * layout.fast_interval, frozenset[int]()
        if loses[a]:
            every = max(every, EVERY)
            sites = frozenset({int(np.argmax(np.where(beside[a], ledger.losses[a], 0)))})
        asked[layout.targets[a].address] = _asked(
            state, a, every=every, sites=sites, live=bool(compared[a] | mute[a])
        )
    return asked


def _without_mark(state: State, unshown: Mask) -> Mask:
    """(A,) addresses at home that are asked without a mark as well (`control`).

    While they are on trial, while a breach is shown anew, and for as long as only what has our mark
    fails.
    """
    ledger, situation = state.ledger, state.situation
    rows = np.zeros_like(unshown)
    for a in {*ledger.trials, *np.flatnonzero(unshown).tolist()}:
        rows[a] = state.plan[a] == 0 and wanted(ledger, a, state.now)
    return rows if situation is None else rows | situation.marked


def _asked(
    state: State,
    a: int,
    *,
    every: Seconds = 0.0,
    sites: frozenset[int] = frozenset(),
    live: bool = False,
) -> Attention:
    """What is asked of the address in row `a`; `sites` may be fit for it again."""
    layout, ledger = state.layout, state.ledger
    trial, proof = ledger.trials.get(a), state.verifications.get(a)
    if state.plan[a]:
        columns = {0, int(state.plan[a])}
    elif proof is not None:
        columns = {0, *_beside(state, a)}
    elif trial is not None:
        columns = {0, trial.candidate}
    elif sites:
        columns = {0, *sites}
    elif ledger.health[a, 0] == Health.FAILING:
        columns = {0, *_compared(state, a)}
    else:
        columns = set(range(len(layout.paths)))
    proving = proof is not None and not proof.proved
    # Where nothing is carried out, what has no mark does not take the would-be detour.
    shows = layout.acts or not state.plan[a]
    return Attention(
        paths=frozenset(layout.paths[p] for p in columns),
        live=live or (shows and proof is not None and proof.installed is not None),
        witnesses=_witnesses(state, a),
        every=max(every, gap(layout, ledger, a, state.now, proving=proving)),
    )


def _held(state: State) -> tuple[Mask, Mask]:
    """What is breached and has not left: to be shown anew before it moves, or waiting.

    It can't move before that is shown; where it could not anyway, it is watched.
    """
    none = np.zeros(len(state.plan), dtype=np.bool_)
    situation = state.situation
    if situation is None:
        return none, none
    stays = situation.own & (state.plan == 0)
    free = ~(situation.ordered | situation.self_doubt | situation.marked | situation.all_bad) & (
        situation.room.minute > 0
    )
    free &= (situation.held == Held.NOT) & ~_full(state)
    free &= situation.proven.any(axis=1) & (not (situation.off or situation.clock_doubt))
    unshown = stays & situation.unshown & free
    crowded = none
    if any(situation.common_causes):
        crowded = state.layout.sample & bad_now(state.layout, state.ledger, state.now)
    return unshown, (stays & ~unshown) | crowded


def _full(state: State) -> Mask:
    """(A,) addresses of which no more may be away."""
    layout, away, at_once = state.layout, state.plan > 0, state.layout.budget.at_once
    if at_once is not None and int(away.sum()) >= at_once:
        return np.ones_like(away)
    mine = np.bincount(layout.upstream_of, weights=away, minlength=len(layout.policies))
    return np.asarray(mine[layout.upstream_of] >= layout.at_most)


def _heard_beside(state: State, curious: Mask) -> Mask:
    """The sample of the operators while it is asked beside more addresses than can be."""
    layout = state.layout
    if curious.sum() <= AT_ONCE:
        return np.zeros_like(curious)
    return np.asarray(curious & layout.sample & (state.ledger.health[:, 0] <= Health.HEALTHY))


def _calm(state: State) -> Mask:
    """(A,) detours that do well, while the local path is far from its recovery."""
    ledger = state.ledger
    well = ledger.run[np.arange(len(state.plan)), state.plan] > 0
    well[[a for a, proof in state.verifications.items() if proof.bad_run or proof.stuck]] = False
    return np.asarray(well & (ledger.run[:, 0] * HEALING < state.layout.clean))


def _compared(state: State, a: int) -> set[int]:
    """The site that the address would take; each that it may, while none is proven."""
    situation, order = state.situation, state.layout.order[a]
    best = int(situation.best[a]) if situation is not None else 0
    return {best} if best else set(np.flatnonzero(order >= 0).tolist())


def _beside(state: State, a: int) -> set[int]:
    """The site its mates are at: a name that fails there too says nothing of the way home."""
    layout, plan = state.layout, state.plan
    mates = plan[(layout.group_of == layout.group_of[a]) & (plan > 0)].tolist()
    return {p for p in mates if layout.hop[a, p]}


def _witnesses(state: State, a: int) -> tuple[str, ...]:
    """What own questions found failing, and what the resolvers' traffic did, in equal parts."""
    heard = state.ledger.traffic.to_ask(int(state.layout.upstream_of[a]))
    own = state.ledger.witnesses(a)
    moot = state.ledger.ignored.get(a, NONE)
    mixed = dict.fromkeys(name for pair in zip_longest(heard, own) for name in pair)
    asked = (name for name in mixed if name is not None and not holds(moot, name, state.now))
    return tuple(islice(asked, WITNESSES))
