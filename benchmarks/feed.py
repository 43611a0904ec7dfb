"""Processes at both ends of a dnstap socket: one sends a corpus as resolvers do, one reads.

What they import is what the agent's reader does: their start counts, too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from steering.observe.dnstap.framestream import CONTENT_TYPE, Control, control
from steering.observe.dnstap.reader import Reader

_START = control(Control.START, content_type=CONTENT_TYPE)
_STOP = control(Control.STOP)
_AT_ONCE = 4096  # bytes: small, as resolvers write
_LEAD = 0.002  # seconds ahead of its rate after which it pauses


def file_of(body: bytes) -> bytes:
    """Data frames as a Frame Streams file."""
    return _START + body + _STOP


def body_of(file: Path) -> bytes:
    """The data frames of a Frame Streams file."""
    data = file.read_bytes()
    (length,) = struct.unpack_from("!I", data, 4)
    return data[8 + length :].partition(_STOP)[0]


@contextlib.contextmanager
def writer(to: Path | str, file: Path, turns: int, *, rate: float = 0.0) -> Iterator[float]:
    """A process that writes the file so many times; when it began.

    `to` is a path, or an abstract name behind an @; `rate` in bytes per second, 0: as fast as it
    is read.
    """
    process = pinned("benchmarks.feed", "write", str(to), str(file), str(turns), str(rate), core=1)
    assert process.stdout
    try:
        yield float(process.stdout.readline())
        process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def pinned(
    *words: str, core: int, passed: tuple[socket.socket, ...] = ()
) -> subprocess.Popen[bytes]:
    """A module run as a process on a core of its own, as far as there are any."""
    cores = sorted(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(cores[core % len(cores)]), sys.executable, "-m", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, pass_fds=[one.fileno() for one in passed]
    )


def resident(pid: int) -> int:
    """Memory of a process, in KiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Rss")))


def _write(name: str, file: Path, turns: int, rate: float) -> None:
    began = time.monotonic()
    print(began, flush=True)
    sent = 0
    for _ in range(turns):
        with socket.socket(socket.AF_UNIX) as made, file.open("rb") as source:
            made.connect("\0" + name[1:] if name.startswith("@") else name)
            while data := source.read(_AT_ONCE):
                made.sendall(data)
                sent += len(data)
                if rate and (early := sent / rate - (time.monotonic() - began)) > _LEAD:
                    time.sleep(early)


def _read(control: int, listener: int) -> None:
    """A reader that never drops: a writer without a pause has to wait for it."""
    ours = socket.socket(fileno=control)
    ours.setblocking(False)
    with contextlib.suppress(ConnectionError):
        Reader(ours, {"bench": socket.socket(fileno=listener)}, ahead=1).run()


def _main(role: str, *words: str) -> None:
    match role:
        case "write":
            _write(words[0], Path(words[1]), int(words[2]), float(words[3]))
        case "read":
            _read(int(words[0]), int(words[1]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
