"""Control sockets of Knot Resolver: real ones are in a lab test, these are not what they seem."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from steering.act.resolvers.driver import Result
from steering.act.resolvers.include import Include
from steering.act.resolvers.knot import MOST, Knot

Serve = Callable[[socket.socket], object]
"""What a socket does with a connection."""
ME = "root" if os.geteuid() == 0 else "nobody"


def answered(text: bytes, length: int | None = None) -> Serve:
    """A socket that answers every connection so, whatever it is asked."""

    def serve(connected: socket.socket) -> None:
        asked = b""
        while asked.count(b"\n") < 2:
            asked += connected.recv(4096)
        size = len(text) if length is None else length
        connected.sendall(b"> " + size.to_bytes(4, "big") + text)
        to_the_end(connected)

    return serve


def to_the_end(connected: socket.socket) -> bytes:
    heard = b""
    while part := connected.recv(4096):
        heard += part
    return heard


@contextlib.contextmanager
def listening(path: Path, serve: Serve, *, uid: int | None = None) -> Iterator[None]:
    """A socket that is served in a thread; by another user where one is given."""
    with socket.socket(socket.AF_UNIX) as listens:
        listens.bind(str(path))
        if uid is not None:
            os.seteuid(uid)
        listens.listen()
        if uid is not None:
            os.seteuid(0)

        def work() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connected, _ = listens.accept()
                    with connected, contextlib.suppress(OSError):
                        serve(connected)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield
        listens.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def knot(folder: Path, names: list[str], *, limit: float = 5.0, user: str = ME) -> Knot:
    file = folder / "copy.lua"
    file.write_text("modules.load('prefill')\n")
    include = Include(file, comment="--", limit=5.0)
    return Knot([folder / name for name in names], user=user, limit=limit, include=include)


def take_out(folder: Path, *serving: Serve, limit: float = 5.0) -> tuple[Result, bool | None]:
    """What comes of it where these are the instances; and whether the copy is out by their word."""
    names = [f"socket-{number}" for number in range(len(serving))]
    with contextlib.ExitStack() as stack:
        for name, serve in zip(names, serving, strict=True):
            stack.enter_context(listening(folder / name, serve))
        driver = knot(folder, names, limit=limit)
        came = asyncio.run(driver.take_out(".")), asyncio.run(driver.is_out("."))
    for name in names:
        (folder / name).unlink()
    return came


def test_all_instances_have_to_do_it(tmp_path: Path) -> None:
    came, _ = take_out(tmp_path, answered(b"'done'"), answered(b"'done'"))
    assert came.done
    came, _ = take_out(tmp_path, answered(b"'failed: no'"), answered(b"'done'"))
    assert not came.done
    assert "socket-0: 'failed: no'" in came.said
    assert "socket-1" not in came.said


def test_a_socket_that_accepts_and_says_nothing_is_left_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    came, out = take_out(tmp_path, to_the_end, answered(b"'done'"), limit=0.3)
    assert not came.done
    assert "socket-0: no answer within 0.3 s" in came.said
    assert "socket-1" not in came.said, "the others are asked all the same"
    assert out is None
    assert time.monotonic() - began < 5


def test_a_socket_that_never_accepts_is_left_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listens:
        listens.bind(str(tmp_path / "socket"))
        listens.listen(0)
        came = asyncio.run(knot(tmp_path, ["socket"], limit=0.3).take_out("."))
    assert "no answer within 0.3 s" in came.said


def test_a_socket_that_is_something_else_is_said(tmp_path: Path) -> None:
    def other(connected: socket.socket) -> None:
        connected.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        to_the_end(connected)

    assert "no control socket of kresd" in take_out(tmp_path, other)[0].said
    came, out = take_out(tmp_path, lambda connected: connected.close())
    assert not came.done
    assert "socket-0: " in came.said
    assert out is None


def test_an_answer_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    came, _ = take_out(tmp_path, answered(b"", length=2**31))
    assert f"an answer of {2**31} bytes, wanted at most {MOST}" in came.said


def test_a_socket_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "No such file" in asyncio.run(knot(tmp_path, ["none"]).take_out(".")).said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_socket_of_another_user_is_told_nothing(tmp_path: Path) -> None:
    """The kernel says who listens, however the file came there."""
    heard: list[bytes] = []
    with listening(tmp_path / "socket", lambda c: heard.append(to_the_end(c)), uid=12345):
        driver = knot(tmp_path, ["socket"], user="nobody")
        came = asyncio.run(driver.take_out("."))
    assert not came.done
    assert "belongs to user 12345, wanted nobody or root" in came.said
    assert not any(heard)


def test_prefill_is_for_the_root_zone_alone(tmp_path: Path) -> None:
    driver = knot(tmp_path, ["none"])
    assert "not for example." in asyncio.run(driver.take_out("example.")).said
    assert asyncio.run(driver.is_out("example.")) is True
