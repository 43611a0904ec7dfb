"""What is served over HTTP, to whom, and what strangers can't do by asking for it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import Loop, serving, told

from steering.config import Listen
from steering.lab.waiting import until
from steering.report.http import ipc, routes
from steering.report.http.fork import Copy
from steering.report.http.ipc import METRICS, OPENMETRICS, Answer, Turned
from steering.report.http.listeners import AGAIN, NAME
from steering.report.http.process import PLACES
from steering.report.http.request import BadRequest, Request, parse, split
from steering.report.http.routes import STALLED

ASK = b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    with serving(tmp_path) as made:
        made.get("/healthz")
        yield made


def client(loop: Loop, *, local: bool = False) -> socket.socket:
    if local:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(20)
        made.connect(str(loop.runtime / NAME))
        return made
    return socket.create_connection(("127.0.0.1", loop.port), timeout=20)


def said(loop: Loop, sent: bytes, *, local: bool = False) -> bytes:
    """All that is answered to these bytes, until the server hangs up."""
    with client(loop, local=local) as made:
        made.sendall(sent)
        with made.makefile("rb") as answer:
            return answer.read()


def later(loop: Loop, turns: int) -> None:
    """Until it has turned so many times in all."""
    until(lambda: len(loop.gaps) > turns)


# --- HTTP -----------------------------------------------------------------------------------


def test_head_is_get_without_the_body(loop: Loop) -> None:
    with contextlib.closing(loop.connection()) as connection:
        found = set()
        for method in ("GET", "HEAD", "HEAD", "GET"):
            connection.request(method, "/healthz")
            answer = connection.getresponse()
            body = answer.read()
            assert bool(body) is (method == "GET")
            found.add((answer.status, answer.getheader("Content-Length")))
        assert found == {(200, "3")}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"])
def test_what_would_change_something_is_refused_in_plain_text(loop: Loop, method: str) -> None:
    with contextlib.closing(loop.connection()) as connection:
        connection.request(method, "/api/v1/status", body=b"GET / HTTP/1.1\r\n\r\n" * 9)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
        assert answer.getheader("Content-Type") == "text/plain; charset=utf-8"
        assert answer.read() == b"wanted GET or HEAD: HTTP changes nothing here\n"
        assert answer.will_close  # the rest of what came is no request


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://[::1 HTTP/1.1\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / a HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/one\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\n\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000, 431),
        (b"GET /" + b"y" * 100_000, 414),
        (b"GET /api/v1/explain?address=[ HTTP/1.0\r\n\r\n", 400),
        (b"GET /api/v1/explain?address=%00%ff HTTP/1.0\r\n\r\n", 400),
        (b"GET /api/v1/explain?address=fe80::1%25x HTTP/1.0\r\n\r\n", 404),
        (b"GET /nothing HTTP/1.0\r\n\r\n", 404),
        (b"GET http://a.example/healthz HTTP/1.0\r\n\r\n", 200),
        (b"\r\n\r\nGET /healthz HTTP/1.0\n\n", 200),
        (b"GET /healthz HTTP/1.1\r\nContent-Length: 5\r\n\r\nHello", 200),
    ],
)
def test_whatever_is_asked_has_an_answer_and_ends_nothing(
    loop: Loop, sent: bytes, code: int
) -> None:
    pid = loop.service.pid
    head = said(loop, sent).split(b"\r\n\r\n")[0]
    assert int(head.split()[1]) == code
    assert b"\r\nServer: steering\r\n" in head
    assert loop.get("/healthz") == (200, "ok\n")
    assert (loop.service.pid, loop.errors) == (pid, [])


@given(st.binary(max_size=200) | st.lists(st.sampled_from(
    [b"GET", b" ", b"/", b"http://", b"[", b"]", b"HTTP/1.1", b"\r\n", b"\n", b":", b"\0", b"%"]
)).map(b"".join))  # fmt: skip
def test_no_bytes_are_an_error(data: bytes) -> None:
    found = parse(data)
    assert isinstance(found, Request | BadRequest)
    if isinstance(found, Request):
        asked = routes.route(found, Turned(number=1, at=0.0, ready=True), 0.0)
        assert isinstance(asked, Answer) or ipc.is_key(asked)
    end = split(data)
    assert end is None or data[:end].rstrip(b"\r").endswith(b"\n")


def test_an_error_in_handling_costs_the_one_who_asked_his_connection_alone(
    tmp_path: Path,
) -> None:
    """A bug, as one in the parser would be: it is counted and told, and ends nothing."""
    broken = (
        "import sys\n"
        "from steering.report.http import process\n"
        "def route(request, turned, now):\n"
        "    if request.path == '/bug': raise RuntimeError('a bug')\n"
        "    return was(request, turned, now)\n"
        "was, process.route = process.route, route\n"
        "process.main(int(sys.argv[1]))\n"
    )
    script = tmp_path / "broken.py"
    script.write_text(broken)
    with pytest.MonkeyPatch.context() as patch:
        real = subprocess.Popen

        def other(argv: list[str], **more: object) -> subprocess.Popen[bytes]:
            return real([sys.executable, "-P", str(script), argv[-1]], **more)  # type: ignore[call-overload,no-any-return]

        patch.setattr("steering.system.kept_process.subprocess.Popen", other)
        with serving(tmp_path) as loop:
            pid = (loop.get("/healthz"), loop.service.pid)[1]
            assert said(loop, b"GET /bug HTTP/1.1\r\n\r\n") == b""
            assert loop.get("/healthz") == (200, "ok\n")
            until(lambda: bool(loop.errors))
            assert loop.errors == ["RuntimeError: a bug"]
            assert loop.service.pid == pid


def test_requests_in_a_row_are_answered_in_their_order(loop: Loop) -> None:
    paths = [b"/healthz", b"/api/v1/status", b"/nothing", b"/api/v1/explain?address=192.0.2.1"]
    sent = b"".join(b"GET %s HTTP/1.1\r\n\r\n" % path for path in paths * 5)
    answered = said(loop, sent + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    codes = [part[:3] for part in answered.split(b"HTTP/1.1 ")[1:]]
    assert codes == [b"200", b"200", b"404", b"200"] * 5 + [b"200"]
    assert answered.count(b'"192.0.2.1"') == 5


@pytest.mark.parametrize(
    ("accept", "key"),
    [
        ("", METRICS),
        ("*/*", METRICS),
        ("text/plain", METRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", METRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4", OPENMETRICS),
        ("text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0", METRICS),
    ],
)
def test_metrics_come_as_they_are_wanted(loop: Loop, accept: str, key: str) -> None:
    with contextlib.closing(loop.connection()) as connection:
        connection.request("GET", "/metrics", headers={"Accept": accept})
        assert json.loads(connection.getresponse().read()) == {"key": key}


# --- the agent behind it ---------------------------------------------------------------------


def test_nothing_is_shown_before_the_first_turn_but_metrics(tmp_path: Path) -> None:
    with serving(tmp_path, blank=True) as loop:
        for path in ("/", "/healthz", "/readyz", "/api/v1/status"):
            assert loop.get(path) == (503, "starting: no turn yet\n")
        assert loop.get("/metrics")[0] == HTTPStatus.OK


def test_health_is_told_while_the_loop_hangs(loop: Loop) -> None:
    """By a process that does not hang with it; what would have to be rendered says why not."""
    assert loop.get("/healthz") == (200, "ok\n")
    loop.hung = True
    began = time.monotonic()
    until(lambda: loop.get("/healthz")[0] == HTTPStatus.SERVICE_UNAVAILABLE)
    assert time.monotonic() - began > STALLED - 1
    for path in ("/healthz", "/api/v1/status", "/metrics"):
        code, text = loop.get(path)
        assert code == HTTPStatus.SERVICE_UNAVAILABLE
        assert "the loop has not turned for" in text
    loop.hung = False
    until(lambda: loop.get("/healthz")[0] == HTTPStatus.OK)
    assert loop.get("/api/v1/status")[0] == HTTPStatus.OK


def test_an_answer_shows_a_turn_that_is_no_older_than_the_question(tmp_path: Path) -> None:
    shown = {"value": 0}

    def answer(_key: str) -> Answer:
        return routes.text(HTTPStatus.OK, str(shown["value"]))

    with serving(tmp_path, answer=answer) as loop:
        for value in range(1, 6):
            shown["value"] = value
            turns = len(loop.gaps)
            later(loop, turns + 1)
            assert int(loop.get("/api/v1/status")[1]) >= value


def test_an_answer_is_made_once_and_shared(tmp_path: Path) -> None:
    """Each is made in a copy of this process, so they are counted in a file."""
    made = tmp_path / "made"

    def answer(key: str) -> Answer:
        with made.open("a") as file:
            file.write(f"{key}\n")
        return told(key)

    with serving(tmp_path, answer=answer) as loop:
        clients = [client(loop) for _ in range(PLACES)]
        for one in clients:
            one.sendall(ASK)
        for one in clients:
            assert one.recv(4096).endswith(b'{"key": "status"}\n')
            one.close()
        assert 1 <= len(made.read_text().splitlines()) <= 6


def test_an_answer_that_can_not_be_made_is_told_and_ends_nothing(tmp_path: Path) -> None:
    def answer(key: str) -> Answer:
        if key == "metrics":
            os._exit(7)  # as one that is killed
        return told(key)

    with serving(tmp_path, answer=answer) as loop:
        assert loop.get("/metrics")[0] == HTTPStatus.SERVICE_UNAVAILABLE
        assert loop.get("/api/v1/status")[0] == HTTPStatus.OK
        until(lambda: bool(loop.errors))
        assert loop.errors == ["an answer could not be rendered: status 7"]


def test_without_a_process_for_it_there_is_no_answer_and_no_end(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("steering.report.http.fork.os.fork", full)
        code, text = loop.get("/api/v1/status")
        assert (code, "Resource temporarily unavailable" in text) == (503, True)
    assert loop.get("/api/v1/status")[0] == HTTPStatus.OK


def test_a_copy_keeps_nothing_open_that_ends_with_the_agent(tmp_path: Path) -> None:
    def answer(_key: str) -> Answer:
        names = []
        for number in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # the one by which this is read
                names += [str(number.readlink())] * (int(number.name) > 2)
        return routes.text(HTTPStatus.OK, " ".join(names))

    with (tmp_path / "agent.lock").open("w"), serving(tmp_path, answer=answer) as loop:
        _, text = loop.get("/")
        assert [name.split(":")[0] for name in text.split()] == ["pipe"]


def test_while_no_copy_can_end_a_thread_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path) as loop:
        gone = (1 << 22) + 1  # above all process ids: it has no memory, and nobody can wait for it
        stuck = [Copy(pid=gone, began=time.monotonic()) for _ in range(4)]
        monkeypatch.setattr(loop.service, "_copies", stuck)
        assert loop.get("/api/v1/status")[0] == HTTPStatus.OK
        monkeypatch.setattr(threading.Thread, "start", _no_thread)
        assert loop.get("/metrics")[0] == HTTPStatus.SERVICE_UNAVAILABLE
        assert loop.errors == []


def _no_thread(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_another_process_serves_when_one_was_killed(loop: Loop) -> None:
    killed = loop.service.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    until(lambda: loop.service.pid not in (None, killed))
    until(lambda: loop.service.trouble == "")
    assert loop.get("/api/v1/status")[0] == HTTPStatus.OK
    assert said(loop, b"GET /healthz HTTP/1.0\r\n\r\n", local=True).endswith(b"ok\n")


# --- doors ----------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_a_trouble_until_it_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        at = Listen(host="127.0.0.1", port=squatter.getsockname()[1])
        with serving(tmp_path, status=at) as loop:
            until(lambda: bool(loop.service.trouble))
            assert "can't be listened on: Address already in use" in loop.service.trouble
            assert said(loop, b"GET /healthz HTTP/1.0\r\n\r\n", local=True).endswith(b"ok\n")
            squatter.close()
            until(lambda: loop.service.trouble == "", within=AGAIN + 20)
            assert loop.get("/healthz") == (200, "ok\n")


def test_another_port_is_served_instead(loop: Loop) -> None:
    was = loop.port
    with socket.create_server(("127.0.0.1", 0)) as free:
        loop.status = Listen(host="127.0.0.1", port=free.getsockname()[1])
        until(lambda: bool(loop.service.trouble))
    until(lambda: loop.service.port == loop.status.port)
    assert loop.get("/healthz") == (200, "ok\n")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", was), timeout=5)


def test_a_wiped_runtime_gets_its_socket_again(loop: Loop) -> None:
    for lost in (loop.runtime / NAME, loop.runtime):
        if lost.is_dir():
            shutil.rmtree(lost)
        else:
            lost.unlink()
        until((loop.runtime / NAME).exists)
        until(lambda: loop.service.trouble == "")
        assert said(loop, b"GET /healthz HTTP/1.0\r\n\r\n", local=True).endswith(b"ok\n")


def test_what_was_put_in_the_place_of_the_socket_is_a_trouble_and_no_end(loop: Loop) -> None:
    (loop.runtime / NAME).unlink()
    (loop.runtime / NAME).mkdir()
    until(lambda: "is no socket" in loop.service.trouble)
    (loop.runtime / NAME).rmdir()
    until(lambda: loop.service.trouble == "")
    assert said(loop, b"GET /healthz HTTP/1.0\r\n\r\n", local=True).endswith(b"ok\n")


def test_the_socket_of_one_that_was_killed_is_replaced_and_of_another_agent_is_not(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / NAME))
        dead.listen()
    with serving(tmp_path) as first:
        first.get("/healthz")
        assert said(first, b"GET /healthz HTTP/1.0\r\n\r\n", local=True).endswith(b"ok\n")
        inode = (tmp_path / NAME).stat().st_ino
        with serving(tmp_path) as second:
            until(lambda: "another process listens" in second.service.trouble)
            assert second.get("/healthz")[0] == HTTPStatus.OK
        assert (tmp_path / NAME).stat().st_ino == inode
    assert not (tmp_path / NAME).exists()


# --- floods ---------------------------------------------------------------------------------


def test_the_operator_gets_through_while_every_place_is_taken(loop: Loop) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2 * PLACES):  # the second half waits in the kernel
            made = stack.enter_context(client(loop))
            made.sendall(b"GET / HTTP/1.1\r\nX: ")  # and never ends
        for _ in range(5):
            assert b"200 OK" in said(loop, ASK.replace(b"1.1", b"1.0"), local=True)
        # By TCP who takes long gives way, as soon as somebody waits.
        assert loop.get("/api/v1/status") == (200, '{"key": "status"}\n')


def test_who_never_takes_his_answers_gives_way(tmp_path: Path) -> None:
    large = routes.text(HTTPStatus.OK, "x" * 8_000_000)
    with serving(tmp_path, answer=lambda _key: large) as loop, contextlib.ExitStack() as stack:
        for _ in range(PLACES + 8):
            stack.enter_context(client(loop)).sendall(ASK)
        assert loop.get("/healthz") == (200, "ok\n")
        assert len(loop.get("/api/v1/status")[1]) == 8_000_001


def test_who_hangs_up_before_the_answer_is_no_event(
    loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(50):
        with client(loop) as made:
            made.sendall(ASK * 10)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert loop.get("/healthz") == (200, "ok\n")
    assert loop.errors == []
    assert capsys.readouterr().err == ""


FLOOD = """
import socket, sys, time
port, kind = int(sys.argv[1]), sys.argv[2]
end, there = time.monotonic() + 4.0, []
ask = b"GET /metrics HTTP/1.1\\r\\n\\r\\n"
while time.monotonic() < end:
    try:
        if len(there) < 200:
            there.append(socket.create_connection(("127.0.0.1", port), 1.0))
            there[-1].setblocking(False)
        for one in there:
            one.send({"closed": ask, "slow": b"G", "large": b"x" * 100_000, "pipe": ask * 50}[kind])
            if kind != "slow":
                one.recv(1 << 16)
    except BlockingIOError:
        pass
    except OSError:
        for one in there:
            one.close()
        there.clear()
