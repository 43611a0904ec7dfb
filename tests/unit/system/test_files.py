"""Files: whole or not at all, and no wait for whoever swapped one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from steering.system.files import read_regular, write_atomically


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_put_in_place_whole_and_for_its_owner_only(tmp_path: Path, durable: bool) -> None:
    place = tmp_path / "off"
    write_atomically(place, "one", durable=durable)
    write_atomically(place, "other", durable=durable)
    assert place.read_text() == "other"
    assert place.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["off"]


def test_what_is_durable_was_synced_before_and_after_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "off", "x", durable=True)
    assert synced == [str(tmp_path / f".off.{os.getpid()}"), str(tmp_path)]


def test_what_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "off").mkdir()
    with pytest.raises(OSError, match="off"):
        write_atomically(tmp_path / "off", "x")
    assert [file.name for file in tmp_path.iterdir()] == ["off"]


def test_a_regular_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"12345")
    assert read_regular(place, 5) == b"12345"
    with pytest.raises(OSError, match="is 5 bytes long, wanted at most 4") as caught:
        read_regular(place, 4)
    assert caught.value.errno == errno.EFBIG


def test_no_pipe_and_no_device_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=r"regular file|directory"):
            read_regular(place, 5)
