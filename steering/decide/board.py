"""The board: what the rules look at, one mask or number an address."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steering.decide import damping, together
from steering.decide.budget import Allotment, Room, allot, room
from steering.decide.crowd import HASTY, Crowd, crowds, doubted, unheard
from steering.decide.orders import NONE
from steering.decide.proven import MOSTLY, proven
from steering.decide.rank import SURE, best, costs, failing, failing_steps, lasting
from steering.judge.compare import cut_off, others_asked
from steering.judge.control import marked
from steering.judge.demand import demand
from steering.judge.forwarded import dropping
from steering.judge.ledger import SILENCES
from steering.judge.present import over, shown
from steering.judge.reach import cut
from steering.layout import Layout
from steering.model import Health
from steering.world import World

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]

DATED = 0.5
"""A path is bad by its dates when more than this share of its answers is."""
BAD = 0.5
"""A local path that a predecessor left is bad still when more than this share of its answers is."""
ANSWERS = 10
"""So many good answers in a row make the local path better than a detour that is silent."""
WORSE = 0.1
"""A detour whose failing share is this much above the local path's is worse than none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Board:
    """One turn's situation."""

    off: bool
    clock_doubt: bool
    dated: Mask
    """(U,) upstreams whose signatures look out of date on every path."""
    self_doubt: Mask
    marked: Mask
    """Fails at home with our mark, and not without it: it is no fault that a move would mend."""
    crowds: tuple[Crowd, ...]
    """By family, the operators that went bad at once, if that speaks against ourselves."""
    hasty: Mask
    """Left the local path just before that was seen."""
    ordered: Mask
    """An override says where it goes, and can be obeyed."""
    ordered_to: Ints
    banned: Mask
    """(A, P) sites that an override says to avoid."""
    defied: Mask
    """What the override says goes against what is measured, or can't be done."""
    local: NDArray[np.int8]
    """Health of the local path."""
    own: Mask
    """Breached itself: failing, or stale where the policy acts on it."""
    unshown: Mask
    """Breached itself and not left, and the last few seconds do not show it: it is asked fast
    until they do, or until it is well."""
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
    """On a detour, and shall go to another site: evidence of remote paths alone says so, which no
    doubt about ourselves touches."""
    detour_worse: Mask
    """The detour in use is bad, and clearly worse than the local path."""
    returning: Mask
    """On a detour, and the local path is healthy again."""
    damped: Mask
    """Would move, and moved too often lately."""
    best: Ints
    """The best proven site, 0 where there is none; once allotted, the one with room."""
    held: NDArray[np.int8]
    """Would move, and has to wait (`Held`)."""
    scouts: tuple[int, ...]
    """Rows that go home before the others of their group."""
    leaving: Ints
    """Rows that want another site than they have, in order, before the budget."""
    cost: NDArray[np.float64]
    """(N, P) what each path costs each of those (`rank.costs`)."""
    scouting: Mask
    """(groups,) that watch an address they sent home."""
    scouted: Mask
    """(groups,) of which one address is home and does well."""
    at_most: Ints
    """Addresses of this upstream that may be steered at once."""
    room: Room
    layout: Layout

    def allotted(self) -> Allotment:
        """What the budget makes of it."""
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


