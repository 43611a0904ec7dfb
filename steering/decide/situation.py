"""The situation: all that the rules look at, one mask or number for each address."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steering.decide import damping, groups
from steering.decide.budget import Allotment, Room, allot, room
from steering.decide.common_cause import HASTY, Operators, affected, common_causes, others_unprobed
from steering.decide.override_state import NONE
from steering.decide.ranking import SURE, best, costs, failing, failing_steps, lasting
from steering.decide.state import State
from steering.decide.usable_sites import MOSTLY, proven
from steering.judge.control import marked
from steering.judge.demand import demand
from steering.judge.forwarded import dropping
from steering.judge.ledger import SILENCES
from steering.judge.peer_paths import cut_off, others_asked
from steering.judge.reach import cut
from steering.judge.recent_evidence import over, shown
from steering.layout import Layout
from steering.model import Health

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

DATED = 0.5
"""A path is bad by its dates when more than this share of its answers has bad dates."""
BAD = 0.5
"""A local path that an earlier agent left is still bad when more than this share of its answers
is."""
ANSWERS = 10
"""With so many good answers in a row the local path is better than a silent detour."""
WORSE = 0.1
"""A detour is worse than none if its failing share is above the local path's by this much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Situation:
    """The situation of one turn."""

    off: bool
    clock_doubt: bool
    dated: Mask
    """(U,) upstreams whose signatures look out of date on every path."""
    self_doubt: Mask
    marked: Mask
    """Fails over the local path with our mark, and not without it: a move would not help."""
    common_causes: tuple[Operators, ...]
    """By family, the operators that failed at once, if the cause is most likely this host."""
    hasty: Mask
    """Left the local path just before that was found."""
    ordered: Mask
    """An override sets its path, and can be obeyed."""
    ordered_to: Ints
    banned: Mask
    """(A, P) sites that an override avoids."""
    defied: Mask
    """The override contradicts the measurements, or can't be obeyed."""
    local: NDArray[np.int8]
    """Health of the local path."""
    own: Mask
    """Breached itself: failing, or stale where the policy acts on it."""
    unshown: Mask
    """Breached itself and still on the local path, but the last few seconds do not show the fault:
    it is probed fast until they do, or until it is healthy."""
    breached: Mask
    """Breached, or moving along with its group."""
    open_groups: Mask
    settling: Mask
    proven: Mask
    """(A, P)"""
    all_bad: Mask
    """The local path and every usable remote one are known to be bad."""
    plan: Ints
    onward: Mask
    """On a detour, and will change its site. Evidence of remote paths decides that, so it also
    happens while rule `clock` or `self` applies."""
    detour_worse: Mask
    """The detour in use is bad, and clearly worse than the local path."""
    returning: Mask
    """On a detour, and the local path is healthy again."""
    damped: Mask
    """Would move, and moved too often lately."""
    best: Ints
    """The best proven site, 0 where there is none; after `allotted`, the one with room."""
    held: NDArray[np.int8]
    """Would move, and has to wait (`Held`)."""
    scouts: tuple[int, ...]
    """Rows that return to the local path before the others of their group."""
    leaving: Ints
    """Rows that should take another site than they have, in order, before the budget."""
    cost: NDArray[np.float64]
    """(N, P) what each path costs each of those (`rank.costs`)."""
    scouting: Mask
    """(groups,) whose first address back on the local path is being verified."""
    scouted: Mask
    """(groups,) whose first address back on the local path is verified."""
    at_most: Ints
    """Addresses of this upstream that may be steered at once."""
    room: Room
    layout: Layout

    def allotted(self) -> Allotment:
        """Which of the moves the budget allows."""
        return allot(
            self.leaving,
            self.cost,
            np.flatnonzero(self.returning & ~self.damped),
            best=self.best,
            plan=self.plan,
            standing=np.where(self.ordered, self.ordered_to, self.plan),
            layout=self.layout,
            at_most=self.at_most,
            scouting=self.scouting,
            scouted=self.scouted,
            room=self.room,
        )


