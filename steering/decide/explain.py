"""Explain: every rule for one address, with the numbers, and what would give another answer.

It reads the board that the latest decision was made from, so it can't tell another story than
the agent acted on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from steering.decide import damping
from steering.decide.because import (
    because,
    by_mark,
    clock,
    duration,
    loads,
    own_fault,
    rate,
    sites,
    spell,
    unproven,
    waiting,
    worn_out,
)
from steering.decide.board import Board
from steering.decide.rules import RULES, Rule
from steering.judge.confirm import CONFIRM_AT
from steering.judge.ledger import reason
from steering.judge.recover import Hold
from steering.model import Action, Health, Target
from steering.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One rule, looked at for one address."""

    rule: Rule
    applies: bool
    decides: bool
    numbers: str
    """What it applies, or does not apply, on."""
    otherwise: str
    """What would have to change for it to say the opposite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one address goes where it goes."""

    target: Target
    path: str
    """Where it shall go."""
    because: str
    rules: tuple[Considered, ...]
    evidence: Mapping[str, tuple[Health, str]]
    """Path -> its health, and why it is believed."""


def explain(world: World, address: str) -> Explanation | None:
    """Why the address goes where it goes; None for one of no policy, or before the first turn."""
    row, board = world.layout.row.get(address), world.board
    if row is None or board is None:
        return None
    layout, deciding = world.layout, int(world.rule[row])
    return Explanation(
        target=layout.targets[row],
        path=layout.paths[world.plan[row]],
        because=because(world, row),
        rules=tuple(
            Considered(
                rule=rule,
                applies=bool(rule.applies(board)[row]) or rule.number == deciding,
                decides=rule.number == deciding,
                numbers=_NUMBERS[rule.name](world, board, row),
                otherwise=_OTHERWISE[rule.name](world, board, row),
            )
            for rule in RULES
        ),
        evidence={
            path: (
                Health(int(world.ledger.health[row, p])),
                reason(world.ledger, layout, row, p, world.now),
            )
            for p, path in enumerate(layout.paths)
        },
    )


Say = Callable[[World, Board, int], str]


def _off(world: World, board: Board, a: int) -> str:  # noqa: ARG001
    return "`steering off` is in force" if board.off else "the agent is on"


def _off_otherwise(world: World, board: Board, a: int) -> str:  # noqa: ARG001
    return "`steering on`" if board.off else "`steering off`"


def _override(world: World, board: Board, a: int) -> str:
    orders, said = world.orders, []
    for override, state, rows in zip(orders.overrides, orders.states, orders.covers, strict=True):
        if a in rows and override.action is not Action.ACKNOWLEDGE:
            decides = ", decides" if override is orders.of(a) else ""
            said.append(f"{spell(override)} ({state.value}{decides})")
    if board.defied[a]:
        obeyed = "obeyed against what is measured" if board.ordered[a] else "can't be obeyed"
        said.append(obeyed)
    return "; ".join(said) or f"none of {len(orders.overrides)} overrides covers it"


def _override_otherwise(world: World, board: Board, a: int) -> str:  # noqa: ARG001
    order = world.orders.of(a)
    if order is None:
        return "an override that covers it"
    if order.until is None:
        return f"removing the override {order.name}, or a later one"
    left = duration(max(0.0, order.until - world.wall))
    return f"the end of the override {order.name} in {left}, its removal, or a later one"


def _clock_otherwise(world: World, board: Board, a: int) -> str:  # noqa: ARG001
    if board.clock_doubt:
        return "good signatures over one path, for most upstreams: is the clock right?"
    return "signatures out of date on every path, for more than half of the upstreams"


def _self(world: World, board: Board, a: int) -> str:
    if found := own_fault(world, board, a) or by_mark(world, board, a):
        return found
    suspects = board.local == Health.SUSPECT
    suspects |= board.local == Health.FAILING
    layout = world.layout
    ill = len(set(layout.operator_of[suspects].tolist()))
    silent = int(world.ledger.streak[a, 0])
    return f"{ill} of {layout.operators} operators have bad addresses; {silent} unanswered in a row"


def _self_otherwise(world: World, board: Board, a: int) -> str:
    if board.crowds[int(world.layout.family_of[a])]:
        return "the operators being well again, but for one or two"
    if board.marked[a]:
        return "a good answer to a question with our mark, or a bad one to the same without it"
    if board.self_doubt[a]:
        return "an answer from any address of this family over the local path"
    return "three unrelated operators, or most of them, going bad within a minute"


def _healthy(world: World, board: Board, a: int) -> str:
    mates = world.layout.group_of == world.layout.group_of[a]
    group = f"{int((mates & board.own).sum())} of {int(mates.sum())} of its group are breached"
    return f"local path {Health(int(board.local[a])).word}; {group}"


