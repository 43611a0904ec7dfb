"""Turns while strangers load the status port: as late as without, or not.

A real agent in a namespace of its own, where a small server refuses every question at every
address, so that all of them are measured. Each turn is seen from outside, by the agent's word to
its service manager (`WATCHDOG=1`). It turns at least once a second: by what a pause between two
turns is longer than that, the later one is late. Beside each load: how long `/api/v1/status` took
at the socket in `runtime`, asked ten times.

The clients run on the same host, so they also take CPU from the agent, as they would whatever
they asked: `elsewhere` is the first load at the port of another program.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from benchmarks import report
from steering.model import Seconds

ADDRESSES = (52, 1_000)
SPAN: Seconds = 8.0
WARM: Seconds = 12.0
"""Until each address was asked."""
IDLE: Seconds = 1.0
PORT, OTHER = 9353, 9354
ASK = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def run() -> None:
    """Measure in a namespace and print the tables."""
    if os.geteuid():
        print("\nstatus_port: left out: needs root, for a namespace of its own")
        return
    for addresses in ADDRESSES:
        words = [sys.executable, "-m", "benchmarks.status_port", str(addresses)]
        subprocess.run(["unshare", "--net", *words], check=True)


def measure(addresses: int) -> None:
    """In the namespace."""
    for words in (
        "link set lo up",
        "route add local 192.0.0.0/8 dev lo",
        "-6 route add local 2001:db8::/32 dev lo",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    with contextlib.ExitStack() as stack:
        for work in (_refuse, _other):
            stack.enter_context(_process(work))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        seen = stack.enter_context(_Turns(directory))
        agent = stack.enter_context(_agent(directory, addresses))
        while not seen.at and agent.poll() is None:
            time.sleep(0.1)
        time.sleep(WARM)
        rows = [_row("no load", None, seen, directory)]
        loads = {
            "elsewhere": functools.partial(_closed, OTHER),
            **{name: functools.partial(load, PORT) for name, load in LOADS.items()},
        }
        rows += [_row(name, load, seen, directory) for name, load in loads.items()]
        if agent.poll() is not None:
            rows.append(("the agent ended", str(agent.returncode), "", "", "", ""))
    report.table(
        f"{addresses} addresses: turns in {SPAN:g} s of each load",
        ("load", "turns", "median pause", "longest", "late", "status"),
        rows,
    )


class _Turns:
    """When the agent turned, by its own word."""

    def __init__(self, directory: Path) -> None:
        self.at: list[float] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "notify"))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hear)

    def _hear(self) -> None:
        while not self._over.is_set():
            if select.select([self._socket], [], [], 0.1)[0]:
                now = time.monotonic()
                if b"WATCHDOG" in self._socket.recv(4096):
                    self.at.append(now)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def pauses(self, began: float, ended: float) -> list[float]:
        """Between turns; one that has not come is as late as the end."""
        inside = [t for t in self.at if began <= t <= ended]
        return [b - a for a, b in zip([began, *inside], [*inside, ended], strict=True)]


def _row(
    name: str, load: Callable[[], None] | None, seen: _Turns, directory: Path
) -> tuple[str, ...]:
    with _process(load) if load else contextlib.nullcontext():
        began = time.monotonic()
        asked = []
        while (now := time.monotonic()) < began + SPAN:
            asked.append(_ask(directory))
            time.sleep(max(0.0, SPAN / 10 - (time.monotonic() - now)))
        pauses = seen.pauses(began, time.monotonic())
    time.sleep(2.0)  # what waits in the kernel is gone
    failed = sum(one is None for one in asked)
    took = [one for one in asked if one is not None]
    told = report.ms(report.median(took)) if took else "-"
    return (
        name,
        str(len(pauses) - 1),
        report.ms(report.median(pauses)),
        report.ms(max(pauses)),
        report.ms(max(0.0, max(pauses) - IDLE)),
        f"{told}, {failed} of {len(asked)} failed",
    )


def _ask(directory: Path) -> float | None:
    """Seconds for one status."""
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(15.0)
        try:
            client.connect(str(directory / "run/status.sock"))
            client.sendall(b"GET /api/v1/status HTTP/1.0\r\n\r\n")
            said = client.makefile("rb").read()
        except OSError:
            return None
    return time.monotonic() - began if said.startswith(b"HTTP/1.1 200") else None


@contextlib.contextmanager
def _agent(directory: Path, addresses: int) -> Iterator[subprocess.Popen[bytes]]:
    from benchmarks.turn import configure

    config = configure(directory, addresses, each=50)
    with config.open("a") as file:
        file.write(
            f"mode: observe\nstate: {directory}/state\nruntime: {directory}/run\n"
            f"resolvers: [192.0.2.1]\nstatus: 127.0.0.1:{PORT}\n"
        )
    argv = [sys.executable, "-m", "steering", "run", "--config", str(config)]
    environment = {**os.environ, "NOTIFY_SOCKET": str(directory / "notify")}
    with (directory / "log").open("wb") as log:
        agent = subprocess.Popen(argv, env=environment, stderr=log)
    try:
        yield agent
    finally:
        agent.kill()
        agent.wait()


@contextlib.contextmanager
def _process(work: Callable[[], None]) -> Iterator[None]:
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            traceback.print_exc()
            os._exit(0)
    try:
        yield
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise RuntimeError("a load ended by itself")
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def _refuse() -> None:
    """Every question at every address is refused (RFC 1035 4.1.1, rcode 5)."""
    sockets = []
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        made = socket.socket(family, socket.SOCK_DGRAM)
        level, option = (socket.IPPROTO_IP, 8) if host == "0.0.0.0" else (socket.IPPROTO_IPV6, 49)
        if host == "::":
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(level, option, 1)  # IP_PKTINFO, IPV6_RECVPKTINFO: answer from there
        made.setsockopt(level, 15 if level == socket.IPPROTO_IP else 78, 1)  # *_FREEBIND
        made.bind((host, 53))
        sockets.append((made, level))
    while True:
        for made in select.select([one for one, _ in sockets], [], [])[0]:
            data, more, _, client = made.recvmsg(4096, 128)
            answer = data[:2] + b"\x80\x05" + data[4:6] + b"\0\0\0\0\0\0" + data[12:-15]
            kind = 8 if made.family == socket.AF_INET else 50
            info = [(level, kind, value) for level, _, value in more]
            made.sendmsg([answer], info, 0, client)


def _other() -> None:
    """Another program's port: it answers at once."""
    import asyncio

    async def serve() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", OTHER) as server:
            await server.serve_forever()

    asyncio.run(serve())