def look(world: World) -> Board:
    """The board of this turn, the budget worked out."""
    layout, ledger, plan, now = world.layout, world.ledger, world.plan, world.now
    local = ledger.health[:, 0]
    own = (local == Health.FAILING) | ((local == Health.STALE) & layout.acts_on_stale)
    home = plan == 0
    fresh = shown(ledger, layout, now) & ~over(ledger, layout, now)
    outdated = (now - ledger.answered[:, 0] < layout.fresh) & ledger.late[:, 0]
    present = fresh | ((local == Health.STALE) & outdated)
    by_mark = marked(ledger, layout, now) & home
    ripe = own & ~(home & (~present | unheard(layout, ledger, own, now, world.begun))) & ~by_mark
    seen = ripe & ~_by_word_alone(world)
    groups = together.open_groups(world.open_groups, layout.group_of, seen)
    along = together.reach(groups, layout.group_of, layout.family_of, seen)
    # Nor does anybody go along on what his group showed long ago.
    along &= ~home | together.reach(
        groups, layout.group_of, layout.family_of, own & present & ~by_mark
    )
    breached = ripe | along
    by_mark &= ~breached  # the others of its group show a fault that is none of the mark
    waiting = together.settling(
        layout.group_of, own & (plan == 0), _on_trial(world), ledger.confirmed_at, now
    )
    settling = waiting & ~groups[layout.group_of] if waiting.any() else waiting
    mute = cut_off(ledger, layout)
    settling = settling | (mute & home)
    all_bad = _all_bad(world, own | (local == Health.SUSPECT))
    rows = np.flatnonzero(breached)
    ways = proven(world, own | breached | (world.orders.decides != NONE))
    open_ways = ways & ~world.orders.banned
    ordered, ordered_to = _ordered(world)
    was = world.board.crowds if world.board is not None else ((), ())
    gathered = crowds(layout, ledger, now, was)
    raised = doubted(layout, gathered) & ~doubted(layout, was)
    self_doubt = doubted(layout, gathered) | (mute & others_asked(ledger, layout))
    dated = _dated(world)
    clock_doubt = bool(dated.any())

    free = ~(ordered | self_doubt | mute | clock_doubt) & (not world.off)
    fit = (local == Health.HEALTHY) | ((local == Health.STALE) & ~own)
    returning = free & fit & ~breached & (plan > 0)
    budget = room(
        layout,
        np.where(ordered, ordered_to, plan),
        demand(ledger.hearsay, layout, now),
        world.moves,
        now,
    )
    choice = np.where(breached, plan, 0)
    rows = rows[~_content(world, open_ways, rows)]
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
    may_leave = free | ((plan > 0) & ~ordered & (not world.off))
    leaving = may_leave & breached & (choice > 0) & (choice != plan) & ~settling & ~all_bad
    left = damping.room(damping.worn(world.worn, world.worn_at, layout, now), layout)
    damped = (leaving & (left < damping.AWAY)) | (returning & (left < damping.HOME))
    scouting, scouted = _scouts(world)
    going = (leaving & ~damped)[rows]
    board = Board(
        off=world.off,
        clock_doubt=clock_doubt,
        dated=dated,
        self_doubt=self_doubt,
        marked=by_mark,
        crowds=gathered,
        hasty=raised & (plan > 0) & (now - world.left_at <= HASTY),
        ordered=ordered,
        ordered_to=ordered_to,
        banned=world.orders.banned,
        defied=_defied(world, ordered, ordered_to, own, ways),
        local=local,
        own=own,
        unshown=own & home & ~present,
        breached=breached,
        open_groups=groups,
        settling=settling,
        proven=open_ways,
        all_bad=all_bad,
        plan=plan,
        onward=leaving & (plan > 0),
        detour_worse=_detour_worse(world, dates_count=not clock_doubt),
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
    return with_budget(board)


def with_budget(board: Board) -> Board:
    """The board with the budget worked out."""
    allotted = board.allotted()
    return replace(board, best=allotted.best, held=allotted.held, scouts=allotted.scouts)


def _by_word_alone(world: World) -> Mask:
    """(A,) what only a predecessor's steer says is bad: it stays away, and takes nobody along.

    Since the start nothing was confirmed there (`settle.adopt`), and it answers well enough.
    """
    ledger = world.ledger
    failing = ledger.health[:, 0] == Health.FAILING
    only_told: Mask = failing & np.isnan(ledger.confirmed_at) & ~ledger.late[:, 0]
    if only_told.any():
        only_told &= ~(ledger.share(world.now)[:, 0] > BAD)
    return only_told


def _on_trial(world: World) -> Mask:
    rows = np.zeros(len(world.plan), dtype=np.bool_)
    rows[list(world.ledger.trials)] = True
    return rows


def _all_bad(world: World, ill: Mask) -> Mask:
    """Addresses of these that are bad on every path that could be used."""
    everywhere, rows = np.zeros_like(ill), np.flatnonzero(ill)
    if rows.size:
        usable, bad = world.layout.order[rows] >= 0, world.ledger.health[rows] >= Health.SUSPECT
        everywhere[rows] = (bad | ~usable)[:, 1:].all(axis=1) & usable.any(axis=1)
    return everywhere


def _content(world: World, ways: Mask, rows: Ints) -> Mask:
    """Those of the rows on a proven detour than which there is no better one: it fails seldom, and
    the policy likes it as well as any.
    """
    plan = world.plan[rows]
    if not plan.any():
        return plan > 0
    order, mine = world.layout.order[rows], ways[rows]
    liked = np.where(mine, order, np.iinfo(np.int64).max).min(axis=1)
    here = rows, plan
    seldom = failing_steps(world.ledger.recent_bad[here], world.ledger.recent_all[here], SURE) == 0
    at = np.arange(len(plan)), plan
    return np.asarray((plan > 0) & mine[at] & (order[at] == liked) & seldom)


def _ordered(world: World) -> tuple[Mask, Ints]:
    """Where an override says which path, and which; none where it can't be obeyed."""
    layout, orders = world.layout, world.orders
    to = orders.to
    if orders.frozen.any():
        to = to.copy()
        for a in np.flatnonzero(orders.frozen).tolist():
            frozen = world.frozen.get(layout.targets[a].address)
            to[a] = layout.column.get(frozen.path, NONE) if frozen else 0
    possible = layout.hop[np.arange(len(to)), to] | (to == 0)
    ordered = (orders.decides != NONE) & (to != NONE) & possible
    return ordered, np.where(ordered, to, world.plan)


def _defied(world: World, ordered: Mask, to: Ints, own: Mask, proven: Mask) -> Mask:
    """Where an override is obeyed against what was measured, or can't be."""
    if (world.orders.decides == NONE).all():
        return np.zeros_like(ordered)
    rows = np.arange(len(to))
    unfit = (to > 0) & ~_fit(world)[rows, to]
    for a, proof in world.proofs.items():
        unfit[a] |= proof.shouted and proof.column == to[a] > 0
    stays = (to == 0) & own & proven.any(axis=1)
    return np.asarray(np.where(ordered, unfit | stays, world.orders.decides != NONE))


def _fit(world: World) -> Mask:
    """(A, P) paths that are healthy by recent answers, whether the policy likes them or not."""
    ledger, layout = world.ledger, world.layout
    recent = (world.now - ledger.answered) < layout.fresh
    return np.asarray((ledger.health == Health.HEALTHY) & ~ledger.late & recent)


def _scouts(world: World) -> tuple[Mask, Mask]:
    """Groups that watch an address they sent home, and those where it does well."""
    scouting = np.zeros(len(world.open_groups), dtype=np.bool_)
    scouted = scouting.copy()
    for a, proof in world.proofs.items():
        if proof.column == 0:
            (scouted if proof.proved else scouting)[world.layout.group_of[a]] = True
    return scouting, scouted


def _detour_worse(world: World, *, dates_count: bool) -> Mask:
    """(A,) detours that are bad where the local path clearly answers better, or over which answers
    do not come back to some source of the resolvers.

    Where our own clock is in doubt, answers that are bad by their dates alone say nothing. A
    local path that is silent too, or over which nothing gets out, is no better one.
    """
    worse, ledger = np.zeros(len(world.plan), dtype=np.bool_), world.ledger
    steered = np.flatnonzero(world.plan)
    if steered.size:
        columns = world.plan[steered]
        share = ledger.share(world.now, steered)
        if not dates_count:
            share = share - ledger.dated_share(world.now)[steered]
        share = np.nan_to_num(share, nan=1.0)
        there = share[np.arange(steered.size), columns]
        silent = ledger.streak[steered] >= SILENCES
        bad = ledger.health[steered, columns] >= Health.SUSPECT
        bad |= silent[np.arange(steered.size), columns]
        answers = ~silent[:, 0] & (ledger.stuck[steered, 0] < SILENCES)
        dead = silent[np.arange(steered.size), columns] & (ledger.run[steered, 0] >= ANSWERS)
        known = ledger.legs, world.sources, world.layout
        gone = cut(*known, partial=False)[steered, columns]
        gone |= dropping(ledger.carried, world.forwarded, world.layout, world.now)[steered, columns]
        gone |= cut(*known, partial=True)[steered, columns] & (share[:, 0] < MOSTLY)
        worse[steered] = answers & (gone | (bad & (dead | (there > share[:, 0] + WORSE))))
    return worse


def _dated(world: World) -> Mask:
    """(U,) upstreams that look expired, or not yet valid, on every path, if they are most.

    It takes two paths to say so: seen over one alone it may be that path.
    """
    layout, upstreams = world.layout, len(world.layout.policies)
    nobody = np.zeros(upstreams, dtype=np.bool_)
    if not world.ledger.recent_dated.any():
        return nobody
    dated = world.ledger.dated_share(world.now)
    known = ~np.isnan(dated)
    measured = known.sum(axis=1) >= 2
    rows = measured & np.where(known, dated > DATED, True).all(axis=1)
    all_of_it = np.bincount(layout.upstream_of, weights=measured, minlength=upstreams)
    out_of_date = np.bincount(layout.upstream_of, weights=rows, minlength=upstreams)
    most = out_of_date * 2 > all_of_it
    return most if most.sum() * 2 > (all_of_it > 0).sum() else nobody
