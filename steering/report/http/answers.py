"""Renders answers from a snapshot, by key, as data or text. Nothing here changes state."""

from __future__ import annotations

from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST

from steering.report import exposition
from steering.report.http import routes
from steering.report.http.ipc import FRONT, METRICS, OPENMETRICS, STATUS, Answer
from steering.report.snapshot import Snapshot
from steering.report.status import explain, status

_FORMATS = {
    METRICS: (exposition.prometheus, CONTENT_TYPE_PLAIN_0_0_4),
    OPENMETRICS: (exposition.openmetrics, CONTENT_TYPE_LATEST),
}


def answer(key: str, snapshot: Snapshot | None, registry: CollectorRegistry) -> Answer:
    """One answer; before the first turn there are metrics alone."""
    if key in _FORMATS:
        write, kind = _FORMATS[key]
        return Answer(code=HTTPStatus.OK, kind=kind, body=write(registry.collect()))
    if snapshot is None:
        return routes.unavailable("starting: no turn yet")
    if key == FRONT:
        return routes.text(HTTPStatus.OK, _front(snapshot))
    found = status(snapshot) if key == STATUS else explain(snapshot, key)
    return routes.unknown(key) if found is None else routes.data(HTTPStatus.OK, found)


def _front(snapshot: Snapshot) -> str:
    state = snapshot.state
    wanted = len(state.plan)
    steered = f"{wanted} steered" if state.index.acts else f"{wanted} would be steered"
    lines = [
        f"steering at {state.index.site} ({snapshot.mode}{', off' if state.off else ''})",
        (
            f"{len(state.index.targets)} addresses over {len(state.index.paths)} paths, "
            f"{steered}, {len(snapshot.installed)} installed"
        ),
        *(
            f"ALARM {name}{_seen(snapshot, name)}: {alarm.because}"
            for name, alarm in sorted(snapshot.alarms.items())
            if alarm.cause is None
        ),
        "",
        "/api/v1/status  /api/v1/explain?address=A  /metrics  /healthz  /readyz",
    ]
    return "\n".join(lines)


def _seen(snapshot: Snapshot, name: str) -> str:
    by = snapshot.acknowledged.by.get(name)
    return f" (acknowledged by {by[0].by})" if by else ""
