"""The command line's end of the HTTP side, and what hangs up on it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import CollectorRegistry

from steering.config import Listen
from steering.report.client import Unreachable, fetch
from steering.report.http import Server


@contextlib.contextmanager
def answering(code: int, kind: str, body: bytes) -> Iterator[Listen]:
    """Some other program at the agent's address."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Listen(host="127.0.0.1", port=server.server_port)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("code", "kind", "body"),
    [
        (404, "text/html", b"<h1>Not Found</h1>"),
        (500, "text/html;charset=utf-8", b"<h1>Oh</h1>"),
        (200, "text/html", b"<h1>Welcome</h1>"),
        (200, "application/json", b"[]"),
    ],
)
def test_another_program_at_the_address_is_not_taken_for_the_agent(
    code: int, kind: str, body: bytes
) -> None:
    with answering(code, kind, body) as listen, pytest.raises(Unreachable) as found:
        fetch(listen, "/api/v1/status")
    assert str(found.value).endswith("is not the agent")


def test_the_agents_own_refusal_is_told_in_its_words() -> None:
    with (
        answering(503, "text/plain; charset=utf-8", b"starting: no turn yet\n") as listen,
        pytest.raises(Unreachable, match=r"says: starting: no turn yet$"),
    ):
        fetch(listen, "/api/v1/status")


def test_who_hangs_up_before_the_answer_leaves_no_line_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = threading.Event()

    def nothing_yet() -> None:
        asked.set()
        gone.wait(10)

    gone = threading.Event()
    server = Server("127.0.0.1", 0, nothing_yet, CollectorRegistry())
    server.start()
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    assert asked.wait(10)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # by a reset: the next write fails
    gone.set()
    for thread in threading.enumerate():
        if "process_request" in thread.name:
            thread.join(10)
    server.close()
    assert capsys.readouterr().err == ""
