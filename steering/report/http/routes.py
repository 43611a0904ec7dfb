"""Routes requests: an answer at once, or the key of one that has to be rendered. Pure."""

from __future__ import annotations

import ipaddress
import json
import urllib.parse
from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from steering.model import Instant, Seconds
from steering.report.http import static
from steering.report.http.ipc import (
    FRONT,
    HTML,
    JSON,
    LIVE,
    METRICS,
    OPENMETRICS,
    PAGE,
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
    if (found := static.files().get(request.path)) is not None:
        return found
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
        case "/events":
            return LIVE
        case path if path.startswith("/address/"):
            return _page_of(path.removeprefix("/address/"))
        case _:
            there = "not found; there is /, /api/v1/status, /metrics, /healthz, /readyz"
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


def page(code: HTTPStatus, written: str) -> Answer:
    """A page for a browser."""
    return Answer(code=code, kind=HTML, body=written.encode(errors="replace"))


def misdirected(host: str) -> Answer:
    """421: asked for by a name that is not ours (DNS rebinding; RFC 9110, section 15.5.20)."""
    said = f"{host[:200]!r} is no name of this server; list it in `status_names`, or ask by address"
    return text(HTTPStatus.MISDIRECTED_REQUEST, said)


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


def _page_of(asked: str) -> Answer | str:
    try:
        address = str(ipaddress.ip_address(urllib.parse.unquote(asked)))
    except ValueError:
        return text(HTTPStatus.BAD_REQUEST, f"{asked[:200]!r} is not an address")
    return PAGE + address if is_key(address) else unknown(address)


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a client may ask for this server by this name (`Host`): an address, or one of these.

    A page of another site can make a browser ask here by a name of its own (DNS rebinding), and
    never by an address or a name of ours. A client without the header is no browser.
    """
    name = host.lower()
    if name.startswith("["):
        return "]" in name
    name = name.rpartition(":")[0] if ":" in name else name
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return not host or name.removesuffix(".") in names
    return True


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
