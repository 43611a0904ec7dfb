"""A speaker is watched, replaced and reconfigured, and no turn ever waits for one.

The link to its bridge may be lost at any moment; the process may hang, or not even die.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import select
import signal
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from speaking import LEASE, TERMS, bridge, stand_in, until
from speaking import runtime as runtime  # noqa: PLC0414 - a fixture
from speaking import speaker as speaker  # noqa: PLC0414

from steering.act.bgp import actuator as speaking_for
from steering.act.bgp import process, supervisor
from steering.act.bgp.actuator import BgpActuator
from steering.act.bgp.prerequisites import look_around
from steering.act.bgp.settings import Peer
from steering.act.bgp.supervisor import CONNECTED_WITHIN
from steering.agent.bgp import BgpSpeaker

OTHERWISE = replace(TERMS, peers=(Peer(address="127.0.0.2", peer_as=64512),))
AT_MOST = 0.1  # seconds that a speaker may cost the loop at one time


def test_a_bridge_that_dies_while_it_is_answered_costs_the_link_and_not_the_agent(
    speaker: BgpActuator, runtime: Path
) -> None:
    with bridge(speaker, runtime) as end:
        end.sendall(b"exabgp 5.0.15\ndone\n")
    speaker.pump()
    assert not speaker.report().linked


def test_nobody_knows_what_a_speaker_without_a_link_announces(
    speaker: BgpActuator, runtime: Path
) -> None:
    assert not speaker.known
    with bridge(speaker, runtime) as end:
        end.sendall(b"exabgp 5.0.15\ndone\n[]\ndone\ndone\n")
        until(lambda: pumped(speaker).known)
    until(lambda: not pumped(speaker).known)
    silence(speaker)
    process.end(runtime)
    assert speaker.known, "a dead one announces nothing"


def test_what_is_wanted_is_told_as_wanted_until_it_is_taken_back(speaker: BgpActuator) -> None:
    address = "192.0.2.53"
    speaker.apply({address: "pao"}, {address}, ())
    assert speaker.report().wanted == 1
    speaker.apply({}, {address}, ())
    assert speaker.report().wanted == 0


def test_an_old_speaker_whose_helper_is_lost_has_time_to_replace_it(
    speaker: BgpActuator, runtime: Path
) -> None:
    speaker._supervisor._started -= 100 * CONNECTED_WITHIN
    bridge(speaker, runtime).close()
    speaker.apply({}, (), ())
    assert not speaker.report().linked
    speaker.apply({}, (), ())
    assert process.running(runtime) is not None
    speaker._link.apart_since -= CONNECTED_WITHIN + 0.1
    with bridge(speaker, runtime):
        speaker.apply({}, (), ())
        assert process.running(runtime) is not None
    silence(speaker)
    speaker.apply({}, (), ())
    speaker._link.apart_since -= CONNECTED_WITHIN + 0.1
    speaker.apply({}, (), ())
    assert process.running(runtime) is None
    assert [(e.now, e.because) for e in speaker.news()] == [("ended", "it did not answer")]


def test_a_speaker_of_another_configuration_is_not_listened_to(
    speaker: BgpActuator, runtime: Path
) -> None:
    """One that was on its way when the files changed comes up, and connects."""
    speaker.change(OTHERWISE, LEASE)
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(str(runtime / process.FOLDER / "socket"))
        speaker.pump()
        assert end.recv(100) == b""
    assert not speaker.report().linked
    silence(speaker)
    speaker._link.apart_since -= CONNECTED_WITHIN + 0.1
    speaker.apply({}, (), ())
    assert process.running(runtime) is None


def test_other_attributes_cost_no_link_and_other_neighbours_a_speaker(
    speaker: BgpActuator, runtime: Path
) -> None:
    with bridge(speaker, runtime):
        speaker.change(replace(TERMS, local_preference=700), LEASE)
        speaker.apply({}, (), ())
        assert speaker.report().linked
        silence(speaker)
        speaker.change(OTHERWISE, LEASE)
        assert set(speaker.report().sessions) == {"127.0.0.2"}
        speaker.apply({}, (), ())
        assert not speaker.report().linked
        assert process.running(runtime) is None
    assert [e.because for e in speaker.news()] == ["its configuration is not the wanted one"]


@pytest.fixture
def sockets(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whose the socket was that each start found; none starts anything."""
    owners: list[int] = []

    def start(*_: object) -> int:
        owners.append((runtime / process.FOLDER / "socket").stat().st_uid)
        raise OSError(errno.EAGAIN, "not in this test")

    monkeypatch.setattr(process, "start", start)
    return owners


