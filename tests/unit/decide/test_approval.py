"""A held change is approved for exactly those files, and for no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from steering.agent import approval
from steering.agent.approval import Held
from steering.config import fingerprint

HELD = Held(version="0" * 16, because="would take out 2 of 2 steers", changes=("a: was 1, now 2",))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "steering.yaml"
    file.write_text("{site: sin}\n")
    return file


def test_an_approval_is_for_the_files_as_they_were_then(config: Path) -> None:
    runtime, shown = config.parent, fingerprint(config)
    assert not approval.accepted(runtime, shown)
    approval.accept(runtime, shown)
    assert approval.accepted(runtime, shown)
    config.write_text("{site: fra, mode: observe}\n")
    assert not approval.accepted(runtime, fingerprint(config))


def test_an_approval_is_used_once(config: Path) -> None:
    runtime, shown = config.parent, fingerprint(config)
    approval.accept(runtime, shown)
    approval.clear(runtime, fingerprint(config.with_name("other.yaml")))
    assert approval.accepted(runtime, shown), "that of others is not used up"
    approval.clear(runtime, shown)
    assert not approval.accepted(runtime, shown)
    approval.clear(runtime)


def test_whole_files_are_not_approved(config: Path) -> None:
    runtime, shown = config.parent, fingerprint(config)
    approval.mark_whole(runtime, shown)
    assert approval.whole(runtime, shown)
    assert not approval.accepted(runtime, shown)
    approval.clear(runtime, shown)
    assert not approval.whole(runtime, shown)


def test_what_waits_can_be_read_until_it_is_cleared(tmp_path: Path) -> None:
    assert approval.waiting(tmp_path) is None
    assert approval.waiting(tmp_path / "nowhere") is None
    approval.hold(tmp_path, HELD)
    assert approval.waiting(tmp_path) == HELD
    approval.clear(tmp_path)
    assert approval.waiting(tmp_path) is None


@pytest.mark.parametrize("damage", [b"", b"\xff\x00", b"[]", b'{"version": 1}', b"[" * 100000])
def test_a_damaged_file_approves_nothing_and_holds_nothing(config: Path, damage: bytes) -> None:
    runtime = config.parent
    (runtime / "accepted").write_bytes(damage)
    assert not approval.accepted(runtime, fingerprint(config))
    (runtime / "held").write_bytes(damage)
    assert approval.waiting(runtime) is None
