"""What is frozen outlives the agent that knew where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from steering.agent import frozen
from steering.agent.frozen import Frozen

PATHS = {"192.5.6.30": "pao", "2001:503:a83e::2:30": "local"}


def test_another_agent_finds_what_this_one_kept(tmp_path: Path) -> None:
    Frozen(tmp_path).keep(PATHS)
    other = Frozen(tmp_path)
    assert other.paths == PATHS
    assert not other.trouble
    other.keep({})
    assert Frozen(tmp_path).paths == {}


def test_what_does_not_change_is_not_written_again(tmp_path: Path) -> None:
    kept = Frozen(tmp_path)
    kept.keep({})
    assert list(tmp_path.iterdir()) == [], "nothing was ever frozen"
    kept.keep(PATHS)
    before = (tmp_path / "frozen").stat().st_ino
    kept.keep(dict(PATHS))
    assert (tmp_path / "frozen").stat().st_ino == before


def test_a_full_disk_is_a_trouble_that_passes_and_nothing_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    kept = Frozen(tmp_path)
    monkeypatch.setattr(frozen, "write_atomically", full)
    kept.keep(PATHS)
    assert "No space left" in kept.trouble
    assert kept.paths == PATHS
    monkeypatch.undo()
    kept.keep(PATHS)
    assert not kept.trouble
    assert Frozen(tmp_path).paths == PATHS


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff\x00",
        b"[1]",
        b'{"192.5.6.30": 1}',
        b'{"nowhere": "pao"}',
        b'{"192.5.6.030": "pao"}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_holds_nothing_and_says_so(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "frozen").write_bytes(damage)
    kept = Frozen(tmp_path)
    assert kept.paths == {}
    assert "can't be read" in kept.trouble
    kept.keep(PATHS)
    assert json.loads((tmp_path / "frozen").read_bytes()) == PATHS
