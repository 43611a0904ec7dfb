"""What the demo shows while it runs: a picture that is redrawn, or plain lines.

With `rich` and a terminal the picture is live; otherwise each change is a line.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from steering.lab.timeline import Timeline
from steering.model import LOCAL, Seconds

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.text import Text

_BARS = " ▁▂▃▄▅▆▇█"
_SPAN = 60
"""Seconds of the clients' history that are shown."""
_QUIET = ("health_changed", "instance_changed", "instances_mixed", "held")
"""Events that say little to a spectator: `suspected`, `released` and the like say it better."""


@dataclass(slots=True)
class Picture:
    """What there is to see at one moment."""

    act: str = ""
    elapsed: Seconds = 0.0
    asked: int = 0
    failed: int = 0
    shares: deque[float] = field(default_factory=lambda: deque(maxlen=_SPAN))
    """Failing share of the clients' answers, a second each, the latest last."""
    addresses: Sequence[Mapping[str, Any]] = ()
    alarms: Sequence[Mapping[str, Any]] = ()
    told: deque[str] = field(default_factory=lambda: deque(maxlen=9))
    fresh: list[str] = field(default_factory=list)
    """Lines since the last drawing."""
    _second: tuple[int, int, int] | None = None
    _count: int = 0
    _last: tuple[str, str, str] = ("", "", "")

    def note(self, line: str) -> None:
        """A line for the spectator."""
        text = f"{self.elapsed:6.1f} s  {line}"
        self.told.append(text)
        self.fresh.append(text)

    def clients(self, at: float, asked: int, failed: int) -> None:
        """Totals of the clients at an instant."""
        self.asked, self.failed = asked, failed
        if self._second is None:
            self._second = (int(at), asked, failed)
        second, before, bad = self._second
        if int(at) > second:
            self.shares.append((failed - bad) / max(1, asked - before))
            self._second = (int(at), asked, failed)

    def event(self, event: Mapping[str, Any]) -> None:
        """One event of the agent; a run of the same for many addresses becomes one line."""
        word = str(event["event"])
        if word in _QUIET:
            return
        kind = (word, str(event.get("was")), str(event.get("now")))
        if kind == self._last and "address" in event and self.told:
            self._count += 1
            self.told[-1] = self.told[-1].split("  (x")[0] + f"  (x {self._count})"
            if self.fresh:
                self.fresh[-1] = self.told[-1]
            return
        self._last, self._count = kind, 1
        change = f" {event['was']} -> {event['now']}" if "was" in event and "now" in event else ""
        subject = f" {event['address']}" if "address" in event else ""
        rule = f" [{event['rule']}]" if "rule" in event else ""
        self.note(f"agent: {word}{subject}{change}{rule}: {event['because']}"[:150])

    def status(self, answer: Mapping[str, Any]) -> None:
        """The agent's status."""
        self.addresses, self.alarms = answer["addresses"], answer["alarms"]

    @property
    def sparkline(self) -> str:
        """The clients' failing share, a character a second; full height is a quarter."""
        steps = len(_BARS) - 1
        return "".join(
            _BARS[min(steps, -int(-share * 4 * steps // 1)) if share else 0]
            for share in self.shares
        )


class Show(Protocol):
    """Somewhere to draw."""

    def draw(self, picture: Picture) -> None:
        """Show the picture as it is now."""

    def table(self, told: Timeline) -> None:
        """Show the closing table."""


class Lines:
    """For a pipe, a log, or where `rich` is not installed: a line for each thing that happens."""

    def __init__(self) -> None:
        self._act = ""
        self._said: float = 0.0

    def draw(self, picture: Picture) -> None:
        """Print what is new, and once in five seconds how the clients fare."""
        if picture.act != self._act:
            self._act = picture.act
            print(f"{picture.elapsed:6.1f} s  == {picture.act}", flush=True)
        for line in picture.fresh:
            print(line, flush=True)
        picture.fresh.clear()
        now = time.monotonic()
        if picture.shares and now - self._said >= 5.0:
            self._said = now
            print(
                f"{picture.elapsed:6.1f} s  clients: {picture.shares[-1]:.1%} failing; "
                f"{_ways(picture)}",
                flush=True,
            )

    def table(self, told: Timeline) -> None:
        """The closing table in columns."""
        print()
        rows = [("", "here", "July 2023"), *told.rows()]
        for what, here, then in rows:
            print(f"{what:<34}{here:>12}    {then}")
        print(_summary(told))


class Screen(Lines):
    """A terminal: one picture, redrawn."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def draw(self, picture: Picture) -> None:
        """Redraw."""
        picture.fresh.clear()
        self._live.update(_render(picture), refresh=True)

    def table(self, told: Timeline) -> None:
        """The closing table."""
        from rich.console import Console
        from rich.table import Table

        table = Table(title="from the first expired signature", title_justify="left")
        table.add_column("")
        table.add_column("here", justify="right", style="bold green")
        table.add_column("July 2023, by hand", style="red")
        for row in told.rows():
            table.add_row(*row)
        console = Console()
        console.print(table)
        console.print(_summary(told))


@contextmanager
def screen() -> Iterator[Show]:
    """The best there is here to draw on."""
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


def _summary(told: Timeline) -> str:
    good = told.asked - told.failed
    return (
        f"clients asked {told.asked} questions, {told.failed} failed, {good} were answered well "
        f"({told.servers} behind every path, {told.resolver} at the edge)"
    )


def _ways(picture: Picture) -> str:
    counts: dict[str, int] = {}
    for entry in picture.addresses:
        way = str(entry["steered_to"] or LOCAL)
        counts[way] = counts.get(way, 0) + 1
    return ", ".join(f"{n} addresses by {way}" for way, n in counts.items()) or "no agent yet"


def _render(picture: Picture) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    share = picture.shares[-1] if picture.shares else 0.0
    clients = Text()
    clients.append("clients   ")
    clients.append(picture.sparkline, style="red" if share else "green")
    clients.append(f"  {share:5.1%} failing now; {picture.failed} of {picture.asked} failed")
    rows: list[Text] = [clients, Text()]
    rows.extend(_letters(picture, family) for family in ("ipv4", "ipv6"))
    rows.append(Text(f"          {_ways(picture)}", style="dim"))
    rows.extend(
        Text(f"ALARM {a['name']}: {a['because']}", style="bold red") for a in picture.alarms
    )
    rows.append(Text())
    rows.extend(Text(line, overflow="ellipsis", no_wrap=True) for line in picture.told)
    return Panel(
        Group(*rows),
        title=f"[bold]{picture.elapsed:5.1f} s  {picture.act}",
        title_align="left",
        subtitle="a letter an address: green local, yellow suspect, red failing, blue by a site",
        subtitle_align="left",
        height=20,
    )


def _letters(picture: Picture, family: str) -> Text:
    from rich.text import Text

    text = Text(f"{family}      ")
    for entry in picture.addresses:
        if entry["family"] != family:
            continue
        health = entry["paths"][LOCAL]["health"]
        style = {"healthy": "green", "suspect": "yellow", "failing": "bold red"}.get(health, "dim")
        site = entry["installed"]["kernel"]
        letter = str(entry["nameserver"])[0]
        text.append(f" {letter}", style=style)
        text.append(f">{site}" if site else f"={LOCAL[:3]}", style="bold blue" if site else "dim")
    return text
