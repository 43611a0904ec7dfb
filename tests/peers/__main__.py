"""`python -m peers FOLDER`: each question of the scenarios in a folder, and who agrees on it.

Exit status 1 where a difference is not a meant one, or where nothing could be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from peers import arithmetic
from peers.meant import MEANT
from peers.scenario import Scenario, Unreadable, parse
from peers.verdicts import Excluded, compare


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="peers", description=__doc__)
    parser.add_argument("folder", type=Path, help="with *.rpl files in it or below it")
    wanted = parser.parse_args(words)
    tried, agreed, meant, apart = 0, 0, 0, 0
    excluded: Counter[str] = Counter()
    for name, scenario in _scenarios(wanted.folder):
        for pair in scenario.pairs:
            tried += 1
            try:
                with arithmetic.known():
                    found = compare(scenario, pair)
            except Excluded as why:
                excluded[str(why)] += 1
                continue
            if found.agree:
                agreed += 1
                continue
            reason = MEANT.get((name, pair.first))
            meant += reason is not None
            apart += reason is None
            print(f"{'meant' if reason else 'differs'}: {name} step {pair.first}: ", end="")
            print(f"peer {found.wanted.value}, ours {found.ours.value}: {reason or found.because}")
    for text, count in excluded.most_common():
        print(f"excluded: {count:5}  {text}")
    print(
        f"{tried} pairs, {agreed + meant + apart} comparable: "
        f"{agreed} agree, {meant} differ and are meant to, {apart} differ"
    )
    return 0 if agreed and not apart else 1


def _scenarios(folder: Path) -> Iterator[tuple[str, Scenario]]:
    for file in sorted(folder.rglob("*.rpl")):
        try:
            yield file.name, parse(file.read_text(errors="replace"))
        except (Unreadable, ValueError) as error:
            print(f"not read: {file.name}: {error}")


if __name__ == "__main__":
    sys.exit(main())