def look(state: State) -> Situation:
    """The situation of this turn, with the budget applied."""
    layout, ledger, plan, now = state.layout, state.ledger, state.plan, state.now
    local = ledger.health[:, 0]
    own = (local == Health.FAILING) | ((local == Health.STALE) & layout.acts_on_stale)
    home = plan == 0
    fresh = shown(ledger, layout, now) & ~over(ledger, layout, now)
    outdated = (now - ledger.answered[:, 0] < layout.fresh) & ledger.late[:, 0]
    present = fresh | ((local == Health.STALE) & outdated)
    by_mark = marked(ledger, layout, now) & home
    ripe = (
        own
        & ~(home & (~present | others_unprobed(layout, ledger, own, now, state.begun)))
        & ~by_mark
    )
    seen = ripe & ~_adopted_only(state)
    opened = groups.open_groups(state.open_groups, layout.group_of, seen)
    along = groups.reach(opened, layout.group_of, layout.family_of, seen)
    # Nor does an address go along because of an old fault of its group.
    along &= ~home | groups.reach(
        opened, layout.group_of, layout.family_of, own & present & ~by_mark
    )
    breached = ripe | along
    by_mark &= ~breached  # the others of its group show a fault that is not the mark's
    waiting = groups.settling(
        layout.group_of, own & (plan == 0), _on_trial(state), ledger.confirmed_at, now
    )
    settling = waiting & ~opened[layout.group_of] if waiting.any() else waiting
    mute = cut_off(ledger, layout)
    settling = settling | (mute & home)
    all_bad = _all_bad(state, own | (local == Health.SUSPECT))
    rows = np.flatnonzero(breached)
    ways = proven(state, own | breached | (state.override_state.decides != NONE))
    open_ways = ways & ~state.override_state.banned
    ordered, ordered_to = _ordered(state)
    was = state.situation.common_causes if state.situation is not None else ((), ())
    causes = common_causes(layout, ledger, now, was)
    raised = affected(layout, causes) & ~affected(layout, was)
    self_doubt = affected(layout, causes) | (mute & others_asked(ledger, layout))
    dated = _dated(state)
    clock_doubt = bool(dated.any())

    free = ~(ordered | self_doubt | mute | clock_doubt) & (not state.off)
    fit = (local == Health.HEALTHY) | ((local == Health.STALE) & ~own)
    returning = free & fit & ~breached & (plan > 0)
    budget = room(
        layout,
        np.where(ordered, ordered_to, plan),
        demand(ledger.traffic, layout, now),
        state.moves,
        now,
    )
    choice = np.where(breached, plan, 0)
    rows = rows[~_content(state, open_ways, rows)]
    bad, answers = ledger.recent_bad[rows], ledger.recent_all[rows]
    healthy = ledger.health[rows] == Health.HEALTHY
    cost = costs(
        lasting(open_ways[rows], plan[rows], ledger.run[rows], layout.group_of[rows]),
        layout.order[rows],
        plan[rows],
        ledger.rtt[rows],
        layout.paths,
        failing=failing(bad, answers, healthy, layout.group_of[rows], plan[rows]),
        busy=budget.busy,
    )
    choice[rows] = best(cost)
    may_leave = free | ((plan > 0) & ~ordered & (not state.off))
    leaving = may_leave & breached & (choice > 0) & (choice != plan) & ~settling & ~all_bad
    left = damping.room(damping.penalty(state.worn, state.worn_at, layout, now), layout)
    damped = (leaving & (left < damping.AWAY)) | (returning & (left < damping.HOME))
    scouting, scouted = _scouts(state)
    going = (leaving & ~damped)[rows]
    situation = Situation(
        off=state.off,
        clock_doubt=clock_doubt,
        dated=dated,
        self_doubt=self_doubt,
        marked=by_mark,
        common_causes=causes,
        hasty=raised & (plan > 0) & (now - state.left_at <= HASTY),
        ordered=ordered,
        ordered_to=ordered_to,
        banned=state.override_state.banned,
        defied=_defied(state, ordered, ordered_to, own, ways),
        local=local,
        own=own,
        unshown=own & home & ~present,
        breached=breached,
        open_groups=opened,
        settling=settling,
        proven=open_ways,
        all_bad=all_bad,
        plan=plan,
        onward=leaving & (plan > 0),
        detour_worse=_detour_worse(state, dates_count=not clock_doubt),
        returning=returning,
        damped=damped,
        best=choice,
        held=np.zeros(len(plan), dtype=np.int8),
        scouts=(),
        leaving=rows[going],
        cost=cost[going],
        scouting=scouting,
        scouted=scouted,
        at_most=layout.at_most,
        room=budget,
        layout=layout,
    )
    return with_budget(situation)


def with_budget(situation: Situation) -> Situation:
    """The situation with the budget applied."""
    allotted = situation.allotted()
    return replace(situation, best=allotted.best, held=allotted.held, scouts=allotted.scouts)


def _adopted_only(state: State) -> Mask:
    """(A,) steers adopted at the start and not confirmed since (`transitions.adopt`).

    They are kept, and not counted towards moving their group, while the local path answers well
    enough.
    """
    ledger = state.ledger
    failing = ledger.health[:, 0] == Health.FAILING
    adopted: Mask = failing & np.isnan(ledger.confirmed_at) & ~ledger.late[:, 0]
    if adopted.any():
        adopted &= ~(ledger.share(state.now)[:, 0] > BAD)
    return adopted


def _on_trial(state: State) -> Mask:
    rows = np.zeros(len(state.plan), dtype=np.bool_)
    rows[list(state.ledger.trials)] = True
    return rows


def _all_bad(state: State, of: Mask) -> Mask:
    """(A,) those in `of` that are bad on every path that could be used."""
    everywhere, rows = np.zeros_like(of), np.flatnonzero(of)
    if rows.size:
        usable, bad = state.layout.order[rows] >= 0, state.ledger.health[rows] >= Health.SUSPECT
        everywhere[rows] = (bad | ~usable)[:, 1:].all(axis=1) & usable.any(axis=1)
    return everywhere


