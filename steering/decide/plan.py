"""Puts the plan into force: what follows from a change, the steps, and the events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from steering.decide.messages.reasons import because
from steering.decide.moves import damping
from steering.decide.moves.room import MINUTE
from steering.decide.moves.usable_sites import gives_way
from steering.decide.rules import BY_NUMBER, RULES, Answer, decide_one, of_usual
from steering.decide.situation import Situation
from steering.decide.state import State
from steering.decide.verification import AVOID, Verification
from steering.judge.known.ledger import SILENCES
from steering.model import LOCAL, Event, Health, Step

_KEEPS = frozenset(rule.number for rule in RULES if rule.answer is Answer.KEEP)
"""The rules that keep the path."""
_BY_OPERATOR = frozenset(rule.number for rule in RULES if rule.name in ("off", "override"))
"""The rules by which operators move an address. Such a move ends the penalty for earlier moves, and
does not count in `moves_per_minute`."""


def commit(state: State, situation: Situation, changed: AbstractSet[str]) -> State:
    """The state with the decision in it.

    `changed`: the addresses whose local path changed its health in this turn.
    """
    decided: dict[str, int] = {}
    moved: dict[str, str] = {}
    for address, one in situation.addresses.items():
        number, path = decide_one(situation, one)
        # A steer that failed its verification is not kept, whatever rule would keep it.
        if path != LOCAL and number in _KEEPS and state.avoids(address, path):
            path = path if gives_way(state, address, path) else LOCAL
        decided[address] = number
        if path != state.path_of(address):
            moved[address] = path
    after = replace(
        state,
        plan=_planned(state, moved),
        rule=_ruled(state, situation, decided, changed),
        breached=frozenset(a for a, one in situation.addresses.items() if one.breached),
        open_groups=situation.open_groups,
        situation=situation,
        common_causes=situation.common_causes,
        moves=tuple((at, number) for at, number in state.moves if state.now - at < MINUTE),
    )
    return _moved(after, state.plan, situation, list(moved)) if moved else _settled(after)


def _planned(state: State, moved: Mapping[str, str]) -> Mapping[str, str]:
    """The plan after these moves, in the order of the policies."""
    if not moved:
        return state.plan
    plan = {**state.plan, **moved}
    return {a: plan[a] for a in state.index.in_order(plan) if plan[a] != LOCAL}


def _ruled(
    state: State, situation: Situation, decided: Mapping[str, int], changed: AbstractSet[str]
) -> Mapping[str, int]:
    """The deciding rule of each address; `decided`: of those that are not as usual.

    That of a usual address depends on the health of its local path and on what is so of all. While
    both stay, so does the rule.
    """
    index, was, before = state.index, state.rule, state.situation
    if before is None or _of_all(before) != _of_all(situation):
        usual = index.settings.keys() - decided.keys()
    else:
        usual = (before.addresses.keys() | changed) - decided.keys()
    rules = dict(decided)
    for address in index.in_order(usual):
        settings, local = index.settings[address], state.ledger.path(address).health
        rules[address] = of_usual(
            situation, settings.family, local, acts_on_stale=settings.acts_on_stale
        )
    other = {a: number for a, number in rules.items() if was.get(a) != number}
    return {**was, **other} if other else was


def _of_all(situation: Situation) -> object:
    """What is so of all addresses, as far as rules depend on it."""
    causes = {family: bool(operators) for family, operators in situation.common_causes.items()}
    return situation.off, situation.clock_doubt, causes


def _moved(
    state: State, was: Mapping[str, str], situation: Situation, moved: Sequence[str]
) -> State:
    """The state with all that follows from these addresses' change of path."""
    plan, now, settings = state.plan, state.now, state.index.settings
    by_operator = {a for a in moved if state.rule[a] in _BY_OPERATOR}
    left_at = dict(state.left_at)
    for a in moved:
        if a not in plan or a in by_operator:
            left_at.pop(a, None)
        elif a not in was:
            left_at[a] = now
    left = [
        (a, was[a])
        for a in moved
        if situation.addresses[a].breached and a in was and _turned_bad(state, a, was[a])
    ]
    # Avoided for a while. The first time it may be used again if there is no other site.
    turned = {key: at for key, at in state.turned.items() if state.avoids(*key)}
    again = {key for key in left if state.avoids(*key)}
    turned = {**turned, **dict.fromkeys(left, now)}
    turned = {key: at for key, at in turned.items() if key not in again}
    avoid = {key: until for key, until in state.avoid_until.items() if until > now}
    verifications = {
        a: proof for a, proof in state.verifications.items() if state.path_of(a) == proof.path
    }
    verifications |= {a: Verification(path=plan[a]) for a in moved if a in plan}
    verifications |= {a: Verification(path=LOCAL) for a in situation.scouts if a not in plan}
    worn = {
        a: damping.penalty(level, state.worn_at, settings[a], now)
        for a, level in state.worn.items()
    }
    own = 0
    for a in moved:
        level = worn.get(a, 0.0)
        if a in by_operator:
            worn[a] = 0.0
        elif situation.addresses[a].hasty and a not in plan:
            # A move that is taken back because this host was at fault does not count.
            worn[a] = max(0.0, level - 1)
        else:
            worn[a] = damping.add_penalty(level, settings[a])
            own += 1
    return _settled(
        replace(
            state,
            since={**state.since, **dict.fromkeys(moved, state.wall)},
            left_at=left_at,
            avoid_until={**avoid, **dict.fromkeys(left, now + AVOID)},
            turned=turned,
            verifications=verifications,
            moves=(*state.moves, (now, own)) if own else state.moves,
            worn={a: level for a, level in worn.items() if level},
            worn_at=now,
        )
    )