print("done")
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", ["closed", "slow", "large", "pipe"])
def test_a_flood_makes_no_turn_late(loop: Loop, kind: str) -> None:
    """The loop has nothing to do with it but to fork a few times; the whole is a benchmark."""
    argv = [sys.executable, "-c", FLOOD, str(loop.port), kind]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as flood:
        try:
            began = len(loop.gaps)
            assert b"200 OK" in said(loop, ASK.replace(b"1.1", b"1.0"), local=True)
            out, _ = flood.communicate(timeout=60)
        finally:
            flood.kill()
    assert out == "done\n"
    gaps = sorted(loop.gaps[began:])
    assert len(gaps) > 20
    # Ten turns a second; a machine that is busy with other things is late now and then.
    assert gaps[len(gaps) * 9 // 10] < 0.3
    assert loop.get("/healthz") == (200, "ok\n")
    assert loop.errors == []


# --- by which name, compressed, and what is told as it changes --------------------------------


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:9353", 200),
        ("[::1]:9353", 200),
        ("[2001:db8::1]", 200),
        ("localhost:9353", 200),
        ("LOCALHOST", 200),
        (f"{socket.gethostname()}:9353", 200),
        ("x.", 200),
        ("", 200),
        ("evil.example", 421),
        ("evil.example:9353", 421),
        ("127.0.0.1.evil.example", 421),
        ("x@evil.example", 421),
        ("<script>", 421),
    ],
)
def test_a_page_of_another_site_can_not_ask_by_its_own_name(
    loop: Loop, host: str, code: int
) -> None:
    asked = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    until(lambda: said(loop, asked).startswith(f"HTTP/1.1 {code} ".encode()))


