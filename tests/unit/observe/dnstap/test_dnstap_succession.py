"""One tap takes the place of another: what both listen at stays open, and its file in place."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from steering.lab.waiting import until
from steering.observe.dnstap.listeners import Place
from steering.observe.dnstap.reader_client import ReaderClient


def writer(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(path))
    return made


def test_a_socket_of_both_is_never_away(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "other"
    old = ReaderClient([Place(at=str(first))], {})
    inode = first.stat().st_ino
    with writer(first):
        new = ReaderClient([Place(at=str(first)), Place(at=str(second))], {}, old)
        new.succeed(old)
        with writer(first), writer(second):
            assert first.stat().st_ino == inode
    new.close()
    assert not first.exists()
    assert not second.exists()


def test_a_socket_of_the_old_one_alone_goes(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "other"
    old = ReaderClient([Place(at=str(first))], {})
    with ReaderClient([Place(at=str(second))], {}, old) as new:
        new.succeed(old)
        assert not first.exists()
        with writer(second):
            pass


def test_one_that_can_not_be_had_leaves_the_old_one_as_it_was(tmp_path: Path) -> None:
    first = tmp_path / "one"
    (tmp_path / "file").write_text("")
    with ReaderClient([Place(at=str(first))], {}) as old:
        with pytest.raises(OSError, match="file"):
            ReaderClient([Place(at=str(first)), Place(at=str(tmp_path / "file"))], {}, old)
        with writer(first):
            pass
        with pytest.raises(OSError, match="listens"):
            ReaderClient(
                [Place(at=str(first), mode=0o600)], {}, old
            )  # for this it has to be restarted
    assert not first.exists()


def served(tap: ReaderClient, so: Callable[[], bool]) -> None:
    """Do what an agent does for its tap until this is so."""

    def serve() -> None:
        now = time.monotonic()
        tap.repair_sockets(now)
        tap.take(now)
        select.select([tap.fileno()], [], [], 0.05)

    until(so, 30, meanwhile=serve)


@pytest.mark.parametrize("wipe", ["file", "directory", "another's"])
def test_a_socket_whose_file_is_lost_is_made_again_and_read(tmp_path: Path, wipe: str) -> None:
    place = tmp_path / "run" / "tap"
    with ReaderClient([Place(at=str(place), mode=0o620)], {}) as tap:
        served(tap, lambda: tap.pid is not None)
        first, inode = tap.pid, place.stat().st_ino
        if wipe == "directory":
            shutil.rmtree(place.parent)
        else:
            place.unlink()
        if wipe == "another's":
            place.mkdir()
            served(tap, lambda: "is no socket" in tap.lost)
            place.rmdir()
        served(tap, lambda: place.exists() and tap.pid not in (None, first))
        assert (tap.lost, tap.because, tap.restarts) == ("", "", 0)
        assert place.stat().st_mode & 0o777 == 0o620
        assert wipe != "file" or place.stat().st_ino != inode or tap.pid != first
        with writer(place) as made:
            made.sendall(b"rubbish" * 10)
            made.settimeout(0)

            def hung_up() -> bool:
                with contextlib.suppress(BlockingIOError):
                    return made.recv(1) == b""
                return False

            served(tap, hung_up)  # by the reader, who has read it
    assert not place.exists()
