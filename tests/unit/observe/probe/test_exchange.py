"""One question asked from here: what came of it, by what came back and from where."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from steering.observe import exchange
from steering.observe.exchange import Ended, Exchange, Sending, by_udp, small

LOOPBACK = pytest.mark.parametrize("address", ["127.0.0.1", "::1"])


def bound(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((address, 0))
    except OSError as error:
        sock.close()
        pytest.skip(f"no {address} here: {error}")
    sock.setblocking(False)
    return sock


@pytest.fixture
def server(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket where questions are sent to."""
    with bound(address) as sock:
        monkeypatch.setattr(exchange, "_PORT", sock.getsockname()[1])
        yield sock


async def answered(server: socket.socket, by: socket.socket, patience: float) -> Exchange:
    """What comes of a question that this socket answers."""
    address, loop = server.getsockname()[0], asyncio.get_running_loop()
    asking = asyncio.create_task(
        by_udp(Sending(address=address), small("com."), 7, time_limit=patience)
    )
    message, peer = await loop.sock_recvfrom(server, 512)
    by.sendto(message[:2] + b"\x84" + message[3:], peer)
    return await asking


@LOOPBACK
def test_an_answer_from_whom_was_asked_is_one(server: socket.socket, address: str) -> None:
    found = asyncio.run(answered(server, server, 5.0))
    assert found.ended is Ended.ANSWERED
    assert found.rtt is not None
    assert found.octets == found.packet > 12


@LOOPBACK
def test_an_answer_from_elsewhere_is_none(server: socket.socket, address: str) -> None:
    with bound(address) as other:
        found = asyncio.run(answered(server, other, 0.2))
        assert found.ended is Ended.ELSEWHERE
        assert found.detail == f"{address}, port {other.getsockname()[1]}"


@LOOPBACK
def test_where_nothing_comes_it_is_silence_after_the_patience(
    server: socket.socket, address: str
) -> None:
    found = asyncio.run(by_udp(Sending(address=address), small("com."), 7, time_limit=0.05))
    assert found.ended is Ended.SILENT
