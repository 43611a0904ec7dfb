"""The rules. For each address the first one that applies gives the answer.

The numbers never change: `steering explain`, the events, the docs and the tests use them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

from steering.decide.moves.room import Held
from steering.decide.situation import AddressSituation, Situation
from steering.model import LOCAL, Family, Health


class Answer(enum.Enum):
    """What happens to the addresses that a rule applies to."""

    LOCAL = "local"
    ORDERED = "as the override says"
    KEEP = "keep what is"
    STEER = "steer to the best proven site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One numbered rule."""

    number: int
    name: str
    when: str
    """The condition in words, as `explain` and the docs print it."""
    answer: Answer
    applies: Callable[[Situation, AddressSituation], bool]
    """Whether it applies to an address."""


def _waits(one: AddressSituation) -> bool:
    """Could return to the local path, and rule 8 or 9 delays it."""
    return one.returning and (one.damped or one.held is not Held.NOT)


def _healthy(one: AddressSituation) -> bool:
    well = one.local is Health.HEALTHY or (one.local is Health.STALE and not one.own)
    return well and not one.breached and not _waits(one)


def _unproven(one: AddressSituation) -> bool:
    return one.best is None or one.settling if one.breached else not _waits(one)


RULES: tuple[Rule, ...] = (
    Rule(
        number=1,
        name="off",
        when="the agent is switched off",
        answer=Answer.LOCAL,
        applies=lambda situation, _: situation.off,
    ),
    Rule(
        number=2,
        name="override",
        when="an operator's override says where it goes",
        answer=Answer.ORDERED,
        applies=lambda _, one: one.ordered,
    ),
    Rule(
        number=3,
        name="clock",
        when="the signatures of most upstreams look expired or not yet valid on every path: "
        "this host's clock may be wrong (a steered address may still change its site)",
        answer=Answer.KEEP,
        applies=lambda situation, one: situation.clock_doubt and not one.onward,
    ),
    Rule(
        number=4,
        name="self",
        when="three unrelated operators, or most of them, failed here within a minute, or no probe "
        "leaves this host, or only probes with our mark fail: the cause is most likely this host "
        "(a steered address may still change its site)",
        answer=Answer.KEEP,
        applies=lambda _, one: (one.self_doubt or one.marked) and not one.onward,
    ),
    Rule(
        number=5,
        name="healthy",
        when="the local path is healthy, and rules 8 and 9 do not delay the return to it",
        answer=Answer.LOCAL,
        applies=lambda _, one: _healthy(one),
    ),
    Rule(
        number=6,
        name="everywhere",
        when="every path is bad: no detour can help (serve-stale or a negative trust anchor may)",
        answer=Answer.KEEP,
        applies=lambda _, one: one.all_bad,
    ),
    Rule(
        number=7,
        name="unproven",
        when="the local path is not proven bad, or no remote path is proven good right now",
        answer=Answer.KEEP,
        applies=lambda _, one: _unproven(one),
    ),
    Rule(
        number=8,
        name="damped",
        when="it moved too often lately (the policy's `moves_per_day`)",
        answer=Answer.KEEP,
        applies=lambda _, one: one.damped,
    ),
    Rule(
        number=9,
        name="budget",
        when="more moves a minute, more steered addresses or more queries to the sites than "
        "allowed, or another address of its group returns first",
        answer=Answer.KEEP,
        applies=lambda _, one: one.held is not Held.NOT,
    ),
    Rule(
        number=10,
        name="steer",
        when="the local path is proven bad and a remote path is proven good",
        answer=Answer.STEER,
        applies=lambda _situation, _one: True,
    ),
)

BY_NUMBER = {rule.number: rule for rule in RULES}

_OVERRIDE = 2


def decide_one(situation: Situation, one: AddressSituation) -> tuple[int, str]:
    """The number of the rule that decides for an address, and the path that it gets.

    `KEEP` keeps the path, with three exceptions: a detour that has become bad and clearly worse
    than the local path; a detour that was taken just before rule `self` applied; a detour through a
    site that an override avoids. In the last case rule `override` decides.
    """
    rule = next(rule for rule in RULES if rule.applies(situation, one))
    number, want = rule.number, _path(rule, one)
    if number != _OVERRIDE and want in one.banned:
        return _OVERRIDE, LOCAL
    return number, want


def _path(rule: Rule, one: AddressSituation) -> str:
    match rule.answer:
        case Answer.LOCAL:
            return LOCAL
        case Answer.ORDERED:
            return one.ordered_to
        case Answer.STEER:
            return one.best or LOCAL
        case Answer.KEEP:
            ends = one.detour_worse or (one.hasty and rule.name == "self")
            return LOCAL if ends else one.path


def of_usual(
    situation: Situation, family: Family, local: Health, *, acts_on_stale: bool = False
) -> int:
    """The number of the rule that decides for the addresses without an entry in the situation,
    by family and health.
    """
    own = local is Health.STALE and acts_on_stale
    one = replace(situation.of("", family, local), own=own)
    return decide_one(situation, one)[0]
