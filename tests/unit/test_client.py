"""The command line's end of the HTTP side, and what hangs up on it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import CollectorRegistry

from steering.config import Listen
from steering.report.client import SERVER, Unknown, Unreachable, fetch
from steering.report.http import Server


@contextlib.contextmanager
def answering(code: int, kind: str, body: bytes, called: str = "another/1.0") -> Iterator[Listen]:
    """Some program at the agent's address."""

    class Other(BaseHTTPRequestHandler):
        server_version, sys_version = called, ""

        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
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
        (200, "application/json", b'{"status": "green"}'),
        (404, "text/plain", b"404 page not found"),
        (404, "application/json", b'{"error": "no such index"}'),
        (503, "text/plain", b"no healthy upstream"),
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
        answering(503, "text/plain", b"starting: no turn yet\n", SERVER) as listen,
        pytest.raises(Unreachable, match=r"says: starting: no turn yet$"),
    ):
        fetch(listen, "/api/v1/status")


def test_what_the_agent_does_not_know_is_told_in_its_words() -> None:
    error = b'{"error": "192.0.2.1 is in no policy"}\n'
    with (
        answering(404, "application/json", error, SERVER) as listen,
        pytest.raises(Unknown, match=r"^192\.0\.2\.1 is in no policy$"),
    ):
        fetch(listen, "/api/v1/explain?address=192.0.2.1")


@contextlib.contextmanager
def saying(said: bytes) -> Iterator[Listen]:
    """Who listens at the agent's address, says so much to the first who comes, and hangs up."""

    def once() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=once)
        thread.start()
        yield Listen(host="127.0.0.1", port=listener.getsockname()[1])
        thread.join()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nServer: steering\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 404 No\r\nServer: steering\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nServer: steering\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nServer: steering\r\n\r\n{",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    ],
)
def test_whatever_is_said_at_the_address_it_is_no_more_than_unreachable(said: bytes) -> None:
    with saying(said) as listen, pytest.raises(Unreachable):
        fetch(listen, "/api/v1/status")


@contextlib.contextmanager
def serving() -> Iterator[HTTPConnection]:
    """The agent's own server before its first turn, and a connection to it."""
    server = Server("127.0.0.1", 0, lambda: None, CollectorRegistry())
    server.start()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        yield connection
    finally:
        connection.close()
        server.close()


def test_the_agent_answers_as_the_one_its_client_looks_for() -> None:
    with serving() as connection, pytest.raises(Unreachable, match="says: starting: no turn yet"):
        fetch(Listen(host="127.0.0.1", port=connection.port), "/api/v1/status")


def test_head_is_get_without_the_body() -> None:
    with serving() as connection:
        told = []
        for method in ("GET", "HEAD", "HEAD", "GET"):
            connection.request(method, "/healthz")
            answer = connection.getresponse()
            body = answer.read()
            assert bool(body) is (method == "GET")
            told.append((answer.status, answer.getheader("Content-Length")))
        assert set(told) == {(503, str(len("starting: no turn yet\n")))}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"])
def test_what_would_change_something_is_refused_in_plain_text(method: str) -> None:
    with serving() as connection:
        connection.request(method, "/api/v1/status", body=b"GET / HTTP/1.1\r\n\r\n")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
        assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
        assert answer.read() == b"nothing is changed over HTTP: wanted GET or HEAD\n"
        assert answer.will_close  # the rest of what came is no request


def test_what_is_no_request_is_refused_in_plain_text() -> None:
    with (
        serving() as connection,
        socket.create_connection(("127.0.0.1", connection.port), timeout=10) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n")
        with client.makefile("rb") as said:
            head, _, body = said.read().partition(b"\r\n\r\n")
    assert (head.split()[1], b"text/plain" in head, body) == (b"431", True, b"Too many headers\n")


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