def test_at_the_socket_of_operators_no_name_is_refused(loop: Loop) -> None:
    asked = b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert said(loop, asked, local=True).startswith(b"HTTP/1.1 200 ")


def test_large_answers_are_compressed_for_who_takes_that(tmp_path: Path) -> None:
    def large(_: str) -> Answer:
        return Answer(code=HTTPStatus.OK, kind="text/plain", body=b"steering " * 10_000)

    with serving(tmp_path, answer=large) as loop:
        for taken, coded in (("br, gzip;q=1.0", True), ("gzip;q=0", False), ("identity", False)):
            with contextlib.closing(loop.connection()) as connection:
                connection.request("GET", "/", headers={"Accept-Encoding": taken})
                answer = connection.getresponse()
                body = answer.read()
            assert (answer.getheader("Content-Encoding") == "gzip") is coded
            assert (gzip.decompress(body) if coded else body) == b"steering " * 10_000
            assert len(body) < 1000 or not coded


def test_every_answer_lets_a_browser_load_nothing_of_others(loop: Loop) -> None:
    for path in ("/", "/api/v1/status", "/static/page.js", "/nowhere"):
        with contextlib.closing(loop.connection()) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
        policy = answer.getheader("Content-Security-Policy") or ""
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert answer.getheader("X-Content-Type-Options") == "nosniff"


