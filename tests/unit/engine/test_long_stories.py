"""Stories of hours and days at the shipped cadence: no address leaves a path that is good, and no
doubt outlives its cause by a minute.

Multiplied by the interval where it should be divided: that can't be seen at the 1 s of the other
stories. Those that take minutes run with `STEERING_SLOW=1`; `python -m benchmarks truth` plays as
many random days as wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from long_clock import LongClock, operators
from long_random import Deed, by_dice
from long_truth import Fault, Truth
from simulation import Simulation, setup

from steering.model import LOCAL, Family, Instant, Outcome, Seconds
from steering.override import Action, Match, Override

BEGIN: Instant = 1300.0
HOUR: Seconds = 3600.0
HERE = frozenset({LOCAL})
FIRST = frozenset({0})
BAD, EXPIRED, SILENT = Outcome.BAD_SIGNATURE, Outcome.EXPIRED, Outcome.TIMEOUT
REFUSED, SERVFAIL = Outcome.REFUSED, Outcome.SERVFAIL

pytestmark = pytest.mark.long

asked = bool(os.environ.get("STEERING_SLOW"))


def slow(*values: object) -> ParameterSet:
    return pytest.param(*values, marks=_SLOW)


_SLOW = [
    pytest.mark.skipif(not asked, reason="takes minutes: STEERING_SLOW=1 runs it"),
    pytest.mark.timeout(7200),
]


def real(begin: Instant, lasts: Seconds = 1e6, outcome: Outcome = EXPIRED) -> Fault:
    """What one operator has at the site nearest to us."""
    return Fault(begin=begin, lasts=lasts, outcome=outcome, operators=FIRST, paths=HERE)


def ours(begin: Instant, lasts: Seconds, outcome: Outcome = BAD, **more: object) -> Fault:
    return Fault(begin=begin, lasts=lasts, outcome=outcome, **{"paths": HERE, **more})  # type: ignore[arg-type]


def acted(run: LongClock, begin: Instant, within: Seconds, many: int) -> None:
    """So many addresses have left, or go within so long after the fault began."""
    run.until(lambda: len(run.installed) == many, limit=within - (run.now - begin))


def test_the_long_clock_tells_the_same_story_as_the_plain_one(tmp_path: Path) -> None:
    faults = (ours(BEGIN, 20), real(BEGIN + 400, 300, BAD))
    run = LongClock.of(tmp_path, Truth(faults=faults)).run(BEGIN + 900 - 1000)
    truth = Truth(faults=faults)
    plain = Simulation(run.setup, truth.answer, step=run.step)
    truth.know(plain.index)
    plain.run(run.now - plain.now)
    assert [(s.address, s.now, s.rule) for _, s in run.steps] == [
        (s.address, s.now, s.rule) for _, s in plain.steps
    ]
    assert all(
        abs(at - there) <= 1 for (at, _), (there, _) in zip(run.steps, plain.steps, strict=True)
    )
    heard = [(e.event, e.now or e.was) for _, e in run.events if e.event.startswith("alarm")]
    assert heard == [
        (e.event, e.now or e.was) for _, e in plain.events if e.event.startswith("alarm")
    ]
    run.check()


KINDS: dict[str, Callable[[Instant, Seconds], Fault]] = {
    "bad": ours,
    "silent": lambda at, lasts: ours(at, lasts, SILENT),
    "half silent": lambda at, lasts: ours(at, lasts, SILENT, share=0.5, by_packet=True),
    "refused": lambda at, lasts: ours(at, lasts, REFUSED),
    "servfail, all paths": lambda at, lasts: ours(at, lasts, SERVFAIL, paths=None),
    "silent, all paths": lambda at, lasts: ours(at, lasts, SILENT, paths=None),
    "refused, one family": lambda at, lasts: ours(at, lasts, REFUSED, family=Family.IPV6),
    "silent, one family": lambda at, lasts: ours(at, lasts, SILENT, family=Family.IPV4),
    "one transport": lambda at, lasts: ours(at, lasts, SILENT, share=0.4),
}


@pytest.mark.parametrize(
    ("lengths", "number", "addresses"),
    [
        ((1, 10), 2, 26),
        slow((4, 60, 600, 3600), 2, 26),
        slow((1, 4, 15, 60, 600, 3600), 10, 300),
        slow((4, 60, 600), 10, 1000),
    ],
)
def test_faults_of_our_own_move_nobody_and_delay_nothing(
    tmp_path: Path, lengths: tuple[Seconds, ...], number: int, addresses: int
) -> None:
    """Each kind, one after the other, and a real fault five minutes after the last."""
    faults, at = [], BEGIN
    for lasts in lengths:
        for kind in KINDS.values():
            faults.append(kind(at, lasts))
            at += lasts + 200
    truth = Truth(faults=(*faults, real(at + 300)))
    run = LongClock.of(tmp_path, truth, number=number, addresses=addresses)
    run.run(at + 300 - run.now)
    assert not run.moves()
    run.check()
    bad = sum(1 for t in run.index.targets if t.upstream == "u0")
    acted(run, at + 300, 15, bad)
    run.check()


@pytest.mark.parametrize(
    "own",
    [slow(-100.0), -20.0, slow(-2.0), slow(3.0), slow(60.0), slow(290.0), slow(310.0), slow(400.0)],
)
@pytest.mark.parametrize("lasts", [20.0, slow(300.0)])
@pytest.mark.parametrize("outcome", [BAD, slow(SILENT)])
def test_a_fault_of_our_own_beside_a_real_one(
    tmp_path: Path, own: Seconds, lasts: Seconds, outcome: Outcome
) -> None:
    """Before, within and after it."""
    last = BEGIN + 2500
    truth = Truth(
        faults=(real(BEGIN, 300), ours(BEGIN + own, lasts, outcome), real(last, 1e6, SERVFAIL))
    )
    run = LongClock.of(tmp_path, truth)
    run.run(last - run.now)
    run.check()
    assert not run.found.own
    assert not run.installed
    bad = [t.address for t in run.index.targets if t.upstream == "u0"]
    acted(run, last, 15, len(bad))
    assert set(run.installed) == set(bad)
    run.check()


@pytest.mark.parametrize("paths", [None, frozenset({"pao"}), frozenset({"pao", "fra"})])
@pytest.mark.parametrize(
    ("share", "lasts"),
    [
        (0.02, HOUR / 4),
        slow(0.01, 72 * HOUR),
        slow(0.03, 24 * HOUR),
        slow(0.1, 4 * HOUR),
        slow(0.3, HOUR),
    ],
)
def test_loss_that_the_local_path_has_no_more_of_moves_nobody(
    tmp_path: Path, share: float, lasts: Seconds, paths: frozenset[str] | None
) -> None:
    loss = Fault(begin=BEGIN, lasts=lasts, outcome=SILENT, share=share, by_packet=True, paths=paths)
    run = LongClock.of(tmp_path, Truth(faults=(loss,)))
    run.run(BEGIN + lasts + 120 - run.now)
    assert not run.moves()
    run.check()


@pytest.mark.parametrize(
    ("share", "lasts"), [(0.03, HOUR / 4), slow(0.01, 72 * HOUR), slow(0.03, 24 * HOUR)]
)
def test_loss_of_a_few_per_cent_over_the_local_path_moves_nobody(
    tmp_path: Path, share: float, lasts: Seconds
) -> None:
    loss = Fault(begin=BEGIN, lasts=lasts, outcome=SILENT, share=share, by_packet=True, paths=HERE)
    at = BEGIN + lasts - 60
    run = LongClock.of(tmp_path, Truth(faults=(loss, real(at))))
    run.run(at - run.now)
    assert not run.moves()
    acted(run, at, 20, 12)
    run.check()


@pytest.mark.parametrize("outcome", [SILENT, REFUSED])
@pytest.mark.parametrize(("most", "lasts"), [(1, 900.0), slow(3, HOUR), slow(1, 24 * HOUR)])
def test_a_limit_of_the_rate_wherever_we_ask_from_moves_nobody(
    tmp_path: Path, outcome: Outcome, most: int, lasts: Seconds
) -> None:
    """It begins to bite when something else makes us ask fast."""
    faults = (
        Fault(begin=BEGIN, lasts=lasts, outcome=outcome, most=most),
        *(real(BEGIN + at, 1, SILENT) for at in range(100, int(lasts), 400)),
    )
    run = LongClock.of(tmp_path, Truth(faults=faults)).run(BEGIN + lasts - 1000)
    assert not run.moves()
    run.check()


@pytest.mark.parametrize("error", [HOUR, -HOUR])
def test_a_clock_that_drifts_moves_nobody(tmp_path: Path, error: Seconds) -> None:
    hours = 24 if asked else 1
    at = 1000 + hours * HOUR
    truth = Truth(faults=(real(at),), clock=((1000.0, 0.0), (at, error)), dates=True)
    run = LongClock.of(tmp_path, truth, more="serial: epoch\n")
    run.run(at - run.now)
    assert not run.moves()
    assert not run.told("alarm_raised")
    acted(run, at, 15, 12)
    run.check()


def test_a_clock_that_is_a_week_ahead_for_a_while_moves_nobody(tmp_path: Path) -> None:
    week, back = 7 * 86_400.0, BEGIN + 200
    clock = ((BEGIN, 0.0), (BEGIN + 0.1, week), (back, week), (back + 0.1, 0.0))
    truth = Truth(faults=(real(back + 300),), clock=clock, dates=True)
    run = LongClock.of(tmp_path, truth).run(back + 300 - 1000)
    assert "clock" in {e.now for _, e in run.told("alarm_raised")}
    assert not run.moves()
    acted(run, back + 300, 15, 12)
    run.check()


def test_key_rollovers_move_nobody(tmp_path: Path) -> None:
    """No key set for a while, or the old one at every path; of one operator, or of all."""
    faults = []
    kinds = [(False, None), (True, Outcome.NO_KEY)]
    lengths = [2.0, 45.0, 300.0] if asked else [2.0, 20.0]
    for n, ((judged, outcome), lasts) in enumerate(product(kinds, lengths)):
        for m, whom in enumerate([FIRST, None]):
            begin = BEGIN + 900 * (2 * n + m)
            faults.append(
                Fault(begin=begin, lasts=lasts, outcome=outcome, judged=judged, operators=whom)
            )
    at = BEGIN + 900 * 2 * len(kinds) * len(lengths)
    run = LongClock.of(tmp_path, Truth(faults=(*faults, real(at)))).run(at - 1000)
    assert not run.moves()
    run.check()
    acted(run, at, 15, 12)
    run.check()


def test_sites_that_degrade_take_nobody_along(tmp_path: Path) -> None:
    steps = [
        Fault(
            begin=BEGIN + 300 * n,
            lasts=300,
            outcome=SILENT,
            share=0.05 * n,
            by_packet=True,
            paths=frozenset({"fra"}),
        )
        for n in range(1, 7)
    ]
    at = BEGIN + 1500
    run = LongClock.of(tmp_path, Truth(faults=(*steps, real(at)))).run(at - 1000)
    assert not run.moves()
    acted(run, at, 20, 12)
    assert set(run.installed.values()) == {"pao"}
    run.check()


def _stay(run: LongClock) -> None:
    run.overrides = (
        Override(
            name="stay",
            match=Match(),
            action=Action.LOCAL,
            to=None,
            until=None,
            reason="work at the site",
            by="ops",
        ),
    )


def _go(run: LongClock) -> None:
    run.overrides = ()


@pytest.mark.parametrize("restarts", [slow((30.0,)), (2.0, 95.0), slow((100.0, 110.0, 700.0))])
@pytest.mark.parametrize("kind", ["ours", "real"])
def test_restarts_in_the_middle_move_nobody_who_is_well(
    tmp_path: Path, restarts: tuple[Seconds, ...], kind: str
) -> None:
    fault = (ours if kind == "ours" else real)(BEGIN, 100)
    deeds: list[Deed] = [(BEGIN + at, lambda run: run.restart()) for at in restarts]
    last = BEGIN + 1500
    run = LongClock.of(tmp_path, Truth(faults=(fault, real(last))))
    run.then(*deeds, until=last)
    run.check()
    assert not run.installed
    acted(run, last, 15, 12)
    run.check()


def test_an_override_over_all_of_a_fault_leaves_nothing_behind(tmp_path: Path) -> None:
    faults = (real(BEGIN + 10, 200), ours(BEGIN + 100, 60), real(BEGIN + 1200))
    run = LongClock.of(tmp_path, Truth(faults=faults))
    run.then((BEGIN, _stay), (BEGIN + 215, _go), until=BEGIN + 1200)
    assert not run.moves()
    acted(run, BEGIN + 1200, 15, 12)
    run.check()


@pytest.mark.parametrize(
    ("seed", "hours", "number", "addresses"),
    [(7, 0.5, 2, 26), (12, 1.0, 3, 26)]
    + [slow(seed, 24.0, 2, 26) for seed in range(1, 9)]
    + [slow(seed, 24.0, 1, 26) for seed in (21, 22)]
    + [slow(31, 6.0, 10, 300), slow(41, 2.0, 10, 1000)],
)
def test_random_stories_against_the_truth(
    tmp_path: Path, seed: int, hours: float, number: int, addresses: int
) -> None:
    by_dice(seed, hours=hours, number=number).played(
        tmp_path, number=number, addresses=addresses
    ).check()


def test_the_policies_of_the_long_clock_share_its_addresses_evenly(tmp_path: Path) -> None:
    made = setup(tmp_path, *operators(10, 1000))
    assert {len(p.targets) for p in made.policies} == {100}