def _flood(port: int, number: int, act: Callable[[socket.socket], None]) -> None:
    """So many connections, each of which is used whenever that is possible, and made again."""
    there: dict[int, socket.socket] = {}
    poll = select.epoll()
    while True:
        while len(there) < number:
            made = socket.socket()
            made.setblocking(False)
            made.connect_ex(("127.0.0.1", port))
            there[made.fileno()] = made
            poll.register(made, select.EPOLLIN | select.EPOLLOUT)
        for descriptor, _ in poll.poll(0.01):
            one = there[descriptor]
            try:
                act(one)
            except BlockingIOError:
                continue
            except OSError:
                there.pop(descriptor).close()


def _closed(port: int) -> None:
    """Each asks, reads the whole answer and asks again."""
    left: dict[socket.socket, int] = {}

    def act(one: socket.socket) -> None:
        if one not in left:
            one.send(ASK)
            left[one] = 0
        data = one.recv(1 << 20)
        if not data:
            raise ConnectionError
        if not left[one]:
            head, _, data = data.partition(b"\r\n\r\n")
            if b"Content-Length: " not in head:
                raise ConnectionError
            left[one] = int(head.split(b"Content-Length: ")[1].split()[0])
        left[one] -= len(data)
        if left[one] <= 0:
            del left[one]

    _flood(port, 400, act)


def _slow(port: int) -> None:
    def act(one: socket.socket) -> None:
        one.send(b"G")
        time.sleep(0.001)

    _flood(port, 800, act)


def _silent(port: int) -> None:
    def act(one: socket.socket) -> None:
        if not one.recv(1):
            raise ConnectionError

    _flood(port, 3000, act)


def _pipelined(port: int) -> None:
    def act(one: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            one.send(ASK * 100)
        one.recv(1 << 16)

    _flood(port, 200, act)


def _large(port: int) -> None:
    def act(one: socket.socket) -> None:
        one.send(b"X: " + b"y" * 100_000)

    _flood(port, 200, act)


def _unread(port: int) -> None:
    def act(one: socket.socket) -> None:
        one.send(ASK)

    _flood(port, 400, act)


LOADS: dict[str, Callable[[int], None]] = {
    "400 ask /metrics in a loop": _closed,
    "800 send a byte at a time": _slow,
    "3,000 say nothing": _silent,
    "200 send 100 questions at once": _pipelined,
    "200 send heads of 100 kB": _large,
    "400 never read the answer": _unread,
}


if __name__ == "__main__":
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    measure(int(sys.argv[1]))
