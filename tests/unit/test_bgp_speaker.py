"""The speaker's link to its bridge: lost at any moment, and waited for again."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from steering.act.bgp import process
from steering.act.bgp.speaker import CONNECTED_WITHIN, Speaker
from steering.act.bgp.terms import Peer, Terms
from steering.model import Family

TERMS = Terms(
    local_as=64512,
    router_id="10.0.0.53",
    peers=(Peer(address="127.0.0.1", peer_as=64512),),
    next_hops={"pao": {Family.IPV4: "10.255.1.1"}},
    user="root" if os.geteuid() == 0 else "nobody",
)


def until(true: Callable[[], object], within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


@pytest.fixture
def speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Speaker]:
    monkeypatch.setattr(process, "is_helper", lambda _runtime, _pid: True)
    (tmp_path / process.FOLDER).mkdir()
    made = Speaker(TERMS, tmp_path, lease=60.0, may_speak=lambda: True)
    made._listen()
    yield made
    made.close()
    process.end(tmp_path)


def bridge(speaker: Speaker, runtime: Path) -> socket.socket:
    """The far end of a link that has been accepted."""
    end = socket.socket(socket.AF_UNIX)
    end.connect(str(runtime / process.FOLDER / "socket"))
    speaker.pump()
    assert speaker.report().linked
    return end


def stand_in(runtime: Path) -> int:
    """Something that sleeps where ExaBGP would run."""
    conf = str(runtime.absolute() / process.FOLDER / process.CONFIGURATION)
    command = [sys.executable, "-c", "import time; time.sleep(60)", conf]
    pid = process.start(runtime, "f", command, {})
    until(lambda: process.running(runtime) == "f")
    return pid


def test_a_bridge_that_dies_while_it_is_answered_costs_the_link_and_not_the_agent(
    speaker: Speaker, tmp_path: Path
) -> None:
    with bridge(speaker, tmp_path) as end:
        end.sendall(b"exabgp 5.0.15\ndone\n")
    speaker.pump()
    assert not speaker.report().linked


def test_an_old_speaker_whose_helper_is_lost_has_time_to_replace_it(
    speaker: Speaker, tmp_path: Path
) -> None:
    pid = stand_in(tmp_path)
    speaker._started = time.monotonic() - 100 * CONNECTED_WITHIN
    bridge(speaker, tmp_path).close()
    speaker.apply({}, (), ())
    assert not speaker.report().linked
    speaker.apply({}, (), ())
    assert process.running(tmp_path) == "f"
    speaker._unlinked_at -= CONNECTED_WITHIN + 0.1
    with bridge(speaker, tmp_path):
        speaker.apply({}, (), ())
        assert process.running(tmp_path) == "f"
    speaker.apply({}, (), ())
    speaker._unlinked_at -= CONNECTED_WITHIN + 0.1
    speaker.apply({}, (), ())
    assert process.running(tmp_path) is None
    os.waitpid(pid, 0)
