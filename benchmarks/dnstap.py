"""dnstap: messages per second of one core, beside `dnstap-ldns -q` on the same file.

The corpus is what a real Unbound writes in the lab (``corpus``), repeated. All runs take turns,
so that a busy moment of the machine hits all of them; what is compared is the median of CPU
seconds, not of the wall's. Through the socket one core reads and another one writes, and what
counts is all CPU time of the reader, its start and its system calls included.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks import corpus, report
from steering.dnstap import walk
from steering.dnstap.handover import upstreams
from steering.dnstap.listen import Place
from steering.dnstap.reader import Reader
from steering.dnstap.stream import Stream
from steering.dnstap.tally import Interest, Tally, Watched
from steering.dnstap.tap import Tap
from steering.dnstap.walk import Walker
from steering.dnstap.wire import TAKEN, Letters, interest_letter, read_tally
from steering.lab.anycast import GTLD_SERVERS, addresses_of

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
QUESTIONS = 30_000
REPEATED = 5
"""How often the corpus stands in the file."""

SOAK = 10_000_000
"""Frames over which memory has to stay flat."""

_INTEREST: Interest = {
    address: Watched(zones=frozenset(corpus.ZONES)) for address in addresses_of(GTLD_SERVERS)
}
_CHUNK = 1 << 18
_PEERS = {
    "dnstap-ldns -q": ("dnstap-ldns", "-q", "-r"),
    "fstrm_dump": ("fstrm_dump",),
}


def run() -> None:
    """Make the corpus, build both, measure in turn, print the table."""
    peers = {name: words for name, words in _PEERS.items() if shutil.which(words[0])}
    if "dnstap-ldns -q" not in peers or os.geteuid() != 0:
        print("\ndnstap: left out: it needs root for the lab, and dnstap-ldns")
        return
    with tempfile.TemporaryDirectory(prefix="steering-bench-") as place:
        once = Path(place) / "once"
        corpus.make(once, questions=QUESTIONS)
        data = once.read_bytes()
        (length,) = struct.unpack_from("!I", data, 4)
        start, body = data[: 8 + length], data[8 + length :].partition(_STOP)[0]
        file = Path(place) / "corpus"
        file.write_bytes(start + body * REPEATED + _STOP)
        count = sum(1 for _ in corpus.frames(body)) * REPEATED
        builds = {"plain": Path(place) / "plain", "compiled": Path(place) / "compiled"}
        for name, tree in builds.items():
            _copy(tree, compiled=name == "compiled")
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, tree in builds.items():
                for what, seconds in _child(tree, "measure", str(file), str(count)).items():
                    times.setdefault(f"{name}: {what}", []).append(seconds)
            for name, words in peers.items():
                times.setdefault(name, []).append(_cpu([*words, str(file)]))
        peer = statistics.median(times["dnstap-ldns -q"])
        rows = [
            (
                what,
                f"{count / statistics.median(seconds):,.0f}",
                f"{min(count / s for s in seconds):,.0f}",
                f"{peer / statistics.median(seconds):.2f}",
            )
            for what, seconds in times.items()
        ]
        report.table(
            f"{count:,} frames of {len(body) * REPEATED // count - 4} bytes, medians of {ROUNDS}",
            ("", "messages/s", "least", "to dnstap-ldns"),
            rows,
        )
        _soak(builds["compiled"], file, count)


def _soak(tree: Path, file: Path, count: int) -> None:
    turns = math.ceil(SOAK / count)
    said = _child(tree, "soak", str(file), str(turns), str(count))
    rows = [
        (what, f"{value:,.3g}" if value < 100 else f"{value:,.0f}") for what, value in said.items()
    ]
    report.table(f"{turns * count:,} frames into one reader, as the agent runs it", ("", ""), rows)


_STOP = bytes.fromhex("000000000000000400000003")


def _copy(tree: Path, *, compiled: bool) -> None:
    """The package and the benchmarks, with the hot path in one build or the other."""
    skip = shutil.ignore_patterns("__pycache__", "*.so")
    for part in ("steering", "benchmarks"):
        shutil.copytree(ROOT / part, tree / part, ignore=skip)
    if compiled:
        subprocess.run(
            [sys.executable, "-m", "steering.dnstap.build"],
            cwd=tree,
            check=True,
            stdout=subprocess.DEVNULL,
        )


def _child(tree: Path, *words: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dnstap", *words],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    said: dict[str, float] = json.loads(done.stdout)
    return said


def _cpu(words: list[str]) -> float:
    """CPU seconds of a program, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- in a child, whose package is of one build ----------------------------------------------


