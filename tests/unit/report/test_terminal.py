"""What is printed fits the terminal it is read in, is coloured there and nowhere else."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import etc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import UnixServer
from simulation import WALL, Ask, Simulation, policy, setup

from steering.model import Outcome
from steering.override import Action, Match, Override
from steering.report.http.listeners import NAME
from steering.report.http.request import SERVER
from steering.report.snapshot import Snapshot
from steering.report.status import explain, status
from steering.report.terminal import table, wrapped

ONE = "192.5.0.30"
_PAINT = re.compile(r"\x1b\[[0-9;]*m")


@given(
    st.lists(st.tuples(*[st.text("ab .:", max_size=70)] * 5), min_size=1, max_size=4),
    st.integers(60, 120),
)
def test_a_table_fits_whatever_is_in_it(rows: list[tuple[str, ...]], columns: int) -> None:
    lines = table([("A", "B", "C", "D", "E"), *rows], columns, cut=(1,))
    assert max(map(len, lines)) <= columns


def test_columns_that_fit_are_as_they_were() -> None:
    rows = [("ADDRESS", "NEW PATH"), ("192.0.2.1", "pao")]
    assert table(rows, 80) == table(rows) == ["ADDRESS    NEW PATH", "192.0.2.1  pao"]


def test_a_word_that_is_wider_than_all_is_left_whole() -> None:
    assert wrapped(f"see {'x' * 90} there", 80) == ["see", f"  {'x' * 90}", "  there"]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A configuration with an agent behind it that has steered, and an override."""

    def answer(ask: Ask) -> Outcome:
        return Outcome.EXPIRED if ask.local and ask.now >= 1020 else Outcome.SECURE

    (place := tmp_path / "sim").mkdir()
    sim = Simulation(setup(place, policy(letters=2)), answer)
    word = "an operator has said so for a reason that takes more than a line of a terminal"
    sim.overrides = (
        Override(
            name="ticket-4711",
            match=Match(address=ONE),
            action=Action.LOCAL,
            to=None,
            until=WALL + 5000.5,
            reason=word,
            by="noc",
        ),
    )
    sim.run(40)
    snapshot = Snapshot(
        mode="enforce",
        state=sim.state,
        installed=sim.installed,
        alarms=sim.state.alarms,
        ready=True,
        turned_at=sim.now,
    )

    class Answers(BaseHTTPRequestHandler):
        server_version, sys_version = SERVER, ""

        def do_GET(self) -> None:
            told = explain(snapshot, ONE) if "explain" in self.path else status(snapshot)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_: object) -> None: ...

    written = f"upstream: gtld\nzones: [com.]\nnameservers: {{a.example.: [{ONE}]}}\n"
    override = (
        f"overrides:\n  - {{name: ticket-4711, match: {{address: {ONE}}}, action: local,"
        f" until: never, reason: {word}, by: noc}}\n"
    )
    file = etc.place(tmp_path, etc.ONE_SITE, x=written, overrides=override)
    (tmp_path / "run").mkdir()
    with UnixServer(str(tmp_path / "run" / NAME), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield file
        finally:
            server.shutdown()
            thread.join()


def _on_a_terminal(command: list[str], columns: int, **environment: str) -> str:
    """What a command prints on a terminal that is so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    env = {**inherited, "TERM": "xterm", **environment}
    said = b""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env):
        os.close(theirs)
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while part := os.read(ours, 65536):
                said += part
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


WORDS = (
    ("status", "--all"),
    ("explain", ONE),
    ("override", "list"),
    ("override", "list", "ticket-4711"),
)


@pytest.mark.long
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_commands_fit_80_columns_on_a_terminal_and_piped(
    config: Path, words: tuple[str, ...]
) -> None:
    command = [sys.executable, "-m", "steering", *words, "--config", str(config)]
    shown = _on_a_terminal(command, 80)
    env = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    piped = subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout
    plain = _on_a_terminal(command, 80, NO_COLOR="1")
    assert _PAINT.sub("", shown) == plain == piped
    path = str(config.parent)  # what has to be typed again is not cut
    assert max(len(line) for line in plain.splitlines() if path not in line) <= 80
    assert bool(_PAINT.search(shown)) is (words[0] in ("status", "explain"))
    wide = _on_a_terminal(command, 100, NO_COLOR="1")
    assert 80 < max(map(len, wide.splitlines())) <= 100


def test_events_fit_80_columns_on_a_terminal() -> None:
    code = (
        "import sys\n"
        "from steering.model import Event\n"
        "from steering.report.log import Log\n"
        "from steering.report.terminal import coloured\n"
        "from steering.system.output import Output\n"
        "log = Log(output=Output(2), readable=True, colour=coloured(sys.stderr))\n"
        "log.write(Event(event='steered', because='bad here and good there ' * 9, was='local',"
        " now='pao', address='2001:db8::1', rule='steer'), 1.7e9)\n"
    )
    for environment, painted in (({}, True), ({"NO_COLOR": "1"}, False)):
        said = _on_a_terminal([sys.executable, "-c", code], 80, **environment)
        assert ("\x1b[36msteered\x1b[0m" in said) is painted
        lines = _PAINT.sub("", said).splitlines()
        assert len(lines) > 3
        assert max(map(len, lines)) <= 80
        assert {line[:14] for line in lines[1:]} == {" " * 14}