def _content(state: State, ways: Mask, rows: Ints) -> Mask:
    """The rows on a proven detour that no other site can beat: it seldom fails, and no proven site
    comes before it in the policy's order.
    """
    plan = state.plan[rows]
    if not plan.any():
        return plan > 0
    order, mine = state.layout.order[rows], ways[rows]
    first = np.where(mine, order, np.iinfo(np.int64).max).min(axis=1)
    here = rows, plan
    seldom = failing_steps(state.ledger.recent_bad[here], state.ledger.recent_all[here], SURE) == 0
    at = np.arange(len(plan)), plan
    return np.asarray((plan > 0) & mine[at] & (order[at] == first) & seldom)


def _ordered(state: State) -> tuple[Mask, Ints]:
    """Where an override sets the path, and which path; none where it can't be obeyed."""
    layout, override_state = state.layout, state.override_state
    to = override_state.to
    if override_state.frozen.any():
        to = to.copy()
        for a in np.flatnonzero(override_state.frozen).tolist():
            frozen = state.frozen.get(layout.targets[a].address)
            to[a] = layout.column.get(frozen.path, NONE) if frozen else 0
    possible = layout.hop[np.arange(len(to)), to] | (to == 0)
    ordered = (override_state.decides != NONE) & (to != NONE) & possible
    return ordered, np.where(ordered, to, state.plan)


def _defied(state: State, ordered: Mask, to: Ints, own: Mask, proven: Mask) -> Mask:
    """Where an override contradicts the measurements, or can't be obeyed."""
    if (state.override_state.decides == NONE).all():
        return np.zeros_like(ordered)
    rows = np.arange(len(to))
    unfit = (to > 0) & ~_fit(state)[rows, to]
    for a, proof in state.verifications.items():
        unfit[a] |= proof.shouted and proof.column == to[a] > 0
    stays = (to == 0) & own & proven.any(axis=1)
    return np.asarray(np.where(ordered, unfit | stays, state.override_state.decides != NONE))


def _fit(state: State) -> Mask:
    """(A, P) paths that are healthy by recent answers, whether the policy uses them or not."""
    ledger, layout = state.ledger, state.layout
    recent = (state.now - ledger.answered) < layout.fresh
    return np.asarray((ledger.health == Health.HEALTHY) & ~ledger.late & recent)


def _scouts(state: State) -> tuple[Mask, Mask]:
    """Groups whose first address back is being verified, and those where it is verified."""
    scouting = np.zeros(len(state.open_groups), dtype=np.bool_)
    scouted = scouting.copy()
    for a, proof in state.verifications.items():
        if proof.column == 0:
            (scouted if proof.proved else scouting)[state.layout.group_of[a]] = True
    return scouting, scouted


def _detour_worse(state: State, *, dates_count: bool) -> Mask:
    """(A,) detours that are bad where the local path clearly answers better, or over which answers
    do not come back to some source of the resolvers.

    While rule `clock` may apply, answers that are bad only by their dates do not count. A local
    path that is silent too, or over which no probe leaves this host, is not better.
    """
    worse, ledger = np.zeros(len(state.plan), dtype=np.bool_), state.ledger
    steered = np.flatnonzero(state.plan)
    if steered.size:
        columns = state.plan[steered]
        share = ledger.share(state.now, steered)
        if not dates_count:
            share = share - ledger.dated_share(state.now)[steered]
        share = np.nan_to_num(share, nan=1.0)
        there = share[np.arange(steered.size), columns]
        silent = ledger.streak[steered] >= SILENCES
        bad = ledger.health[steered, columns] >= Health.SUSPECT
        bad |= silent[np.arange(steered.size), columns]
        answers = ~silent[:, 0] & (ledger.stuck[steered, 0] < SILENCES)
        dead = silent[np.arange(steered.size), columns] & (ledger.run[steered, 0] >= ANSWERS)
        known = ledger.legs, state.sources, state.layout
        gone = cut(*known, partial=False)[steered, columns]
        gone |= dropping(ledger.carried, state.forwarded, state.layout, state.now)[steered, columns]
        gone |= cut(*known, partial=True)[steered, columns] & (share[:, 0] < MOSTLY)
        worse[steered] = answers & (gone | (bad & (dead | (there > share[:, 0] + WORSE))))
    return worse


def _dated(state: State) -> Mask:
    """(U,) upstreams with expired or not yet valid signatures on every path, if they are most.

    It takes two paths: seen over one alone the cause may be that path.
    """
    layout, upstreams = state.layout, len(state.layout.policies)
    none = np.zeros(upstreams, dtype=np.bool_)
    if not state.ledger.recent_dated.any():
        return none
    dated = state.ledger.dated_share(state.now)
    known = ~np.isnan(dated)
    measured = known.sum(axis=1) >= 2
    rows = measured & np.where(known, dated > DATED, True).all(axis=1)
    all_of_it = np.bincount(layout.upstream_of, weights=measured, minlength=upstreams)
    out_of_date = np.bincount(layout.upstream_of, weights=rows, minlength=upstreams)
    most = out_of_date * 2 > all_of_it
    return most if most.sum() * 2 > (all_of_it > 0).sum() else none
