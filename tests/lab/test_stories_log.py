"""An agent whose events nobody reads."""

from __future__ import annotations

import signal
import sys

import pytest
from stage import EXPIRED, on_stage

from steering.model import LOCAL

pytestmark = pytest.mark.lab

# Its standard error becomes a pipe that is full to the last byte, and whose other end nobody reads.
_FULL = """
import contextlib, os, sys
out, into = os.pipe()
os.set_inheritable(out, True)
os.set_blocking(into, False)
for size in (4096, 1):
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(into, b"." * size)
os.set_blocking(into, True)
os.dup2(into, 2)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_an_agent_whose_events_nobody_reads_steers_says_so_and_ends() -> None:
    with on_stage(agent=False) as stage:
        stage.scene.start_agent(prefix=[sys.executable, "-c", _FULL])
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_alarm("log")
        stage.kill_guard()
        stage.scene.serve()
        stage.await_routes({})
        assert stage.scene.stop_agent(signal.SIGTERM) == 0
