"""`python -m yardstick record|compare|kinds`, with `tests` and `tests/unit` on the path.

`record` plays all stories, keeps what the engine makes of them, and prints how often each kind of
event, rule and alarm occurs; `compare` runs what was recorded, and prints the first differing turn
of each (status 1 if there is any); `kinds` prints the table alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from yardstick import kinds
from yardstick.compare import compare, names, read


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; its status."""
    parser = argparse.ArgumentParser(prog="yardstick", description=__doc__)
    parser.add_argument("command", choices=["record", "compare", "kinds"])
    parser.add_argument("--only", default="", metavar="NAME", help="those whose names begin so")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--journal", type=Path, help="record this one, of an agent in a lab, alone")
    wanted = parser.parse_args(words)
    if wanted.command == "compare":
        return _compare(wanted.only, wanted.jobs)
    if wanted.command == "record":
        # The simulations are needed for this alone.
        from yardstick.record import LAB, journal, record_all, write

        if wanted.journal:
            write(f"{LAB}incident", journal(wanted.journal))
        else:
            record_all(wanted.only, wanted.jobs, print)
    print(*kinds.table(kinds.together(kinds.of_lines(read(name)) for name in names())), sep="\n")
    return 0


def _compare(only: str, jobs: int) -> int:
    wanted = [name for name in names() if name.startswith(only)]
    with ProcessPoolExecutor(jobs) as pool:
        found = [difference for difference in pool.map(compared, wanted) if difference]
    for difference in found:
        print(difference)
    print(f"{len(wanted)} recordings, {len(found)} with a difference")
    return int(bool(found))


def compared(name: str) -> str | None:
    """The first difference of a recording, in words."""
    found = compare(name, read(name))
    return None if found is None else str(found)


if __name__ == "__main__":
    sys.exit(main())
