"""Namespaces beside the present one end with the process that made them, however it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from steering.lab.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespace")]

_LAYS = """
from steering.lab.links import Spaces
spaces = Spaces("a", "b")
print(spaces.run("a", "readlink /proc/self/ns/net"), flush=True)
input()
"""


def test_when_it_is_killed_nothing_stays() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _LAYS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        space = made.stdout.readline().strip()
        assert _inside(space)
        made.kill()
    until(lambda: _inside(space), wanted=[])


def _inside(space: str) -> list[str]:
    """The processes in a namespace."""
    return [
        process.name
        for process in Path("/proc").glob("[0-9]*")
        if _link(process / "ns" / "net") == space
    ]


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # it has ended
        return ""
