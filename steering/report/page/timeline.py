"""What happened: the plot of the last day, and the events, newest first."""

from __future__ import annotations

import json
from typing import Final

from steering.format import percent, timestamp
from steering.report.log import fields
from steering.report.page.history import EVENTS, History
from steering.report.page.markup import Markup, joined, tag
from steering.report.page.parts import moment, table

_ROWS: Final = 24
"""Rows of the plot's table: the latest two hours, each five minutes."""


def timeline(history: History) -> Markup:
    """The events that were logged lately; the script adds a filter."""
    rows = [
        (
            tag("td", moment(timestamp(one.wall))),
            tag("td", one.event.event),
            tag("td", _subject(fields(one.event, one.wall, one.addresses))),
            tag(
                "td",
                f"{one.event.was or '-'} → {one.event.now or '-'}" if _changed(one.event) else "",
            ),
            tag("td", one.event.because),
        )
        for one in reversed(history.events)
    ]
    note = f"The last {EVENTS} since the agent started; the log and the journal have all."
    heads = ("time", "event", "about", "change", "why")
    return joined(
        (tag("p", note, class_="note"), table(heads, rows, caption="Events, newest first"))
    )


def _changed(event: object) -> bool:
    return bool(getattr(event, "was", None) or getattr(event, "now", None))


def _subject(named: dict[str, object]) -> str:
    addresses = named.get("addresses")
    about = f"{len(addresses)} addresses" if isinstance(addresses, list) else named.get("address")
    return " ".join(str(part) for part in (named.get("upstream"), about, named.get("path")) if part)


def plot(history: History) -> Markup:
    """The data of the plot, for the script, and a table with the latest of it for everybody."""
    data = {
        "times": [round(wall) for wall in history.times],
        "upstreams": {
            upstream: {
                "share": [None if p.share is None else round(p.share, 4) for p in points],
                "steered": [p.steered for p in points],
            }
            for upstream, points in history.points.items()
        },
    }
    latest = list(history.times)[-_ROWS:]
    upstreams = list(history.points)
    rows = [
        (
            tag("th", moment(timestamp(wall)), scope="row"),
            *(tag("td", _point(history, upstream, number - len(latest))) for upstream in upstreams),
        )
        for number, wall in enumerate(latest)
    ]
    return joined(
        (
            tag(
                "p",
                "The worst failing share of each upstream's addresses over the local path, in steps"
                " of five minutes, since the agent started; grey: addresses were steered.",
                class_="note",
            ),
            tag("div", id="plot", data_points=json.dumps(data)),
            tag(
                "details",
                tag("summary", "The same as a table"),
                table(("until", *upstreams), rows, caption="Failing share by upstream"),
            ),
        )
    )


def _point(history: History, upstream: str, back: int) -> str:
    point = history.points[upstream][back]
    steered = f", {point.steered} steered" if point.steered else ""
    return f"{'no answers' if point.share is None else percent(point.share)}{steered}"
