"""Writes the parts of the pages that come from the code: `python docs/generate.py`.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; all else
in a page is left as it is. A test holds the pages to what is written here.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from steering.act.bgp.status import BgpStatus, SessionStatus
from steering.config import load
from steering.decide.rules import RULES
from steering.decide.state import State
from steering.index import Index
from steering.judge.known import health
from steering.report.metrics import Meters
from steering.report.snapshot import Snapshot, TrafficStatus

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def rules() -> str:
    """The numbered rules, first that applies decides."""
    rows = [(str(r.number), f"`{r.name}`", r.when, r.answer.value) for r in RULES]
    return table(("no.", "rule", "applies when", "then"), rows)


def health_table() -> str:
    """The next health: state in the first column, signal in the head."""
    head = ("now \\ signal", *(s.name.lower() for s in health.Signal))
    rows = [
        (f"**{state.word}**", *("·" if row[s] is state else row[s].word for s in health.Signal))
        for state, row in health.TABLE.items()
    ]
    return table(head, rows)


def health_diagram() -> str:
    """The same as Graphviz."""
    return f"```dot\n{health.diagram()}\n```\n"


def metrics() -> str:
    """Every metric of ours with its labels, from the registry that `/metrics` serves."""
    meters = Meters()
    collectors = set(meters.registry._names_to_collectors.values())
    counted = {c._name: c for c in collectors if isinstance(c, MetricWrapperBase)}
    meters.watch(_blank)
    families = [f for f in meters.registry.collect() if not f.name.startswith("process_")]
    rows = sorted(_metric(family, counted) for family in families)
    return table(("metric", "type", "labels", "meaning"), rows)


def _metric(family: Metric, counted: Mapping[str, MetricWrapperBase]) -> tuple[str, ...]:
    source = counted.get(family.name, family)
    labels: Sequence[str] = getattr(source, "_labelnames", ())
    total = "_total" if family.type == "counter" else ""
    named = ", ".join(f"`{label}`" for label in labels)
    return f"`{family.name}{total}`", family.type, named, family.documentation


def _blank() -> Snapshot:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "steering.yaml")
        file.write_text(
            f"{{site: sin, policies: {ROOT / 'policies'}, "
            "sites: {pao: {next_hop: {ipv4: 192.0.2.1}}}}\n",
            encoding="utf-8",
        )
        setup = load(file)
    now = time.monotonic()
    return Snapshot(
        mode="rehearse",
        state=State.blank(Index.of(setup), now, time.time()),
        installed={},
        alarms={},
        ready=False,
        turned_at=now,
        dnstap=TrafficStatus(
            frames={"ok": 0},
            lost=0,
            writers=0,
            rate=0.0,
            longest_gap=0.0,
            looked=0,
            passed_over=0,
        ),
        bgp=BgpStatus(
            sessions={"192.0.2.1": SessionStatus(up=False, because="", routes=0, lacking=())},
            wanted=0,
            announced={},
            updates=0,
            starts=0,
            acknowledged=(),
            version="",
            linked=False,
            read=0,
        ),
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


PARTS: Mapping[str, Callable[[], str]] = {
    "rules": rules,
    "health_table": health_table,
    "health_diagram": health_diagram,
    "metrics": metrics,
}


def pages() -> Iterator[Path]:
    """The pages that have generated parts."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if PART.search(page.read_text(encoding="utf-8")):
            yield page


def rendered(page: Path) -> str:
    """The page as it should be. Raises KeyError for a part that nobody generates."""
    return PART.sub(
        lambda part: part[1] + PARTS[part[2]]() + part[4], page.read_text(encoding="utf-8")
    )


if __name__ == "__main__":
    for written in pages():
        written.write_text(rendered(written), encoding="utf-8")
