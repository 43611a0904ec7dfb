"""What the pages are made of: the document, sections, tables, a health, a time, an alarm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from steering.format import duration, percent
from steering.model import LOCAL
from steering.report.page.markup import Cells, Child, Markup, joined, tag

Answer = Mapping[str, Any]

LETTERS: Final[Mapping[str, str]] = {
    "healthy": "H",
    "unknown": "U",
    "suspect": "s",
    "stale": "O",
    "failing": "F",
}
"""Health -> its letter, from good to bad: colour is never all that tells. An outdated copy is O."""


def document(title: str, body: Markup, *, structure: str = "") -> str:
    """A whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="/static/icon.svg"),
        tag("link", rel="stylesheet", href="/static/uplot.css"),
        tag("link", rel="stylesheet", href="/static/page.css"),
        tag("script", src="/static/uplot.js", defer=True),
        tag("script", src="/static/page.js", type="module"),
    )
    links = ("/api/v1/status", "/metrics", "/healthz")
    foot = tag(
        "footer",
        tag("a", "All", href="/"),
        *(joined((" ", tag("a", link, href=link))) for link in links),
    )
    main = tag("main", body, id="main", data_structure=structure)
    whole = tag("html", head, tag("body", main, foot), lang="en")
    return f"<!doctype html>\n{whole}\n"


def section(name: str, *children: Child) -> Markup:
    """A part of a page with its heading."""
    return tag("section", tag("h2", name), *children)


def table(heads: Sequence[str], rows: Iterable[Iterable[Markup]], *, caption: str) -> Markup:
    """A table that scrolls by itself where it is too wide."""
    made = tag(
        "table",
        tag("caption", caption, class_="hidden"),
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag("tbody", *(tag("tr", *row) for row in rows)),
    )
    return tag("div", made, class_="wide", tabindex="0", role="region", aria_label=caption)


def health_cell(cells: Cells, key: str, path: Answer) -> Markup:
    """The health of an address over a path: letter, failing share, lag, life of signatures."""
    said = [LETTERS[path["health"]]]
    if path["failure_rate"]:
        said.append(percent(path["failure_rate"]))
    if (lag := path["serial_lag_s"]) is not None and lag >= _LAG:
        said.append(f"{duration(_round(lag))} behind")
    if (life := path["signature_remaining_s"]) is not None and life < _LIFE:
        said.append(_signed(life))
    return cells.cell("td", key, " ".join(said), path["health"])


def _signed(life: float) -> str:
    if life < 0:
        return f"signatures expired {duration(_round(-life))} ago"
    return f"signed for {duration(_round(life))}"


_LAG: Final = 60.0
"""Seconds behind that are worth a word."""
_LIFE: Final = 86_400.0
"""Life of signatures that is."""


def _round(seconds: float) -> float:
    """To ten minutes, or to a minute: what changes with every second is no help."""
    return seconds - seconds % (600.0 if seconds >= 3600 else 60.0)


def moment(time: str) -> Markup:
    """A time; the script adds how long ago."""
    return tag("time", f"{time[:10]} {time[11:19]}Z", datetime=time)


def path_in_use(one: Answer) -> str:
    """The path of an address as it is, and as it is wanted or would be where that differs."""
    kernel, bgp = one["installed"]["kernel"], one["installed"]["bgp"]
    there = kernel or bgp or LOCAL
    wanted = one["steered_to"] or LOCAL
    if would := one.get("would_steer_to"):
        return f"{there}, would be {would}"
    if kernel and bgp and kernel != bgp:
        return f"{kernel} (kernel), {bgp} (bgp)"
    return str(there) if there == wanted else f"{there}, wanted {wanted}"


def alarm(one: Answer, cells: Cells) -> Markup:
    """An alarm with what to do, who has seen it, and what follows from it."""
    name = one["name"]
    text, _, remedy = one["because"].partition("To do: ")
    seen = [
        tag("p", f"acknowledged by {by['by']}: {by['reason']}", class_="note")
        for by in one.get("acknowledged", ())
    ]
    follows = [
        cells.cell("li", f"alarm/{name}/{below['name']}", f"{below['name']}: {below['because']}")
        for below in one.get("follows", ())
    ]
    return tag(
        "section",
        tag("h2", f"Alarm {name}, since ", moment(one["since"])),
        cells.cell("p", f"alarm/{name}", text),
        tag("p", tag("strong", "To do: "), cells.cell("span", f"alarm/{name}/do", remedy))
        if remedy
        else None,
        *seen,
        tag("p", "What follows from it:") if follows else None,
        tag("ul", *follows) if follows else None,
        class_="alarm seen" if seen else "alarm",
    )