def test_another_version_is_ended_with_all_that_it_was_started_with_and_followed_by_none(
    speaker: BgpActuator, runtime: Path, sockets: list[int]
) -> None:
    """It could be told to withdraw nothing, and another one of its kind would be no better."""
    with bridge(speaker, runtime) as end:
        end.sendall(b"exabgp 4.2.25\ndone\n")
        until(lambda: pumped(speaker)._sync.version)
        for _ in range(3):
            speaker._supervisor._started -= 100 * CONNECTED_WITHIN
            speaker.apply({}, (), ())
            assert process.running(runtime) is None
            assert any("this is ExaBGP 4.2.25, wanted 5.0" in what for what in speaker.troubles)
    assert not sockets
    speaker.change(replace(TERMS, exabgp=Path("/bin/true")), LEASE)
    speaker.apply({}, (), ())
    assert sockets


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives itself up")
def test_another_user_has_a_speaker_and_a_socket_of_his_own(
    speaker: BgpActuator, runtime: Path, sockets: list[int]
) -> None:
    with bridge(speaker, runtime):
        speaker.change(replace(TERMS, user="nobody"), LEASE)
        speaker.apply({}, (), ())
        assert process.running(runtime) is None
    assert sockets == [pwd.getpwnam("nobody").pw_uid]


def test_a_socket_that_somebody_removed_is_there_for_the_next_speaker(
    speaker: BgpActuator, runtime: Path, sockets: list[int]
) -> None:
    (runtime / process.FOLDER / "socket").unlink()
    speaker._link.apart_since -= CONNECTED_WITHIN + 0.1
    speaker.apply({}, (), ())
    assert sockets == [os.geteuid()]


def test_a_hung_speaker_holds_up_no_reload(runtime: Path) -> None:
    pid = stand_in(runtime)
    bgp = BgpSpeaker(runtime, may_speak=lambda: True)
    bgp.configure(TERMS, LEASE)
    bgp.adopt(held=True)
    took: list[float] = []
    for number in range(5):
        began = time.monotonic()
        bgp.change(replace(TERMS, local_preference=number), LEASE)
        took.append(time.monotonic() - began)
    assert process.running(runtime) is not None
    assert statistics.median(took) < AT_MOST
    bgp.close()
    process.end(runtime)
    os.waitpid(pid, 0)


