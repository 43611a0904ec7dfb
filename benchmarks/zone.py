"""Verifying a whole zone of the root's size: the child's time, CPU and memory, the agent's beside.

The zone is signed by ldns-signzone. It is read from its file, and taken by AXFR from a server of
its own process. `stall` is the longest time for which the parent's event loop did not run
meanwhile, `grown` what its resident memory grew by. `ldns-verify-zone` verifies the same file.
Status 1: a child took more than 5 s of CPU or 80 MB, or found the zone bad.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.transfer import serving
from steering.lab.servers.rootzone import Root, sign
from steering.lab.servers.zone import Keys
from steering.observe.dnssec import anchors
from steering.observe.dnssec.anchors import Anchors
from steering.observe.zone.child import examine, fetch
from steering.observe.zone.facts import Fetched, Source, ZoneFacts
from steering.system.child import Child

TIMES = 5
CHILDREN = 2000
CPU, MEMORY = 5.0, 80.0
"""Seconds and megabytes that a child may take."""
_TICK = 0.002
_LIMIT = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one verification took. Megabytes and seconds."""

    records: int
    good: bool
    elapsed: float
    cpu: float
    memory: float
    stall: float
    grown: float


Look = Callable[[], Awaitable[ZoneFacts | None]]


def run() -> int:
    """Print the table; 1 if a limit was passed."""
    with tempfile.TemporaryDirectory() as name:
        folder, keys = Path(name), Keys.fresh()
        servers = {"a.": ("192.0.2.1", "2001:db8::1")}
        file = sign(Root(serial=2026120100, servers=servers, count=CHILDREN), keys, folder)
        (folder / "anchor").write_text(keys.anchor("."))
        held = anchors.parse(keys.anchor("."), source="benchmark")
        rows, bad = [], False
        with serving(file) as source:
            looks = {"file": by_file(file, held), "AXFR": by_axfr(source, folder, held)}
            for what, look in looks.items():
                costs = [measured(look) for _ in range(TIMES)]
                rows.append(row(what, costs))
                bad |= any(not c.good or c.cpu > CPU or c.memory > MEMORY for c in costs)
        began = time.perf_counter()
        argv = ["ldns-verify-zone", "-ZZ", "-k", str(folder / "anchor"), str(file)]
        done = subprocess.run(argv, capture_output=True, check=False)
        elapsed = time.perf_counter() - began
        said = "good" if done.returncode == 0 else "bad"
        rows.append(("ldns-verify-zone", "", said, f"{elapsed:.2f} s", "", "", "", ""))
    report.table(
        f"A zone verified, median of {TIMES}",
        ("by", "records", "verdict", "elapsed", "CPU", "memory", "stall", "grown"),
        rows,
    )
    return int(bad)


def row(what: str, costs: list[Cost]) -> tuple[str, ...]:
    def median(of: Callable[[Cost], float]) -> float:
        return report.median([of(cost) for cost in costs])

    return (
        what,
        f"{costs[0].records:,}",
        "good" if all(cost.good for cost in costs) else "bad",
        f"{median(lambda c: c.elapsed):.2f} s",
        f"{median(lambda c: c.cpu):.2f} s",
        f"{median(lambda c: c.memory):.1f} MB",
        report.ms(max(cost.stall for cost in costs)),
        f"{median(lambda c: c.grown):.1f} MB",
    )


def by_file(file: Path, held: Anchors) -> Look:
    async def look() -> ZoneFacts | None:
        found = await examine(file, ".", held, time.time())
        return found if isinstance(found, ZoneFacts) else None

    return look


def by_axfr(source: Source, folder: Path, held: Anchors) -> Look:
    async def look() -> ZoneFacts | None:
        found = await fetch([source], folder / "fetched", ".", held, wall=time.time())
        return found.copy.facts if isinstance(found, Fetched) and found.copy else None

    return look


def measured(look: Look) -> Cost:
    """In a process of its own, so that the kernel counts this one child alone."""
    said, ended = Child(
        lambda tell: tell(json.dumps(asdict(asyncio.run(cost(look)))).encode())
    ).result(time.monotonic() + _LIMIT)
    if not ended or not said:
        sys.exit("a verification did not end")
    return Cost(**json.loads(said))


async def cost(look: Look) -> Cost:
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK)
            now = time.perf_counter()
            longest, last = max(longest, now - last - _TICK), now

    before, began = _resident(), time.perf_counter()
    ticking = asyncio.create_task(tick())
    facts = await look()
    elapsed = time.perf_counter() - began
    ticking.cancel()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        records=facts.records if facts is not None else 0,
        good=facts is not None and facts.good,
        elapsed=elapsed,
        cpu=used.ru_utime + used.ru_stime,
        memory=used.ru_maxrss / 1024,
        stall=longest,
        grown=_resident() - before,
    )


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