def _healthy_otherwise(world: World, board: Board, a: int) -> str:
    ledger, layout = world.ledger, world.layout
    if board.local[a] == Health.HEALTHY and not board.breached[a]:
        if board.returning[a]:
            return "nothing more of the local path: it is well"
        need = "a full bucket of failing names, or three silences while another path answers"
        return f"{need}; then a trial that reaches +{CONFIRM_AT}"
    bucket = ledger.buckets.get((a, 0))
    if bucket is None:
        return "good answers over the local path"
    recover, hold = layout.policy(a).recover, ledger.holds.get(a, Hold())
    left = max(0.0, hold.until(recover.hold, recover.max_hold) - world.now)
    return (
        f"{bucket.points} more clean answers over the local path, and the hold of another "
        f"{duration(left)} (breach number {hold.breaches})"
    )


def _everywhere_otherwise(world: World, board: Board, a: int) -> str:  # noqa: ARG001
    if board.all_bad[a]:
        return "one path that is not bad"
    return "every path being bad, the local one among them"


def _unproven_otherwise(world: World, board: Board, a: int) -> str:
    if not board.breached[a]:
        trial = world.ledger.trials.get(a)
        against = f", it is at {trial.score:+d}" if trial else " against a remote path"
        return f"+{CONFIRM_AT} in a trial{against}"
    if board.best[a]:
        return "the loss of every proven site"
    return (
        f"a proven site: healthy by answers that are fresh, the last one good ({sites(world, a)})"
    )


def _unproven(world: World, board: Board, a: int) -> str:
    if board.breached[a] and board.best[a]:
        return f"proven bad here, or its group is; {sites(world, a)}"
    return unproven(world, a)


def _damped(world: World, board: Board, a: int) -> str:
    if board.damped[a]:
        return worn_out(world, board, a)
    level = float(damping.worn(world.worn, world.worn_at, world.layout, world.now)[a])
    return f"{level:.1f} moves not worn off (moves_per_day: {world.layout.moves_per_day[a]})"


def _damped_otherwise(world: World, board: Board, a: int) -> str:
    layout = world.layout
    level = float(damping.worn(world.worn, world.worn_at, layout, world.now)[a])
    if board.damped[a]:
        needs = damping.HOME if board.returning[a] else damping.AWAY
        return f"{duration(damping.patience(level, a, layout, needs))} without a move"
    left = int(layout.moves_per_day[a] * damping.AT_ONCE - level + 1e-9)
    return f"{left} more moves soon"


def _budget(world: World, board: Board, a: int) -> str:
    if reasons := waiting(world, board, a):
        return reasons
    room, layout = board.room, world.layout
    upstream = layout.upstream_of == layout.upstream_of[a]
    at_once = "no limit" if room.budget.at_once is None else str(room.budget.at_once)
    return (
        f"{room.minute} of {room.budget.moves_per_minute} moves left of this minute; "
        f"{int((board.plan > 0).sum())} steered of {at_once}; "
        f"{int((upstream & (board.plan > 0)).sum())} of its upstream of {board.at_most[a]}; "
        f"{rate(room.demand[a])} to this address by its policy, {rate(room.heard[a])} by what is "
        f"known; {loads(board)}"
    )


def _budget_otherwise(world: World, board: Board, a: int) -> str:  # noqa: ARG001
    if board.held[a]:
        return "those before it moving on, or a larger budget"
    room = board.room
    if np.isnan(room.demand[a]) and np.isfinite(room.allowed).any():
        return (
            "more moves, or more addresses away, than allowed; no site's capacity holds it: its "
            "policy has no steer.queries_per_second"
        )
    return "more moves, more addresses away or more queries to a site than allowed"


def _steer(world: World, board: Board, a: int) -> str:
    if not board.best[a]:
        return f"no site to steer to now; {sites(world, a)}"
    proven = [world.layout.paths[p] for p in np.flatnonzero(board.proven[a]).tolist()]
    return f"best: {world.layout.paths[board.best[a]]}; proven: {', '.join(proven)}"


def _steer_otherwise(world: World, board: Board, a: int) -> str:  # noqa: ARG001
    if board.best[a]:
        return "another site in the policy's order, proven and with room"
    return "a proven site"


_NUMBERS: Mapping[str, Say] = {
    "off": _off,
    "override": _override,
    "clock": lambda world, board, _: clock(world, board),
    "self": _self,
    "healthy": _healthy,
    "everywhere": lambda world, _, a: sites(world, a),
    "unproven": _unproven,
    "damped": _damped,
    "budget": _budget,
    "steer": _steer,
}
_OTHERWISE: Mapping[str, Say] = {
    "off": _off_otherwise,
    "override": _override_otherwise,
    "clock": _clock_otherwise,
    "self": _self_otherwise,
    "healthy": _healthy_otherwise,
    "everywhere": _everywhere_otherwise,
    "unproven": _unproven_otherwise,
    "damped": _damped_otherwise,
    "budget": _budget_otherwise,
    "steer": _steer_otherwise,
}