def _measure(file: Path, count: int) -> dict[str, float]:
    data = file.read_bytes()
    chunks = [data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)]
    now = int(time.time())

    def cpu(interest: Interest, *, drop: bool = False) -> float:
        walker = Walker(upstreams(interest), 1)
        stream = Stream(walker)
        started = time.process_time()
        for chunk in chunks:
            stream.receive(chunk, now, drop=drop)
        taken = time.process_time() - started
        assert walker.ok + walker.other + walker.lost == count
        return taken

    turns = 3 if walk.__file__.endswith(".py") else 10
    return {
        "frames split": cpu({}, drop=True),
        "and their fields read": cpu({}),
        "and their records walked": cpu(_INTEREST),
        **_through_socket(file, turns=turns, count=count),
    }


def _through_socket(file: Path, *, turns: int, count: int) -> dict[str, float]:
    """The reader's CPU seconds, and the wall's from a writer's first byte to the last tally."""
    ours, theirs = socket.socketpair()
    with _listening() as listener, ours:
        reader = _role(
            "reader",
            str(theirs.fileno()),
            str(listener.fileno()),
            core=0,
            passed=(theirs, listener),
        )
        theirs.close()
        ours.sendall(interest_letter(_INTEREST))
        ours.recv(1, socket.MSG_PEEK)  # the first tally: it runs
        with _writer(listener, file, turns) as started:
            frames = 0
            for tally in _taken(ours):
                frames += sum(tally.frames.values())
                if frames >= count * turns:
                    break
    _, _, used = os.wait4(reader.pid, 0)
    reader.returncode = 0
    return {
        "all that through the socket, into tallies": (used.ru_utime + used.ru_stime) / turns,
        "the same by the wall clock": (tally.ended - started) / turns,
    }


def _soaked(file: Path, turns: int, count: int) -> dict[str, float]:
    """A reader as the agent runs it: what it counted and lost, its gaps, and its memory."""
    path = file.with_name("soak.sock")
    seen = lost = 0
    gap = 0.0
    memory: list[int] = []
    with Tap([Place(at=str(path))], _INTEREST) as tap:
        while not tap.take(time.monotonic()):
            select.select([tap], [], [], 0.1)
        with _writer(path, file, turns):
            while seen + lost < count * turns:
                select.select([tap], [], [], 1.0)
                for tally in tap.take(time.monotonic()):
                    seen += sum(tally.frames.values())
                    lost += tally.lost
                    gap = max(gap, tally.longest_gap)
                memory.append(_resident(tap.pid))
    tenth = max(1, len(memory) // 10)
    return {
        "counted": seen,
        "lost": lost,
        "longest gap between reads, ms": gap * 1e3,
        "memory at first, KiB (median of a tenth)": statistics.median(memory[:tenth]),
        "memory at last, KiB (median of a tenth)": statistics.median(memory[-tenth:]),
    }


def _taken(control: socket.socket) -> Iterator[Tally]:
    letters = Letters()
    while data := control.recv(1 << 18):
        for letter in letters.receive(data):
            control.sendall(TAKEN)
            yield read_tally(letter)


@contextlib.contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("")  # a name of the kernel's choosing
        made.listen()
        yield made


@contextlib.contextmanager
def _writer(to: socket.socket | Path, file: Path, turns: int) -> Iterator[float]:
    """A process that writes the file, as many times; when it began."""
    name = str(to) if isinstance(to, Path) else "@" + to.getsockname()[1:].decode()
    process = _role("write", name, str(file), str(turns), core=1)
    assert process.stdout
    yield float(process.stdout.readline())
    process.wait()
    process.stdout.close()


def _role(*words: str, core: int, passed: Iterable[socket.socket] = ()) -> subprocess.Popen[bytes]:
    cores = sorted(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(cores[core % len(cores)]), sys.executable]
    return subprocess.Popen(
        [*command, "-m", "benchmarks.dnstap", *words],
        stdout=subprocess.PIPE if words[0] == "write" else None,
        pass_fds=[one.fileno() for one in passed],
    )


def _write(name: str, file: Path, turns: int) -> None:
    print(time.monotonic(), flush=True)
    for _ in range(turns):
        with socket.socket(socket.AF_UNIX) as made, file.open("rb") as source:
            made.connect("\0" + name[1:] if name.startswith("@") else name)
            while data := source.read(4096):  # small, as resolvers write
                made.sendall(data)


def _read(control: int, listener: int) -> None:
    """A reader that never drops: a writer without a pause has to wait for it."""
    ours = socket.socket(fileno=control)
    ours.setblocking(False)
    with contextlib.suppress(ConnectionError):
        Reader(ours, {"bench": socket.socket(fileno=listener)}, ahead=1).run()


def _resident(pid: int | None) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Rss")))


def _main(role: str, *words: str) -> None:
    match role:
        case "measure":
            print(json.dumps(_measure(Path(words[0]), int(words[1]))))
        case "soak":
            print(json.dumps(_soaked(Path(words[0]), int(words[1]), int(words[2]))))
        case "write":
            _write(words[0], Path(words[1]), int(words[2]))
        case "reader":
            _read(int(words[0]), int(words[1]))


if __name__ == "__main__":
    _main(*sys.argv[1:])
