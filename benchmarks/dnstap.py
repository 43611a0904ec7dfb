"""dnstap: messages per second of one core, beside `dnstap-ldns -q` on the same file.

The corpus is what a real Unbound writes in the lab (``corpus``), repeated. All runs take turns,
so that a busy moment of the machine hits all of them; what is compared is the median of CPU
seconds, not of the wall's. Through the socket one core reads and another one writes, and what
counts is all CPU time of the reader, its start and its system calls included.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import corpus, feed, hour, report
from steering.lab.addresses import GTLD_SERVERS, addresses_of
from steering.observe.dnstap import counter
from steering.observe.dnstap.counter import FrameCounter
from steering.observe.dnstap.framestream import FrameStream
from steering.observe.dnstap.ipc import TAKEN, IpcMessages, interest_message, read_tally
from steering.observe.dnstap.tally import Interest, Tally, Watched
from steering.observe.dnstap.tally_builder import upstreams

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
QUESTIONS = 30_000
REPEATED = 5
"""How often the corpus stands in the file."""

PACE = 0.5
"""Of the messages per second that the compiled reader takes: how fast the hour goes by."""

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
        once, keys = Path(place) / "once", Path(place) / "keys"
        keys.write_text(json.dumps(corpus.make(once, questions=QUESTIONS)))
        body = feed.body_of(once)
        file = Path(place) / "corpus"
        file.write_bytes(feed.file_of(body * REPEATED))
        count = sum(1 for _ in corpus.frames(body)) * REPEATED
        builds = {"plain": Path(place) / "plain", "compiled": Path(place) / "compiled"}
        for name, tree in builds.items():
            _copy(tree, compiled=name == "compiled")
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, tree in builds.items():
                measured = _child(tree, "dnstap", str(file), str(count))
                for what, seconds in measured.items():
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
        quickest = statistics.median(times["compiled: the same by the wall clock"])
        rate = PACE * len(body) * REPEATED / quickest
        said = _child(builds["compiled"], "hour", *map(str, (once, keys, hour.FRAMES, rate)))
        report.table(
            f"{hour.FRAMES / 15_000 / 60:.0f} minutes of a busy Unbound core, compiled reader",
            ("", ""),
            [
                (what, f"{value:,.3g}" if value < 100 else f"{value:,.0f}")
                for what, value in said.items()
            ],
        )


def _copy(tree: Path, *, compiled: bool) -> None:
    """The package and the benchmarks, with the hot path in one build or the other."""
    skip = shutil.ignore_patterns("__pycache__", "*.so")
    for part in ("steering", "benchmarks", "scripts"):
        shutil.copytree(ROOT / part, tree / part, ignore=skip)
    if compiled:
        subprocess.run(
            [sys.executable, "scripts/compile_counter.py"],
            cwd=tree,
            check=True,
            stdout=subprocess.DEVNULL,
        )


def _child(tree: Path, module: str, *words: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *words],
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
        walker = FrameCounter(upstreams(interest), 1)
        stream = FrameStream(walker)
        started = time.process_time()
        for chunk in chunks:
            stream.receive(chunk, now, drop=drop)
        taken = time.process_time() - started
        assert walker.ok + walker.other + walker.lost == count
        return taken

    turns = 3 if counter.__file__.endswith(".py") else 10
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
        words = ("benchmarks.feed", "read", str(theirs.fileno()), str(listener.fileno()))
        reader = feed.pinned(*words, core=0, passed=(theirs, listener))
        theirs.close()
        ours.sendall(interest_message(_INTEREST))
        ours.recv(1, socket.MSG_PEEK)  # the first tally: it runs
        name = "@" + listener.getsockname()[1:].decode()
        with feed.writer(name, file, turns) as started:
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


def _taken(control: socket.socket) -> Iterator[Tally]:
    letters = IpcMessages()
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


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]), int(sys.argv[2]))))
