"""Stories of a day by dice: what goes wrong, when, and what people do meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from long_clock import LongClock
from long_truth import LATELY, Fault, Truth, first_moves

from steering.model import LOCAL, Family, Instant, Outcome, Seconds
from steering.override import Action, Match, Override

START: Instant = 1000.0
HOUR: Seconds = 3600.0
BOGUS = (Outcome.BAD_SIGNATURE, Outcome.EXPIRED, Outcome.UNSIGNED, Outcome.NO_KEY)
WRONG = (Outcome.SERVFAIL, Outcome.REFUSED, Outcome.LAME, Outcome.MALFORMED)
SITES = ("pao", "fra")

Deed = tuple[Instant, Callable[[LongClock], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A truth, and what people do in it."""

    truth: Truth
    deeds: tuple[Deed, ...]
    until: Instant

    def played(self, tmp: Path, *, number: int, addresses: int) -> LongClock:
        """The story, run to its end."""
        run = LongClock.of(tmp, self.truth, number=number, addresses=addresses)
        return run.then(*self.deeds, until=self.until)


def by_dice(seed: int, *, hours: float, number: int) -> Story:
    """A story; the same seed gives the same one."""
    dice = random.Random(seed)
    until = START + hours * HOUR
    faults: list[Fault] = []
    now = START + dice.uniform(100, HOUR)
    while now < until - 600:
        faults += _trouble(dice, now, number)
        now += dice.expovariate(1 / HOUR)
    if dice.random() < 0.5:
        faults.append(_losses(dice, until))
    clock = ((START, 0.0), (until, dice.choice([0.0, 60.0, -600.0, 3600.0])))
    truth = Truth(faults=tuple(faults), clock=clock, dates=dice.random() < 0.5)
    deeds: list[Deed] = []
    for _ in range(int(hours / 8) + 1):
        at, lasts = dice.uniform(START, until), dice.choice([30.0, 600.0, HOUR])
        deeds += dice.choice([_restart, _off, _override])(at, lasts)
    return Story(truth=truth, deeds=tuple(deeds), until=until)


def _length(dice: random.Random, longest: Seconds) -> Seconds:
    """As many short ones as long ones, and most below a twelfth of the longest."""
    return float((longest if dice.random() < 0.25 else longest / 12) ** dice.random())


def _trouble(dice: random.Random, now: Instant, number: int) -> list[Fault]:
    kind = dice.random()
    if kind < 0.3:
        return [_own(dice, now)]
    if kind < 0.75:
        real = _real(dice, now, number)
        beside = [
            _own(
                dice, max(START, now + dice.choice([-120, -30, 5, 60, real.lasts, real.lasts + 90]))
            )
            for _ in range(dice.choice([0, 0, 1, 2]))
        ]
        return [real, *beside]
    if kind < 0.85:  # a site degrades by and by
        site = frozenset({dice.choice(SITES)})
        step = dice.uniform(60, 600)
        return [
            Fault(
                begin=now + n * step,
                lasts=step,
                outcome=Outcome.TIMEOUT,
                share=0.05 * n,
                by_packet=True,
                paths=site,
            )
            for n in range(1, 6)
        ]
    whom = frozenset({dice.randrange(number)})
    if kind < 0.9:  # the rate is limited, wherever the questions come from
        return [
            Fault(
                begin=now,
                lasts=_length(dice, HOUR),
                outcome=dice.choice([Outcome.TIMEOUT, Outcome.REFUSED]),
                operators=whom,
                most=dice.randint(1, 5),
            )
        ]
    if kind < 0.95:  # a key rollover: for a while there is no key set, or an old one
        return [
            Fault(begin=now, lasts=dice.uniform(1, 90), outcome=None, judged=False, operators=whom),
            Fault(
                begin=now + 90, lasts=dice.uniform(1, 60), outcome=Outcome.NO_KEY, operators=whom
            ),
        ]
    return [
        Fault(
            begin=now,
            lasts=_length(dice, 6 * HOUR),
            outcome=None,
            operators=whom,
            paths=frozenset({dice.choice([LOCAL, *SITES])}),
        )
    ]


