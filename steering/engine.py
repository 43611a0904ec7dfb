"""One turn: observe is behind us, judge, decide, and what follows from it.

Pure: no clock, socket, randomness or logging. Time is an argument, events are returned; the
same facts give the same turn. The plan is worked out whole each turn; no step depends on a
remembered "I did that": what is installed is one of the facts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steering.decide.because import because
from steering.decide.board import Board, look
from steering.decide.proof import AVOID, Proof, Standing, allowance
from steering.decide.rules import BY_NUMBER, Answer, decide
from steering.judge import ledger as judge
from steering.model import Event, Facts, Health, Instant, Round, Step, Verdict
from steering.world import Alarm, World


def turn(
    world: World, facts: Facts, now: Instant
) -> tuple[World, tuple[Step, ...], tuple[Event, ...]]:
    """The next world, the changes of plan on the way to it, and what there is to tell."""
    events: list[Event] = []
    if not world.started:
        world, adopted = _adopt(world, facts, now)
        events += adopted
    ledger, told = judge.post(world.ledger, world.layout, facts, now)
    events += told
    world = replace(world, ledger=ledger, now=now, wall=facts.wall)
    world, told = _prove(world, facts)
    events += told
    board = look(world, now, off=facts.off)
    rule, want = decide(board)
    after = _commit(world, facts, board, rule, want)
    steps = _steps(world, after)
    events += _narrate(world, after, steps)
    after, told = _alarms(after, board)
    return after, steps, (*events, *told)


def _adopt(world: World, facts: Facts, now: Instant) -> tuple[World, list[Event]]:
    """Take over what a predecessor left installed within its lease, without touching it."""
    layout = world.layout
    plan = world.plan.copy()
    events: list[Event] = []
    for address, site in facts.installed.items():
        a, p = layout.row.get(address), layout.column.get(site)
        if a is None or p is None:
            continue  # not in the policies any more: the plan lacks it, so it goes
        plan[a] = p
        events.append(
            _event(world, "adopted", a, "found installed within its lease", path=site, now=site)
        )
    rows = [int(row) for row in np.flatnonzero(plan)]
    proofs = {
        a: Proof(column=int(plan[a]), deadline=now, installed=True, proved=True) for a in rows
    }
    ledger = judge.adopt(world.ledger, layout, rows, now)
    return replace(world, plan=plan, ledger=ledger, proofs=proofs, started=True), events


def _prove(world: World, facts: Facts) -> tuple[World, list[Event]]:
    """Count the live answers, and avoid the sites that did not help."""
    if not world.proofs:
        return world, []
    layout, now = world.layout, world.now
    proofs = dict(world.proofs)
    events: list[Event] = []
    for a, proof in proofs.items():
        site = layout.paths[proof.column]
        if not proof.installed and facts.installed.get(layout.targets[a].address) == site:
            proofs[a] = replace(
                proof,
                installed=True,
                deadline=now + allowance(layout.fast_interval, layout.timeout),
            )
    for item in facts.rounds:
        row = layout.row.get(item.address)
        if row in proofs:
            proofs[row] = _live(proofs[row], item)
    avoid = world.avoid_until
    for a, proof in list(proofs.items()):
        if proof.proved or not proof.installed:
            continue
        site = layout.paths[proof.column]
        live = f"{proof.good} good and {proof.bad} bad live answers"
        standing = proof.standing(now)
        if standing is Standing.PROVED:
            proofs[a] = replace(proof, proved=True)
            events.append(_event(world, "proved", a, live, path=site))
        elif standing is Standing.FAILED:
            avoid = avoid.copy()
            avoid[a, proof.column] = now + AVOID
            del proofs[a]
            events.append(
                _event(world, "undone", a, f"{live}: {site} does not help", path=site, was=site)
            )
    return replace(world, proofs=proofs, avoid_until=avoid), events


def _live(proof: Proof, item: Round) -> Proof:
    if not proof.installed:
        return proof
    for seen in item.observations:
        if seen.live and seen.verdict is not Verdict.NOTHING:
            proof = proof.live(good=seen.verdict is Verdict.GOOD)
    return proof


def _commit(
    world: World, facts: Facts, board: Board, rule: NDArray[np.int64], want: NDArray[np.int64]
) -> World:
    """The world with the decision in it."""
    layout, now = world.layout, world.now
    # A steer that failed its proof is not kept, whatever rule would keep it.
    undone = (want > 0) & (world.avoid_until[np.arange(len(want)), want] > now)
    keeps = np.array([BY_NUMBER[int(n)].answer is Answer.KEEP for n in rule], dtype=np.bool_)
    plan = np.where(undone & keeps, 0, want)
    moved = np.flatnonzero(plan != world.plan)
    proofs = {a: proof for a, proof in world.proofs.items() if plan[a] == proof.column}
    since, avoid = world.since, world.avoid_until
    if moved.size:
        since, avoid = since.copy(), avoid.copy()
        since[moved] = facts.wall
    for a in (int(row) for row in moved):
        left, to = int(world.plan[a]), int(plan[a])
        if left and board.breached[a] and world.ledger.health[a, left] >= Health.SUSPECT:
            avoid[a, left] = now + AVOID  # it turned bad under load: not at once again
        if to:
            proofs[a] = Proof(column=to, deadline=now + AVOID)
    return replace(
        world,
        plan=plan,
        rule=rule,
        since=since,
        breached=board.breached,
        open_groups=board.open_groups,
        avoid_until=avoid,
        proofs=proofs,
        off=facts.off,
    )


def _steps(before: World, after: World) -> tuple[Step, ...]:
    layout = after.layout
    return tuple(
        Step(
            address=layout.targets[a].address,
            was=layout.paths[before.plan[a]] if before.plan[a] else None,
            now=layout.paths[after.plan[a]] if after.plan[a] else None,
            rule=BY_NUMBER[int(after.rule[a])].name,
            because=because(after, a),
        )
        for a in (int(row) for row in np.flatnonzero(after.plan != before.plan))
    )


def _narrate(before: World, after: World, steps: tuple[Step, ...]) -> list[Event]:
    """`steered` and `released` for each step, `held` where a rule keeps back a breached address."""
    layout = after.layout
    events = [
        Event(
            event="steered" if step.now else "released",
            because=step.because,
            upstream=layout.targets[layout.row[step.address]].upstream,
            address=step.address,
            path=step.now or layout.paths[0],
            was=step.was or layout.paths[0],
            now=step.now or layout.paths[0],
            rule=step.rule,
        )
        for step in steps
    ]
    changed = (after.rule != before.rule) & after.breached & (after.plan == before.plan)
    for a in (int(row) for row in np.flatnonzero(changed)):
        rule = BY_NUMBER[int(after.rule[a])]
        if rule.answer is Answer.KEEP:
            events.append(_event(after, "held", a, because(after, a), rule=rule.name))
    return events


def _alarms(world: World, board: Board) -> tuple[World, list[Event]]:
    """What people should know of, for as long as it lasts."""
    worst: dict[str, str] = {}
    if board.clock_doubt:
        worst["clock"] = (
            "most upstreams' signatures are out of date on every path: our clock, or all of them"
        )
    doubt = np.flatnonzero(board.self_doubt)
    if doubt.size:
        worst["self"] = f"{doubt.size} addresses look bad in a way that speaks against ourselves"
    bad = np.flatnonzero(board.all_bad)
    if bad.size:
        names = sorted({world.layout.targets[a].upstream for a in bad})
        worst["everywhere"] = f"{bad.size} addresses of {', '.join(names)} are bad on every path"
    stuck = np.flatnonzero(
        board.breached
        & (board.best == 0)
        & (world.plan == 0)
        & ~board.all_bad
        & (board.local >= Health.SUSPECT)
    )
    if stuck.size:
        worst["unproven"] = f"{stuck.size} addresses are bad here and no remote path is proven good"
    alarms = {
        name: world.alarms.get(name, Alarm(since=world.wall, because=text))
        for name, text in worst.items()
    }
    events = [
        Event(event="alarm_raised", because=text, now=name)
        for name, text in worst.items()
        if name not in world.alarms
    ] + [
        Event(event="alarm_cleared", because="no longer so", was=name)
        for name in world.alarms
        if name not in worst
    ]
    return replace(world, alarms=alarms), events


def _event(
    world: World,
    event: str,
    a: int,
    why: str,
    *,
    path: str | None = None,
    was: str | None = None,
    now: str | None = None,
    rule: str | None = None,
) -> Event:
    target = world.layout.targets[a]
    return Event(
        event=event,
        because=why,
        upstream=target.upstream,
        address=target.address,
        path=path,
        was=was,
        now=now,
        rule=rule,
    )
