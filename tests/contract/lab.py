"""The lab: one namespace with the servers of all cases and the validators, and who asks these.

Everything in it ends with the process that made it (`steering.lab.network.sandbox`).
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from contract.authority import Authority
from contract.case import NETWORK, World, build
from contract.heard import Heard
from contract.keys import warm
from contract.ours import judged
from contract.resolvers import Validator
from contract.words import Word
from steering.lab.network.sandbox import LabError, Program, Sandbox, find
from steering.lab.network.sockets import SocketFactory
from steering.model import Family
from steering.observe.dnssec import anchors
from steering.observe.dnssec.algorithms import refused

PATIENCE: Final = 8.0
"""Seconds after which a validator that still tries counts as one that refuses."""
_COMING_UP: Final = 30.0
_NAMESPACE: Final = "contract"
_HEAD: Final = struct.Struct("!HH")
"""Id and flags (RFC 1035 4.1.1)."""


class Client:
    """Asks one validator, many questions at once."""

    def __init__(self, validator: Validator, udp: socket.socket) -> None:
        self.validator = validator
        self._udp = udp
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._ids = random.Random(validator.port)
        udp.setblocking(False)
        udp.connect(("127.0.0.1", validator.port))
        asyncio.get_running_loop().add_reader(udp, self._received)

    def _received(self) -> None:
        try:
            wire = self._udp.recv(65_535)
        except OSError:
            return  # nothing listens yet
        if len(wire) < _HEAD.size:
            return
        number, flags = _HEAD.unpack_from(wire)
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(flags)

    async def ask(self, name: dns.name.Name, rdtype: int, patience: float = PATIENCE) -> int | None:
        """The flags of the answer, the rcode in them; None if there is none in time.

        AD asks for AD (RFC 6840 5.7). The rest is not read: records may be odd in there as well.
        """
        number = next(
            n for n in iter(lambda: self._ids.getrandbits(16), -1) if n not in self._waiting
        )
        query = dns.message.make_query(
            name, dns.rdatatype.RdataType.make(rdtype), id=number, flags=dns.flags.RD | dns.flags.AD
        )
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._udp.send(query.to_wire())
            return await asyncio.wait_for(answer, patience)
        except (OSError, TimeoutError):
            return None
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """No more questions."""
        asyncio.get_running_loop().remove_reader(self._udp)
        self._udp.close()


def word_of(flags: int | None) -> Word:
    """What a client is told by an answer with these flags."""
    if flags is None or flags & 15 not in {
        dns.rcode.NOERROR,
        dns.rcode.NXDOMAIN,
        dns.rcode.YXDOMAIN,
    }:
        return Word.REFUSED
    return Word.SECURE if flags & dns.flags.AD else Word.ACCEPTED


@contextmanager
def namespace() -> Iterator[tuple[Sandbox, SocketFactory]]:
    """A namespace in which all addresses of the network are its own."""
    with Sandbox() as sandbox:
        sandbox.run(None, ["ip", "netns", "add", _NAMESPACE])
        for words in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "route", "add", "local", str(NETWORK), "dev", "lo"],
            ["sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start"],
        ):
            sandbox.run(_NAMESPACE, words)
        factory = SocketFactory(sandbox, _NAMESPACE)
        try:
            yield sandbox, factory
        finally:
            factory.close()


class Lab:
    """The validators, running, and the servers that they ask."""

    def __init__(
        self, sandbox: Sandbox, factory: SocketFactory, validators: Sequence[Validator]
    ) -> None:
        self._sandbox, self._factory = sandbox, factory
        self._validators = validators
        self.world = World(int(time.time()))
        self._anchors = anchors.parse(self.world.anchor, source="the lab")
        self._programs: list[Program] = []
        self._clients: list[Client] = []
        make = factory.make
        self.authority = Authority(
            self.world,
            make(Family.IPV4, socket.SOCK_DGRAM),
            make(Family.IPV4, socket.SOCK_STREAM),
        )

    async def start(self) -> None:
        """Until all answer. Raises LabError with the end of its log over one that does not."""
        warm()
        refused()
        await self.authority.start()
        for validator in self._validators:
            folder = self._sandbox.work / f"validator-{validator.port}"
            folder.mkdir()
            argv = validator.argv(
                folder, validator.port, self.world.anchor, self.world.root.address
            )
            program = self._sandbox.start(_NAMESPACE, argv, log=folder / "log")
            self._programs.append(program)
            self._clients.append(
                Client(validator, self._factory.make(Family.IPV4, socket.SOCK_DGRAM))
            )
        for client, program in zip(self._clients, self._programs, strict=True):
            await _up(client, program)

    async def stop(self) -> None:
        """Ends what `start` began."""
        for client in self._clients:
            client.close()
        for program in self._programs:
            program.stop()
        await self.authority.stop()

    async def hear(self, seed: int, number: int, *, again: bool = False) -> Heard:
        """What is said of one case by all, at the same time."""
        case = build(self.world, seed, number, int(time.time()), again=again)
        self.authority.add(case)
        try:
            ours, because = await judged(case, self.authority, self._anchors)
            said = await asyncio.gather(
                *(client.ask(case.name, case.rdtype) for client in self._clients)
            )
        finally:
            self.authority.remove(case)
        words = {
            client.validator.name: word_of(flags)
            for client, flags in zip(self._clients, said, strict=True)
        }
        rdtype = dns.rdatatype.to_text(dns.rdatatype.RdataType.make(case.rdtype))
        counted = {name: words.pop(name) for name in [*words][:4]}
        return Heard(
            number,
            case.kind,
            case.label,
            f"{case.name} {rdtype}",
            ours,
            because,
            counted,
            words,
            case.wire,
        )

    def log(self, name: str) -> str:
        """What a validator printed."""
        for validator, program in zip(self._validators, self._programs, strict=True):
            if validator.name == name:
                return program.log.read_text(errors="replace")
        return ""


async def _up(client: Client, program: Program) -> None:
    until = time.monotonic() + _COMING_UP
    while time.monotonic() < until:
        if not program.running:
            raise LabError(f"{client.validator.name} ended{program.tail()}")
        flags = await client.ask(dns.name.from_text("up.other."), 16, patience=1.0)
        if word_of(flags) is Word.SECURE:
            return
        await asyncio.sleep(0.05)
    raise LabError(f"{client.validator.name} validates nothing{program.tail()}")


def absent(validators: Sequence[Validator]) -> list[str]:
    """The programs that are not installed, with their packages."""
    return [f"{v.program} (package {v.package})" for v in validators if find(v.program) is None]
