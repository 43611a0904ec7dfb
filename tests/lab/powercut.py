"""A disk whose power can be cut: ext4 on a loop device, and copies of what reached it so far.

What a process wrote and never synced is in the memory of the host, not in the file behind the
loop device. So a copy of that file, mounted, is what the next boot finds after a power cut at the
moment of the copy: ext4 replays its journal there as it would then.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_SIZE = 16 << 20  # the least that has a journal, and a hundredth of a second to copy
_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A mounted disk."""

    path: Path
    image: Path
    device: str

    def writes(self) -> int:
        """How many writes have reached it."""
        return self._statistics()[4]

    @contextmanager
    def cut(self, before: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """What is found after a power cut now: mounted, its journal replayed.

        `before` is called right before the moment; again, where a write came in while the image
        was copied, since no single moment looks like that copy.
        """
        copy, found = self.image.with_name("copy"), self.image.with_name("found")
        found.mkdir(exist_ok=True)
        until = time.monotonic() + 30.0
        while True:
            statistics = self._statistics()
            before()
            shutil.copyfile(self.image, copy)
            if not statistics[8] and statistics == self._statistics():
                break
            assert time.monotonic() < until, "it is written to all the time"
        _run("mount", "-o", "loop", str(copy), str(found))
        try:
            yield found
        finally:
            _run("umount", str(found))

    def _statistics(self) -> list[int]:
        """See Documentation/block/stat.rst: writes are the fifth, those in flight the ninth."""
        name = Path(self.device).name
        words = Path(f"/sys/block/{name}/stat").read_text().split()
        # Of the time in a queue, and that of the I/O, another look may show more.
        return [int(word) for word in words[:9]]


@contextmanager
def disk() -> Iterator[Disk]:
    """Makes and mounts one, in this process's own mount namespace."""
    if os.geteuid() or not Path("/dev/loop-control").exists() or not shutil.which("mkfs.ext4"):
        pytest.skip("no disk can be made: wanted root, loop devices and mkfs.ext4")
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="steering-disk-") as name:
        image, path = Path(name, "image"), Path(name, "disk")
        path.mkdir()
        with image.open("wb") as file:
            file.truncate(_SIZE)
        _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
        device = _run("losetup", "--show", "--find", str(image)).strip()
        try:
            _run("mount", device, str(path))
            try:
                yield Disk(path=path, image=image, device=device)
            finally:
                _run("umount", "-l", str(path))
        finally:
            _run("losetup", "--detach", device)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
