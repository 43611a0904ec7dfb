"""An agent with a BGP speaker, where something that sleeps stands in for ExaBGP."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from steering.act.bgp import process
from steering.act.bgp.actuator import BgpActuator
from steering.act.bgp.prerequisites import look_around
from steering.act.bgp.settings import BgpSettings, Peer
from steering.lab import waiting
from steering.model import Family

TERMS = BgpSettings(
    local_as=64512,
    router_id="10.0.0.53",
    peers=(Peer(address="127.0.0.1", peer_as=64512),),
    next_hops={"pao": {Family.IPV4: "10.255.1.1"}},
    user="root" if os.geteuid() == 0 else "nobody",
)
LEASE = 60.0
until = functools.partial(waiting.until, within=10.0)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(process, "is_helper", lambda _runtime, _pid: True)
    (tmp_path / process.FOLDER).mkdir()
    yield tmp_path
    with contextlib.suppress(TimeoutError):
        process.end(tmp_path)


@pytest.fixture
def speaker(runtime: Path) -> Iterator[BgpActuator]:
    """It has adopted something that does not even know that it is one."""
    pid = stand_in(runtime)
    made = BgpActuator(TERMS, runtime, lease=LEASE, may_speak=lambda: True)
    made.adopt()
    yield made
    made.close()
    process.end(runtime)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def bridge(speaker: BgpActuator, runtime: Path) -> socket.socket:
    """The far end of a link that has been accepted."""
    end = socket.socket(socket.AF_UNIX)
    end.connect(str(runtime / process.FOLDER / "socket"))
    speaker.pump()
    assert speaker.report().linked
    return end


def stand_in(runtime: Path, terms: BgpSettings = TERMS) -> int:
    """Something that sleeps where ExaBGP would run."""
    conf = str(runtime.absolute() / process.FOLDER / process.CONFIGURATION)
    command = [sys.executable, "-c", "import time; time.sleep(60)", conf]
    fingerprint = look_around(terms, runtime, LEASE).fingerprint
    pid = process.start(runtime, fingerprint, command, {})
    until(lambda: process.running(runtime) == fingerprint)
    return pid
