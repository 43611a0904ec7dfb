"""Agents of this host find each other by sockets, and believe only who may change routes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from steering.act.kernel import acting_agents
from steering.act.kernel.acting_agents import SHOWN, elsewhere, may_act
from steering.act.kernel.presence import PresenceSocket, be_present, others


def one(uid: int, name: str = f"\0{SHOWN}/5353/7/x", inode: int = 1) -> PresenceSocket:
    return PresenceSocket(name=name, inode=inode, uid=uid)


def test_root_may_act_and_another_user_by_the_capability_of_his_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    answer: list[bool | OSError] = [True]

    def may_change_routes(pid: int, *, uid: int) -> bool:
        asked.append((pid, uid))
        if isinstance(answer[0], OSError):
            raise answer[0]
        return answer[0]

    monkeypatch.setattr(acting_agents, "may_change_routes", may_change_routes)
    assert may_act(one(0))
    assert may_act(one(os.geteuid()))
    assert not asked
    assert may_act(one(4711))
    assert asked == [(7, 4711)]
    answer[0] = False
    assert not may_act(one(4711))
    answer[0] = ProcessLookupError()
    assert not may_act(one(4711)), "its process is gone"
    answer[0] = True
    assert not may_act(one(4711, f"\0{SHOWN}/none")), "it names no process"


def test_a_process_is_named_last_but_one_by_at_most_nine_digits() -> None:
    for name, pid in (("a/5353/7/x", 7), ("a/7", None), ("a/x/y", None), ("a/1234567890/x", None)):
        assert one(0, name).pid == pid
    assert one(0, "a/123456789/x").pid == 123456789


def test_agents_of_other_directories_are_found_by_table_and_ours_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    me = os.getpid()
    found = [
        one(0, f"\0{SHOWN}/6000/{me}/x"),
        one(0, f"\0{SHOWN}/5353/{me}/x"),
        one(0, f"\0{SHOWN}/5353/{me}/y"),
        one(4711, f"\0{SHOWN}/7000/{me}/x"),
        one(0, f"\0{SHOWN}/odd/{me}/x"),
    ]
    monkeypatch.setattr(acting_agents, "others", lambda _what, _mine: found)
    monkeypatch.setattr(acting_agents, "may_act", lambda each: each.uid == 0)
    assert [(each.table, each.pid) for each in elsewhere(tmp_path)] == [(5353, me), (6000, me)]
    with (tmp_path / acting_agents.LOCK).open("w"):
        assert elsewhere(tmp_path) == (), "this process has the lock of that directory open"


def test_this_kernel_lists_sockets_by_name_with_their_owner() -> None:
    with be_present("steering/test") as mine, be_present("steering/test") as other:
        try:
            found = others("steering/test", mine)
        except OSError as error:
            pytest.skip(str(error))
        assert os.fstat(other.fileno()).st_ino in {each.inode for each in found}
        assert os.fstat(mine.fileno()).st_ino not in {each.inode for each in found}
        assert {each.uid for each in found} == {os.geteuid()}
        assert {each.pid for each in found} == {os.getpid()}
        assert all(each.name.startswith("\0steering/test/") for each in found)
        with pytest.raises(OSError, match="does not list sockets"):
            others("steering/another", mine)
