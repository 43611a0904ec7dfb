"""The system log as a process without an output of its own writes to it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from steering.system.syslog import Syslog


def test_a_line_is_a_message_of_this_process(tmp_path: Path) -> None:
    place = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(place))
        Syslog("steering-guard", place).write("took it\nback")
        assert log.recv(4096).decode() == f"<29>steering-guard[{os.getpid()}]: took it back"


def test_a_log_that_is_full_or_missing_holds_nobody_up(tmp_path: Path) -> None:
    place = tmp_path / "log"
    Syslog("x", place).write("nobody is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(place))
        for _ in range(10_000):
            Syslog("x", place).write("a" * 5000)
        assert len(log.recv(65536)) == 2000
