"""The command line's end of HTTP: whom it asks, whom it believes, what it makes of answers."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from served import UnixServer, serving

from steering.cli import api_client
from steering.cli.api_client import NotFoundError, UnreachableError, fetch
from steering.config import Listen
from steering.report.http.listeners import NAME
from steering.report.http.request import SERVER

NOWHERE = Listen(host="127.0.0.1", port=9)


@dataclass(frozen=True)
class Where:
    """What of a configuration says where the agent is."""

    runtime: Path
    status: Listen = NOWHERE


@contextlib.contextmanager
def runtime() -> Iterator[Where]:
    with tempfile.TemporaryDirectory() as directory:
        yield Where(Path(directory))


@contextlib.contextmanager
def answering(code: int, kind: str, body: bytes, called: str = "another/1.0") -> Iterator[Where]:
    """Some program at the agent's socket, of the same user."""

    class Other(BaseHTTPRequestHandler):
        server_version, sys_version = called, ""

        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with runtime() as where, UnixServer(str(where.runtime / NAME), Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield where
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
    with answering(code, kind, body) as where, pytest.raises(UnreachableError) as found:
        fetch(where, "/api/v1/status")
    assert str(found.value).endswith("is not the agent")


def test_the_agents_own_refusal_is_told_in_its_words() -> None:
    with (
        answering(503, "text/plain", b"starting: no turn yet\n", SERVER) as where,
        pytest.raises(UnreachableError, match=r"answers: starting: no turn yet$"),
    ):
        fetch(where, "/api/v1/status")


def test_what_the_agent_does_not_know_is_told_in_its_words() -> None:
    error = b'{"error": "192.0.2.1 is in no policy"}\n'
    with (
        answering(404, "application/json", error, SERVER) as where,
        pytest.raises(NotFoundError, match=r"^192\.0\.2\.1 is in no policy$"),
    ):
        fetch(where, "/api/v1/explain?address=192.0.2.1")


@contextlib.contextmanager
def saying(said: bytes) -> Iterator[Where]:
    """Who listens at the agent's socket, says so much to the first who comes, and hangs up."""

    def once() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(said)

    with runtime() as where, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where.runtime / NAME))
        listener.listen()
        thread = threading.Thread(target=once)
        thread.start()
        yield where
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
    with saying(said) as where, pytest.raises(UnreachableError):
        fetch(where, "/api/v1/status")


def test_the_agent_is_asked_at_its_socket(tmp_path: Path) -> None:
    with serving(tmp_path) as loop:
        loop.get("/healthz")
        assert fetch(Where(tmp_path), "/api/v1/status") == {"key": "status"}
        assert fetch(Where(tmp_path), "/api/v1/explain?address=192.0.2.1") == {"key": "192.0.2.1"}
        with pytest.raises(NotFoundError, match="'nonsense' is not an address"):
            fetch(Where(tmp_path), "/api/v1/explain?address=nonsense")


def test_without_an_agent_there_is_a_hint(tmp_path: Path) -> None:
    with pytest.raises(
        UnreachableError, match=r"no agent answers at .*status\.sock .*steering run"
    ):
        fetch(Where(tmp_path), "/api/v1/status")


def test_who_sits_at_the_port_is_not_even_asked(tmp_path: Path) -> None:
    """Any local user may have taken it before the agent did."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        squatter.settimeout(0)
        at = Listen(host="127.0.0.1", port=squatter.getsockname()[1])
        with pytest.raises(UnreachableError, match="no agent answers at"):
            fetch(Where(tmp_path, at), "/api/v1/status")
        with pytest.raises(BlockingIOError):
            squatter.accept()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("whose", ["root's", "his own, below one that anybody writes in"])
def test_a_stranger_at_the_socket_is_not_believed(tmp_path: Path, whose: str) -> None:
    """Whatever he says: the kernel says who he is."""
    stranger = 65534
    tmp_path.chmod(0o777)
    place = tmp_path / "run"
    place.mkdir()
    if whose != "root's":
        os.chown(place, stranger, stranger)
    pid, listening = _stranger(place / NAME, stranger)
    try:
        assert listening
        with pytest.raises(
            UnreachableError, match=f"not the agent: it is a process of user {stranger}"
        ):
            fetch(Where(place), "/api/v1/status")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _stranger(path: Path, user: int) -> tuple[int, bool]:
    """A process of another user that listens there: its id, and whether it does."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            made = socket.socket(socket.AF_UNIX)
            made.bind(str(path))  # somebody let him
            os.setuid(user)
            made.listen()
            os.write(writing, b"!")
            while True:
                client, _ = made.accept()
                client.recv(4096)
                body = b'{"site": "sin"}'
                head = f"HTTP/1.1 200 OK\r\nServer: steering\r\nContent-Length: {len(body)}\r\n\r\n"
                client.sendall(head.encode() + body)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        return pid, said.read(1) == b"!"


def test_the_agents_own_user_is_believed_where_he_has_a_directory_of_his_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_client, "_owners", lambda _runtime: [4711])
    monkeypatch.setattr(api_client, "peer", lambda _connected: 4711)
    with serving(tmp_path) as loop:
        loop.get("/healthz")
        assert fetch(Where(tmp_path), "/api/v1/status") == {"key": "status"}


def test_who_may_not_reach_the_socket_is_told_that_the_answer_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def locked(_runtime: Path) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(api_client, "_connected", locked)
    with serving(tmp_path) as loop:
        where = Where(tmp_path, Listen(host="127.0.0.1", port=loop.port))
        assert fetch(where, "/api/v1/status") == {"key": "status"}
    assert "any local user could answer" in capsys.readouterr().err


def test_the_agents_word_before_its_first_turn(tmp_path: Path) -> None:
    with serving(tmp_path, blank=True) as loop:
        loop.get("/healthz")
        with pytest.raises(UnreachableError, match="answers: starting: no turn yet"):
            fetch(Where(tmp_path), "/api/v1/status")
