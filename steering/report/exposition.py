"""Metrics as text, in Prometheus' format or OpenMetrics: pure.

The library's writers spend most of a large scrape on escaping, letter by letter, names that need no
escaping. These write the same bytes for the metrics here: no exemplars, times or native histograms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

_AT_THE_END = ("_created", "_gsum", "_gcount")
"""Samples of OpenMetrics that Prometheus' format shows as gauges."""


def prometheus(families: Iterable[Metric]) -> bytes:
    """The text format, version 0.0.4."""
    return "".join(_prometheus(families)).encode()


def openmetrics(families: Iterable[Metric]) -> bytes:
    """OpenMetrics, version 1.0.0."""
    return "".join(_openmetrics(families)).encode()


def _prometheus(families: Iterable[Metric]) -> Iterator[str]:
    lines = _Lines()
    for family in families:
        total = "_total" if family.type == "counter" else ""
        words = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {family.name}{total} {words}\n# TYPE {family.name}{total} {family.type}\n"
        last: dict[str, list[str]] = {}
        for sample in family.samples:
            end = sample.name[len(family.name) :]
            if end in _AT_THE_END:
                last.setdefault(end, []).append(lines.of(sample))
            else:
                yield lines.of(sample)
        for end, kept in sorted(last.items()):
            yield f"# HELP {family.name}{end} {words}\n# TYPE {family.name}{end} gauge\n"
            yield from kept


def _openmetrics(families: Iterable[Metric]) -> Iterator[str]:
    lines = _Lines()
    for family in families:
        yield f"# HELP {family.name} {_escaped(family.documentation)}\n"
        yield f"# TYPE {family.name} {family.type}\n"
        yield from map(lines.of, family.samples)
    yield "# EOF\n"


class _Lines:
    """Samples as lines, with a cache of the few label values."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._orders: dict[tuple[str, ...], list[str]] = {}

    def of(self, sample: Sample) -> str:
        """One line."""
        value = _number(sample.value)
        if not sample.labels:
            return f"{sample.name} {value}\n"
        keys = tuple(sample.labels)
        if (order := self._orders.get(keys)) is None:
            order = self._orders[keys] = sorted(keys)
        labels = ",".join([f'{key}="{self._value(sample.labels[key])}"' for key in order])
        return f"{sample.name}{{{labels}}} {value}\n"

    def _value(self, value: str) -> str:
        if (known := self._values.get(value)) is None:
            known = self._values[value] = _escaped(value)
        return known


def _number(value: float) -> str:
    """A number as Go writes it, which uses exponents sooner than Python."""
    value = float(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    dot = text.find(".")
    if value > 0 and dot > 6:
        digits = f"{text[0]}.{text[1:dot]}{text[dot + 1 :]}".rstrip("0.")
        return f"{digits}e+{dot - 1:02d}"
    return text


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