def _own(dice: random.Random, now: Instant) -> Fault:
    outcome = dice.choice([*BOGUS, *WRONG, *[Outcome.TIMEOUT] * 4])
    made = Fault(
        begin=now,
        lasts=_length(dice, HOUR),
        outcome=outcome,
        paths=dice.choice([frozenset({LOCAL}), frozenset({LOCAL}), None]),
        family=dice.choice([None, None, *Family]),
    )
    if dice.random() < 0.25:  # one transport: what needs it fails, the same names each time
        return replace(made, share=dice.choice([0.3, 0.6]))
    if outcome is Outcome.TIMEOUT and dice.random() < 0.5:
        return replace(made, share=dice.choice([0.3, 0.5, 0.8]), by_packet=True)
    return made


def _real(dice: random.Random, now: Instant, number: int) -> Fault:
    outcome = dice.choice([*BOGUS, *BOGUS, *WRONG, *[Outcome.TIMEOUT] * 4])
    share = dice.choice([0.02, 0.13, 0.5, 1.0, 1.0]) if outcome in BOGUS else 1.0
    return Fault(
        begin=now,
        lasts=_length(dice, 3 * HOUR),
        outcome=outcome,
        share=share,
        operators=frozenset({dice.randrange(number)}),
        family=dice.choice([None, None, None, *Family]),
        paths=frozenset(dice.choice([(LOCAL,)] * 6 + [(LOCAL, "fra"), ("fra",)])),
    )


def _losses(dice: random.Random, until: Instant) -> Fault:
    """Loss for hours, on one path, some or all."""
    share = dice.choice([0.01, 0.02, 0.05, 0.1])
    lasts = {0.01: 12 * HOUR, 0.02: 6 * HOUR, 0.05: HOUR, 0.1: HOUR / 2}[share]
    return Fault(
        begin=dice.uniform(START, until),
        lasts=lasts,
        outcome=Outcome.TIMEOUT,
        share=share,
        by_packet=True,
        paths=dice.choice([None, None, frozenset({LOCAL}), frozenset({"pao", LOCAL})]),
    )


# --- what people do ----------------------------------------------------------------------


def _restart(at: Instant, lasts: Seconds) -> list[Deed]:
    return [(at, lambda run: run.restart())]


def _off(at: Instant, lasts: Seconds) -> list[Deed]:
    def switch(*, off: bool) -> Callable[[LongClock], None]:
        def deed(run: LongClock) -> None:
            run.off = off

        return deed

    return [(at, switch(off=True)), (at + lasts, switch(off=False))]


def _override(at: Instant, lasts: Seconds) -> list[Deed]:
    stay = Override(
        name="stay",
        match=Match(upstream="u0"),
        action=Action.LOCAL,
        to=None,
        until=None,
        reason="work at the site",
        by="ops",
    )

    def order(*which: Override) -> Callable[[LongClock], None]:
        def deed(run: LongClock) -> None:
            run.overrides = which

        return deed

    return [(at, order(stay)), (at + lasts, order())]


# --- how fast ----------------------------------------------------------------------------

SURE = 0.13
ALONE: Seconds = 600.0
"""A fault that has had so much peace before it is found as fast as any."""


def delays(story: Story, run: LongClock) -> list[tuple[Fault, Seconds]]:
    """How long each clear fault of one operator took that was alone; infinite: nobody left.

    Where all were on a detour already, by an earlier fault, nobody has to leave.
    """
    moves = [(at, s.address) for at, s in run.steps if s.now and s.rule == "steer"]
    people = [at for at, _ in story.deeds]
    found = []
    for fault in story.truth.faults:
        begin, until = fault.begin, fault.begin + 2 * LATELY
        clear = (
            fault.outcome is not None
            and fault.judged
            and fault.most is None
            and not fault.by_packet
            and fault.share >= SURE
            and fault.operators is not None
            and len(fault.operators) == 1
            and fault.paths == frozenset({LOCAL})
            and begin + 2 * LATELY <= min(fault.end, story.until)
        )
        others = any(
            f is not fault and not f.says_nothing() and f.overlaps(begin - ALONE, until)
            for f in story.truth.faults
        )
        busy = any(begin - HOUR - ALONE < at <= until for at in people)
        away = {step.address: step.now for at, step in run.steps if at <= begin}
        anybody = any(
            story.truth.about(fault, address, LOCAL) and not away.get(address)
            for address in run.index.settings
        )
        if clear and anybody and not others and not busy:
            at = first_moves(moves, story.truth, fault)
            found.append((fault, at - begin if at is not None else float("inf")))
    return found
