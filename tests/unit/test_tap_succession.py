"""One tap takes the place of another: what both listen at stays open, and its file in place."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from steering.dnstap.listen import Place
from steering.dnstap.tap import Tap


def writer(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(path))
    return made


def test_a_socket_of_both_is_never_away(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "other"
    old = Tap([Place(at=str(first))], {})
    inode = first.stat().st_ino
    with writer(first):
        new = Tap([Place(at=str(first)), Place(at=str(second))], {}, old)
        new.succeed(old)
        with writer(first), writer(second):
            assert first.stat().st_ino == inode
    new.close()
    assert not first.exists()
    assert not second.exists()


def test_a_socket_of_the_old_one_alone_goes(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "other"
    old = Tap([Place(at=str(first))], {})
    with Tap([Place(at=str(second))], {}, old) as new:
        new.succeed(old)
        assert not first.exists()
        with writer(second):
            pass


def test_one_that_can_not_be_had_leaves_the_old_one_as_it_was(tmp_path: Path) -> None:
    first = tmp_path / "one"
    (tmp_path / "file").write_text("")
    with Tap([Place(at=str(first))], {}) as old:
        with pytest.raises(OSError, match="file"):
            Tap([Place(at=str(first)), Place(at=str(tmp_path / "file"))], {}, old)
        with writer(first):
            pass
        with pytest.raises(OSError, match="listens"):
            Tap([Place(at=str(first), mode=0o600)], {}, old)  # for this it has to be restarted
    assert not first.exists()