def test_the_files_of_the_page_are_served_and_no_others(loop: Loop) -> None:
    for name in ("page.css", "page.js", "uplot.js", "uplot.css", "uplot.txt", "icon.svg"):
        assert loop.get(f"/static/{name}")[0] == 200
    for path in ("/static/", "/static/../ipc.py", "/static/page.css/..", "/static/%2e%2e/x"):
        assert loop.get(path)[0] == 404


class Watching:
    """A client of /events."""

    def __init__(self, loop: Loop, *, gzip: bool = False) -> None:
        self.socket = client(loop)
        more = b"Accept-Encoding: gzip\r\n" if gzip else b""
        self.socket.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
        self._inflate = zlib.decompressobj(31) if gzip else None
        self._came, self._head = b"", b""

    def message(self) -> dict[str, object]:
        """The next one that says something."""
        while True:
            head, found, rest = self._came.partition(b"\n\n")
            if found:
                self._came = rest
                if head.startswith(b"data: "):
                    read: dict[str, object] = json.loads(head.removeprefix(b"data: "))
                    return read
                continue
            came = self.socket.recv(65536)
            assert came
            if b"\r\n\r\n" not in self._head:
                self._head += came
                _, _, came = self._head.partition(b"\r\n\r\n")
            self._came += self._inflate.decompress(came) if self._inflate else came


