"""The speaker's process, its helper and its secrets: found, ended, refused, never told."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from claims import CLAIM
from fakes import FakeActuator

from steering.act import guard
from steering.act.bgp import bridge, process, speaker_log
from steering.act.bgp.prerequisites import look_around, shared
from steering.act.bgp.settings import BgpSettings, Peer
from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.removal import KernelRemover
from steering.act.lease import LeaseState, boot_id, boot_time
from steering.act.off_switch import switch_off
from steering.agent.bgp import BgpSpeaker
from steering.lab import waiting
from steering.model import Family

PEER = Peer(address="127.0.0.1", peer_as=64512)
TERMS = BgpSettings(
    local_as=64512,
    router_id="10.0.0.53",
    peers=(PEER,),
    next_hops={"pao": {Family.IPV4: "10.255.1.1"}},
    user="root" if os.geteuid() == 0 else "nobody",
)


until = functools.partial(waiting.until, within=10.0)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / process.FOLDER).mkdir()
    yield tmp_path
    process.end(tmp_path)


def stand_in(runtime: Path, fingerprint: str = "f") -> int:
    """Something that sleeps where ExaBGP would run."""
    sleeper = "import time; time.sleep(60)"
    conf = str(runtime.absolute() / process.FOLDER / process.CONFIGURATION)
    pid = process.start(runtime, fingerprint, [sys.executable, "-c", sleeper, conf], {})
    until(lambda: process.running(runtime) == fingerprint)
    return pid


def test_a_speaker_is_found_by_its_lock_and_ended_by_whoever_has_to(runtime: Path) -> None:
    assert process.running(runtime) is None
    assert not process.end(runtime)
    pid = stand_in(runtime)
    assert process.end(runtime)
    assert process.running(runtime) is None
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_there_is_one_at_a_time(runtime: Path) -> None:
    first = stand_in(runtime, "first")
    second = process.start(runtime, "second", [sys.executable, "-c", "pass"], {})
    assert os.waitpid(second, 0)[1] == 0
    assert process.running(runtime) == "first"
    process.end(runtime)
    os.waitpid(first, 0)


def test_a_number_that_somebody_else_has_now_is_not_killed(runtime: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        holder = stand_in(runtime)
        (runtime / process.LOCK).write_text(f"{bystander.pid}\nf\n")
        with pytest.raises(TimeoutError):
            process.end(runtime)
        assert bystander.poll() is None
        bystander.kill()
    (runtime / process.LOCK).write_text(f"{holder}\nf\n")
    process.end(runtime)
    os.waitpid(holder, 0)


def test_what_it_says_at_its_end_is_kept(runtime: Path) -> None:
    conf = str(runtime.absolute() / process.FOLDER / process.CONFIGURATION)
    command = [sys.executable, "-c", "raise SystemExit('port in use')", conf]
    pid = process.start(runtime, "f", command, {})
    os.waitpid(pid, 0)
    assert "port in use" in (runtime / process.FOLDER / "log").read_text()


_PARENT = """
import os, signal, sys
from pathlib import Path
from steering.act.bgp import process
runtime, conf = Path(sys.argv[1]), sys.argv[2]
process.start(runtime, "f", [sys.executable, "-c", "import time; time.sleep(60)", conf], {})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_who_reads_what_the_agent_says_does_not_wait_for_the_speaker(
    runtime: Path, waits: bool, closed: bool
) -> None:
    """`steering run 2>&1 | cat` ends with the agent, and so does `3>&1`, and one without 2."""
    conf = str(runtime.absolute() / process.FOLDER / process.CONFIGURATION)
    read, write = os.pipe()
    os.set_inheritable(write, True)
    lock = os.open(runtime / process.LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    if waits:
        fcntl.flock(lock, fcntl.LOCK_EX)
    argv = [sys.executable, "-c", _PARENT, str(runtime), conf]
    if closed:
        argv = ["sh", "-c", 'exec "$@" 2>&-', "sh", *argv]
    with subprocess.Popen(argv, stderr=write, close_fds=False) as agent:
        os.close(write)
        agent.wait()
        began = time.monotonic()
        assert select.select([read], [], [], 10.0)[0], "somebody holds the pipe still"
        assert os.read(read, 4096) == b""
        assert not waits or time.monotonic() - began < 1.5, "not even while it waits for its turn"
    os.close(read)
    os.close(lock)
    until(lambda: process.running(runtime) == "f")


def test_what_it_says_is_told_once_and_seldom(runtime: Path) -> None:
    folder = runtime / process.FOLDER
    log = folder / speaker_log.LOG
    heard = speaker_log.SpeakerLog(folder)
    assert heard.new(0.0) == ""
    log.write_text("Traceback (most recent call last):\n  x\nValueError: no\x1b[31m\n\n")
    assert heard.new(1.0) == "ValueError: no [31m"
    assert heard.new(2.0) == ""
    with log.open("a") as file:
        file.write("again\n" * 100_000 + "and once more")
    assert heard.new(1.0 + speaker_log.EVERY / 2) == ""
    assert heard.new(1.0 + speaker_log.EVERY) == "and once more"
    log.write_text("the next one\n")
    assert heard.new(50.0) == "the next one"
    log.write_bytes(b"\xff" * 10_000)
    assert len(heard.new(90.0)) == 200
    heard.skip()
    log.unlink()
    log.symlink_to("/dev/zero")
    assert heard.new(130.0) == ""


def test_the_guard_passes_on_what_it_says_when_there_is_no_agent(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(guard, "_say", said.append)
    log = runtime / process.FOLDER / speaker_log.LOG
    watch = guard.Watch(runtime=runtime)
    with subprocess.Popen(["sleep", "60"]) as agent:
        watch._last = LeaseState(
            deadline=boot_time() + 3600, boot=boot_id(), pid=agent.pid, claim=CLAIM
        )
        log.write_text("heard by the agent\n")
        watch.look()
        agent.kill()
    with log.open("a") as file:
        file.write("heard by nobody else\n")
    watch.look()
    watch.look()
    assert said == ["message of the BGP speaker: heard by nobody else"]


def test_one_that_starts_while_all_is_switched_off_never_speaks(runtime: Path) -> None:
    (runtime / process.SWITCH).touch()
    spoke = runtime / "spoke"
    command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w')", str(spoke)]
    pid = process.start(runtime, "f", command, {})
    assert os.waitpid(pid, 0)[1] == 0
    assert process.running(runtime) is None
    assert not spoke.exists()


def test_switching_off_ends_one_that_comes_after_the_first_look(runtime: Path) -> None:
    came: list[int] = []

    class Racing(FakeActuator):
        """While the kernel is cleaned, the switch in memory fails and a speaker comes up."""

        def withdraw(self, *, but: Claim | None = None) -> tuple[KernelProblem, ...]:
            if not came:
                (runtime / process.SWITCH).unlink()
                came.append(stand_in(runtime))
            return super().withdraw(but=but)

    result = switch_off(
        state=runtime / "state",
        runtime=runtime,
        reason="test",
        by="test",
        configured=lambda: CLAIM,
        remover=lambda _claim: cast("KernelRemover", contextlib.nullcontext(Racing(CLAIM))),
    )
    assert came
    assert process.running(runtime) is None
    assert result.gone
    os.waitpid(came[0], 0)


def test_the_fingerprint_is_for_nobody_else_to_see(runtime: Path) -> None:
    secret = b"0123456789abcdef"
    lock = os.open(runtime / process.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)  # it waits for this, and is to be seen until then
    conf = str(runtime.absolute() / process.FOLDER / process.CONFIGURATION)
    command = [sys.executable, "-c", "import time; time.sleep(60)", conf]
    pid = process.start(runtime, secret.decode(), command, {})
    words = Path(f"/proc/{pid}/cmdline")
    until(lambda: b"steering.act.bgp.process" in words.read_bytes())
    assert secret not in words.read_bytes()
    os.close(lock)
    until(lambda: b"steering.act.bgp.process" not in words.read_bytes())
    assert secret not in Path(f"/proc/{pid}/environ").read_bytes(), "ExaBGP has no need of it"
    assert process.running(runtime) == secret.decode()
    process.end(runtime)
    os.waitpid(pid, 0)


def test_a_speaker_that_would_not_end_is_tried_again_each_turn(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bgp = BgpSpeaker(runtime, may_speak=lambda: True)
    pid = stand_in(runtime)

    def refuse(_runtime: Path, _within: float) -> bool:
        raise TimeoutError("it does not end")

    with monkeypatch.context() as patch:
        patch.setattr(process, "end", refuse)
        bgp.adopt(held=True)
        bgp.apply({}, (), tuple, off=False, covered=True)
        assert bgp.problems == ("it does not end",)
        assert bgp.withdraw()
        assert process.running(runtime) == "f"
    bgp.apply({}, (), tuple, off=False, covered=True)
    assert process.running(runtime) is None
    assert not bgp.problems
    assert not bgp.withdraw()
    os.waitpid(pid, 0)


# --- what is needed before it starts --------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "text", "because"),
    [
        (0o644, "secret", "may be read by others (mode 0644)"),
        (0o640, "secret", "may be read by others"),
        (0o600, "", "no password"),
        (0o600, "x" * 81, "no password of 1 to 80"),
        (0o600, None, "can't be read: No such file"),
        (0o600, "secret", None),
    ],
)
def test_a_password_file_that_others_may_read_is_refused(
    tmp_path: Path, mode: int, text: str | None, because: str | None
) -> None:
    file = tmp_path / "password"
    if text is not None:
        file.write_text(text)
        file.chmod(mode)
    peers = (replace(PEER, password_file=file), Peer(address="::1", peer_as=1))
    home = look_around(replace(TERMS, peers=peers), tmp_path, 60.0)
    said = "; ".join(home.troubles)
    if because is None:
        assert home.passwords == {PEER.address: b"secret"}
        assert PEER.address in {p.address for p in home.terms.peers}
    else:
        assert because in said
        assert {p.address for p in home.terms.peers} == {"::1"}
    assert "secret" not in said
    assert "secret" not in str(home.fingerprint)


def test_a_pipe_for_a_password_file_holds_nobody_up(tmp_path: Path) -> None:
    pipe = tmp_path / "password"
    os.mkfifo(pipe, 0o600)
    said = replace(TERMS, peers=(replace(PEER, password_file=pipe),))
    troubles: list[str] = []
    looks = threading.Thread(
        target=lambda: troubles.extend(look_around(said, tmp_path, 60.0).troubles), daemon=True
    )
    looks.start()
    looks.join(10)
    assert any("is not a regular file" in trouble for trouble in troubles)


def test_the_fingerprint_changes_with_a_password_and_not_with_the_plan(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one")
    file.chmod(0o600)
    said = replace(TERMS, peers=(replace(PEER, password_file=file),))
    first = look_around(said, tmp_path, 60.0)
    file.write_text("two")
    assert first.fingerprint != look_around(said, tmp_path, 60.0).fingerprint
    file.write_text("one")
    other = look_around(replace(said, local_preference=700), tmp_path, 60.0)
    assert first.fingerprint == other.fingerprint


def test_another_program_or_another_user_is_another_speaker(tmp_path: Path) -> None:
    """The configuration is the same, but what runs by the old one can't go on."""
    users = ("root", "nobody") if os.geteuid() == 0 else ("nobody",)
    programs = (None, Path("/bin/true"), Path("/bin/false"))
    said = [replace(TERMS, user=user, exabgp=program) for user in users for program in programs]
    assert len({look_around(one, tmp_path, 60.0).fingerprint for one in said}) == len(said)


def test_the_files_are_for_root_alone_but_for_the_helper(tmp_path: Path) -> None:
    home = look_around(TERMS, tmp_path, 60.0)
    home.write_files(tmp_path, {})
    folder = tmp_path / process.FOLDER
    assert folder.stat().st_mode & 0o777 == 0o711
    assert (folder / process.CONFIGURATION).stat().st_mode & 0o777 == 0o600
    assert (folder / "bridge.py").stat().st_mode & 0o777 == 0o644
    assert (folder / "bridge.py").read_text() == Path(bridge.__file__).read_text()


def test_a_host_without_ipv6_still_speaks_to_its_ipv4_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket

    def without(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr(socket, "socket", without)
    six = Peer(address="::1", peer_as=64512)
    home = look_around(replace(TERMS, peers=(PEER, six)), tmp_path, 60.0)
    assert home.usable
    assert home.local == {PEER.address: "127.0.0.1"}


def test_an_exabgp_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    home = look_around(replace(TERMS, exabgp=tmp_path / "exabgp"), tmp_path, 60.0)
    assert not home.usable
    assert any("is no program" in trouble for trouble in home.troubles)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives itself up")
def test_a_user_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    home = look_around(replace(TERMS, user="no-such-user"), tmp_path, 60.0)
    assert not home.usable
    made = "`useradd --system --no-create-home --shell /usr/sbin/nologin no-such-user` makes it"
    assert any("there is none on this host" in t and made in t for t in home.troubles)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives itself up")
def test_the_user_that_comes_with_us_is_made_by_the_file_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)
    file = tmp_path / "lib/sysusers.d/steering-bgp.conf"
    file.parent.mkdir(parents=True)
    file.touch()
    home = look_around(replace(TERMS, user="steering-bgp"), tmp_path, 60.0)
    assert any(f"`systemd-sysusers {file}` makes it" in trouble for trouble in home.troubles)


def test_a_user_that_others_run_as_is_said_to_be_shared() -> None:
    assert "nobody is one that other services run as too" in shared("nobody")
    assert not shared("steering-bgp")


# --- the helper -----------------------------------------------------------------------------


class Between:
    """A bridge with a parent of its own that passes ExaBGP's pipes on to the test."""

    PARENT = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:])\n"
        "child.wait()\n"
        "time.sleep(60)\n"
    )

    def __init__(self, place: Path, lease: float) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(place))
        self.listener.listen()
        self.listener.settimeout(10)
        self.parent = subprocess.Popen(
            [sys.executable, "-c", self.PARENT, sys.executable, bridge.__file__, place, str(lease)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.parent.stdin
        assert self.parent.stdout
        self.say, self.heard = self.parent.stdin, self.parent.stdout

    def agent(self) -> socket.socket:
        agent, _ = self.listener.accept()
        agent.settimeout(10)
        return agent

    def close(self) -> None:
        self.parent.kill()
        self.parent.communicate()
        self.listener.close()


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Between]:
    made = Between(tmp_path / "socket", 30.0)
    yield made
    made.close()


def test_lines_pass_both_ways_and_beats_don_t(between: Between) -> None:
    with between.agent() as agent:
        agent.sendall(b"!\nversion\n!\n")
        assert between.heard.readline() == b"version\n"
        between.say.write(b"exabgp 5.0.15\ndone\n")
        between.say.flush()
        assert agent.recv(100) == b"exabgp 5.0.15\ndone\n"


def test_an_agent_gets_no_answer_that_was_another_s(between: Between) -> None:
    with between.agent() as first:
        first.sendall(b"announce one\nannounce two\n")
        between.heard.readline()
        between.heard.readline()
    with between.agent() as second:
        second.sendall(b"version\n")
        assert between.heard.readline() == b"version\n"
        between.say.write(b'done\n{"event": 1}\nneighbor x\nerror\nexabgp 5\ndone\n')
        between.say.flush()
        got = b""
        while got.count(b"\n") < 3:
            got += second.recv(100)
        assert got == b'{"event": 1}\nexabgp 5\ndone\n'


def test_it_drains_exabgp_while_nobody_listens_or_reads(between: Between) -> None:
    line = b'{"x": "' + b"y" * 1000 + b'"}\n'
    with between.agent():
        for _ in range(4000):  # 4 MB: far more than pipe, socket and what it keeps
            between.say.write(line)
        between.say.flush()

    def heard() -> bool:
        """Connections that came and were dropped meanwhile are still in the queue."""
        with between.agent() as agent, contextlib.suppress(BrokenPipeError):
            agent.sendall(b"version\n")
            return bool(select.select([between.heard], [], [], 1.0)[0])
        return False

    until(heard)
    assert between.heard.readline() == b"version\n"


def test_half_a_command_of_an_agent_that_died_is_never_said(between: Between) -> None:
    with between.agent() as first:
        first.sendall(b"announce half")
    with between.agent() as second:
        second.sendall(b"version\n")
        assert between.heard.readline() == b"version\n"


def test_without_a_beat_it_ends_its_parent(tmp_path: Path) -> None:
    made = Between(tmp_path / "socket", 0.6)
    try:
        started = time.monotonic()
        with made.agent() as agent:
            for _ in range(4):
                agent.sendall(b"!\n")
                time.sleep(0.25)  # the beat itself
            assert made.parent.poll() is None
            agent.sendall(b"version\n")  # a command is no beat
            made.parent.wait(5)
        assert 1.0 < time.monotonic() - started < 4.0
        assert made.parent.returncode == -signal.SIGKILL
    finally:
        made.close()


def test_it_ends_with_exabgp(between: Between) -> None:
    with between.agent() as agent:
        between.say.close()
        assert agent.recv(100) == b""
    between.parent.stdin = None