def test_a_change_that_fails_ends_no_reload_and_is_tried_again(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bgp = BgpSpeaker(runtime, may_speak=lambda: False)

    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    def turn() -> None:
        bgp.apply({}, (), tuple, off=False, covered=True)

    for terms, what in ((TERMS, "epoll"), (OTHERWISE, "look_around")):
        with monkeypatch.context() as patch:
            patch.setattr(select if what == "epoll" else supervisor, what, fail)
            bgp.change(terms, LEASE)
            assert "Too many open files" in bgp.problems[0]
            turn()
            assert "Too many open files" in bgp.problems[0]
        turn()
        report = bgp.status()
        assert report is not None
        assert set(report.sessions) == {peer.address for peer in terms.peers}
        assert not any("open files" in trouble for trouble in bgp.problems)
    bgp.close()


@pytest.mark.parametrize("short", ["patience", "lease"])
def test_an_agent_that_starts_waits_for_no_hung_speaker_for_long(
    speaker: BgpActuator, runtime: Path, monkeypatch: pytest.MonkeyPatch, short: str
) -> None:
    """Nothing else runs yet, and what it announces could be known no other way."""
    if short == "patience":
        monkeypatch.setattr(speaking_for, "MET_WITHIN", 0.1)
    else:
        speaker._supervisor._lease = 0.3
    began = time.monotonic()
    speaker.meet()
    assert time.monotonic() - began < 2.0
    assert process.running(runtime) is None
    [told] = speaker.news()
    assert (told.now, told.because) == ("ended", "the running speaker does not answer")


def test_a_speaker_that_does_not_die_holds_up_no_turn_and_is_followed_by_none(
    speaker: BgpActuator, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def start(_runtime: Path, fingerprint: str, *_more: object) -> int:
        started.append(fingerprint)
        raise OSError(errno.EAGAIN, "not in this test")

    monkeypatch.setattr(process, "start", start)
    with bridge(speaker, runtime), monkeypatch.context() as patch:
        patch.setattr(process, "_is_speaker", lambda _pid, _runtime: False)
        speaker.change(OTHERWISE, LEASE)
        took: list[float] = []

        def told() -> bool:
            began = time.monotonic()
            try:
                speaker.apply({}, (), ())
            except TimeoutError:
                return True
            finally:
                took.append(time.monotonic() - began)
            return False

        until(told)
        assert len(took) > 3, "what takes a moment is no trouble"
        assert statistics.median(took) < AT_MOST
        with pytest.raises(TimeoutError):
            speaker.withdraw()
        assert process.running(runtime) is not None
        assert not started
    speaker.apply({}, (), ())
    assert process.running(runtime) is None
    assert started == [look_around(OTHERWISE, runtime, LEASE).fingerprint]


def pumped(speaker: BgpActuator) -> BgpActuator:
    speaker.pump()
    return speaker


@pytest.fixture
def started(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The speakers that were started: something that sleeps instead."""
    pids: list[int] = []
    start = process.start

    def sleeping(_runtime: Path, fingerprint: str, command: Sequence[str], *_: object) -> int:
        sleeper = [sys.executable, "-c", "import time; time.sleep(60)", command[-1]]
        pids.append(start(runtime, fingerprint, sleeper, {}))
        return pids[-1]

    monkeypatch.setattr(process, "start", sleeping)
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_speaker_that_is_ended_and_followed_at_once_leaves_no_zombie(
    speaker: BgpActuator, runtime: Path, started: list[int]
) -> None:
    for number in (1, 2):
        speaker._supervisor._started -= 100 * CONNECTED_WITHIN
        speaker._link.apart_since -= 100 * CONNECTED_WITHIN
        speaker.apply({}, (), ())
        assert len(started) == number
        until(lambda: process.running(runtime) is not None)
    until(lambda: speaker.apply({}, (), ()) is not None and not there(started[0]))
    assert there(started[1])


@pytest.mark.parametrize("how", ["off", "no bgp", "retired"])
def test_a_speaker_that_holds_no_lock_yet_does_not_come_up_after_its_end(
    runtime: Path, started: list[int], how: str
) -> None:
    bgp = BgpSpeaker(runtime, may_speak=lambda: True)
    bgp.configure(TERMS, LEASE)
    lock = os.open(runtime / process.LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)  # it waits for this, and nobody else sees it
    bgp.apply({}, (), tuple, off=False, covered=True)
    assert there(started[0])
    if how == "off":
        bgp.apply({}, (), tuple, off=True, covered=True)
    elif how == "no bgp":
        bgp.change(None, LEASE)
    else:
        bgp.withdraw()
    bgp.close()
    os.close(lock)
    assert not there(started[0])


def there(pid: int) -> bool:
    """Alive, or dead and not buried."""
    return Path(f"/proc/{pid}").exists()


def silence(speaker: BgpActuator) -> None:
    """From now on nothing more is started."""
    speaker._supervisor._may_speak = lambda: False
