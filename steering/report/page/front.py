"""The page at `/`: what is wrong first, then where everything goes, from the status."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from steering.format import percent
from steering.model import LOCAL
from steering.report.page.history import History
from steering.report.page.markup import Cells, Markup, joined, tag
from steering.report.page.parts import (
    LETTERS,
    alarm,
    document,
    health_cell,
    moment,
    path_in_use,
    section,
    table,
)
from steering.report.page.timeline import plot, timeline

Answer = Mapping[str, Any]
"""The status, as `/api/v1/status` has it."""

_SHOWN: Final = 2000
"""Addresses that the page lists."""


def front(answer: Answer, history: History) -> str:
    """The whole page."""
    mark = live(answer, history)["structure"]
    title = f"{_word(answer)} - steering at {answer['site']}"
    return document(title, _body(answer, history, Cells()), structure=str(mark))


def live(answer: Answer, history: History) -> dict[str, object]:
    """What a page that shows this has to be told: its cells, and a hash of everything else."""
    cells = Cells(blank=True)
    body = _body(answer, history, cells).encode()
    return {"structure": hashlib.blake2b(body, digest_size=8).hexdigest(), "cells": cells.all}


def _body(answer: Answer, history: History, cells: Cells) -> Markup:
    addresses: Sequence[Answer] = answer["addresses"]
    shown = [one for one in addresses if _unusual(one)][:_SHOWN]
    usual = len(addresses) - len(shown)
    return joined(
        (
            _head(answer, cells),
            *(alarm(one, cells) for one in answer["alarms"]),
            section("Upstreams", _upstreams(answer, cells), _legend()),
            section(f"{len(shown)} addresses that are not as usual", _addresses(shown, cells))
            if shown
            else None,
            section("Copies of zones", _copies(answer["copies"], cells))
            if answer.get("copies")
            else None,
            section("The last day", plot(history)),
            section("Overrides", _overrides(answer["overrides"])) if answer["overrides"] else None,
            section("Sites", _sites(answer["sites"], cells)) if answer["sites"] else None,
            section("Events", timeline(history)),
            tag("p", f"{usual} addresses are healthy and local: ", _all_links(addresses, shown))
            if usual
            else None,
        )
    )


def _word(answer: Answer) -> str:
    if answer["off"]:
        return "Switched off"
    new = sum("acknowledged" not in one for one in answer["alarms"])
    if new:
        return f"{new} alarm{'' if new == 1 else 's'}"
    away = sum(bool(path_in_use(one) != LOCAL) for one in answer["addresses"])
    return f"{away} addresses steered" if away else "All is well"


def _head(answer: Answer, cells: Cells) -> Markup:
    state = {"All is well": "good", "Switched off": "bad"}.get(_word(answer), "warn")
    if any("acknowledged" not in one for one in answer["alarms"]):
        state = "bad"
    said = f"site {answer['site']}, {answer['mode']}, clock {answer['clock']}"
    return tag(
        "header",
        tag("h1", cells.cell("span", "word", _word(answer), state)),
        tag("p", said, ", as of ", cells.cell("time", "time", answer["time"]), id="as-of"),
    )


def _legend() -> Markup:
    words = ", ".join(f"{letter} {word}" for word, letter in LETTERS.items())
    return tag("p", f"{words}; with the share of answers that failed lately", class_="note")


def _upstreams(answer: Answer, cells: Cells) -> Markup:
    """A row for each upstream, a column for each path: how many addresses are in which health."""
    by: dict[str, list[Answer]] = {}
    for one in answer["addresses"]:
        by.setdefault(one["upstream"], []).append(one)
    paths = list(answer["addresses"][0]["paths"]) if answer["addresses"] else [LOCAL]
    rows = [_upstream(upstream, mine, paths, cells) for upstream, mine in by.items()]
    return table(
        ("upstream", "addresses", *paths, "now over"), rows, caption="By upstream and path"
    )


def _upstream(
    upstream: str, mine: Sequence[Answer], paths: Sequence[str], cells: Cells
) -> Iterator[Markup]:
    yield tag("th", upstream, scope="row")
    yield tag("td", str(len(mine)))
    for path in paths:
        states = Counter(one["paths"][path]["health"] for one in mine)
        worst = max(states, key=list(LETTERS).index)
        rates = [rate for one in mine if (rate := one["paths"][path]["failure_rate"]) is not None]
        counted = " ".join(f"{LETTERS[state]}{states[state]}" for state in LETTERS if states[state])
        share = f" {percent(max(rates))}" if rates and max(rates) > 0 else ""
        yield cells.cell("td", f"u/{upstream}/{path}", f"{counted}{share}", worst)
    used = Counter(map(path_in_use, mine))
    said = ", ".join(f"{number} {path}" for path, number in used.most_common())
    state = "" if list(used) == [LOCAL] else "away"
    yield cells.cell("td", f"u/{upstream}/now", said, state)


def _addresses(shown: Sequence[Answer], cells: Cells) -> Markup:
    paths = list(shown[0]["paths"])
    rows = [_address(one, paths, cells) for one in shown]
    heads = ("address", "nameserver", *paths, "now over", "since", "rule", "why")
    return table(heads, rows, caption="Addresses that are not healthy, steered or would be")


def _address(one: Answer, paths: Sequence[str], cells: Cells) -> Iterator[Markup]:
    address = one["address"]
    yield tag("th", tag("a", address, href=f"/address/{address}"), scope="row")
    yield tag("td", one["nameserver"])
    for path in paths:
        yield health_cell(cells, f"a/{address}/{path}", one["paths"][path])
    now = path_in_use(one)
    yield cells.cell("td", f"a/{address}/now", now, "" if now == LOCAL else "away")
    yield tag("td", moment(one["since"]))
    yield cells.cell("td", f"a/{address}/rule", one["rule"] or "-")
    yield cells.cell("td", f"a/{address}/why", one["because"])


def _overrides(overrides: Sequence[Answer]) -> Markup:
    return table(
        ("name", "order", "addresses", "until", "by", "why"),
        (
            (
                tag("th", one["name"], scope="row"),
                tag("td", f"{one['action']} {one['to'] or one.get('alarm', '')}".strip()),
                tag("td", f"{len(one['decides'])} of {one['covered']}"),
                tag("td", "never" if one["until"] is None else moment(one["until"])),
                tag("td", one["by"]),
                tag("td", f"{one['reason']}{'' if one['active'] else ' (' + one['state'] + ')'}"),
            )
            for one in overrides
        ),
        caption="Orders of operators",
    )


def _copies(copies: Sequence[Answer], cells: Cells) -> Markup:
    """A row for each resolver's own copy of a zone: how it is, and where it is on its way."""
    heads = ("copy", "zone", "resolver", "health", "phase", "serial", "servers' serial", "why")
    return table(heads, (_copy(one, cells) for one in copies), caption="Resolvers' own copies")


