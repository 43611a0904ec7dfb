"""The metrics of copies of zones, read from the snapshot at a scrape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from steering.decide.copy_course import Phase
from steering.model import Instant, WallTime
from steering.report.copies import CopyStatus

_LABELS = ["copy", "zone", "resolver"]


def copy_metrics(each: Sequence[CopyStatus], now: Instant, wall: WallTime) -> Iterator[Metric]:
    """One series of each metric for each resolver's copy."""
    health = GaugeMetricFamily(
        "steering_copy_health",
        "1 for the state of the copy, no series for the other states.",
        labels=[*_LABELS, "state"],
    )
    out = GaugeMetricFamily(
        "steering_copy_out",
        "1 while the copy is taken out, as seen at its clients; 0 otherwise.",
        labels=_LABELS,
    )
    serial = GaugeMetricFamily(
        "steering_copy_serial", "Serial that the copy last showed.", labels=_LABELS
    )
    age = GaugeMetricFamily(
        "steering_copy_proven_age_seconds",
        "Time since the copy was last proven new; absent if it never was.",
        labels=_LABELS,
    )
    life = GaugeMetricFamily(
        "steering_copy_signature_remaining_seconds",
        "Life left of the first of its signatures that ends; below 0: it has ended.",
        labels=_LABELS,
    )
    left = GaugeMetricFamily(
        "steering_copy_left_seconds",
        "Time until the copy has to be out, if no newer one is proven.",
        labels=_LABELS,
    )
    for one in each:
        subject, copy = [one.zone_copy, one.zone, one.resolver], one.copy
        health.add_metric([*subject, copy.health.word], 1)
        out.add_metric(subject, float(one.course.phase is Phase.OUT))
        if copy.shown is not None:
            serial.add_metric(subject, copy.shown.serial)
            if copy.shown.expires is not None:
                life.add_metric(subject, round(copy.shown.expires - wall))
        if copy.proven is not None:
            age.add_metric(subject, round(now - copy.proven, 1))
        if copy.left is not None:
            left.add_metric(subject, round(copy.left, 1))
    yield from (health, out, serial, age, life, left)
