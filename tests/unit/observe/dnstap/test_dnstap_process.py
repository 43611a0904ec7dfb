"""The reader as a process, from the sockets that resolvers connect to, to the tallies."""

from __future__ import annotations

import errno
import fcntl
import grp
import json
import os
import pwd
import select
import signal
import socket
import stat
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from dnstap_frames import ADDRESS, frame, payload

from steering.lab.waiting import until
from steering.model import Evidence, Failure, Outcome
from steering.observe.dnstap.counter import FrameCounter
from steering.observe.dnstap.framestream import CONTENT_TYPE, Control, control
from steering.observe.dnstap.ipc import (
    TAKEN,
    IpcError,
    IpcMessages,
    interest_message,
    read_interest,
    read_tally,
    tally_message,
)
from steering.observe.dnstap.listeners import Listener, Place
from steering.observe.dnstap.reader import Reader
from steering.observe.dnstap.reader_client import ReaderClient
from steering.observe.dnstap.tally import (
    Frames,
    Interest,
    Notice,
    Reason,
    Sample,
    Signed,
    Tally,
    Traffic,
    Watched,
)
from steering.observe.dnstap.tally_builder import upstreams

INTEREST: Interest = {ADDRESS: Watched(zones=frozenset({"com."}))}
READY = control(Control.READY, content_type=CONTENT_TYPE)
START = control(Control.START, content_type=CONTENT_TYPE)
STOP = control(Control.STOP)
QUERY = frame(payload(3))
PATIENCE = 20.0


class Heard:
    """A tap, and the sum of what it gave."""

    def __init__(self, tap: ReaderClient) -> None:
        self.tap = tap
        self.tallies: list[Tally] = []

    def listen(self, wait: float = 0.05) -> None:
        select.select([self.tap], [], [], wait)
        self.tallies += self.tap.take(time.monotonic())

    def wait(self, enough: Callable[[], object]) -> None:
        def why() -> object:
            return self.tallies[-1:], self.notices()

        until(enough, PATIENCE, meanwhile=self.listen, tell=why)

    def until(self, what: str, least: int = 1) -> None:
        self.wait(lambda: self.count(what) >= least)

    def count(self, what: str) -> int:
        match what:
            case "notices":
                return len(self.notices())
            case "writers":
                return self.tallies[-1].writers if self.tallies else 0
            case "lost":
                return sum(t.lost for t in self.tallies)
            case "tallies":
                return len(self.tallies)
        return sum(t.frames.get(Frames(what), 0) for t in self.tallies)

    def notices(self) -> list[str]:
        return [notice.because for t in self.tallies for notice in t.notices]


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    places = (Place(at=str(tmp_path / "run/dnstap.sock")), Place(at="tcp://127.0.0.1:0"))
    with ReaderClient(places, INTEREST) as tap:
        yield Heard(tap)


