"""Web servers, Alertmanagers and programs as they are on bad days."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from steering.config.notify import About
from steering.report.notifications.alertmanager import LASTS, Alertmanager, alerts
from steering.report.notifications.notice import NAMED, Notice, Sender, Stage
from steering.report.notifications.program import Program
from steering.report.notifications.receiver import NotSentError
from steering.report.notifications.webhook import Server, Webhook

SENDER = Sender(site="sin", host="edge1", mode="enforce", version="0")
WALL = 1.7e9
NOTICE = Notice(
    about=About.MOVE,
    name="gtld-servers",
    stage=Stage.BEGAN,
    since=WALL,
    title="gtld-servers: 2 addresses go through pao",
    text="192.0.2.1: 13.0% fail here",
    addresses=("192.0.2.1", "192.0.2.2"),
    sites=("pao",),
)


@dataclass
class Web:
    """A web server of the test."""

    url: str
    status: int = 200
    said: bytes = b""
    got: list[tuple[str, dict[str, str], object]] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[Web]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            served.got.append((self.path, dict(self.headers), json.loads(data)))
            self.send_response(served.status)
            self.send_header("Content-Length", str(len(served.said)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(served.said)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Web(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Serves one connection after another by a function; what makes it gives the URL."""
    opened = socket.create_server(("127.0.0.1", 0))
    threads = list[threading.Thread]()

    def serve(answer: Callable[[socket.socket], None]) -> str:
        def run() -> None:
            # The client may have had enough.
            with opened.accept()[0] as connection, contextlib.suppress(OSError):
                answer(connection)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return f"http://127.0.0.1:{opened.getsockname()[1]}/hook"

    yield serve
    opened.close()
    for thread in threads:
        thread.join(10)


def hook(url: str, timeout: float = 5.0, token: Path | None = None) -> Webhook:
    return Webhook(server=Server(url=url, timeout=timeout, token_file=token), sender=SENDER)


def test_a_webhook_gets_json_with_a_whole_message_in_its_text(web: Web) -> None:
    hook(f"{web.url}/hook?room=1").send([NOTICE])
    ((path, headers, data),) = web.got
    assert path == "/hook?room=1"
    assert headers["Content-Type"] == "application/json"
    assert data == {
        "text": "[sin] gtld-servers: 2 addresses go through pao\n192.0.2.1: 13.0% fail here",
        "about": "move",
        "name": "gtld-servers",
        "stage": "began",
        "since": "2023-11-14T22:13:20.000Z",
        "ended": None,
        "title": NOTICE.title,
        "because": NOTICE.text,
        "addresses": ["192.0.2.1", "192.0.2.2"],
        "number": 2,
        "sites": ["pao"],
        "site": "sin",
        "host": "edge1",
        "mode": "enforce",
        "version": "0",
    }


def test_a_thousand_addresses_are_counted_and_some_are_listed(web: Web) -> None:
    hook(web.url).send([replace(NOTICE, addresses=("2001:db8::1",) * 1000)])
    data = web.got[0][2]
    assert isinstance(data, dict)
    assert (len(data["addresses"]), data["number"]) == (NAMED, 1000)


@pytest.mark.parametrize("status", [302, 307, 400, 500, 503])
def test_another_status_is_no_success_and_no_redirect_is_followed(web: Web, status: int) -> None:
    web.status, web.said = status, b"no \x1b[31mroom\n" + b"x" * 10_000
    with pytest.raises(NotSentError) as caught:
        hook(web.url).send([NOTICE])
    assert str(caught.value).startswith(f"answers {status}: no ?[31mroom")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    assert len(web.got) == 1


def test_a_token_is_read_anew_each_time_and_is_in_no_message(web: Web, tmp_path: Path) -> None:
    token = tmp_path / "token"
    for text in ("one", "two"):
        token.write_text(f"{text}\n")
        hook(web.url, token=token).send([NOTICE])
    assert [headers["Authorization"] for _, headers, _ in web.got] == ["Bearer one", "Bearer two"]
    token.write_text("secret\nX-Other: 1")
    with pytest.raises(NotSentError, match="wanted one word in one line") as caught:
        hook(web.url, token=token).send([NOTICE])
    assert len(web.got) == 2
    assert "secret" not in str(caught.value)
    with pytest.raises(NotSentError, match=r"no-such.*No such file"):
        hook(web.url, token=tmp_path / "no-such").send([NOTICE])


def silent(connection: socket.socket) -> None:
    connection.settimeout(20)
    while connection.recv(65536):
        pass


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(10_000):
        connection.sendall(b"X-%d: y\r\n" % number if number % 2 else b"")
        time.sleep(0.02)


