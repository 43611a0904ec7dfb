"""A folder that stops answering: a FUSE file system whose process can be stopped (fuse(4)).

While it is stopped, whoever touches the folder waits in the kernel, as on a dead NFS server. What
ends the process ends the waiting as well ("Transport endpoint is not connected"), so leaving the
context frees everybody, whatever happened inside it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from stage import Stage

from steering.lab.network.sandbox import LabError
from steering.lab.network.topology import EDGE
from steering.lab.waiting import poll, until

# Nothing is answered from the kernel's memory of it.
_OPTIONS = "attr_timeout=0,entry_timeout=0,negative_timeout=0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A mounted folder, and the process that answers for it."""

    path: Path
    behind: Path
    """Where its files really lie: to be looked at while it is frozen."""
    pid: int

    def freeze(self) -> None:
        """Have nobody answered from here on."""
        os.kill(self.pid, signal.SIGSTOP)
        until(lambda: _state(self.pid), 2.0, wanted="T")

    def thaw(self) -> None:
        """Go on, and answer those who waited."""
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def folder_that_freezes(path: Path) -> Iterator[Folder]:
    """Mounts it at `path`, which is made, in this process's own mount namespace."""
    behind, command = _prepared(path)
    with subprocess.Popen(command) as program:
        try:
            yield _mounted(Folder(path=path, behind=behind, pid=program.pid), _listed)
        finally:
            program.kill()
            program.wait()
            subprocess.run(["umount", "-l", path], check=False, capture_output=True)


@contextmanager
def state_that_freezes(stage: Stage) -> Iterator[Folder]:
    """Mounts it as the `state` of an agent on stage; to be entered before the agent starts."""
    world = stage.scene.world
    path = world.work / "state"
    behind, command = _prepared(path)
    program = world.start(EDGE, command, log=world.work / "bindfs.log")

    def listed() -> str:
        return world.run(EDGE, ["cat", "/proc/mounts"]).stdout

    try:
        yield _mounted(Folder(path=path, behind=behind, pid=program.pid), listed)
    finally:
        program.kill()
        world.run(EDGE, ["umount", "-l", str(path)], check=False)


def _prepared(path: Path) -> tuple[Path, Sequence[str]]:
    if shutil.which("bindfs") is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("no folder can be made to hang: wanted bindfs (Debian: bindfs) and /dev/fuse")
    behind = path.with_name(f"{path.name}-behind")
    for folder in (path, behind):
        folder.mkdir(parents=True, exist_ok=True)
    return behind, ["bindfs", "-f", "-o", _OPTIONS, str(behind), str(path)]


def _mounted(folder: Folder, listed: Callable[[], str]) -> Folder:
    if not poll(lambda: f" {folder.path} fuse" in listed(), timeout=10.0):
        raise LabError(f"{folder.path} was not mounted by bindfs")
    return folder


def _listed() -> str:
    return Path("/proc/mounts").read_text(encoding="utf-8")


def _state(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return stat.rpartition(") ")[2].split()[0]