def connect(name: str) -> socket.socket:
    if name.startswith("tcp://"):
        host, _, port = name.removeprefix("tcp://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE)
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(PATIENCE)
    made.connect(name)
    return made


def greet(writer: socket.socket) -> None:
    writer.sendall(READY)
    assert writer.recv(100) == control(Control.ACCEPT, content_type=CONTENT_TYPE)
    writer.sendall(START)


# --- the sockets ----------------------------------------------------------------------------


def test_a_socket_has_its_owner_and_mode_and_goes_when_it_is_closed(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root gives files away")
    path = tmp_path / "tap.sock"
    place = Place(at=str(path), owner="nobody", group="nogroup", mode=0o620)
    with Listener(place):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o620
        assert pwd.getpwuid(found.st_uid).pw_name == "nobody"
        assert grp.getgrgid(found.st_gid).gr_name == "nogroup"
        assert [p.name for p in tmp_path.iterdir()] == ["tap.sock"]
    assert not path.exists()


def test_an_unknown_owner_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        Listener(Place(at=str(tmp_path / "tap.sock"), owner="no such user here"))
    assert list(tmp_path.iterdir()) == []


def test_a_stale_socket_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "tap.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Listener(Place(at=str(path))) as first:
        with pytest.raises(FileExistsError, match="another process listens"):
            Listener(Place(at=str(path)))
        connect(str(path)).close()
        path.unlink()
        with Listener(Place(at=str(path))):
            first.close()
            assert path.exists(), "what another one made is not ours to remove"


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "tap.sock"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="no socket"):
        Listener(Place(at=str(path)))
    assert path.read_text() == "precious"


def test_a_port_in_use_is_said(heard: Heard) -> None:
    with pytest.raises(OSError, match="in use"):
        ReaderClient([Place(at=heard.tap.names[1])], INTEREST)


# --- what agent and reader write to each other ----------------------------------------------


FULL = Tally(
    began=1.5,
    ended=1.75,
    frames={Frames.OK: 3, Frames.TOO_LARGE: 1},
    lost=2,
    writers=1,
    longest_gap=0.001,
    traffic=(Traffic(address=ADDRESS, since=7, queries=1, responses=2, rcodes={0: 1, 3: 1}),),
    signed=(
        Signed(
            address=ADDRESS,
            zone="com.",
            expired=1,
            expires=5.0,
            serial=7,
            failing=(
                Failure(
                    name="a.com.",
                    outcome=Outcome.EXPIRED,
                    evidence=Evidence(owner="a.com.", rdtype="NSEC3", detail="", key_tag=1),
                ),
            ),
        ),
    ),
    samples=(Sample(address=ADDRESS, reason=Reason.FAILING, message=bytes(range(256))),),
    notices=(Notice(listener="/run/x", because="garbage"),),
    unnoticed=4,
)


def test_a_tally_arrives_as_it_was_sent_however_it_is_cut() -> None:
    letters = IpcMessages()
    moved = {a: replace(watched, since=5) for a, watched in INTEREST.items()}
    data = tally_message(FULL) + TAKEN + interest_message(moved)
    got = [letter for n in range(len(data)) for letter in letters.receive(data[n : n + 1])]
    assert read_tally(got[0]) == FULL
    assert read_interest(got[1]) is None
    assert read_interest(got[2]) == moved


@pytest.mark.parametrize(
    "changed",
    [
        {"lost": {"a": 1}},
        {"lost": 1.5},
        {"lost": 10**400},
        {"longest_gap": 10**400},
        {"longest_gap": float("nan")},
        {"began": ""},
        {"ended": None},
        {"writers": True},
        {"frames": {"ok": "\0"}},
        {"frames": {"ok": -1}},
        {"traffic": "x"},
        {"traffic": [{}]},
        {"samples": [{"address": 1, "reason": "failing", "message": ""}]},
        {"unnoticed": [None]},
    ],
)
def test_a_tally_of_other_values_than_tallies_have_is_none(changed: dict[str, object]) -> None:
    said = json.loads(tally_message(FULL)[4:])
    with pytest.raises(IpcError):
        read_tally(json.dumps({**said, **changed}).encode())


@pytest.mark.parametrize("letter", [b"", b"null", b"[" * 100_000, b"{}", b"\xff", b"9" * 5_000])
def test_what_is_no_letter_at_all_is_no_tally(letter: bytes) -> None:
    with pytest.raises(IpcError):
        read_tally(letter)


# --- the process ----------------------------------------------------------------------------


def test_several_writers_on_several_sockets_are_counted_together(heard: Heard) -> None:
    heard.listen()
    writers = [connect(name) for name in heard.tap.names * 3]
    for n, writer in enumerate(writers):
        if n % 2:
            greet(writer)
        else:
            writer.sendall(START)
        writer.sendall(QUERY * 100)
    heard.until("ok", 600)
    heard.until("writers", 6)
    for writer in writers:
        writer.sendall(QUERY[:50])  # cut in mid-frame
        writer.close()
    heard.wait(lambda: heard.tallies[-1].writers == 0)
    assert heard.count("ok") == 600
    assert sum(traffic.queries for t in heard.tallies for traffic in t.traffic) == 600
    assert heard.notices() == []


def test_stop_is_answered_with_finish_also_where_nobody_waits_for_it(heard: Heard) -> None:
    heard.listen()
    for name in heard.tap.names:
        with connect(name) as writer:
            greet(writer)
            writer.sendall(QUERY + STOP)
            assert writer.recv(100) == control(Control.FINISH)
            assert writer.recv(100) == b""
        with connect(name) as writer:  # as Unbound does
            greet(writer)
            writer.sendall(QUERY + STOP)
    heard.until("ok", 4)
    assert heard.notices() == []


def test_garbage_closes_its_own_connection_with_one_event(heard: Heard) -> None:
    heard.listen()
    path = heard.tap.names[0]
    good = connect(path)
    greet(good)
    with connect(path) as bad:
        bad.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert bad.recv(100) == b""
    good.sendall(QUERY * 5)
    heard.until("ok", 5)
    heard.until("notices")
    assert heard.notices() == ["closed a connection: data before the handshake"]
    assert heard.tallies[-1].writers == 1
    with connect(path) as bad:
        bad.sendall(START + b"\xff\xff\xff\xff")
        assert bad.recv(100) == b""
    heard.until("too_large")
    good.close()


def test_too_many_writers_are_refused_and_the_others_go_on(heard: Heard) -> None:
    heard.until("tallies")
    writers = [connect(heard.tap.names[0]) for _ in range(70)]
    heard.until("notices", 6)
    writers[0].sendall(START + QUERY)
    heard.until("ok")
    for writer in writers:
        writer.close()


def test_what_is_of_interest_can_be_changed_while_it_runs(heard: Heard) -> None:
    heard.listen()
    writer = connect(heard.tap.names[0])
    writer.sendall(START + QUERY)
    heard.until("ok")
    heard.tap.watch({"192.0.2.1": Watched(zones=frozenset({"com."}))})

    def asked() -> int:
        writer.sendall(QUERY)
        return heard.count("other")

    heard.wait(asked)
    writer.close()


def test_while_the_agent_is_busy_tallies_add_up_and_nobody_waits(heard: Heard) -> None:
    heard.listen()
    writer = connect(heard.tap.names[0])
    writer.sendall(START)
    heard.until("tallies", 2)
    before = len(heard.tallies)
    sent, busy = 0, time.monotonic() + 1.0
    while time.monotonic() < busy:  # and meanwhile nothing is taken
        writer.sendall(QUERY * 50)
        sent += 50
        until(lambda: _unread(writer), PATIENCE, wanted=0, every=0.001)
    heard.until("ok", sent)
    assert heard.count("lost") == 0
    assert len(heard.tallies) - before <= 4
    assert max(t.ended - t.began for t in heard.tallies) > 0.5
    assert all(
        earlier.began < later.began <= earlier.ended < later.ended
        for earlier, later in zip(heard.tallies, heard.tallies[1:], strict=False)
    )
    writer.close()


def test_a_reader_that_is_killed_is_started_again_and_the_sockets_stay(heard: Heard) -> None:
    heard.listen()
    first = heard.tap.pid
    assert first
    os.kill(first, signal.SIGKILL)
    heard.wait(lambda: heard.tap.pid is None)
    assert "status -9" in heard.tap.because
    writer = connect(heard.tap.names[0])  # waits in the queue meanwhile
    writer.sendall(START + QUERY)
    wake = heard.tap.wake_at()
    assert wake is not None
    assert heard.tap.take(wake - 0.001) == ()
    assert heard.tap.pid is None, "not before the pause is over"
    heard.until("ok")
    assert heard.tap.pid not in (None, first)
    assert (heard.tap.because, heard.tap.restarts) == ("", 1)
    writer.close()


def test_the_pause_doubles_while_readers_keep_dying(heard: Heard) -> None:
    pauses = []
    now = 1000.0
    for _ in range(10):
        heard.tap.take(now)
        pid = heard.tap.pid
        assert pid
        os.kill(pid, signal.SIGKILL)

        def died(at: float = now) -> bool:
            heard.tap.take(at)
            return heard.tap.pid is None

        until(died, PATIENCE)
        wake = heard.tap.wake_at()
        assert wake is not None
        pauses.append(round(wake - now, 3))
        now = wake
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_the_reader_ends_with_the_agent_however_that_ends(tmp_path: Path) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-c", _AGENT, str(tmp_path / "tap.sock")], stdout=subprocess.PIPE
    )
    assert agent.stdout
    reader = Path(f"/proc/{int(agent.stdout.readline())}")
    assert _running(reader)
    agent.kill()
    agent.communicate()
    until(lambda: not _running(reader), PATIENCE)