def drip_body(connection: socket.socket) -> None:
    """The end of the connection is the end of the answer."""
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in range(10_000):
        connection.sendall(b"x")
        time.sleep(0.1)


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def rubbish(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x01 no http\r\n\r\n")


@pytest.mark.parametrize("answer", [silent, drip, drip_body])
def test_a_server_that_never_ends_its_answer_is_left_after_the_limit(
    raw: Callable[[Callable[[socket.socket], None]], str], answer: Callable[[socket.socket], None]
) -> None:
    began = time.monotonic()
    with pytest.raises(NotSentError, match=r"no answer within 0\.5 s|HTTPException|headers"):
        hook(raw(answer), timeout=0.5).send([NOTICE])
    assert time.monotonic() - began < 5


def test_an_endless_body_is_not_read(
    raw: Callable[[Callable[[socket.socket], None]], str],
) -> None:
    hook(raw(endless)).send([NOTICE])


def test_what_is_no_http_is_an_error(
    raw: Callable[[Callable[[socket.socket], None]], str],
) -> None:
    with pytest.raises(NotSentError):
        hook(raw(rubbish)).send([NOTICE])


def test_a_port_where_nobody_listens_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(NotSentError, match="refused"):
        hook(f"http://127.0.0.1:{port}/").send([NOTICE])


def test_alerts_last_some_rounds_and_end_when_they_ended() -> None:
    ended = replace(NOTICE, about=About.ALARM, name="self", stage=Stage.ENDED, ended=WALL + 5)
    incident = replace(NOTICE, about=About.INCIDENT)
    first, second = alerts([NOTICE, ended, incident], SENDER, {"team": "dns"}, WALL + 10)
    assert first["labels"] == {
        "alertname": "SteeringMove",
        "upstream": "gtld-servers",
        "site": "sin",
        "instance": "edge1",
        "team": "dns",
    }
    assert first["startsAt"] == "2023-11-14T22:13:20.000Z"
    assert first["endsAt"] == "2023-11-14T22:17:30.000Z"
    assert LASTS == 240
    assert second["labels"] == {
        "alertname": "SteeringAlarm",
        "alarm": "self",
        "site": "sin",
        "instance": "edge1",
        "team": "dns",
    }
    assert second["endsAt"] == "2023-11-14T22:13:30.000Z"


def test_each_server_of_a_cluster_gets_all_though_one_is_down(web: Web) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/api/v2/alerts"
    servers = tuple(Server(url=url, timeout=5.0) for url in (dead, f"{web.url}/api/v2/alerts"))
    cluster = Alertmanager(servers=servers, sender=SENDER, labels={}, wall=lambda: WALL)
    said = cluster.send([NOTICE])
    assert said.startswith("127.0.0.1:")
    assert "refused" in said
    with pytest.raises(NotSentError, match="refused"):
        replace(cluster, servers=servers[:1]).send([NOTICE])
    assert [path for path, _, _ in web.got] == ["/api/v2/alerts"]


def program(tmp_path: Path, code: str, timeout: float = 20.0) -> Program:
    file = tmp_path / "page.py"
    file.write_text(code)
    return Program(argv=(sys.executable, str(file), "$HOME;"), timeout=timeout, sender=SENDER)


def test_a_program_reads_the_notice_and_no_shell_reads_its_words(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import json, sys\n"
        f"open({str(out)!r}, 'w').write(json.dumps([sys.argv[1], json.load(sys.stdin)['name']]))"
    )
    program(tmp_path, code).send([NOTICE])
    assert json.loads(out.read_text()) == ["$HOME;", "gtld-servers"]


def test_a_program_that_fails_says_why_in_its_last_line(tmp_path: Path) -> None:
    code = "import sys; print('x' * 100_000, file=sys.stderr); sys.exit('no \\x1b[1mroom')"
    with pytest.raises(NotSentError, match=r"exit status 1: no \?\[1mroom$"):
        program(tmp_path, code).send([NOTICE])


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(60)",
        "import sys\nwhile True: sys.stderr.write('x' * 65536)",
        "import os, time\nif os.fork(): time.sleep(60)\ntime.sleep(60)",
    ],
    ids=["hangs", "prints for ever", "with a child"],
)
def test_a_program_that_does_not_end_is_killed_at_the_limit(tmp_path: Path, code: str) -> None:
    began = time.monotonic()
    with pytest.raises(NotSentError, match="has not ended within 1 s"):
        program(tmp_path, code, timeout=1.0).send([NOTICE])
    assert time.monotonic() - began < 10


def test_a_process_that_a_program_leaves_behind_holds_nobody_up(tmp_path: Path) -> None:
    code = "import os, time\nif not os.fork():\n  os.setsid()\n  time.sleep(5)"
    began = time.monotonic()
    program(tmp_path, code).send([NOTICE])
    assert time.monotonic() - began < 4


def test_a_program_that_reads_nothing_is_fine(tmp_path: Path) -> None:
    program(tmp_path, "pass").send([replace(NOTICE, text="x" * 10**6)])


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(NotSentError, match="/no/such: No such file"):
        Program(argv=("/no/such",), timeout=1.0, sender=SENDER).send([NOTICE])


def test_a_slow_look_up_of_a_name_makes_no_answer_late(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what happens where the resolvers of this host are what fails."""
    plain = socket.getaddrinfo

    def slow(*words: object, **more: object) -> object:
        time.sleep(0.5)
        return plain(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    hook(web.url, timeout=0.2).send([NOTICE])
    assert len(web.got) == 1


def test_a_program_can_not_be_given_anything_without_room_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(NotSentError, match="No such file"):
        program(tmp_path, "pass").send([NOTICE])
