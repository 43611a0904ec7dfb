"""Attackers of the lab, each with one capability that a remote or local attacker may have.

    python -m steering.lab.attackers names    SERVER RATE ZONE...
    python -m steering.lab.attackers answers  INTERFACE RATE
    python -m steering.lab.attackers status   HOST PORT CONNECTIONS
    python -m steering.lab.attackers dnstap   SOCKET RATE ADDRESS...
    python -m steering.lab.attackers files    OVERRIDES-FOLDER RATE

Each runs until it is killed, prints a line when it has begun and then one a minute. What it sends
depends on a seed (ATTACK_SEED in the environment), so that a finding can be reproduced. They run at
nice 10, since real attackers have processors of their own.

``answers`` listens on a router's link to the edge host and forges nameservers' answers. For the
resolver's questions it sends hostile ones with the right id and port. For the agent's (which ask
for an NSID) it uses a wrong id: an attacker who can give the agent itself bad answers over the
local path makes that path bad, and to move traffic away from it would be right.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from steering.lab.hostile_messages import message, name, parts
from steering.model import Instant, Seconds
from steering.observe.dnstap.framestream import CONTENT_TYPE, Control, control

_NSID_OPTION = b"\0\3\0\0"
_IPV4, _IPV6, _ALL, _UDP = 0x0800, 0x86DD, 0x0003, 17


class Rate:
    """A steady rate: waits until the next step is due; missed steps are not made up for."""

    def __init__(self, rate: float) -> None:
        self._every: Seconds = 1.0 / rate
        self._due: Instant = time.monotonic()
        self._printed_at: Instant = self._due
        self.done = 0

    def wait(self) -> None:
        """Wait until the next step is due."""
        now = time.monotonic()
        if now < self._due:
            time.sleep(self._due - now)
        self._due = max(self._due + self._every, now)
        self.count()

    def count(self) -> None:
        """Count one step."""
        self.done += 1
        if time.monotonic() - self._printed_at >= 60:
            self._printed_at = time.monotonic()
            print(f"{self.done} so far", flush=True)


# --- messages -------------------------------------------------------------------------------


# --- names ----------------------------------------------------------------------------------


def names(server: str, rate: str, *zones: str) -> None:
    """A client that asks the resolver for names at every limit, of every type."""
    rng, pace = _rng(), Rate(float(rate))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((server, 53))
        udp.setblocking(False)
        print("asking", flush=True)
        while True:
            pace.wait()
            rdtype = rng.choice((1, 2, 6, 43, 46, 47, 48, 50, 255, 28, 65, 0, rng.getrandbits(16)))
            question = name(rng, rng.choice(zones)) + struct.pack("!HH", rdtype, 1)
            opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0x8000, 0)
            head = struct.pack("!6H", rng.getrandbits(16), 0x0100, 1, 0, 0, 1)
            with contextlib.suppress(OSError):
                udp.send(head + question + opt)
                while True:
                    udp.recv(65_535)


# --- answers --------------------------------------------------------------------------------


def answers(interface: str, rate: str) -> None:
    """Forge answers on a link to the edge host: see the module."""
    rng, allowed, every = _rng(), 0.0, float(rate)
    records, printed_at, sent = parts(int(time.time())), time.monotonic(), 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL)) as wire:
        wire.bind((interface, _ALL))
        print("forging", flush=True)
        filled = time.monotonic()
        while True:
            packet, (_, kind, direction, _, sender) = wire.recvfrom(4096)
            now = time.monotonic()
            allowed, filled = min(20.0, allowed + (now - filled) * every), now
            if direction == socket.PACKET_OUTGOING or allowed < 1.0:
                continue
            asked = _asked(kind, packet)
            if asked is None:
                continue
            allowed -= 1.0
            source, target, port, query = asked
            question = _question(query)
            if question is None:
                continue
            query_id = int.from_bytes(query[:2], "big")
            if _NSID_OPTION in query:
                query_id ^= rng.randint(1, 65_535)
            forged = message(rng, question, query_id, records)
            datagram = struct.pack("!HHHH", 53, port, 8 + len(forged), 0) + forged
            with contextlib.suppress(OSError):
                wire.sendto(
                    _packet(kind, target, source, datagram), (interface, kind, 0, 0, sender)
                )
                sent += 1
            if now - printed_at >= 60:
                printed_at = now
                print(f"{sent} so far", flush=True)


def _asked(kind: int, packet: bytes) -> tuple[bytes, bytes, int, bytes] | None:
    """Source, destination, source port and message of a question by UDP; None for all else."""
    if kind == _IPV4 and len(packet) > 40 and packet[9] == _UDP:
        head, source, target = 4 * (packet[0] & 15), packet[12:16], packet[16:20]
    elif kind == _IPV6 and len(packet) > 60 and packet[6] == _UDP:
        head, source, target = 40, packet[8:24], packet[24:40]
    else:
        return None
    port, to = struct.unpack_from("!HH", packet, head)
    return (source, target, port, packet[head + 8 :]) if to == 53 else None


def _question(query: bytes) -> bytes | None:
    """The question section of a query with one question."""
    at = 12
    while at < len(query) and query[at]:
        at += 1 + query[at]
    return query[12 : at + 5] if at + 5 <= len(query) else None


def _packet(kind: int, source: bytes, target: bytes, datagram: bytes) -> bytes:
    pseudo = source + target + struct.pack("!II", len(datagram), _UDP)
    checked = _checksum(pseudo + datagram) or 0xFFFF
    datagram = datagram[:6] + struct.pack("!H", checked) + datagram[8:]
    if kind == _IPV6:
        return struct.pack("!IHBB", 6 << 28, len(datagram), _UDP, 60) + source + target + datagram
    size = 20 + len(datagram)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 60, _UDP, 0, source, target)
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + datagram


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# --- the status port ------------------------------------------------------------------------

_REQUESTS = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/explain?address=%5B HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 60_000 + b"\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
)


def status(host: str, port: str, connections: str) -> None:
    """Many connections at once: half ask as fast as they are answered, half are slow.

    The slow ones send an octet from time to time, or ask and never read.
    """
    rng, pace, wanted = _rng(), Rate(1e6), int(connections)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    open_: dict[int, tuple[socket.socket, bool, Instant]] = {}
    poll = select.epoll()
    print("asking", flush=True)
    while True:
        tries = 0
        while len(open_) < wanted and tries < 20:
            tries += 1
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if sock.connect_ex((host, int(port))) not in (0, errno.EINPROGRESS):
                sock.close()
                continue
            slow = rng.random() < 0.5
            open_[sock.fileno()] = (sock, slow, time.monotonic() + rng.uniform(1, 60))
            poll.register(sock, select.EPOLLOUT if slow else select.EPOLLOUT | select.EPOLLIN)
        for number, events in poll.poll(0.05):
            sock, slow, ends = open_[number]
            if not _step(sock, events, rng, slow=slow) or time.monotonic() > ends:
                poll.unregister(number)
                del open_[number]
                sock.close()
            pace.count()
        time.sleep(0.002)


def _step(sock: socket.socket, events: int, rng: random.Random, *, slow: bool) -> bool:
    """One step of one connection; False if it has ended."""
    try:
        if events & (select.EPOLLHUP | select.EPOLLERR):
            return False
        if events & select.EPOLLIN and not sock.recv(1 << 20):
            return False
        if events & select.EPOLLOUT:
            if not slow:
                sock.send(rng.choice(_REQUESTS))
            elif rng.random() < 0.02:
                sock.send(rng.choice((b"G", b"X", b"\r\n", _REQUESTS[0])))
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


# --- dnstap ---------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def frame(rng: random.Random, address: str, records: tuple[bytes, ...]) -> bytes:
    """A dnstap frame that claims that this nameserver gave the resolver a hostile answer."""
    six = ":" in address
    packed = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address)
    zone = rng.choice(("com.", "net.", "com.", "example.org."))
    question = name(rng, zone) + struct.pack("!HH", rng.choice((1, 43, 6, 50)), 1)
    wire = message(rng, question, rng.getrandbits(16), records)
    now = int(time.time()) + rng.choice((0, 0, 0, 0, -(10**9), 10**9))
    nanoseconds = (
        _varint(9 << 3 | 5) + struct.pack("<I", 1),
        _varint(13 << 3 | 5) + struct.pack("<I", 2),
    )
    inner = (
        _field(1, rng.choice((4, 4, 4, 4, 3, 6, 99)))
        + _field(2, 2 if six else 1)
        + _field(3, 1)
        + _field(5, packed if rng.random() < 0.95 else packed[:3])
        + _field(8, now)
        + nanoseconds[0]
        + _field(10, struct.pack("!6H", 7, 0, 1, 0, 0, 0) + question)
        + _field(12, now)
        + nanoseconds[1]
        + _field(14, wire)
    )
    body = bytearray(_field(15, 1) + _field(14, inner))
    if rng.random() < 0.05:
        body[rng.randrange(len(body))] = rng.getrandbits(8)
    return struct.pack("!I", len(body)) + bytes(body)


def dnstap(path: str, rate: str, *addresses: str) -> None:
    """A writer that reports bad answers of every address, and violates the protocol."""
    rng, pace, records = _rng(), Rate(float(rate)), parts(int(time.time()))
    print("claiming", flush=True)
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as tap:
            tap.settimeout(5.0)
            tap.connect(path)
            tap.sendall(control(Control.READY, content_type=CONTENT_TYPE))
            tap.recv(512)
            tap.sendall(control(Control.START, content_type=CONTENT_TYPE))
            while True:
                pace.wait()
                tap.sendall(frame(rng, rng.choice(addresses), records))
                if rng.random() < 1e-4:  # out of step: the reader closes this connection
                    tap.sendall(rng.choice((b"\xff" * 8, b"\0\0\0\0\xff\xff\xff\xff", b"\0" * 64)))
        time.sleep(0.2)


# --- overrides.d ----------------------------------------------------------------------------


def files(folder: str, rate: str) -> None:
    """A user who may write in `overrides.d`: invalid content, and files of other types.

    (A valid override would rightly be obeyed: this user may redirect traffic.)
    """
    rng, pace, place = _rng(), Rate(float(rate)), Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    spare = place / ".spare"
    print("swapping", flush=True)
    makes: tuple[Callable[[], object], ...] = (
        lambda: os.mkfifo(spare),
        lambda: spare.symlink_to("/dev/zero"),
        lambda: spare.symlink_to("/etc/shadow"),
        lambda: spare.symlink_to(spare),
        spare.mkdir,
        lambda: spare.write_bytes(rng.randbytes(2000)),
        lambda: spare.write_text("overrides: [" * 2000),
        lambda: spare.write_text("a: &a [x, x]\n" + "b: &b [*a, *a, *a, *a]\n" * 30),
        lambda: spare.write_text("overrides: []\n"),
        lambda: spare.write_text("overrides:\n" + "  - {name: x, action: local}\n" * 9000),
        lambda: _sparse(spare),
    )
    while True:
        pace.wait()
        target = place / f"{rng.randrange(20)}.yaml"
        with contextlib.suppress(OSError):
            _remove(target)
            if rng.random() < 0.7:
                rng.choice(makes)()
                spare.rename(target)
        with contextlib.suppress(OSError):
            _remove(spare)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _rng() -> random.Random:
    return random.Random(int(os.environ.get("ATTACK_SEED", "1")))  # noqa: S311 - to be had again


ROLES: dict[str, Callable[..., None]] = {
    "names": names,
    "answers": answers,
    "status": status,
    "dnstap": dnstap,
    "files": files,
}


if __name__ == "__main__":
    os.nice(10)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    role, *words = sys.argv[1:]
    ROLES[role](*words)
