"""One acting agent per runtime directory and per table; the second one is refused with a reason."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from steering.act.exclusive import Exclusive
from steering.act.kernel.acting_agents import elsewhere
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.presence import be_present, others
from steering.errors import CannotRunError

TABLE = 53530001  # nobody's


def test_a_second_agent_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(Exclusive()) as first, contextlib.closing(Exclusive()) as second:
        first.hold(tmp_path, TABLE)
        with pytest.raises(CannotRunError, match=f"another agent runs in {tmp_path}"):
            second.hold(tmp_path, TABLE + 1)
    with contextlib.closing(Exclusive()) as third:
        third.hold(tmp_path, TABLE)


def test_a_second_agent_on_the_same_table_is_refused_whatever_its_directory(
    tmp_path: Path,
) -> None:
    (tmp_path / "other").mkdir()
    with contextlib.closing(Exclusive()) as first, contextlib.closing(Exclusive()) as second:
        first.hold(tmp_path, TABLE)
        with pytest.raises(CannotRunError, match=f"another agent runs on table {TABLE}"):
            second.hold(tmp_path / "other", TABLE)
        second.hold(tmp_path / "other", TABLE + 1)


def test_two_tables_are_held_until_one_is_released(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with contextlib.closing(Exclusive()) as first, contextlib.closing(Exclusive()) as second:
        first.hold(tmp_path, TABLE)
        first.hold(tmp_path, TABLE + 1)
        for table in (TABLE, TABLE + 1):
            with pytest.raises(CannotRunError):
                second.hold(tmp_path / "other", table)
        first.release_all_but([TABLE + 1])
        second.hold(tmp_path / "other", TABLE)
        with pytest.raises(CannotRunError):
            first.hold(tmp_path, TABLE)


def pretender(table: int, name: str, uid: int, comm: bytes, kind: str) -> subprocess.Popen[bytes]:
    """A process of another user that has a socket with such a name, and is called so itself."""
    code = (
        "import os, socket, sys\n"
        f"open('/proc/self/comm', 'wb').write({comm!r})\n"
        f"os.setgid({uid}); os.setuid({uid})\n"
        f"s = socket.socket(socket.AF_UNIX, socket.{kind})\n"
        f"s.bind('\\0steering/table/{table}' + {name!r}.format(pid=os.getpid()))\n"
        "print('there', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    return process


@contextlib.contextmanager
def pretending(
    table: int, name: str, uid: int, comm: bytes = b"any", kind: str = "SOCK_STREAM"
) -> Iterator[None]:
    with pretender(table, name, uid, comm, kind) as process:
        try:
            yield
        finally:
            process.kill()


root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@root
@pytest.mark.parametrize("name", ["", "/1/0", "/{pid}/0", "/self/0", "/9999999999/0", "/-1/0"])
def test_a_user_who_may_not_change_routes_keeps_no_agent_from_acting(
    tmp_path: Path, name: str
) -> None:
    with pretending(TABLE, name, 65534), contextlib.closing(Exclusive()) as alone:
        alone.hold(tmp_path, TABLE)
        told = "user 65534 has a socket that claims an agent acts on table 53530001"
        assert [told in notice for notice in alone.notices] == ([True] if name else [])
        (tmp_path / "other").mkdir()
        with (
            contextlib.closing(Exclusive()) as second,
            pytest.raises(CannotRunError, match="on table"),
        ):
            second.hold(tmp_path / "other", TABLE)


@root
@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
@pytest.mark.parametrize("rest", ["b", "CapEff:\tff", ""])
def test_the_name_of_a_process_gives_it_no_rights_and_ends_no_agent(
    tmp_path: Path, end: str, rest: str
) -> None:
    comm = f"a{end}{rest}".encode()[:15]
    with (
        pretending(TABLE, "/{pid}/0", 65534, comm),
        contextlib.closing(Exclusive()) as alone,
    ):
        alone.hold(tmp_path, TABLE)
        (notice,) = alone.notices
        assert "may not change routes: ignored" in notice


@root
def test_sockets_of_the_same_name_hide_no_agent(tmp_path: Path) -> None:
    """A name is taken once per type of socket, so others may have it too."""
    (tmp_path / "other").mkdir()
    with contextlib.closing(Exclusive()) as first, contextlib.closing(Exclusive()) as second:
        first.hold(tmp_path, TABLE)
        (name,) = agents_names()
        end = name.removeprefix(f"@steering/table/{TABLE}")
        with contextlib.ExitStack() as pretenders:
            for kind in ("SOCK_DGRAM", "SOCK_SEQPACKET"):
                pretenders.enter_context(pretending(TABLE, end, 65534, kind=kind))
            assert agents_names() == [name] * 3
            what = f"steering/table/{TABLE}"
            with be_present(what) as looking:
                assert len(others(what, looking)) == 3
            with pytest.raises(CannotRunError, match=f"another agent runs on table {TABLE}"):
                second.hold(tmp_path / "other", TABLE)


def agents_names() -> list[str]:
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [line.split()[-1] for line in lines if f"@steering/table/{TABLE}/" in line]


@root
def test_a_socket_of_root_counts_whatever_its_pid(tmp_path: Path) -> None:
    with (
        pretending(TABLE, "/0/0", 0),
        contextlib.closing(Exclusive()) as alone,
        pytest.raises(CannotRunError, match=f"another agent runs on table {TABLE}"),
    ):
        alone.hold(tmp_path, TABLE)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, setpriv")
def test_an_agent_of_another_user_is_one_that_may_change_routes(tmp_path: Path) -> None:
    """As a unit with `User=` and `AmbientCapabilities=` runs it."""
    code = (
        "import sys; from steering.act.kernel.presence import be_present\n"
        f"s = be_present('steering/table/{TABLE}'); print('there', flush=True); sys.stdin.read()"
    )
    able = ["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]
    for capabilities, refused in ((able, True), ([], False)):
        command = ["setpriv", "--reuid=65534", "--clear-groups", *capabilities]
        with (
            subprocess.Popen(
                [*command, sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as other,
            contextlib.closing(Exclusive()) as alone,
        ):
            try:
                assert other.stdout is not None
                assert other.stdout.readline() == b"there\n"
                if refused:
                    with pytest.raises(CannotRunError, match="another agent runs on table"):
                        alone.hold(tmp_path, TABLE)
                else:
                    alone.hold(tmp_path, TABLE)
            finally:
                other.kill()


def test_where_the_kernel_lists_no_sockets_the_directory_alone_is_held_with_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QuerySocket, "dump", lambda *_: [])
    with contextlib.closing(Exclusive()) as alone, contextlib.closing(Exclusive()) as second:
        alone.hold(tmp_path, TABLE)
        (notice,) = alone.notices
        assert "can't find other agents on table" in notice
        with pytest.raises(CannotRunError, match="another agent runs in"):
            second.hold(tmp_path, TABLE)


def test_two_that_start_in_the_same_moment_never_both_act(tmp_path: Path) -> None:
    """Each shows its name before it looks for the other's."""
    acting: list[Exclusive] = []
    barrier = threading.Barrier(2)

    def start(directory: Path) -> None:
        directory.mkdir()
        for _ in range(20):
            with contextlib.closing(Exclusive()) as alone:
                barrier.wait()
                with contextlib.suppress(CannotRunError):
                    alone.hold(directory, TABLE)
                    acting.append(alone)
                if barrier.wait() == 0:
                    assert len(acting) <= 1
                    acting.clear()
                barrier.wait()

    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(start, tmp_path / name) for name in "ab"]:
            one.result(timeout=20)


def test_an_agent_of_another_directory_is_named_and_one_of_this_one_is_not(
    tmp_path: Path,
) -> None:
    (mine := tmp_path / "mine").mkdir()
    (other := tmp_path / "other").mkdir()
    with contextlib.closing(Exclusive()) as alone:
        alone.hold(other, TABLE)
        (found,) = [one for one in elsewhere(mine) if one.table == TABLE]
        assert found.pid == os.getpid()
        assert str(found).startswith(f"process {os.getpid()}")
        assert not [one for one in elsewhere(other) if one.table == TABLE]
