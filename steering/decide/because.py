"""Why, in one sentence with the numbers: for the events, the status and `explain`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from steering.decide import damping
from steering.decide.board import Board
from steering.decide.budget import Held
from steering.decide.crowd import AT_ONCE
from steering.decide.orders import NONE
from steering.decide.proven import worse
from steering.decide.rules import BY_NUMBER, Answer
from steering.decide.together import SETTLE
from steering.judge.confirm import CONFIRM_AT
from steering.judge.forwarded import Carriage, Senders, dropped, unknown
from steering.judge.ledger import SILENCES, reason
from steering.judge.reach import Leg, comes_back, lost
from steering.layout import Layout
from steering.model import Action, Family, Forwarded, Health, Instant, Override, Seconds
from steering.world import World


def because(world: World, a: int) -> str:
    """Why the rule in force for the address in row `a` decided as it did."""
    rule, board = BY_NUMBER.get(int(world.rule[a])), world.board
    if rule is None or board is None:
        return "no turn yet"
    left = int(board.plan[a])
    if left and not world.plan[a] and board.detour_worse[a] and rule.answer is Answer.KEEP:
        there = reason(world.ledger, world.layout, a, left, world.now)
        if said := unreached(world, a, left):
            there = said
        return f"the detour is worse: {world.layout.paths[left]}: {there}; {_why(world, board, a)}"
    return _why(world, board, a)


def _why(world: World, board: Board, a: int) -> str:
    rule = BY_NUMBER[int(world.rule[a])]
    local = reason(world.ledger, world.layout, a, 0, world.now)
    match rule.name:
        case "off":
            return "switched off by `steering off`"
        case "override":
            return _override(world, board, a)
        case "clock":
            return f"{clock(world, board)}; local: {local}"
        case "self":
            mark = by_mark(world, board, a)
            return own_fault(world, board, a) or (f"{mark}; local: {local}" if mark else local)
        case "healthy":
            first = "first of its group to go home; " if a in board.scouts else ""
            return f"{first}local: {local}"
        case "everywhere":
            return f"every path is bad; local: {local}{_lost_over(world, a)}"
        case "damped":
            return f"{worn_out(world, board, a)}; local: {local}"
        case "budget":
            return f"{waiting(world, board, a)}; local: {local}"
        case "steer":
            site = world.layout.paths[world.plan[a]]
            there = reason(world.ledger, world.layout, a, int(world.plan[a]), world.now)
            why = local if world.ledger.health[a, 0] >= Health.SUSPECT else "its group is breached"
            return f"local: {why}; {site}: {there}{_defied(world, board, a)}"
    return f"{unproven(world, a)}{_defied(world, board, a)}; local: {local}"


def spell(override: Override) -> str:
    """What an override says, by whom and why."""
    of = override.to or override.alarm
    to = f" {of}" if of is not None else ""
    return f"{override.name}: {override.action.value}{to}, by {override.by}: {override.reason}"


def _override(world: World, board: Board, a: int) -> str:
    orders, layout = world.orders, world.layout
    if not board.ordered[a]:
        banned = orders.banned_by.get((a, int(board.plan[a])), NONE)
        says = spell(orders.overrides[banned]) if banned != NONE else "an override"
        return f"{says}; no other site is to be had right now"
    order = orders.of(a)
    assert order is not None
    path = layout.paths[board.ordered_to[a]]
    kept = f" at {path}, as it stood when the freeze began" if order.action is Action.FREEZE else ""
    evidence = reason(world.ledger, layout, a, int(board.ordered_to[a]), world.now)
    against = "against what is measured; " if board.defied[a] else ""
    return f"{spell(order)}{kept}; {against}{path}: {evidence}"


def _defied(world: World, board: Board, a: int) -> str:
    order = world.orders.of(a)
    if order is None or board.ordered[a]:
        return ""
    family = world.layout.targets[a].family
    return f"; the override {order.name} can't be obeyed: {order.to or 'it'} has no {family} way"


def clock(world: World, board: Board) -> str:
    """Whose signatures look out of date on every path."""
    names = [world.layout.policies[u].upstream for u in np.flatnonzero(board.dated).tolist()]
    return (
        f"most answers of {', '.join(names) or 'no upstream'} are out of date by their signatures "
        f"on every path, of {len(world.layout.policies)} upstreams"
    )


def own_fault(world: World, board: Board, a: int) -> str:
    """What speaks against ourselves; empty if nothing does."""
    layout = world.layout
    family = int(layout.family_of[a])
    if crowd := board.crowds[family]:
        names = []
        for operator in crowd:
            policy = layout.policy(int(np.argmax(layout.operator_of == operator)))
            names.append(policy.operator.name if policy.operator else policy.upstream)
        heard = layout.sample & (layout.family_of == family)
        return (
            f"{len(names)} of {len(np.unique(layout.operator_of[heard]))} unrelated operators went "
            f"bad here within {AT_ONCE:.0f} s ({', '.join(names)}): what they share is us"
        )
    if board.self_doubt[a]:
        unanswered = int(world.ledger.streak[a, 0])
        return (
            f"{unanswered} questions unanswered over the local path, and nothing of this family "
            "came back over it since"
        )
    return ""


def by_mark(world: World, board: Board, a: int) -> str:
    """What speaks against our own mark; empty if nothing does."""
    known = world.ledger.controls.get(a)
    if known is None or not board.marked[a]:
        return ""
    return (
        f"questions with our mark fail and the same without it are answered ({known.score:+d}, the "
        f"latest {duration(max(0.0, world.now - known.at))} ago)"
    )


def worn_out(world: World, board: Board, a: int) -> str:
    """How often an address moved, and how long it stays."""
    layout = world.layout
    level = float(damping.worn(world.worn, world.worn_at, layout, world.now)[a])
    needs = damping.HOME if board.returning[a] else damping.AWAY
    left = duration(damping.patience(level, a, layout, needs))
    return (
        f"{level:.1f} moves not worn off, of {layout.moves_per_day[a] * damping.AT_ONCE:.0f} "
        f"(moves_per_day: {layout.moves_per_day[a]}): stays where it is for another {left}"
    )


def duration(seconds: Seconds) -> str:
    """About so long, for people."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def waiting(world: World, board: Board, a: int) -> str:
    """What the budget lets an address wait for, with the numbers; empty if for nothing."""
    layout, room = world.layout, board.room
    upstream = layout.upstream_of == layout.upstream_of[a]
    are = "are" if layout.acts else "would be"
    match Held(int(board.held[a])):
        case Held.PER_MINUTE:
            return f"waits: moves_per_minute: {room.budget.moves_per_minute} are used up"
        case Held.AT_ONCE:
            away = int((world.plan > 0).sum())
            return f"waits: {away} addresses {are} steered, at_once: {room.budget.at_once}"
        case Held.AT_MOST:
            away = int((upstream & (world.plan > 0)).sum())
            return f"waits: {away} of its upstream {are} steered, at_most: {board.at_most[a]}"
        case Held.CAPACITY:
            return f"waits: no proven site has room for {rate(room.demand[a])}: {loads(board)}"
        case Held.GRADUAL:
            away = int(((layout.group_of == layout.group_of[a]) & (world.plan > 0)).sum())
            return f"waits with {away} of its group until the first one home has done well"
    return ""


