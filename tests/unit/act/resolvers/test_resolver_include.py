"""The file that holds a copy's configuration: whole at every moment, and its text never lost."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from steering.act.resolvers.driver import NotDoneError
from steering.act.resolvers.include import MOST, Include, holds_comment
from steering.system import files
from steering.system.lockfile import LockFile

TEXT = b'auth-zone:\n name: "."\n # \xe9\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "copy.conf"
    made.write_bytes(TEXT)
    return made


def include(path: Path, limit: float = 5.0) -> Include:
    return Include(path, comment="#", limit=limit)


def done(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def problem(work: Coroutine[Any, Any, None]) -> str:
    with pytest.raises(NotDoneError) as caught:
        asyncio.run(work)
    return str(caught.value)


def test_it_goes_out_as_a_comment_and_comes_back_as_it_was(path: Path) -> None:
    file = include(path)
    done(file.take_out())
    (line,) = path.read_text().splitlines()
    assert line.startswith("# ")
    assert "copy.conf.kept" in line
    assert file.kept.read_bytes() == TEXT
    done(file.put_back())
    assert path.read_bytes() == TEXT
    assert file.kept.read_bytes() == TEXT, "until the resolver has it"
    done(file.forget())
    assert sorted(p.name for p in path.parent.iterdir()) == [".copy.conf.lock", "copy.conf"]


def test_each_call_may_be_repeated(path: Path) -> None:
    file = include(path)
    for _ in range(3):
        done(file.take_out())
    assert file.kept.read_bytes() == TEXT
    for _ in range(3):
        done(file.put_back())
    for _ in range(3):
        done(file.forget())
    assert path.read_bytes() == TEXT


class Killed(BaseException):
    """The process ended here."""


Step = Callable[..., object]


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Ends the process before the step of this number; the steps that were done."""
    done_so_far: list[str] = []

    def guarded(name: str, real: Step) -> Step:
        def step(*args: object, **kwargs: object) -> object:
            if len(done_so_far) == number:
                raise Killed
            done_so_far.append(name)
            return real(*args, **kwargs)

        return step

    for owner, name in (
        (os, "open"),
        (os, "fchmod"),
        (os, "fsync"),
        (Path, "replace"),
        (Path, "unlink"),
        (files, "sync_directory"),
    ):
        monkeypatch.setattr(owner, name, guarded(name, getattr(owner, name)))
    return done_so_far


@pytest.mark.parametrize("way", ["take_out", "put_back", "forget"])
@pytest.mark.parametrize("after", ["take_out", "put_back"])
def test_a_death_between_any_two_steps_leaves_a_whole_file_and_is_completed(
    path: Path, way: str, after: str
) -> None:
    """Nothing but the text or the comment is ever in the file, and the text is never lost."""
    deaths, number = 0, 0
    while True:
        path.write_bytes(TEXT)
        include(path).kept.unlink(missing_ok=True)
        if way != "take_out":
            done(include(path).take_out())
        if way == "forget":
            done(include(path).put_back())
        with pytest.MonkeyPatch.context() as patched:
            kill_at(patched, number)
            try:
                done(getattr(include(path), way)())
                ended = True
            except Killed:
                ended = False
        if ended:
            break
        deaths += 1
        left = path.read_bytes()
        assert left == TEXT or (left.startswith(b"# taken out") and left.endswith(b"\n"))
        assert TEXT in (left, include(path).kept.read_bytes() if left != TEXT else b"")
        done(getattr(include(path), after)())
        if after == "put_back":
            done(include(path).forget())
            assert path.read_bytes() == TEXT
        else:
            assert path.read_bytes().startswith(b"# taken out")
            assert include(path).kept.read_bytes() == TEXT
        names = {p.name for p in path.parent.iterdir() if not p.name.endswith(".draft")}
        assert names <= {".copy.conf.lock", "copy.conf", "copy.conf.kept"}
        number += 1
    assert deaths >= (3 if way == "forget" else 8)


def test_what_an_operator_writes_meanwhile_is_the_text_of_now(path: Path) -> None:
    file = include(path)
    done(file.take_out())
    path.write_bytes(b"auth-zone: new\n")
    done(file.put_back())
    assert path.read_bytes() == b"auth-zone: new\n", "never overwritten by what was kept before"
    done(file.take_out())
    assert file.kept.read_bytes() == b"auth-zone: new\n"


