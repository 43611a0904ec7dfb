"""Many mutants against the tests that reach them, and what came of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Final

from mutants.places import Mutant
from mutants.reach import Kept, Reach
from mutants.trial import Copy

ENOUGH: Final = 0.92

Say = Callable[[str], None]
Free = SimpleQueue[Copy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one mutant."""

    mutant: Mutant
    killed: bool
    why: str
    by: str | None = None
    """The test that failed first."""


def learn(kept: Kept, pool: ThreadPoolExecutor, free: Free, say: Say) -> None:
    """Runs the files of tests of which it is not known what they reach."""

    def one(file: str) -> str:
        tree = free.get()
        try:
            failed = kept.learn(tree, file)
        finally:
            free.put(tree)
        return f"{file}, failing without a mutant: {', '.join(failed)}" if failed else file

    missing = kept.missing()
    asked = [pool.submit(one, file) for file in missing]
    for number, done in enumerate(as_completed(asked), 1):
        say(f"what tests reach, {number} of {len(missing)}: {done.result()}")


def attempt(mutant: Mutant, reach: Reach, tree: Copy, patience: float) -> Outcome:
    """Tries one mutant."""
    source = (tree.tree / mutant.file).read_text(encoding="utf-8")
    tests = reach.tests(mutant, source)
    if not tests:
        return Outcome(mutant=mutant, killed=False, why="no test reaches it")
    tried = 0
    with tree.holding(mutant):
        for batch in reach.batches(tests, patience):
            told = tree.attempt(batch, reach.usual(batch))
            if told.code is None:
                return Outcome(mutant=mutant, killed=True, why="over time")
            if told.failed:
                by = told.failed[0]
                return Outcome(mutant=mutant, killed=True, why=by, by=by)
            if told.code != 0:
                return Outcome(mutant=mutant, killed=True, why="the tests do not start")
            tried += len(batch)
    return Outcome(
        mutant=mutant, killed=False, why=f"{tried} of {len(tests)} tests that reach it pass"
    )


def run(
    drawn: Sequence[Mutant],
    reach: Reach,
    pool: ThreadPoolExecutor,
    free: Free,
    *,
    patience: float,
    say: Say,
) -> list[Outcome]:
    """Tries all of them; in their order."""

    def one(mutant: Mutant) -> Outcome:
        tree = free.get()
        try:
            return attempt(mutant, reach, tree, patience)
        finally:
            free.put(tree)

    asked = {pool.submit(one, mutant): number for number, mutant in enumerate(drawn)}
    outcomes: dict[int, Outcome] = {}
    for done in as_completed(asked):
        outcome = outcomes[asked[done]] = done.result()
        word = "killed" if outcome.killed else "SURVIVED"
        say(f"{len(outcomes)} of {len(drawn)}: {outcome.mutant.name} {word}: {outcome.why}")
    return [outcomes[number] for number in range(len(drawn))]


def false_alarms(outcomes: Sequence[Outcome], tree: Copy, say: Say) -> list[Outcome]:
    """The same, where a test that also fails without a mutant has killed none."""
    killers = list(dict.fromkeys(outcome.by for outcome in outcomes if outcome.by))
    failing = set(tree.run(killers, "-p", "no:xdist").failed) if killers else set()
    for test in sorted(failing):
        say(f"fails without a mutant as well: {test}")
    return [
        replace(outcome, killed=False, why=f"{outcome.by} fails without it as well")
        if outcome.by in failing
        else outcome
        for outcome in outcomes
    ]


def shares(outcomes: Sequence[Outcome]) -> Mapping[str, tuple[int, int]]:
    """Mutants and how many of them were killed, by folder and `all`."""
    counted: dict[str, tuple[int, int]] = {}
    for outcome in outcomes:
        number, killed = counted.get(outcome.mutant.folder, (0, 0))
        counted[outcome.mutant.folder] = number + 1, killed + outcome.killed
    both = (sum(column) for column in zip(*counted.values(), strict=True))
    return {**counted, "all": (next(both), next(both))} if counted else {}


def passed(outcomes: Sequence[Outcome]) -> bool:
    return sum(outcome.killed for outcome in outcomes) >= ENOUGH * len(outcomes)
