"""One acting agent per runtime directory and per table, and the second one is told why not."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from steering.agent.alone import Alone
from steering.agent.parts import CannotRun

TABLE = 53530001  # nobody's


def test_a_second_agent_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(Alone()) as first, contextlib.closing(Alone()) as second:
        first.hold(tmp_path, TABLE)
        with pytest.raises(CannotRun, match=f"another agent runs in {tmp_path}"):
            second.hold(tmp_path, TABLE + 1)
    with contextlib.closing(Alone()) as third:
        third.hold(tmp_path, TABLE)


def test_a_second_agent_on_the_same_table_is_refused_whatever_its_directory(
    tmp_path: Path,
) -> None:
    (tmp_path / "other").mkdir()
    with contextlib.closing(Alone()) as first, contextlib.closing(Alone()) as second:
        first.hold(tmp_path, TABLE)
        with pytest.raises(CannotRun, match=f"another agent runs on table {TABLE}"):
            second.hold(tmp_path / "other", TABLE)
        second.hold(tmp_path / "other", TABLE + 1)


def test_tables_are_held_side_by_side_until_one_is_left(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with contextlib.closing(Alone()) as first, contextlib.closing(Alone()) as second:
        first.hold(tmp_path, TABLE)
        first.hold(tmp_path, TABLE + 1)
        for table in (TABLE, TABLE + 1):
            with pytest.raises(CannotRun):
                second.hold(tmp_path / "other", table)
        first.leave_all_but([TABLE + 1])
        second.hold(tmp_path / "other", TABLE)
        with pytest.raises(CannotRun):
            first.hold(tmp_path, TABLE)