_AGENT = """
import signal, sys, time
from steering.observe.dnstap.tally_builder import upstreams
from steering.observe.dnstap.listeners import Place
from steering.observe.dnstap.reader_client import ReaderClient
from steering.observe.dnstap.counter import FrameCounter

tap = ReaderClient([Place(at=sys.argv[1])], {})
tap.take(time.monotonic())
print(tap.pid, flush=True)
signal.pause()
"""


def _unread(writer: socket.socket) -> int:
    """Bytes that were sent and not read yet (unix(7), SIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(writer, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _running(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


# --- falling behind -------------------------------------------------------------------------


def test_what_comes_in_bursts_after_a_pause_is_all_counted(heard: Heard) -> None:
    """As PowerDNS sends it: once a second, whatever came until then."""
    heard.listen()
    with connect(heard.tap.names[0]) as writer:
        greet(writer)
        for bursts in range(1, 13):
            pause = time.monotonic() + 0.05 + 0.01 * bursts  # over and under half a queue
            while time.monotonic() < pause:
                heard.listen(0.01)
            writer.sendall(QUERY * 200)
            heard.wait(lambda: heard.count("ok") + heard.count("lost") >= 200 * bursts)  # noqa: B023
    assert heard.count("lost") == 0


class Slow:
    """A reader in a thread, whose walk takes 10 ms a piece."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, held: int, interest: Interest) -> None:
        self.control, theirs = socket.socketpair()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("")  # a name of the kernel's choosing
        self.listener.listen()
        theirs.setblocking(False)
        self.reader = Reader(theirs, {"here": self.listener}, held=held)
        monkeypatch.setattr(self.reader, "_counter", self)
        self._walker = FrameCounter(upstreams(interest), 1)
        self._theirs = theirs
        self._thread = threading.Thread(target=self.reader.run)

    def __getattr__(self, name: str) -> object:
        return getattr(self._walker, name)

    def walk(self, chunk: bytes, start: int, now: int) -> int:
        time.sleep(0.01)
        return self._walker.walk(chunk, start, now)

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.connect(self.listener.getsockname())
        made.sendall(START)
        return made

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self.reader.close()
        self.listener.close()
        self._theirs.close()