def rate(queries: float) -> str:
    """Queries per second in words."""
    return "unknown queries/s" if np.isnan(queries) else f"{queries:.0f} queries/s"


def loads(board: Board) -> str:
    """What steered traffic takes of each site that has a limit, and what dnstap shows of it."""
    room = board.room
    return (
        ", ".join(
            f"{path} {room.load[p]:.0f} of {room.allowed[p]:.0f} queries/s"
            f"{_shown(room.heard_load[p], room.load[p])}"
            for p, path in enumerate(board.layout.paths)
            if p and np.isfinite(room.allowed[p])
        )
        or "no site has a capacity set"
    )


def _shown(heard: float, estimate: float) -> str:
    """What dnstap shows, where that is not what the policies estimate."""
    return "" if heard == estimate else f" ({heard:.0f} by dnstap)"


def unproven(world: World, a: int) -> str:
    """What is missing for a move."""
    health = Health(int(world.ledger.health[a, 0]))
    if health is Health.SUSPECT:
        trial = world.ledger.trials.get(a)
        if trial is None:
            return "suspect, and no remote path is proven good to compare with"
        return f"suspect, on trial ({trial.score:+d} of +{CONFIRM_AT})"
    if not world.breached[a]:
        if world.board is not None and world.board.unshown[a]:
            return "confirmed a while ago, and not shown by the last few seconds: to be shown anew"
        if health is Health.FAILING:
            return "confirmed just now, waiting for the other operators to be heard"
        return "the local path is not proven bad"
    if not world.plan[a] and world.now - world.ledger.confirmed_at[a] < SETTLE:
        return "confirmed just now, waiting for the trials of its group"
    if world.layout.targets[a].address in world.bypassed:
        return "no detour would carry its packets: a rule of somebody else comes before ours"
    return f"no remote path is proven good right now ({sites(world, a)})"


