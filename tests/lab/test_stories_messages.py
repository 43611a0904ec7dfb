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
from stage import EXPIRED, Settings, Stage, on_stage

from steering.dnstap.stream import CONTENT_TYPE, Control, control
from steering.lab.authority import Embedded
from steering.lab.sandbox import poll
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab

LISTENING = Settings(interval="400ms", hold="2s", clean=20, dnstap=True)
LONG = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 50, "com."])  # 247 octets
OUTSIDE = (".", "org.", "xcom.")


def record(owner: str, rdtype: int, rdata: bytes) -> bytes:
    name = dns.name.from_text(owner).to_wire()
    assert name is not None
    return name + struct.pack("!HHIH", rdtype, 1, 60, len(rdata)) + rdata


def expired(owner: str, *, signer: str = "com.") -> tuple[bytes, bytes]:
    """An NSEC record, and a signature over it that ran out; nobody who has the key made it."""
    now = int(time.time())
    apex = dns.name.from_text(signer).to_wire()
    assert apex is not None
    nsec = record(owner, 47, b"\1z" + apex + b"\0\1\x40")
    dates = struct.pack("!IIH", now - 86_400, now - 9 * 86_400, 4711)
    rrsig = struct.pack("!HBBI", 47, 13, owner.count("."), 60) + dates + apex + bytes(64)
    return nsec, record(owner, 46, rrsig)


def answer(number: int, owner: str) -> bytes:
    """NXDOMAIN, with such a record before the SOA."""
    asked = b"\7nothere\3com\0" + struct.pack("!HH", 1, 1)
    soa = record("com.", 6, b"\0\0" + bytes(20))
    head = struct.pack("!6H", number & 0xFFFF, 0x8403, 1, 0, 3, 0)
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
            while not over.wait(0.005):
                tap.sendall(b"".join(chunks))
                written[0] += len(chunks)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join(10)


def test_answers_made_to_end_the_agent_end_nothing_and_hide_no_true_fault() -> None:
    with on_stage(LISTENING, agent=False) as stage:
        scene = stage.scene
        scene.authorities[LOCAL].stop()
        hostile = Embedded(scene.world, scene.world.paths[LOCAL].auth, nsid="ns1-sin")
        hostile.before = [part for owner in OUTSIDE for part in expired(owner)]
        scene.authorities[LOCAL] = hostile
        hostile.serve(scene.zones())
        agent = scene.start_agent()
        for path in scene.world.paths:
            stage.await_health("healthy", path=path)
        with writing(stage) as written:
            stage.steady({}, questions=60)
            assert poll(lambda: written[0] > 5_000, timeout=60)
            assert agent.running, stage.story()
            _, metrics = scene.get("/metrics")
            assert 'steering_unreadable_total{where="probe"} 0.0' in metrics
            assert 'steering_unreadable_total{where="second_look"} 0.0' in metrics
            assert 'steering_dnstap_frames_total{result="ok"}' in metrics
            assert not stage.times("steered")
            assert not stage.times("lease_lost")
            hostile.serve(scene.zones(EXPIRED))
            stage.await_routes(stage.through("pao"))
        stage.await_proof()
        assert agent.running
        assert {Family.of(a) for a in stage.about("steered")} == set(Family)
        assert len(stage.times("unreadable")) == 0
