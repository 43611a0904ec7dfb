"""A copy of the tree in which mutants are tried, one after the other, and nothing is left behind.

The tests run with the copy ahead of the checkout on the path. As root they get a network
namespace of their own: code that was changed at random speaks to no kernel's routes but theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mutants import timing
from mutants.places import Mutant

_LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
)
LEAST: Final = 30.0
TIMES: Final = 5.0
"""A run may take 30 s of CPU, or five times what its tests usually take."""
_CLOCK: Final = 10.0
"""What waits and uses no CPU may take ten times as long; so may a machine that is busy."""
_TO_THE_FIRST: Final = ("-x", "-p", "no:xdist", "--timeout=0")
"""Until one fails; the limits are ours, not each test's."""
_NOT_FOUND: Final = (4, 5)
"""pytest's: a test's name is gone; no test was run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How a run of tests ended."""

    code: int | None
    """pytest's; None: it was over time."""
    times: dict[str, float]
    """Of the tests that passed."""
    failed: tuple[str, ...]
    text: str


class Copy:
    """One tree, used by one thread."""

    def __init__(self, root: Path, place: Path, free: Path) -> None:
        """`free` is for the tests' own files."""
        self.tree = place / "tree"
        self._told = place / "told.json"
        self._names = place / "tests.txt"
        self._free = free
        self._tried = 0
        self._process: subprocess.Popen[str] | None = None
        self._over = False
        shutil.copytree(root, self.tree, ignore=_LEFT_OUT, symlinks=True)

    @contextlib.contextmanager
    def holding(self, mutant: Mutant) -> Iterator[None]:
        """Has the fault in it for so long."""
        file = self.tree / mutant.file
        original, stat = file.read_text(encoding="utf-8"), file.stat()
        self._tried += 1
        try:
            file.write_text(mutant.source(original), encoding="utf-8")
            # Compiled files are told from stale ones by the second: no two texts share one.
            os.utime(file, (stat.st_atime, stat.st_mtime + 1000 * self._tried))
            yield
        finally:
            file.write_text(original, encoding="utf-8")
            os.utime(file, (stat.st_atime, stat.st_mtime))

    def run(self, tests: Sequence[str], *options: str, usual: float | None = None) -> Told:
        """Runs these tests, or what these files have; `usual` are the seconds they always take."""
        if self._over:
            raise InterruptedError
        self._told.unlink(missing_ok=True)
        self._names.write_text("".join(f"{test}\n" for test in tests), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-m", "not lab", "-p", "mutants.timing"]
        command += ["-p", "no:cacheprovider", *options, f"@{self._names}"]
        limit = None if usual is None else max(LEAST, TIMES * usual)
        places = self.tree, self.tree / "tests", Path(__file__).parents[1]
        path = os.pathsep.join(map(str, places))
        told_in = {timing.PLACE: str(self._told), "PYTHONPATH": path, "TMPDIR": str(self._free)}
        self._process = process = subprocess.Popen(
            _wrapped(command, limit),
            cwd=self.tree,
            env=os.environ | told_in | {"CI": "true"},  # what chance draws is drawn alike
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        code: int | None
        try:
            text, _ = process.communicate(timeout=None if limit is None else _CLOCK * limit)
            code = None if process.returncode in _OVER_TIME else process.returncode
        except subprocess.TimeoutExpired:
            code, text = None, ""
        finally:
            self._end()
        for left in self._free.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        told = json.loads(self._told.read_text()) if self._told.exists() else {}
        return Told(
            code=code,
            times=told.get("passed", {}),
            failed=tuple(told.get("failed", ())),
            text=text,
        )

    def end(self) -> None:
        """Ends the tests that run, and begins no others."""
        self._over = True
        self._end()

    def _end(self) -> None:
        """Tests and what they started."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def attempt(self, tests: Sequence[str], usual: float) -> Told:
        """Runs these tests until the first that fails."""
        told = self.run(tests, *_TO_THE_FIRST, usual=usual)
        if told.code in _NOT_FOUND:  # the fault is in a table that tests take their names from
            files = list(dict.fromkeys(test.split("::", 1)[0] for test in tests))
            told = self.run(files, *_TO_THE_FIRST, usual=usual + LEAST)
        return told


_OVER_TIME: Final = (-signal.SIGXCPU, 128 + signal.SIGXCPU, -signal.SIGKILL, 128 + signal.SIGKILL)


def _wrapped(command: Sequence[str], limit: float | None) -> list[str]:
    script = 'exec "$@"' if limit is None else f'ulimit -t {round(limit)}; exec "$@"'
    wrapped = ["sh", "-c", script, "sh", *command]
    if os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip"):
        up = 'ip link set lo up; exec "$@"'
        return ["unshare", "--net", "--", "sh", "-c", up, "sh", *wrapped]
    return wrapped


@contextlib.contextmanager
def copies(root: Path, number: int) -> Iterator[list[Copy]]:
    """So many copies of the tree, gone afterwards."""
    with contextlib.ExitStack() as gone:

        def folder(prefix: str) -> Path:
            made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
            return Path(gone.enter_context(made))

        # Tests put sockets below `free`, and the path of a socket has at most 107 octets.
        yield [Copy(root, folder("steering-mutants-"), folder("m")) for _ in range(number)]