def _settled(state: State) -> State:
    """The state without verifications of a return in groups of which nothing is steered now."""
    home = [a for a, proof in state.verifications.items() if proof.path == LOCAL]
    if not home:
        return state
    settings, decides = state.index.settings, state.override_state.decides
    away = {settings[a].group for a in state.plan if a not in decides}
    over = {a for a in home if settings[a].group not in away or state.off}
    kept = {a: proof for a, proof in state.verifications.items() if a not in over}
    return replace(state, verifications=kept) if over else state


def _turned_bad(state: State, address: str, site: str) -> bool:
    record = state.ledger.path(address, site)
    return record.health >= Health.SUSPECT or record.stuck >= SILENCES


def steps(before: State, after: State) -> tuple[Step, ...]:
    """Each change of the plan from one state to the next."""
    if before.plan is after.plan:
        return ()
    return tuple(
        Step(
            address=address,
            was=before.plan.get(address),
            now=after.plan.get(address),
            rule=BY_NUMBER[after.rule[address]].name,
            because=because(after, address),
        )
        for address in after.index.in_order({**before.plan, **after.plan})
        if before.plan.get(address) != after.plan.get(address)
    )


def events_of(before: State, after: State, moves: tuple[Step, ...]) -> tuple[Event, ...]:
    """`steered` and `released` for each step, `held` where a rule holds back a move; before them
    `switched_off` or `switched_on`.
    """
    switched = (
        Event(
            event="switched_off", because="`steering off`: nothing is steered until `steering on`"
        )
        if after.off
        else Event(
            event="switched_on", because="`steering on`: addresses that are proven bad may move"
        )
    )
    events = [] if after.off == before.off else [switched]
    events += [
        after.event(
            "steered" if step.now else "released",
            step.address,
            step.because,
            path=step.now or LOCAL,
            was=step.was or LOCAL,
            now=step.now or LOCAL,
            rule=step.rule,
        )
        for step in moves
    ]
    assert after.situation is not None
    for address, one in after.situation.addresses.items():
        number = after.rule[address]
        if not (one.breached or one.returning) or number not in _KEEPS:
            continue
        if number != before.rule.get(address) and before.path_of(address) == after.path_of(address):
            rule = BY_NUMBER[number].name
            events.append(after.event("held", address, because(after, address), rule=rule))
    return tuple(events)
