"""A lock file: who has it locked, what ends that, and what does not."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from steering.lab.network.peering import passable
from steering.lab.waiting import until
from steering.system.lockfile import LockFile

pytestmark = pytest.mark.timeout(60)

_HOLDER = """
import os, sys
from pathlib import Path
from steering.system.lockfile import LockFile
lock = LockFile.create(Path(sys.argv[1]))
lock.lock()
lock.write(f"{os.getpid()}\\n")
"""
_WAIT = "print('held', flush=True); sys.stdin.read()\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.lock"


@contextlib.contextmanager
def holder(path: Path, then: str = _WAIT) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER + then, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def held(path: Path) -> bool:
    with LockFile.open(path) as lock:
        return lock.held()


def test_of_two_processes_one_has_it_and_the_other_is_refused(path: Path) -> None:
    with LockFile.create(path) as mine:
        with holder(path) as other:
            assert mine.held()
            with pytest.raises(BlockingIOError):
                mine.lock()
            assert mine.read(20) == b"%d\n" % other.pid
        mine.lock()
        done = subprocess.run(
            [sys.executable, "-c", _HOLDER, str(path)], capture_output=True, check=False
        )
        assert b"BlockingIOError" in done.stderr
        mine.write("mine")
        assert path.read_text() == "mine", "nothing is left of what was longer"


def test_a_holder_that_is_killed_holds_it_no_longer(path: Path) -> None:
    with holder(path) as other, LockFile.create(path) as mine:
        other.kill()
        other.wait()
        assert not mine.held()
        mine.lock()
        assert mine.read(20) == b"%d\n" % other.pid, "what it wrote is there still"


def test_two_openings_in_one_process_contend_as_two_processes_do(path: Path) -> None:
    with LockFile.create(path) as first, LockFile.create(path) as second:
        first.lock()
        with pytest.raises(BlockingIOError):
            second.lock()
    assert not held(path)


def test_the_end_of_another_opening_ends_no_lock(path: Path) -> None:
    """It would with the locks of fcntl(2)."""
    with LockFile.create(path) as mine:
        mine.lock()
        path.read_bytes()
        LockFile.create(path).close()
        assert held(path)


def test_those_that_look_take_nothing_from_each_other_nor_from_the_holder(path: Path) -> None:
    with LockFile.create(path) as mine, LockFile.open(path) as one, LockFile.open(path) as two:
        assert not one.held()
        assert not two.held()
        mine.lock()
        assert one.held()
        assert two.held()
        with pytest.raises(BlockingIOError):
            one.lock()


def test_one_that_waits_has_it_as_soon_as_the_holder_ends(path: Path) -> None:
    with LockFile.create(path) as mine, holder(path) as other:
        waited: list[float] = []

        def end(seconds: float) -> None:
            waited.append(seconds)
            if len(waited) == 3:
                other.kill()

        assert mine.wait(20.0, every=0.01, meanwhile=end)
        assert waited == sorted(waited)
        assert 3 <= len(waited) < 1000
        assert waited[-1] < 10.0
        assert held(path)


def test_one_that_waits_gives_up_when_its_time_is_over_and_not_before(path: Path) -> None:
    with LockFile.create(path) as mine:
        with LockFile.create(path) as other:
            other.lock()
            started = time.monotonic()
            assert not mine.wait(0.1, every=0.01)
            assert 0.1 < time.monotonic() - started < 5.0
        assert mine.wait(0.0, every=0.01), "one try is made in any case"


def test_a_lock_on_a_file_that_was_removed_or_replaced_is_of_no_use_and_is_seen(
    path: Path,
) -> None:
    with holder(path), LockFile.open(path) as looking:
        assert looking.is_at(path)
        path.unlink()
        with pytest.raises(FileNotFoundError):
            looking.is_at(path)
        assert looking.held(), "the old file is locked still"
        with LockFile.create(path) as new:
            assert not looking.is_at(path)
            assert new.is_at(path)
            new.lock()
        other = path.with_name("other")
        other.touch()
        other.replace(path)
        assert not held(path)


def test_a_forked_child_holds_it_as_long_as_it_has_the_descriptor(path: Path) -> None:
    fork = (
        "if not os.fork():\n"
        "    print('held', flush=True); sys.stdin.read(1)\n"
        "    lock.close()\n"
        "    print('closed', flush=True); sys.stdin.read(1)\n"
        "    os._exit(0)\n"
        "os._exit(0)\n"
    )
    with holder(path, fork) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.wait()
        assert held(path), "the parent is gone, and its child has a copy"
        parent.stdin.write(b"x")
        parent.stdin.flush()
        assert parent.stdout.readline() == b"closed\n"
        assert not held(path)


@pytest.mark.parametrize("kept", [False, True])
def test_a_program_that_is_executed_holds_it_only_where_it_was_kept(path: Path, kept: bool) -> None:
    become = "lock.keep_over_exec()\n" * kept + (
        "os.execv(sys.executable, [sys.executable, '-c', "
        "'import sys; print(\"held\", flush=True); sys.stdin.read()'])\n"
    )
    with holder(path, become) as process:
        assert held(path) == kept
        with LockFile.open(path) as lock:
            assert lock.read(20) == b"%d\n" % process.pid
    until(lambda: not held(path))


def test_the_file_is_its_owner_s_alone_and_one_that_is_there_is_kept(path: Path) -> None:
    was = os.umask(0)
    try:
        LockFile.create(path).close()
    finally:
        os.umask(was)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("written by the holder")
    inode = path.stat().st_ino
    with LockFile.create(path) as lock:
        assert lock.read(100) == b"written by the holder"
    assert path.stat().st_ino == inode


def test_whoever_only_looks_makes_no_file(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LockFile.open(path)
    assert not path.exists()


def test_a_lock_that_is_forgotten_is_held(path: Path) -> None:
    """The object may go; a descriptor that Python closed would end the lock."""
    descriptor = LockFile.create(path).descriptor
    try:
        LockFile(descriptor).lock()
        assert held(path)
    finally:
        os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_in_a_directory_that_can_t_be_written_only_a_file_that_is_there_is_locked(
    tmp_path: Path,
) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from steering.system.lockfile import LockFile\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "os.chdir(sys.argv[1])\n"
        "try:\n"
        "    LockFile.create(Path('missing'))\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
        "LockFile.create(Path('there')).lock()\n"
        "os._exit(0)\n"
    )
    folder = tmp_path / "read-only"
    folder.mkdir()
    (folder / "there").touch()
    os.chown(folder / "there", 65534, 65534)
    folder.chmod(0o555)
    passable(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{errno.EACCES}\n"


def test_a_directory_can_be_locked_as_well(tmp_path: Path) -> None:
    first, second = (
        LockFile(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) for _ in range(2)
    )
    with first, second:
        first.lock()
        assert second.held()