def changing(of: dict[str, int], number: int = 0) -> Callable[[str], Answer]:
    """Answers that show this; `number`: of cells that all show `all`."""

    def answer(key: str) -> Answer:
        cells = {name: [str(value), ""] for name, value in of.items()}
        if number:
            cells = {f"cell-{at}": [str(of["all"]), ""] for at in range(number)}
        body = json.dumps({"structure": "s", "cells": cells}).encode()
        return told(key) if key != "live" else Answer(code=HTTPStatus.OK, kind="", body=body)

    return answer


@pytest.mark.parametrize("gzip", [False, True])
def test_a_watcher_is_told_all_at_first_and_then_what_changed(tmp_path: Path, gzip: bool) -> None:
    shown = {"a": 1, "b": 1}
    with serving(tmp_path, answer=changing(shown)) as loop:
        first = Watching(loop, gzip=gzip)
        assert first.message() == {"structure": "s", "cells": {"a": ["1", ""], "b": ["1", ""]}}
        shown["b"] = 2
        assert first.message() == {"structure": "s", "cells": {"b": ["2", ""]}}
        second = Watching(loop, gzip=gzip)
        assert second.message()["cells"] == {"a": ["1", ""], "b": ["2", ""]}
        shown["a"] = 3
        assert first.message() == second.message() == {"structure": "s", "cells": {"a": ["3", ""]}}
        for one in (first, second):
            one.socket.close()


