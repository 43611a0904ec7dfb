"""Which addresses are probed fast, and over which paths: suspicion, trials, detours, recovery.

An address with an open question is probed at the fast interval. One that is only watched is probed
at a slower one: detours that work while the local path stays bad, and moves that a rule holds back.
That is as many probes as the decisions need, and a load that does not grow with their number.
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
"""Most addresses that are probed fast at the same time: by default that is some 1,500 questions a
second, as many as one process can send and judge. The others wait; the sample of the operators
(`Layout.sample`) is probed in addition."""
HELD_ROUNDS = 5
"""Fast rounds between two questions to an address that is held back."""
HELD_PER_ROUND = 25
"""Addresses that are probed in one fast round, of all that are held back; the sample of the
operators always is."""
CALM_ROUNDS, CALM_PER_ROUND = 10, 10
"""The same for detours that work: no decision waits for their answers."""
HEALING = 64
"""A recovery is probed fast once 1/64 of its clean answers have come in a row."""


def attention(state: State) -> dict[str, Attention]:
    """Address -> what is asked of it at the fast or a slower interval; all others have slow rounds.

    A suspect address without a path to compare with is not probed faster: that would last as long
    as every path is bad, and confirm nothing.
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
    sample = _sample_beside(state, curious)
    away = state.plan > 0
    calm = away & ~unproved & _calm(state)
    no_site = nowhere(state)
    waits = none.copy()
    waits[list(no_site)] = True
    fast = (away & ~calm) | curious | on_trial | watched & ~calm | unshown | waits
    rows = np.flatnonzero(fast & ~sample)
    asked: dict[str, Attention] = {}
    # Verifications first, since traffic depends on them; then trials, addresses that just failed,
    # breaches that need fresh evidence, other news, those without a site, and last recoveries.
    bad = ledger.run[:, 0] == 0
    by = [unproved, on_trial, curious & bad, unshown, curious, waits]
    urgency = np.select(by, range(len(by)), len(by))[rows]
    chosen = rows[np.argsort(urgency, kind="stable")][:AT_ONCE].tolist()
    for a in (*np.flatnonzero(sample).tolist(), *chosen):
        sites = no_site.get(a, frozenset()) if not curious[a] else frozenset()
        asked[layout.targets[a].address] = _asked(state, a, sites=sites, live=bool(compared[a]))
    mute = refused(ledger, layout, state.now) & ~away & (not state.off)
    beside = watched_slowly(ledger, layout)
    loses: Mask = np.asarray(beside.any(axis=1))
    slower = np.flatnonzero((calm | held | loses | mute) & ~fast & ~sample)
    for a in slower.tolist():
        if calm[a]:
            rounds = max(CALM_ROUNDS, np.count_nonzero(calm) / CALM_PER_ROUND)
        else:
            rounds = (
                HELD_ROUNDS if layout.sample[a] else max(HELD_ROUNDS, slower.size / HELD_PER_ROUND)
            )
        every, sites = rounds * layout.fast_interval, frozenset[int]()
        if loses[a]:
            every = max(every, EVERY)
            sites = frozenset({int(np.argmax(np.where(beside[a], ledger.losses[a], 0)))})
        asked[layout.targets[a].address] = _asked(
            state, a, every=every, sites=sites, live=bool(compared[a] | mute[a])
        )
    return asked


def _without_mark(state: State, unshown: Mask) -> Mask:
    """(A,) addresses on the local path that are also probed without a mark (`judge.control`).

    That is while they are on trial, while a breach needs fresh evidence, and while only questions
    with our mark fail.
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
    """What is asked of the address in row `a`; `sites`: those that may be usable again."""
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
    # In an agent that does not act, questions without a mark do not take the detour.
    shows = layout.acts or not state.plan[a]
    return Attention(
        paths=frozenset(layout.paths[p] for p in columns),
        live=live or (shows and proof is not None and proof.installed is not None),
        witnesses=_witnesses(state, a),
        every=max(every, gap(layout, ledger, a, state.now, proving=proving)),
    )


def _held(state: State) -> tuple[Mask, Mask]:
    """Breached addresses on the local path: those that need fresh evidence to move, and the others.

    Where another rule holds back the move anyway, the address is only watched.
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
    """(A,) addresses whose limit of steered addresses is reached."""
    layout, away, at_once = state.layout, state.plan > 0, state.layout.budget.at_once
    if at_once is not None and int(away.sum()) >= at_once:
        return np.ones_like(away)
    mine = np.bincount(layout.upstream_of, weights=away, minlength=len(layout.policies))
    return np.asarray(mine[layout.upstream_of] >= layout.at_most)


def _sample_beside(state: State, curious: Mask) -> Mask:
    """The sample of the operators, while more addresses should be probed fast than can be."""
    layout = state.layout
    if curious.sum() <= AT_ONCE:
        return np.zeros_like(curious)
    return np.asarray(curious & layout.sample & (state.ledger.health[:, 0] <= Health.HEALTHY))


def _calm(state: State) -> Mask:
    """(A,) detours that work, while the local path is far from its recovery."""
    ledger = state.ledger
    well = ledger.run[np.arange(len(state.plan)), state.plan] > 0
    well[[a for a, proof in state.verifications.items() if proof.bad_run or proof.stuck]] = False
    return np.asarray(well & (ledger.run[:, 0] * HEALING < state.layout.clean))


def _compared(state: State, a: int) -> set[int]:
    """The site that the address would take; while none is proven, each that it may take."""
    situation, order = state.situation, state.layout.order[a]
    best = int(situation.best[a]) if situation is not None else 0
    return {best} if best else set(np.flatnonzero(order >= 0).tolist())


def _beside(state: State, a: int) -> set[int]:
    """The sites of the others in its group: a name that fails there too is no fault of the path."""
    layout, plan = state.layout, state.plan
    sites = plan[(layout.group_of == layout.group_of[a]) & (plan > 0)].tolist()
    return {p for p in sites if layout.hop[a, p]}


def _witnesses(state: State, a: int) -> tuple[str, ...]:
    """The names that failed by probes and by the resolvers' traffic, in equal parts."""
    heard = state.ledger.traffic.to_ask(int(state.layout.upstream_of[a]))
    own = state.ledger.witnesses(a)
    ignored = state.ledger.ignored.get(a, NONE)
    mixed = dict.fromkeys(name for pair in zip_longest(heard, own) for name in pair)
    asked = (name for name in mixed if name is not None and not holds(ignored, name, state.now))
    return tuple(islice(asked, WITNESSES))
