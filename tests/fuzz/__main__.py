"""`python -m fuzz`: hostile messages for every parser, and a table of what came of them.

Exit status 1 where something was found; each finding is kept, with the command to see it again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from fuzz.campaign import Result, keep, run, take
from fuzz.parsers import PARSERS


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=PARSERS,
        metavar="PARSER",
        help=f"of: {', '.join(PARSERS)}; may be repeated",
    )
    parser.add_argument("--messages", type=int, help="to each parser; by default 10 million in all")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="for each parser at most"
    )
    parser.add_argument("--seed", type=int, default=1, help="another one makes other messages")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where findings go")
    parser.add_argument(
        "--file", type=Path, help="give this kept message to the parser of --only, and nothing else"
    )
    wanted = parser.parse_args(words)
    names = wanted.only or list(PARSERS)
    if wanted.file is not None:
        return _again(names[0], wanted.file, wanted.seed)
    results = []
    with ProcessPoolExecutor(wanted.jobs) as pool:
        asked = [
            pool.submit(
                _run, name, wanted.messages or PARSERS[name][1], wanted.seed, wanted.seconds
            )
            for name in names
        ]
        for done in as_completed(asked):
            result = done.result()
            results.append(result)
            for file, finding in keep(result, wanted.keep):
                again = f"--only {result.parser} --seed {wanted.seed} --file {file}"
                print(f'{finding.what}\n    make fuzz FUZZ="{again}"', flush=True)
    results.sort(key=lambda result: names.index(result.parser))
    _table(results)
    return int(not all(result.clean for result in results))


def _run(name: str, messages: int, seed: int, seconds: float) -> Result:
    return run(
        name, PARSERS[name][0], messages=messages, seed=seed, seconds=seconds, told=_progress
    )


def _progress(result: Result) -> None:
    print(
        f"{result.parser}: {result.messages:,} messages, {len(result.findings)} findings",
        file=sys.stderr,
        flush=True,
    )


def _again(name: str, file: Path, seed: int) -> int:
    result = Result(parser=name)
    with PARSERS[name][0](seed) as driver:
        take(driver, file.read_bytes(), result)
    for finding in result.findings.values():
        print(finding.what, finding.trace, sep="\n")
    print(f"{name}: {result.slowest:.3f} s")
    return int(not result.clean)


def _table(results: Sequence[Result]) -> None:
    head = ("parser", "messages", "per CPU second", "left", "dropped", "slowest, ms", "findings")
    print("  ".join(f"{word:>14}" for word in head))
    for one in results:
        rate = one.messages / max(one.seconds, 1e-9)
        cells = (
            one.parser,
            f"{one.messages:,}",
            f"{rate:,.0f}",
            f"{one.left:,}",
            f"{one.dropped:,}",
            f"{1e3 * one.slowest:.1f}",
            f"{len(one.findings):,}",
        )
        print("  ".join(f"{cell:>14}" for cell in cells))
    total = sum(one.messages for one in results)
    print(f"{total:,} messages in {sum(one.seconds for one in results):,.0f} s of CPU", flush=True)


if __name__ == "__main__":
    sys.exit(main())
