"""The page of one address: every rule in order, which one decides, and the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from steering.format import duration, percent
from steering.model import LOCAL
from steering.report.page.markup import Cells, Markup, joined, tag
from steering.report.page.parts import LETTERS, alarm, document, moment, path_in_use, section, table

Answer = Mapping[str, Any]
"""An explanation, as `/api/v1/explain` has it."""


def page(answer: Answer) -> str:
    """The whole page."""
    address = answer["address"]
    body = joined(
        (
            tag(
                "header",
                tag("h1", address),
                tag("p", f"{answer['nameserver']} of {answer['upstream']}"),
            ),
            tag("p", f"Now over {path_in_use(answer)}, since ", moment(answer["since"]), ". "),
            tag("p", f"Because: {answer['because']}"),
            *(alarm(one, Cells()) for one in answer["alarms"]),
            section("Rules", _rules(answer)),
            section("Paths", _paths(answer)),
            tag("p", "As of ", moment(answer["time"]), class_="note"),
        )
    )
    return document(f"{address} - steering", body)


def _rules(answer: Answer) -> Markup:
    return table(
        ("", "rule", "when", "then", "numbers now", "would change with"),
        (
            (
                tag("td", "decides" if rule["decides"] else "applies" if rule["applies"] else ""),
                tag("th", f"{rule['number']}. {rule['name']}", scope="row"),
                tag("td", rule["when"]),
                tag("td", rule["answer"]),
                tag("td", rule["because"]),
                tag("td", rule["otherwise"]),
            )
            for rule in answer["rules"]
        ),
        caption="Rules in order: the first that applies decides",
    )


def _paths(answer: Answer) -> Markup:
    heads = ("path", "health", "failing", "answers", "behind", "signed for", "RTT", "NSID", "why")
    rows = (_path(path, numbers, answer) for path, numbers in answer["paths"].items())
    return table(heads, rows, caption="What is known of each path")


def _path(path: str, numbers: Answer, answer: Answer) -> Iterator[Markup]:
    health = numbers["health"]
    outcomes = ", ".join(f"{number} {word}" for word, number in numbers["outcomes"].items())
    yield tag("th", "local" if path == LOCAL else path, scope="row")
    yield tag("td", f"{LETTERS[health]} {health}", data_s=health)
    yield tag("td", percent(numbers["failure_rate"]))
    yield tag("td", outcomes or "none yet")
    yield tag("td", _length(numbers["serial_lag_s"]))
    yield tag("td", _length(numbers["signature_remaining_s"]))
    yield tag("td", "-" if numbers["rtt_ms"] is None else f"{numbers['rtt_ms']:.1f} ms")
    yield tag("td", numbers["nsid"] or "-")
    yield tag("td", answer["evidence"].get(path, {}).get("because", "-"))


def _length(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
