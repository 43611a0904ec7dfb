"""The HTTP side: status, explain, health and metrics. Read-only; nothing here changes anything."""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from steering.model import Seconds
from steering.report.client import SERVER
from steering.report.snapshot import Snapshot
from steering.report.status import explain, status

STALLED: Seconds = 5.0
"""A loop that has not turned for so long is not alive; it turns every second when idle."""

_NOTHING_MORE: Final[Mapping[str, str]] = {}
_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"


class Server:
    """Serves from a thread of its own. Raises OSError at once when the port cannot be had."""

    def __init__(
        self,
        host: str,
        port: int,
        snapshot: Callable[[], Snapshot | None],
        registry: CollectorRegistry,
    ) -> None:
        class Handler(_Handler):
            source = staticmethod(snapshot)
            metrics = registry

        class Listener(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Who hung up before the answer is no event, and the log has events alone."""
                if not isinstance(sys.exception(), ConnectionError | TimeoutError):
                    super().handle_error(request, client_address)  # type: ignore[arg-type]

        self._http = Listener((host, port), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True, name="http")
        self.port = int(self._http.server_address[1])

    def start(self) -> None:
        """Answer from now on; until then connections wait."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and give the port back."""
        if self._thread.is_alive():
            self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    source: Callable[[], Snapshot | None]
    metrics: CollectorRegistry
    protocol_version = "HTTP/1.1"
    server_version = SERVER
    sys_version = ""
    timeout = 10  # seconds a silent client may hold a thread

    def do_GET(self) -> None:
        """Answer one request."""
        url = urllib.parse.urlsplit(self.path)
        snapshot = self.source()
        if url.path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._send(HTTPStatus.OK, kind, encode(self.metrics))
        elif snapshot is None:
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, "starting: no turn yet")
        elif url.path == "/api/v1/status":
            self._json(HTTPStatus.OK, status(snapshot))
        elif url.path == "/api/v1/explain":
            self._explain(snapshot, urllib.parse.parse_qs(url.query).get("address", [""])[0])
        elif url.path == "/healthz":
            idle = time.monotonic() - snapshot.turned_at
            alive = idle < STALLED
            self._text(
                HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE,
                "ok" if alive else f"the loop has not turned for {idle:.1f} s",
            )
        elif url.path == "/readyz":
            self._text(
                HTTPStatus.OK if snapshot.ready else HTTPStatus.SERVICE_UNAVAILABLE,
                "ok" if snapshot.ready else "the first round of probes is not done",
            )
        elif url.path == "/":
            self._text(HTTPStatus.OK, _front(snapshot))
        else:
            self._text(HTTPStatus.NOT_FOUND, "there is /api/v1/status, /metrics, /healthz, /readyz")

    def do_HEAD(self) -> None:
        """Answer one request with all but its body."""
        self.do_GET()

    def send_error(
        self,
        code: int,
        message: str | None = None,
        explain: str | None = None,  # noqa: ARG002
    ) -> None:
        """Refuse what is no question. What comes behind it may be its body: nobody reads on."""
        status, more = HTTPStatus(code), {"Connection": "close"}
        if status is HTTPStatus.NOT_IMPLEMENTED:  # so `http.server` has it
            status, more = HTTPStatus.METHOD_NOT_ALLOWED, {**more, "Allow": "GET, HEAD"}
            message = "nothing is changed over HTTP: wanted GET or HEAD"
        self._send(status, _TEXT, f"{message or status.phrase}\n".encode(), more)

    def _explain(self, snapshot: Snapshot, text: str) -> None:
        try:
            address = str(ipaddress.ip_address(text))
        except ValueError:
            self._json(HTTPStatus.BAD_REQUEST, {"error": f"{text!r} is not an address"})
            return
        answer = explain(snapshot, address)
        if answer is None:
            self._json(HTTPStatus.NOT_FOUND, {"error": f"{address} is in no policy"})
        else:
            self._json(HTTPStatus.OK, answer)

    def _json(self, code: HTTPStatus, value: dict[str, object]) -> None:
        self._send(code, _JSON, (json.dumps(value) + "\n").encode())

    def _text(self, code: HTTPStatus, text: str) -> None:
        self._send(code, _TEXT, (text + "\n").encode())

    def _send(
        self, code: HTTPStatus, kind: str, body: bytes, more: Mapping[str, str] = _NOTHING_MORE
    ) -> None:
        self.send_response(code)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not events."""


def _front(snapshot: Snapshot) -> str:
    world = snapshot.world
    steered = len(world.steers())
    lines = [
        f"steering at {world.layout.site} ({snapshot.mode}{', off' if world.off else ''})",
        (
            f"{len(world.layout.targets)} addresses over {len(world.layout.paths)} paths, "
            f"{steered} steered, {len(snapshot.installed)} installed"
        ),
        *(f"ALARM {name}: {alarm.because}" for name, alarm in sorted(snapshot.alarms.items())),
        "",
        "/api/v1/status  /api/v1/explain?address=A  /metrics  /healthz  /readyz",
    ]
    return "\n".join(lines)
