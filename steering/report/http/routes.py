"""Routes requests: an answer at once, or the key of one that has to be rendered. Pure."""

from __future__ import annotations

import ipaddress
import json
import urllib.parse
from http import HTTPStatus
from typing import Final

from steering.model import Instant, Seconds
from steering.report.http.ipc import (
    FRONT,
    JSON,
    METRICS,
    OPENMETRICS,
    STATUS,
    TEXT,
    Answer,
    Turned,
    is_key,
)
from steering.report.http.request import Request

STALLED: Final[Seconds] = 5.0
"""A loop without a turn for so long hangs; an idle one turns every second."""


def route(request: Request, turned: Turned, now: Instant) -> Answer | str:
    """The answer, or the key of the one wanted."""
    if request.path == "/metrics":
        return _metrics(request.accept)
    if turned.at is None:
        return unavailable("starting: no turn yet")
    match request.path:
        case "/api/v1/status":
            return STATUS
        case "/api/v1/explain":
            return _explain(request.query)
        case "/healthz":
            return stalled(turned, now) or text(HTTPStatus.OK, "ok")
        case "/readyz" if turned.ready:
            return text(HTTPStatus.OK, "ok")
        case "/readyz":
            return unavailable("the first round of probes is not finished")
        case "/":
            return FRONT
        case _:
            there = "not found; there is /api/v1/status, /metrics, /healthz, /readyz"
            return text(HTTPStatus.NOT_FOUND, there)


def stalled(turned: Turned, now: Instant) -> Answer | None:
    """The answer while the loop hangs; None: it does not."""
    if turned.at is None or now - turned.at < STALLED:
        return None
    return unavailable(f"the loop has not turned for {now - turned.at:.1f} s")


def unavailable(because: str) -> Answer:
    """503: there is nothing to show now."""
    return text(HTTPStatus.SERVICE_UNAVAILABLE, because)


def text(code: HTTPStatus, line: str) -> Answer:
    """A line for a person."""
    return Answer(code=code, kind=TEXT, body=f"{line}\n".encode(errors="replace"))


def data(code: HTTPStatus, value: dict[str, object]) -> Answer:
    """An object for a program."""
    return Answer(code=code, kind=JSON, body=f"{json.dumps(value)}\n".encode())


def unknown(address: str) -> Answer:
    """404: the address is in no policy."""
    return data(HTTPStatus.NOT_FOUND, {"error": f"{address} is in no policy"})


def _explain(query: str) -> Answer | str:
    asked = urllib.parse.parse_qs(query).get("address", [""])[0]
    try:
        address = str(ipaddress.ip_address(asked))
    except ValueError:
        return data(HTTPStatus.BAD_REQUEST, {"error": f"{asked!r} is not an address"})
    return address if is_key(address) else unknown(address)


def _metrics(accept: str) -> str:
    """The first supported format in the list: Prometheus puts the best one first."""
    for one in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        if kind == "text/plain":
            return METRICS
        if kind == "application/openmetrics-text":
            versions = [p.removeprefix("version=") for p in parameters if p.startswith("version=")]
            if all(version.startswith("1.") for version in versions):
                return OPENMETRICS
    return METRICS
