"""`python -m mutants`: faults put into the code, a table of those that the unit tests notice.

Exit status 1 where fewer than 92 % of them are noticed.
"""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from mutants.campaign import Outcome, false_alarms, learn, passed, run, shares
from mutants.places import FOLDERS, Mutant, find, sample
from mutants.reach import PATIENCE, Kept
from mutants.trial import Copy, copies

ROOT: Final = Path(__file__).parents[2]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        type=_place,
        metavar="FOLDER",
        help=f"of steering/: {', '.join(FOLDERS)}, or below them (act/bgp, judge/signals.py); "
        "may be repeated",
    )
    parser.add_argument("--number", type=int, default=200, help="of mutants, evenly by folder")
    parser.add_argument("--seed", type=int, default=1, help="another one draws other mutants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="tried at once")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        help="seconds of CPU for the tests of a mutant, beyond the quickest (default: %(default)g)",
    )
    parser.add_argument(
        "--tests",
        action="append",
        metavar="FILE",
        help="these files of tests alone; may be repeated (default: all of tests/unit)",
    )
    parser.add_argument("--keep", type=Path, default=Path("build/mutants"), help="what tests reach")
    parser.add_argument("--alone", metavar="MUTANT", help="this one, with all that pytest says")
    wanted = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the copies go with us
    if wanted.alone is not None:
        return _exclusive(wanted.alone, wanted)
    with copies(ROOT, wanted.jobs) as trees, _pool(trees) as (pool, free):
        top = trees[0].tree  # who edits the checkout meanwhile changes nothing here
        kept = Kept(top, wanted.keep, wanted.tests)
        found = {folder: find(top, folder) for folder in wanted.only or FOLDERS}
        drawn = sample(found, wanted.number, wanted.seed)
        _say(f"{len(drawn)} of {sum(map(len, found.values())):,} mutants, seed {wanted.seed}")
        learn(kept, pool, free, _say)
        outcomes = run(drawn, kept.reach(), pool, free, patience=wanted.patience, say=_say)
        outcomes = false_alarms(outcomes, trees[0], _say)
        _table(outcomes, top)
    return int(not passed(outcomes))


def _place(text: str) -> str:
    if text.split("/", 1)[0] not in FOLDERS or not (ROOT / "steering" / text).exists():
        raise argparse.ArgumentTypeError(f"there is no {text} in {', '.join(FOLDERS)}")
    return text


@contextmanager
def _pool(trees: Sequence[Copy]) -> Iterator[tuple[ThreadPoolExecutor, SimpleQueue[Copy]]]:
    free: SimpleQueue[Copy] = SimpleQueue()
    for tree in trees:
        free.put(tree)
    pool = ThreadPoolExecutor(len(trees))
    try:
        yield pool, free
    except BaseException:
        for tree in trees:
            tree.end()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _exclusive(name: str, wanted: argparse.Namespace) -> int:
    file, operator, occurrence = name.rsplit(":", 2)
    with copies(ROOT, 1) as (tree,), _pool([tree]) as (pool, free):
        (mutant,) = (
            one
            for one in find(tree.tree, file.split("/")[1])
            if (one.file, one.operator, one.occurrence) == (file, operator, int(occurrence))
        )
        source = (tree.tree / file).read_text(encoding="utf-8")
        print(*_change(mutant, tree.tree), sep="\n")
        kept = Kept(tree.tree, wanted.keep, wanted.tests)
        learn(kept, pool, free, _say)
        reach = kept.reach()
        tests = reach.tests(mutant, source)
        _say(f"{len(tests)} tests reach it")
        with tree.holding(mutant):
            told = tree.attempt(tests, reach.usual(tests)) if tests else None
    print(told.text if told else "no test reaches it", flush=True)
    return int(told is None or told.code == 0)


def _change(mutant: Mutant, top: Path) -> list[str]:
    was = (top / mutant.file).read_text(encoding="utf-8")
    lines = difflib.unified_diff(
        was.splitlines(), mutant.source(was).splitlines(), n=0, lineterm=""
    )
    return [f"    {line}" for line in list(lines)[3:]]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _table(outcomes: Sequence[Outcome], top: Path) -> None:
    for outcome in outcomes:
        if not outcome.killed:
            mutant = outcome.mutant
            print(f"{mutant.file}:{mutant.line}: {outcome.why}")
            print(*_change(mutant, top), sep="\n")
            print(f'    make mutants MUTANTS="--alone {mutant.name}"')
    print("  ".join(f"{word:>10}" for word in ("folder", "mutants", "killed", "survived", "%")))
    for folder, (number, killed) in shares(outcomes).items():
        cells = (folder, number, killed, number - killed, f"{100 * killed / number:.1f}")
        print("  ".join(f"{cell:>10}" for cell in cells))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