def _copy(one: Answer, cells: Cells) -> Iterator[Markup]:
    key = f"c/{one['copy']}/{one['resolver']}"
    yield tag("th", one["copy"], scope="row")
    yield tag("td", one["zone"])
    yield tag("td", f"{one['resolver']} ({one['kind']})")
    yield cells.cell(
        "td", f"{key}/health", f"{LETTERS[one['health']]} {one['health']}", one["health"]
    )
    yield cells.cell("td", f"{key}/phase", one["phase"], "" if one["phase"] == "in" else "away")
    yield cells.cell("td", f"{key}/serial", _serial(one["serial"]))
    yield cells.cell("td", f"{key}/servers", _serial(one["servers"]["serial"]))
    said = (one["trouble"], one["held"], one["because"])
    yield cells.cell("td", f"{key}/why", "; ".join(filter(None, said)))


def _serial(serial: int | None) -> str:
    return "-" if serial is None else str(serial)


def _sites(sites: Answer, cells: Cells) -> Markup:
    """A row for each site, family and source: what gets through, by transport."""
    rows = [
        (
            tag("th", site, scope="row"),
            tag("td", family),
            tag("td", source),
            *(
                cells.cell("td", f"s/{site}/{family}/{source}/{what}", state, state)
                for what, state in transports.items()
            ),
        )
        for site, families in sites.items()
        for family, sources in families.items()
        for source, transports in sources.items()
    ]
    heads = ("site", "family", "the resolvers send from", "UDP", "TCP", "large answers")
    return table(heads, rows, caption="What gets through each site")


def _all_links(addresses: Sequence[Answer], shown: Sequence[Answer]) -> Iterator[Markup]:
    listed = {one["address"] for one in shown}
    for one in addresses:
        if one["address"] not in listed:
            yield tag("a", one["address"], href=f"/address/{one['address']}")
            yield Markup(" ")


def _unusual(one: Answer) -> bool:
    return one["paths"][LOCAL]["health"] != "healthy" or path_in_use(one) != LOCAL
