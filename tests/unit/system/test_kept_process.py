"""A process that is kept running, and one that outlives this one."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from steering.lab.waiting import until
from steering.system import kept_process, processes
from steering.system.kept_process import KeptProcess
from steering.system.processes import has_ended, start_detached

pytestmark = pytest.mark.timeout(60)

_ECHO = (
    "import os, socket, sys\n"
    "s = socket.socket(fileno=int(sys.argv[1]))\n"
    "s.send(' '.join(sys.argv[2:]).encode() or b'-')\n"
    "while data := s.recv(100):\n"
    "    if data == b'leave':\n"
    "        sys.exit(3)\n"
)
SHORTEST, LONGEST = 0.5, 3.0


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeptProcess]:
    """One that says its arguments first, and then waits."""

    def command(_module: str, *words: str) -> list[str]:
        return [sys.executable, "-c", _ECHO, *words]

    monkeypatch.setattr(kept_process, "command", command)
    with contextlib.closing(
        KeptProcess("the echo", "no.module", back_off=(SHORTEST, LONGEST))
    ) as made:
        yield made


def start(kept: KeptProcess, now: float, *words: str) -> bool:
    return kept.start(now, socket.socketpair(), words)


def heard(kept: KeptProcess) -> bytes:
    """What is on the socket as soon as something is."""
    assert kept.poll.poll(20.0)
    assert kept.socket is not None
    return kept.socket.recv(100)


def there(pid: int | None) -> bool:
    """Also where it has ended and nobody took note of that."""
    return Path(f"/proc/{pid}").exists()


def test_it_is_started_and_what_it_says_is_to_be_read(kept: KeptProcess) -> None:
    assert (kept.pid, kept.socket, kept.because) == (None, None, "")
    assert start(kept, 0.0, "one", "two")
    assert kept.pid is not None
    assert heard(kept) == b"one two"
    assert not kept.poll.poll(0.0), "there is no more"
    assert kept.socket is not None
    assert not kept.socket.getblocking()


def test_it_has_the_descriptors_that_were_passed_and_no_others(
    kept: KeptProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, socket, sys\n"
        "there = [n for n in map(int, os.listdir('/proc/self/fd')) if n > 2]\n"
        "socket.socket(fileno=int(sys.argv[1])).send(repr([*map(os.path.realpath, (\n"
        "    f'/proc/self/fd/{n}' for n in there if n != int(sys.argv[1])))]).encode())\n"
    )
    monkeypatch.setattr(
        kept_process, "command", lambda _module, *words: [sys.executable, "-c", code, *words]
    )
    passed, other = (os.open(os.devnull, os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY))
    os.set_inheritable(other, True)
    try:
        assert kept.start(0.0, socket.socketpair(), (), [passed])
        said = heard(kept).decode()
        assert said.count("/dev/null") == 1
        assert "/dev/zero" not in said
    finally:
        os.close(passed)
        os.close(other)


def test_its_end_is_seen_and_leaves_no_zombie(kept: KeptProcess) -> None:
    start(kept, 0.0)
    assert heard(kept) == b"-"
    pid = kept.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert heard(kept) == b""
    kept.ended(10.0, "ended")
    assert kept.because == "the echo ended"
    assert (kept.pid, kept.socket) == (None, None)
    assert not there(pid)
    assert not kept.poll.poll(0.0), "the descriptor of one that ended is not waited on"


def test_one_that_ended_is_not_waited_on_though_a_fork_has_its_socket(kept: KeptProcess) -> None:
    """epoll(7), questions and answers: what is watched is the open file, not the number."""
    start(kept, 0.0)
    assert heard(kept) == b"-"
    assert kept.socket is not None
    copy = kept.socket.dup()
    kept.stop()
    assert not kept.poll.poll(0.0)
    copy.close()


def test_how_it_ended_is_told(kept: KeptProcess) -> None:
    start(kept, 0.0)
    assert heard(kept) == b"-"
    assert kept.socket is not None
    kept.socket.send(b"leave")
    assert heard(kept) == b""
    until(lambda: Path(f"/proc/{kept.pid}/stat").read_text().rpartition(") ")[2][0] == "Z")
    assert kept.stop() == 3
    assert kept.stop() is None


def test_one_that_is_stopped_or_hangs_is_ended_all_the_same(kept: KeptProcess) -> None:
    start(kept, 0.0)
    assert heard(kept) == b"-"
    pid = kept.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert kept.stop() == -signal.SIGKILL
    assert not there(pid)


def test_the_pause_doubles_with_each_end_to_a_limit_and_is_short_after_a_long_life(
    kept: KeptProcess,
) -> None:
    now, pauses = 100.0, []
    for lived in (0.0, 29.0, 29.0, 29.0, 29.0, 30.0, 0.0):
        assert now >= kept.due
        assert start(kept, now)
        now += lived
        kept.ended(now, "ended")
        pauses.append(kept.due - now)
        now = kept.due
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0, 0.5, 1.0]


def test_where_none_can_be_had_it_says_why_and_nothing_is_left_open(
    kept: KeptProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **_more: object) -> subprocess.Popen[bytes]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refused)
        assert not start(kept, 10.0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert kept.because.startswith("the echo does not start: [Errno 11]")
    assert kept.due == 10.0 + SHORTEST
    assert start(kept, kept.due)
    assert kept.because == ""


def test_when_it_is_closed_nothing_runs_and_nothing_is_open(kept: KeptProcess) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    made = KeptProcess("another", "no.module", back_off=(SHORTEST, LONGEST))
    start(made, 0.0)
    pid = made.pid
    assert there(pid)
    made.close()
    assert not there(pid)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_command_runs_this_very_code_and_no_site(tmp_path: Path) -> None:
    code = "import steering.system, sys; print(steering.system.__file__, 'site' in sys.modules)"
    words = processes.command("x")
    words[words.index("-m") :] = ["-c", code]
    done = subprocess.run(
        words,
        env=processes.environment({"LANG": "C"}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    package = Path(processes.__file__).resolve().with_name("__init__.py")
    assert done.stdout == f"{package} False\n"


_DETACHED = (
    "import os, sys\n"
    "from pathlib import Path\n"
    "from steering.system import processes\n"
    "code = 'import os, sys; print(os.getsid(0), file=sys.stderr, flush=True); os.read(3, 1)'\n"
    "processes.command = lambda module, *words: [sys.executable, '-c', code, *words]\n"
    "log = Path(sys.argv[1]) if len(sys.argv) > 1 else None\n"
    "os.set_inheritable(3, True)\n"
    "print(processes.start_detached('m', [], {'A': 'b'}, log=log), os.getsid(0), flush=True)\n"
    "sys.stdin.read()\n"
)


@pytest.mark.parametrize("logged", [False, True])
def test_one_that_is_detached_outlives_its_parent_in_a_session_of_its_own(
    tmp_path: Path, logged: bool
) -> None:
    log, (reading, writing) = tmp_path / "log", os.pipe()
    log.write_text("was there\n")
    command = ["sh", "-c", 'exec "$@" 3<&0', "sh", sys.executable, "-c", _DETACHED]
    parent = subprocess.Popen(
        command + [str(log)] * logged,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
        start_new_session=True,
    )
    os.close(writing)
    with parent, os.fdopen(reading) as errors:
        assert parent.stdin is not None
        assert parent.stdout is not None
        pid, session = map(int, parent.stdout.readline().split())
        # A second hold on the pipe, which the detached process reads until the test's end.
        keep = os.dup(parent.stdin.fileno())
        try:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()
            if logged:
                until(lambda: log.read_text() == f"was there\n{pid}\n")
            else:
                assert errors.readline() == f"{pid}\n"
            assert session != pid
            assert b"A=b" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        finally:
            os.close(keep)
    until(lambda: not there(pid))


def test_a_link_in_the_log_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        start_detached("this", [], {}, log=tmp_path / "log")
    assert not (tmp_path / "victim").exists()


def test_the_end_of_a_child_is_seen_once_it_is_there_and_leaves_no_zombie() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    assert not has_ended(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: has_ended(pid))
    assert not there(pid)
    assert has_ended(pid), "nor is it a child any more"
