"""Answers made to end the agent: it lives, counts neither way, and still moves for a true fault."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dns.name
import pytest
from stage import EXPIRED, QUICK, Stage, on_stage

from steering.lab.scene import Settings
from steering.lab.servers.authority import MiniAuthority
from steering.model import LOCAL, Family
from steering.observe.dnstap.framestream import CONTENT_TYPE, Control, control
from steering.system.unreadable import Where

pytestmark = pytest.mark.lab

LISTENING = Settings(interval="400ms", hold="2s", clean=20, dnstap=True)
LONG = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 50, "com."])  # 247 octets
OUTSIDE = (".", "org.", "xcom.")


def record(owner: str, rdtype: int, rdata: bytes) -> bytes:
    name = dns.name.from_text(owner).to_wire()
    assert name is not None
    return name + struct.pack("!HHIH", rdtype, 1, 60, len(rdata)) + rdata


def signature(owner: str, covered: int) -> bytes:
    """One of com. that ran out; nobody who has the key made it."""
    now = int(time.time())
    apex = dns.name.from_text("com.").to_wire()
    assert apex is not None
    dates = struct.pack("!IIH", now - 86_400, now - 9 * 86_400, 4711)
    rdata = struct.pack("!HBBI", covered, 13, owner.rstrip(".").count(".") + (owner != "."), 60)
    return record(owner, 46, rdata + dates + apex + bytes(64))


def expired(owner: str) -> tuple[bytes, bytes]:
    """An NSEC record of this owner, and such a signature over it."""
    return record(owner, 47, b"\1z\3com\0\0\1\x40"), signature(owner, 47)


def answer(number: int, owner: str) -> bytes:
    """NXDOMAIN, with such a record before the SOA: of equally bad ones the first is told of."""
    asked = b"\7nothere\3com\0" + struct.pack("!HH", 1, 1)
    soa = record("com.", 6, b"\0\0" + bytes(20)) + signature("com.", 6)
    head = struct.pack("!6H", number & 0xFFFF, 0x8403, 1, 0, 4, 0)
    return head + asked + b"".join(expired(owner)) + soa


def framed(address: str, message: bytes) -> bytes:
    """A response as a resolver tells of it (dnstap.proto)."""

    def bytes_field(number: int, value: bytes) -> bytes:
        size = len(value)
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        return bytes([number << 3 | 2]) + length + value

    packed = ipaddress.ip_address(address).packed
    inner = bytes([8, 4, 16, 1 if len(packed) == 4 else 2, 24, 1]) + bytes_field(5, packed)
    inner += bytes([96, 1]) + bytes_field(14, message)
    body = bytes_field(14, inner) + bytes([120, 1])
    return struct.pack("!I", len(body)) + body


@contextmanager
def writing(stage: Stage) -> Iterator[list[int]]:
    """Somebody who may write to the socket brings such answers of all addresses without end."""
    chunks = [
        framed(address, answer(number, owner))
        for number, owner in enumerate((*OUTSIDE, LONG, f"{'e' * 63}.com."))
        for address in stage.addresses
    ]
    written, over = [0], threading.Event()

    def work() -> None:
        with socket.socket(socket.AF_UNIX) as tap, suppress(OSError):
            tap.connect(str(stage.scene.tap))
            tap.sendall(control(Control.START, content_type=CONTENT_TYPE))
            while not over.wait(0.05):
                tap.sendall(b"".join(chunks))
                written[0] += len(chunks)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join(10)


def unread(stage: Stage) -> dict[str, float]:
    _, metrics = stage.scene.get("/metrics")
    lines = [line for line in metrics.splitlines() if line.startswith("steering_unreadable_total")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def heard_of(stage: Stage) -> int:
    _, metrics = stage.scene.get("/metrics")
    (line,) = [x for x in metrics.splitlines() if x.startswith("steering_dnstap_verified_total")]
    return int(float(line.split()[-1]))


def test_answers_made_to_end_the_agent_are_heard_of_and_end_nothing() -> None:
    with on_stage(LISTENING) as stage:
        agent = stage.scene.agent
        assert agent is not None
        with writing(stage) as written:
            stage.steady({}, questions=60)
            stage.until(
                lambda: written[0] > 2_000 and heard_of(stage) > 100,
                60,
                tell=lambda: (
                    written,
                    stage.scene.get("/metrics")[1].split("steering_dnstap_lost")[-1][:900],
                ),
            )
            assert agent.running, stage.story()
            assert not any(unread(stage).values()), (
                "each is understood, and nothing has to be caught"
            )
            assert not stage.times("steered")
            stage.scene.serve(EXPIRED, paths=[LOCAL])
            stage.await_routes(stage.through("pao"))
        stage.await_proof()
        assert agent.running
        assert not stage.times("lease_lost")


def test_answers_made_to_end_the_agent_count_neither_way_where_it_asks_itself() -> None:
    with on_stage(QUICK, agent=False) as stage:
        scene = stage.scene
        scene.authorities[LOCAL].stop()
        hostile = MiniAuthority(scene.world, scene.world.paths[LOCAL].auth, nsid="ns1-sin")
        hostile.before = [part for owner in OUTSIDE for part in expired(owner)]
        scene.authorities[LOCAL] = hostile
        hostile.serve(scene.zones())
        agent = scene.start_agent()
        for path in scene.world.paths:
            stage.await_health("healthy", path=path)
        stage.steady({}, questions=60)
        assert agent.running, stage.story()
        assert len(unread(stage)) == len(Where)
        assert not any(unread(stage).values())
        assert not stage.times("suspected")
        hostile.serve(scene.zones(EXPIRED))
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        assert agent.running
        assert {Family.of(a) for a in stage.about("steered")} == set(Family)