def test_a_text_that_only_begins_like_the_comment_is_the_operators(path: Path) -> None:
    file = include(path)
    done(file.take_out())
    path.write_bytes(path.read_bytes() + b"auth-zone:\n")
    mine = path.read_bytes()
    done(file.take_out())
    assert file.kept.read_bytes() == mine


def test_owner_and_permissions_stay_for_the_resolver_reads_it(path: Path) -> None:
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before = path.stat()
    file = include(path)
    for work in (file.take_out, file.put_back):
        done(work())
        now = path.stat()
        assert stat.S_IMODE(now.st_mode) == 0o640
        assert (now.st_uid, now.st_gid) == (before.st_uid, before.st_gid)


def test_what_can_not_be_is_said(path: Path, tmp_path: Path) -> None:
    assert "No such file" in problem(include(tmp_path / "none.conf").take_out())
    link = tmp_path / "link.conf"
    link.symlink_to(path)
    assert "is a link" in problem(include(link).take_out())
    assert path.read_bytes() == TEXT
    os.mkfifo(tmp_path / "pipe.conf")
    assert "not a regular file" in problem(include(tmp_path / "pipe.conf").take_out())
    large = tmp_path / "large.conf"
    large.write_bytes(b"#" * (MOST + 1))
    assert f"at most {MOST}" in problem(include(large).take_out())
    os.link(path, tmp_path / "other name")
    assert "another name" in problem(include(path).take_out())


def test_a_text_that_is_lost_is_said_and_the_file_stays_out(path: Path) -> None:
    file = include(path)
    done(file.take_out())
    file.kept.unlink()
    assert "copy.conf.kept: No such file" in problem(file.put_back())
    assert path.read_bytes().startswith(b"# taken out")
    done(file.take_out())


def test_a_link_in_the_place_of_the_draft_leads_nowhere(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"of somebody")
    (tmp_path / ".copy.conf.draft").symlink_to(other)
    (tmp_path / ".copy.conf.kept.draft").symlink_to(other)
    done(include(path).take_out())
    assert other.read_bytes() == b"of somebody"


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become another user")
def test_without_permission_nothing_changes_and_it_is_said(path: Path) -> None:
    path.parent.chmod(0o755)
    os.seteuid(65534)
    try:
        said = problem(include(path).take_out())
    finally:
        os.seteuid(0)
    assert "Permission denied" in said
    assert path.read_bytes() == TEXT


def test_a_disk_that_hangs_is_not_waited_for_and_is_not_overtaken(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, real = threading.Event(), os.fsync

    def hangs(descriptor: int) -> None:
        answers.wait(30)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", hangs)
    file = include(path, limit=0.2)
    began = time.monotonic()
    assert "did not answer" in problem(file.take_out())
    assert "an earlier call still waits" in problem(file.put_back())
    assert time.monotonic() - began < 5
    answers.set()


def test_two_processes_never_change_it_at_the_same_time(path: Path) -> None:
    """What another has begun is not mixed with this: its draft would be removed and go live."""
    draft = path.with_name(".copy.conf.draft")
    draft.write_bytes(b"half of what anoth")
    with LockFile.create(path.with_name(".copy.conf.lock")) as other:
        other.lock()
        assert "another process is at work" in problem(include(path, limit=0.4).take_out())
        assert path.read_bytes() == TEXT
        assert draft.exists()
    done(include(path).take_out())


def test_what_was_taken_out_again_meanwhile_is_not_forgotten(path: Path) -> None:
    """One process puts it back, another takes it out before the first one is done."""
    done(include(path).take_out())
    done(include(path).put_back())
    done(include(path).take_out())
    done(include(path).forget())
    assert include(path).kept.read_bytes() == TEXT


def test_the_file_says_whether_it_is_out(path: Path) -> None:
    assert asyncio.run(holds_comment(path, 5.0)) is False
    done(Include(path, comment="--", limit=5.0).take_out())
    assert asyncio.run(holds_comment(path, 5.0)) is True
    path.write_bytes(path.read_bytes() + b"of the operator\n")
    assert asyncio.run(holds_comment(path, 5.0)) is False
    assert asyncio.run(holds_comment(path.with_name("none"), 5.0)) is None
