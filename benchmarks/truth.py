"""Does the agent ever leave a good path, or doubt itself for no cause? Random days, by a truth.

`TRUTH_STORIES` (10), `TRUTH_ADDRESSES` (26), `TRUTH_OPERATORS` (2, or 10 above a hundred
addresses), `TRUTH_HOURS` (24) and `TRUTH_SEED` (1) say how many of what size, and from which seed
on. Each story is printed with its seed when it is over, and is the same one again by
`TRUTH_STORIES=1 TRUTH_SEED=n` and the same other figures.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit"))

from long_random import by_dice, delays
from long_truth import LATELY


def _number(name: str, default: float) -> float:
    return float(os.environ.get(f"TRUTH_{name}", default))


def run() -> int:
    """Print the table; 1 if a move was wrong, or a doubt too long."""
    addresses = int(_number("ADDRESSES", 26))
    operators = int(_number("OPERATORS", 2 if addresses <= 100 else 10))
    hours, first = _number("HOURS", 24), int(_number("SEED", 1))
    stories = int(_number("STORIES", 10))
    moves, useless, own, took, missed = 0, 0, 0, [], 0
    wrong: list[str] = []
    longest, late, cpu = 0.0, 0.0, 0.0
    for seed in range(first, first + stories):
        begun = time.process_time()
        story = by_dice(seed, hours=hours, number=operators)
        with tempfile.TemporaryDirectory() as folder:
            played = story.played(Path(folder), number=operators, addresses=addresses)
        spent = time.process_time() - begun
        found, slow = played.found, [seconds for _, seconds in delays(story, played)]
        moves, useless = moves + found.moves, useless + len(found.useless)
        own += len(found.own)
        took += [seconds for seconds in slow if math.isfinite(seconds)]
        missed += sum(not math.isfinite(seconds) for seconds in slow)
        longest, cpu = max(longest, found.doubted), cpu + spent
        late = max(late, found.late)
        wrong += [f"seed {seed} at {at:.1f}: {step}" for at, step in found.wrong]
        if found.doubted > LATELY:
            wrong.append(f"seed {seed} at {found.doubted_at:.1f}: a doubt of {found.doubted:.0f} s")
        print(
            f"seed {seed}: {found.moves} moves, {len(found.wrong)} wrong, {len(found.useless)} "
            f"useless, {len(found.own)} by own faults, {found.late:.1f} s after the end, doubt "
            f"{found.doubted:.0f} s at {found.doubted_at:.1f}, "
            f"delays {[round(s, 1) for s in slow]}, {spent:.0f} s of CPU",
            file=sys.stderr,
            flush=True,
        )
    report.table(
        f"{stories} stories of {hours:g} h, {addresses} addresses, {operators} operators",
        ["what", "figure"],
        [
            ["moves away", str(moves)],
            ["from a good path, or doubts too long", str(len(wrong))],
            ["longest after the end of a fault", f"{late:.1f} s"],
            ["to a path with the same fault", str(useless)],
            ["by a fault of our own, one operator seen first", str(own)],
            ["longest doubt without a cause", f"{longest:.0f} s"],
            ["clear faults", str(len(took) + missed)],
            ["  nobody left", str(missed)],
            ["  until the first left, median", f"{report.median(took):.1f} s" if took else "-"],
            ["  worst", f"{max(took):.1f} s" if took else "-"],
            ["CPU", f"{cpu:.0f} s"],
        ],
    )
    print("\n".join(wrong))
    return int(bool(wrong))
