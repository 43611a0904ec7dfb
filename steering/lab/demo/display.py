"""The display of the demo: a panel that is redrawn, or plain lines.

With `rich` and a terminal the panel is live; otherwise each change is a line.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from steering.lab.demo.timeline import Timeline
from steering.model import LOCAL, Seconds

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.text import Text

_BARS = " ▁▂▃▄▅▆▇█"
_SPAN = 60
"""Seconds of the clients' history that it shows."""
_HIDDEN = ("health_changed", "instance_changed", "instances_mixed", "held")
"""Events that are left out: `suspected`, `released` and the like show the same."""


@dataclass(slots=True)
class DisplayState:
    """What the display shows at one moment."""

    act: str = ""
    elapsed: Seconds = 0.0
    asked: int = 0
    failed: int = 0
    shares: deque[float] = field(default_factory=lambda: deque(maxlen=_SPAN))
    """Failing share of the clients' answers in each second, the latest last."""
    addresses: Sequence[Mapping[str, Any]] = ()
    alarms: Sequence[Mapping[str, Any]] = ()
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=9))
    new_lines: list[str] = field(default_factory=list)
    """Lines since the last drawing."""
    _second: tuple[int, int, int] | None = None
    _count: int = 0
    _last: tuple[str, str, str] = ("", "", "")

    def add_line(self, line: str) -> None:
        """Add a line with the elapsed time."""
        text = f"{self.elapsed:6.1f} s  {line}"
        self.recent.append(text)
        self.new_lines.append(text)

    def clients(self, at: float, asked: int, failed: int) -> None:
        """Note the clients' totals at an instant."""
        self.asked, self.failed = asked, failed
        if self._second is None:
            self._second = (int(at), asked, failed)
        second, before, bad = self._second
        if int(at) > second:
            self.shares.append((failed - bad) / max(1, asked - before))
            self._second = (int(at), asked, failed)

    def event(self, event: Mapping[str, Any]) -> None:
        """Add an event of the agent; equal events of many addresses in a row become one line."""
        word = str(event["event"])
        if word in _HIDDEN:
            return
        kind = (word, str(event.get("was")), str(event.get("now")))
        if kind == self._last and "address" in event and self.recent:
            self._count += 1
            self.recent[-1] = self.recent[-1].split("  (x")[0] + f"  (x {self._count})"
            if self.new_lines:
                self.new_lines[-1] = self.recent[-1]
            return
        self._last, self._count = kind, 1
        change = f" {event['was']} -> {event['now']}" if "was" in event and "now" in event else ""
        subject = f" {event['address']}" if "address" in event else ""
        rule = f" [{event['rule']}]" if "rule" in event else ""
        self.add_line(f"agent: {word}{subject}{change}{rule}: {event['because']}"[:150])

    def status(self, answer: Mapping[str, Any]) -> None:
        """Take an answer of the agent's status."""
        self.addresses, self.alarms = answer["addresses"], answer["alarms"]

    @property
    def sparkline(self) -> str:
        """The clients' failing share, one character for each second; full height is 25 %."""
        steps = len(_BARS) - 1
        return "".join(
            _BARS[min(steps, -int(-share * 4 * steps // 1)) if share else 0]
            for share in self.shares
        )


class Display(Protocol):
    """Where the demo is shown."""

    def draw(self, state: DisplayState) -> None:
        """Show the present state."""

    def table(self, timeline: Timeline) -> None:
        """Display the closing table."""


class Lines:
    """For a pipe or a log, or without `rich`: a line for each change."""

    def __init__(self) -> None:
        self._act = ""
        self._printed_at: float = 0.0

    def draw(self, state: DisplayState) -> None:
        """Print the new lines, and once in five seconds the clients' failing share."""
        if state.act != self._act:
            self._act = state.act
            print(f"{state.elapsed:6.1f} s  == {state.act}", flush=True)
        for line in state.new_lines:
            print(line, flush=True)
        state.new_lines.clear()
        now = time.monotonic()
        if state.shares and now - self._printed_at >= 5.0:
            self._printed_at = now
            print(
                f"{state.elapsed:6.1f} s  clients: {state.shares[-1]:.1%} failing; "
                f"{_path_counts(state)}",
                flush=True,
            )

    def table(self, timeline: Timeline) -> None:
        """The closing table in columns."""
        print()
        rows = [("", "here", "July 2023"), *timeline.rows()]
        for what, here, then in rows:
            print(f"{what:<34}{here:>12}    {then}")
        print(_summary(timeline))


class Screen(Lines):
    """For a terminal: one panel that is redrawn."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def draw(self, state: DisplayState) -> None:
        """Redraw."""
        state.new_lines.clear()
        self._live.update(_render(state), refresh=True)

    def table(self, timeline: Timeline) -> None:
        """The closing table."""
        from rich.console import Console
        from rich.table import Table

        table = Table(title="from the first expired signature", title_justify="left")
        table.add_column("")
        table.add_column("here", justify="right", style="bold green")
        table.add_column("July 2023, by hand", style="red")
        for row in timeline.rows():
            table.add_row(*row)
        console = Console()
        console.print(table)
        console.print(_summary(timeline))


@contextmanager
def screen() -> Iterator[Display]:
    """A live panel if `rich` and a terminal are available, else lines."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        yield Lines()
        return
    console = Console()
    if not console.is_terminal or not sys.stdout.isatty():
        yield Lines()
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        yield Screen(live)


def _summary(timeline: Timeline) -> str:
    good = timeline.asked - timeline.failed
    return (
        f"clients asked {timeline.asked} questions: {timeline.failed} failed, {good} got good "
        f"answers ({timeline.servers} behind every path, {timeline.resolver} at the edge)"
    )


def _path_counts(state: DisplayState) -> str:
    counts: dict[str, int] = {}
    for entry in state.addresses:
        path = str(entry["steered_to"] or LOCAL)
        counts[path] = counts.get(path, 0) + 1
    return ", ".join(f"{n} addresses by {path}" for path, n in counts.items()) or "no agent yet"


def _render(state: DisplayState) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    share = state.shares[-1] if state.shares else 0.0
    clients = Text()
    clients.append("clients   ")
    clients.append(state.sparkline, style="red" if share else "green")
    clients.append(f"  {share:5.1%} failing now; {state.failed} of {state.asked} failed")
    rows: list[Text] = [clients, Text()]
    rows.extend(_letters(state, family) for family in ("ipv4", "ipv6"))
    rows.append(Text(f"          {_path_counts(state)}", style="dim"))
    rows.extend(Text(f"ALARM {a['name']}: {a['because']}", style="bold red") for a in state.alarms)
    rows.append(Text())
    rows.extend(Text(line, overflow="ellipsis", no_wrap=True) for line in state.recent)
    return Panel(
        Group(*rows),
        title=f"[bold]{state.elapsed:5.1f} s  {state.act}",
        title_align="left",
        subtitle="a letter per address: green local, yellow suspect, red failing, blue steered",
        subtitle_align="left",
        height=20,
    )


def _letters(state: DisplayState, family: str) -> Text:
    from rich.text import Text

    text = Text(f"{family}      ")
    for entry in state.addresses:
        if entry["family"] != family:
            continue
        health = entry["paths"][LOCAL]["health"]
        style = {"healthy": "green", "suspect": "yellow", "failing": "bold red"}.get(health, "dim")
        site = entry["installed"]["kernel"]
        letter = str(entry["nameserver"])[0]
        text.append(f" {letter}", style=style)
        text.append(f">{site}" if site else f"={LOCAL[:3]}", style="bold blue" if site else "dim")
    return text
