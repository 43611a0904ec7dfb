"""`check` says beforehand what would keep a resolver from its socket, and makes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from steering.observe.dnstap.listeners import Listener, Place, place_problems


def about(place: Place) -> str:
    return "; ".join(place_problems(place))


def test_a_place_that_can_be_had_is_not_objected_to_and_not_made(tmp_path: Path) -> None:
    place = Place(at=str(tmp_path / "new" / "tap"))
    assert not about(place)
    assert not (tmp_path / "new").exists()
    assert not about(Place(at="tcp://127.0.0.1:6000"))
    with Listener(place):
        assert not about(place), "the agent itself may listen there"


def test_what_is_no_directory_no_socket_or_no_group_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "is no socket" in about(Place(at=str(file)))
    assert "is no directory" in about(Place(at=str(file / "tap")))
    assert "no group nobodys" in about(Place(at=str(tmp_path / "tap"), group="nobodys"))


def test_a_group_that_can_not_enter_on_the_way_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    place = Place(at=str(closed / "tap"), group="nogroup")
    assert f"can't enter {closed}" in about(place)
    closed.chmod(0o711)
    assert f"can't enter {closed}" not in about(place)
    if os.geteuid() == 0:
        closed.chmod(0o710)
        shutil.chown(closed, group="nogroup")
        assert f"can't enter {closed}" not in about(place)


def test_who_may_not_give_the_socket_away_is_told_what_to_put_into_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *_: object) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(shutil, "chown", denied)
    path = tmp_path / "tap"
    with pytest.raises(PermissionError, match="SupplementaryGroups=unbound"):
        Listener(Place(at=str(path), group="unbound"))
    assert not path.exists()
