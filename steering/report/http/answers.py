"""Renders answers from a snapshot, by key, as data or text. Nothing here changes state."""

from __future__ import annotations

from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from steering.report import exposition
from steering.report.http import routes
from steering.report.http.ipc import FRONT, LIVE, METRICS, OPENMETRICS, PAGE, STATUS, Answer
from steering.report.page import address
from steering.report.page.front import front, live
from steering.report.page.history import History
from steering.report.snapshot import Snapshot
from steering.report.status import explain, status

_FORMATS = {
    METRICS: (exposition.prometheus, CONTENT_TYPE_PLAIN_0_0_4),
    OPENMETRICS: (exposition.openmetrics, CONTENT_TYPE_LATEST),
}


def answer(
    key: str, snapshot: Snapshot | None, history: History, registry: CollectorRegistry
) -> Answer:
    """One answer; before the first turn there are metrics alone."""
    if key in _FORMATS:
        write, kind = _FORMATS[key]
        return Answer(code=HTTPStatus.OK, kind=kind, body=write(registry.collect()))
    if snapshot is None:
        return routes.unavailable("starting: no turn yet")
    if key == FRONT:
        return routes.page(HTTPStatus.OK, front(status(snapshot), history))
    if key == LIVE:
        return routes.data(HTTPStatus.OK, live(status(snapshot), history))
    found = status(snapshot) if key == STATUS else explain(snapshot, key.removeprefix(PAGE))
    if found is None:
        return routes.unknown(key.removeprefix(PAGE))
    if key.startswith(PAGE):
        return routes.page(HTTPStatus.OK, address.page(found))
    return routes.data(HTTPStatus.OK, found)