def sites(world: World, a: int) -> str:
    """The state of each site that the policy would use for this address."""
    through = all_unknown(world)
    states = ", ".join(
        f"{path} {_state(world, a, p, through)}"
        for p, path in enumerate(world.layout.paths)
        if p and world.layout.order[a, p] >= 0
    )
    return states or "no site has a next hop for this family"


def _lost_over(world: World, a: int) -> str:
    sites = (
        (world.layout.paths[p], unreached(world, a, p)) for p in range(1, world.layout.shape[1])
    )
    return "".join(f"; {site}: {said}" for site, said in sites if said)


def unreached(world: World, a: int, p: int) -> str:
    """What does not come back over a site to the resolvers, as far as is known; empty: nothing."""
    target, site = world.layout.targets[a], world.layout.paths[p]
    gone = [leg for leg in lost_legs(world) if leg.site == site and leg.concerns(target)]
    through = [leg for leg, _ in all_dropped(world) if leg.site == site and leg.concerns(target)]
    return "; ".join([*map(no_answer, sorted(gone)), *map(not_carried, sorted(through))])


def _through(world: World) -> tuple[Mapping[Leg, Carriage], Senders, Layout, Instant]:
    """What is known of what this host forwards."""
    return world.ledger.carried, world.forwarded, world.layout, world.now


def all_unknown(world: World) -> tuple[tuple[Leg, Forwarded], ...]:
    """Whom this host forwards for without anybody knowing whether a site carries it."""
    return unknown(*_through(world))


def all_dropped(world: World) -> tuple[tuple[Leg, Forwarded], ...]:
    """Whom this host forwards for, and a site does not carry."""
    return dropped(*_through(world))


def not_carried(leg: Leg) -> str:
    """That what is forwarded for a source is lost, in words."""
    return f"no answer comes back to {leg.source}, for which this host forwards"


def lost_legs(world: World) -> tuple[Leg, ...]:
    """What does not come back over the sites."""
    legs, sources = world.ledger.legs, world.sources
    return (*lost(legs, sources, partial=False), *lost(legs, sources, partial=True))


def no_answer(leg: Leg) -> str:
    """What is lost on a leg, in words."""
    what = f"no large answer of {leg.large}" if leg.large else "no answer"
    return f"{what} comes back to {leg.source or 'this host'} by {'TCP' if leg.tcp else 'UDP'}"


def _state(world: World, a: int, p: int, through: Collection[tuple[Leg, Forwarded]]) -> str:
    """In words; `through` is whom this host forwards for without anybody knowing of a site."""
    word = Health(int(world.ledger.health[a, p])).word
    if world.orders.banned[a, p]:
        return f"{word}, to be avoided by an override"
    if world.avoid_until[a, p] > world.now:
        avoided = f"avoided for {duration(float(world.avoid_until[a, p]) - world.now)}"
        why = ", as the resolvers were not served over it" if (a, p) in world.unserved else ""
        return f"{word}, {avoided}{why}"
    if world.breached[a] and worse(world)[a, p]:
        return f"{word}, but it fails more than the local path"
    if said := unreached(world, a, p):
        return f"{word}, but {said}"
    site, family = world.layout.paths[p], world.layout.targets[a].family
    if not comes_back(world.ledger.legs, world.sources, family, site):
        return f"{word}, but not asked yet from every source of the resolvers"
    if said := _nobody_knows(through, family, site):
        return f"{word}, but {said}"
    if world.ledger.stuck[a, p] >= SILENCES:
        return f"{word}, but nothing gets out over it now"
    if np.isnan(world.ledger.seen[a, p]):
        return f"{word}, not measured yet"
    return f"{word}, its last answer bad" if world.ledger.run[a, p] == 0 else word


def _nobody_knows(through: Collection[tuple[Leg, Forwarded]], family: Family, site: str) -> str:
    """What keeps a site from being proven for what is forwarded; empty: nothing does."""
    who = [leg.source for leg, _ in through if (leg.family, leg.site) == (family, site)]
    more = f" and {len(who) - 1} more" if len(who) > 1 else ""
    return (
        f"nothing shows that it carries what this host forwards for {who[0]}{more}" if who else ""
    )