def test_fifty_watchers_of_whom_some_read_nothing_are_told_and_delay_nobody(tmp_path: Path) -> None:
    shown = {"all": 0}
    with serving(tmp_path, answer=changing(shown, 20_000)) as loop:
        deaf = [Watching(loop) for _ in range(10)]
        watching = [Watching(loop, gzip=True) for _ in range(40)]
        for one in watching:
            assert len(one.message()["cells"]) == 20_000  # type: ignore[arg-type]
        for step in (1, 2, 3):
            shown["all"] = step
            for one in watching:
                told_now = one.message()["cells"]
                assert isinstance(told_now, dict)
                assert set(map(tuple, told_now.values())) == {(str(step), "")}
        assert max(loop.gaps) < 2
        for one in (*deaf, *watching):
            one.socket.close()


def test_a_watcher_that_was_behind_is_told_all_when_it_reads_again(tmp_path: Path) -> None:
    shown = {"all": 0}
    with serving(tmp_path, answer=changing(shown, 50_000)) as loop:
        other, slow = Watching(loop, gzip=True), Watching(loop)
        other.message()
        for step in (1, 2, 3, 4):
            shown["all"] = step
            assert set(map(str, other.message()["cells"].values())) == {f"['{step}', '']"}  # type: ignore[attr-defined]
        latest: dict[str, object] = {}
        while set(map(str, latest.values())) != {"['4', '']"} or len(latest) != 50_000:
            cells = slow.message()["cells"]
            assert isinstance(cells, dict)
            latest.update(cells)
        for one in (other, slow):
            one.socket.close()


def test_a_watcher_that_takes_nothing_costs_no_processor(tmp_path: Path) -> None:
    shown = {"all": 0}
    with serving(tmp_path, answer=changing(shown, 50_000)) as loop:
        deaf = Watching(loop)
        deaf.socket.sendall(b"more")  # readable, while its answer is not taken
        other = Watching(loop, gzip=True)
        for step in (1, 2, 3):
            other.message()
            shown["all"] = step
        pid = loop.service.pid
        assert pid is not None
        before = _processor(pid)
        time.sleep(2)  # a span that is measured
        assert _processor(pid) - before < 1.0
        for one in (deaf, other):
            one.socket.close()


def _processor(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
