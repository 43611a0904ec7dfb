"""`python -m benchmarks [NAME ...]`: each prints a table, under the machine's facts.

The status is 1 if one found what must not be.

These machines are shared and noisy: compare medians and ratios, not single figures.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks import (
    attack,
    bgp,
    calm,
    classify,
    detect,
    detector,
    dnstap,
    footprint,
    incident,
    journal,
    kernel,
    page,
    quiet,
    report,
    scrape,
    status_port,
    story,
    truth,
    turn,
    zone,
)

ALL: dict[str, Callable[[], int | None]] = {
    "turn": turn.run,
    "kernel": kernel.run,
    "bgp": bgp.run,
    "quiet": quiet.run,
    "footprint": footprint.run,
    "incident": incident.run,
    "journal": journal.run,
    "dnstap": dnstap.run,
    "detect": detect.run,
    "detector": detector.run,
    "scrape": scrape.run,
    "status_port": status_port.run,
    "page": page.run,
    "story": story.run,
    "attack": attack.run,
    "truth": truth.run,
    "calm": calm.run,
    "classify": classify.run,
    "zone": zone.run,
}
BY_NAME_ALONE = frozenset({"calm"})
"""It takes an hour."""


def main() -> int:
    """Run the benchmarks named; if none is, all but those that take an hour."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(ALL)}")
    names = parser.parse_args().names or [name for name in ALL if name not in BY_NAME_ALONE]
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    report.machine()
    return max(ALL[name]() or 0 for name in names)


raise SystemExit(main())