def test_a_reader_that_falls_behind_drops_whole_frames_and_counts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The writer never waits for longer than its queue lasts."""
    sent, longest = 0, 0.0
    with Slow(monkeypatch, held=1 << 20, interest={}) as slow:
        with slow.connect() as writer:
            until = time.monotonic() + 0.5
            while (started := time.monotonic()) < until:
                writer.sendall(QUERY * 100)
                sent += 100
                longest = max(longest, time.monotonic() - started)
        tallies = list(_read_all(slow.control, lambda got: sum(map(_frames, got)) >= sent))
    counted = sum(t.frames.get(Frames.OTHER, 0) for t in tallies)
    lost = sum(t.lost for t in tallies)
    assert counted + lost == sent
    assert counted > 0
    assert lost > 0
    assert longest < 0.2


def test_a_rush_that_is_over_costs_half_of_what_was_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held = 1 << 20
    sent = 3 * held // 2 // len(QUERY)
    with Slow(monkeypatch, held=held, interest={}) as slow:
        with slow.connect() as writer:
            writer.sendall(QUERY * sent)
        tallies = list(_read_all(slow.control, lambda got: sum(map(_frames, got)) >= sent))
    assert sum(map(_frames, tallies)) == sent
    assert sum(t.lost for t in tallies) * len(QUERY) < held * 3 // 4


def test_a_greedy_writer_loses_its_own_frames_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = {ADDRESS: Watched(zones=frozenset({"com."}))}
    theirs = frame(payload(3, address=bytes(16)))
    sent = flood = 0
    with Slow(monkeypatch, held=1 << 20, interest=mine) as slow:
        with slow.connect() as greedy, slow.connect() as modest:
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                greedy.sendall(theirs * 100)
                modest.sendall(QUERY)
                sent, flood = sent + 1, flood + 100
        tallies = list(_read_all(slow.control, lambda got: sum(map(_frames, got)) >= sent + flood))
    assert sum(t.frames.get(Frames.OK, 0) for t in tallies) == sent
    assert 0 < sum(t.lost for t in tallies) < flood


def test_a_reader_that_was_not_run_for_a_while_loses_nothing_by_it(heard: Heard) -> None:
    heard.until("tallies")
    writer = connect(heard.tap.names[0])
    writer.sendall(START)
    heard.until("writers")
    assert heard.tap.pid
    os.kill(heard.tap.pid, signal.SIGSTOP)
    sent = time.monotonic()
    writer.sendall(QUERY * 500)
    until(lambda: time.monotonic() > sent + 0.5, PATIENCE)
    os.kill(heard.tap.pid, signal.SIGCONT)
    heard.until("ok", 500)
    assert heard.count("lost") == 0
    (first, *_) = (t for t in heard.tallies if t.frames)
    assert first.began <= sent < first.ended
    writer.close()


def _frames(tally: Tally) -> int:
    return sum(tally.frames.values()) + tally.lost


def _read_all(control: socket.socket, enough: object) -> Sequence[Tally]:
    letters, tallies = IpcMessages(), list[Tally]()
    control.settimeout(PATIENCE)
    while not enough(tallies):  # type: ignore[operator]
        for letter in letters.receive(control.recv(1 << 16)):
            tallies.append(read_tally(letter))
            control.sendall(TAKEN)
    return tallies


def test_a_writer_on_a_host_that_vanishes_does_not_keep_its_place() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        reader = Reader(theirs, {"tcp": listener})
        with socket.create_connection(listener.getsockname()):
            reader._accept("tcp", listener)
            (writer,) = reader._writers.values()
            assert writer.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = writer.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            gone = writer.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert 1000 * idle < gone <= 300_000
        reader.close()


def test_a_reader_for_which_no_descriptor_is_left_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with ReaderClient([Place(at=str(tmp_path / "tap"))], {}) as client:
        monkeypatch.setattr(socket, "socketpair", refused)
        assert client.take(100.0) == ()
        assert client.pid is None
        assert "does not start: [Errno 24] Too many open files" in client.because
        due = client.wake_at()
        assert due is not None
        assert due > 100.0
        monkeypatch.undo()
        assert client.take(due) == ()
        assert client.pid is not None
        assert client.because == ""
