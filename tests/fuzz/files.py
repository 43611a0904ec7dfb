"""Files that somebody else may have written, or that a crash left half done.

Each kind is read as the program reads it, from a file. Its seeds are what the program, or a
person, writes there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from fuzz.dnstap import changed
from fuzz.driver import Driver, Wrong
from fuzz.octets import TELLING, below, mangled
from steering.act import slots
from steering.act.kernel.claim import Claim
from steering.act.lease import Lease
from steering.act.off_switch import OffRecord, OffSwitch
from steering.agent import approval
from steering.agent.approval import Held
from steering.agent.copies_file import CopiesFile, parsed
from steering.agent.restart_state import RestartState
from steering.config import ConfigError, load
from steering.decide.copy_course import Course, Phase, Remedy
from steering.decide.state import State
from steering.engine.carry_over import recall, remember
from steering.facts import Facts
from steering.index import Index
from steering.journal.codec import ForeignError
from steering.journal.columns import MAGIC
from steering.journal.records import Turn, line, pack_batch, unpack_batch
from steering.judge.copies import Copy
from steering.model import Family, Health, Outcome, Round
from steering.observe.dnssec import anchors
from steering.observe.dnssec.anchors import AnchorError
from steering.observe.dnssec.keys.chain import system_resolvers
from steering.observe.dnssec.trust import name_of

_JSON: Final = (
    *TELLING,
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"1e999",
    b"NaN",
    b'"',
    b'"\\ud800"',
    b"[" * 3_000,
    b'{"a":' * 3_000,
    b"9" * 5_000,
    b",",
    b":",
    b"\xef\xbb\xbf",
)
_YAML: Final = (
    *TELLING,
    b"\n",
    b"\t",
    b": ",
    b"- ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"&a ",
    b"*a",
    b"<<: *a\n",
    b"? ",
    b"!!python/object/apply:os.system ",
    b"!!binary ",
    b"!x ",
    b"|\n",
    b">\n",
    b'"\\UFFFFFFFF"',
    b'"\\ud800"',
    b"%YAML 9.9\n",
    b"---\n",
    b"...\n",
    b"#",
    b"'",
    b"~",
    b".inf",
    b"0x",
    b"1e400",
    b"9" * 5_000,
    b"[" * 1_500,
    b"::",
    b"/32",
    b"never",
    "é\u2028".encode(),
    b"\xef\xbb\xbf",
)
_ZONE: Final = (
    *TELLING,
    b"\n",
    b"(",
    b")",
    b'"',
    b";",
    b"\\",
    b"\\256",
    b"\\300",
    b"$INCLUDE /etc/passwd\n",
    b"$TTL 1\n",
    b" IN ",
    b" DS ",
    b" DNSKEY ",
    b"99999999999",
    b". ",
    b"\\# 4 00000000",
    b"a" * 70,
    b"x." * 200,
    b"xn--",
    "é".encode(),
)


class _File(Driver):
    """One kind of file."""

    splinters: Sequence[bytes] = _JSON
    texts = True
    """It is JSON."""

    def __init__(self, _seed: int) -> None:
        super().__init__()
        room = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        made = tempfile.TemporaryDirectory(prefix="steering-fuzz-", dir=room)
        self.place = Path(self.closing.enter_context(made))
        self._bases = [*self.written()]

    def written(self) -> Sequence[bytes]:
        """What stands there as a rule."""
        raise NotImplementedError

    def read(self, message: bytes) -> None:
        """Read what stands there now."""
        raise NotImplementedError

    def seeds(self) -> Sequence[bytes]:
        return self._bases

    def message(self, draw: random.Random) -> bytes:
        base = self._bases[below(draw, len(self._bases))]
        change = changed if self.texts else mangled
        return change(draw, base, self.splinters)

    def take(self, message: bytes) -> None:
        self.read(message)

    def put(self, name: str, message: bytes) -> None:
        """Quicker than `Path.write_bytes`."""
        descriptor = os.open(self.place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, message)
        finally:
            os.close(descriptor)


class LeaseFile(_File):
    """`lease`: the guard reads it."""

    def written(self) -> Sequence[bytes]:
        claim = Claim(
            table=5353,
            protocol=53,
            priority=5353,
            mark=0x40,
            sites=("pao", "fra"),
            next_hops={"pao": {Family.IPV4: "10.255.1.2"}},
            transit_interfaces=("bb0",),
        )
        self._lease = Lease(self.place)
        self._lease.renew(claim, 60.0, former=(replace(claim, table=6353),))
        value = json.loads(self._lease.path.read_bytes())
        fixed = {"boot": "b", "deadline": 5_000.25, "pid": 4711}
        return [
            json.dumps({**value, **fixed, "renewed": slots.fresh(5_000.25).decode()}).encode(),
            json.dumps({**value, **fixed, "renewed": None}).encode(),
        ]

    def read(self, message: bytes) -> None:
        self.put("lease", message)
        state = self._lease.read()
        if state is None:
            raise Wrong("there is a lease")
        state.expired(1.0, "boot")
        for claim in state.claims:
            claim.to_json()
        self._lease.expired(1e9)


class Switch(_File):
    """`off`: who switched off, and why."""

    def written(self) -> Sequence[bytes]:
        self._switch = OffSwitch(state=self.place, runtime=self.place / "none")
        self._switch.engage("ticket 4711: é", "noc")
        value = json.loads((self.place / "off").read_bytes())
        return [json.dumps({**value, "time": 1.7e9}).encode()]

    def read(self, message: bytes) -> None:
        self.put("off", message)
        if not self._switch.engaged():
            raise Wrong("the switch is there, whatever it says")
        record = self._switch.record()
        if record is not None and not isinstance(record, OffRecord):
            raise Wrong(f"{record!r}")


class MemoryFile(_File):
    """`memory.json`, and what the engine makes of it."""

    def written(self) -> Sequence[bytes]:
        index = Index.of(setup(self.place, policy(letters=1)))
        self._world = State.blank(index, 1_000.0, WALL + 60)
        full = json.dumps(
            {
                "at": WALL,
                "frozen": {"x": {"192.5.0.30": "pao"}},
                "worn": {"192.5.0.30": 1.5},
                "breaches": {"192.5.0.30": {"number": 2, "since": 5.0, "ended": 1.0}},
                "moves": [[1.0, 2]],
            }
        )
        return [full.encode()]

    def read(self, message: bytes) -> None:
        self.put("memory.json", message)
        memory = RestartState(self.place).memory
        if memory is not None:
            world, _ = recall(self._world, memory)
            remember(world)


class CopiesJson(_File):
    """`copies.json`, what is known of copies of zones."""

    def written(self) -> Sequence[bytes]:
        course = Course(
            phase=Phase.LEAVING, used=(Remedy.DRIVER,), tried=(Remedy.DRIVER,), serial=7, since=3.0
        )
        copy = Copy(health=Health.STALE, because="x", proven=1.0, watched=0.5, behind=2.0)
        known = {("root", "cache-1"): (copy, course), ("arpa", "b"): (Copy(), Course())}
        asyncio.run(CopiesFile(self.place).write(known))
        written = json.loads((self.place / "copies.json").read_bytes())
        return [json.dumps({**written, "boot": "", "monotonic": 9.0, "wall": WALL}).encode()]

    def read(self, message: bytes) -> None:
        for boot in ("", "another"):
            try:
                known = parsed(message, boot)
            except ValueError:
                continue
            asyncio.run(CopiesFile(self.place).write(known))


class Words(_File):
    """`held` and `accepted`, between the agent and `steering reload`."""

    def written(self) -> Sequence[bytes]:
        held = Held(version="0123456789abcdef", because="would end 2 of 2", changes=("a: b",))
        approval.hold(self.place, held)
        return [(self.place / "held").read_bytes(), approval.version_of(()).encode(), b"{}"]

    def message(self, draw: random.Random) -> bytes:
        base = self._bases[below(draw, 2)]
        change = changed if base[:1] == b"{" else mangled
        return change(draw, base, self.splinters)

    def read(self, message: bytes) -> None:
        self.put("held", message)
        self.put("accepted", message)
        approval.waiting(self.place)
        approval.accepted(self.place, ())


class Anchors(_File):
    """The trust anchors' file."""

    splinters = _ZONE
    texts = False

    def written(self) -> Sequence[bytes]:
        text = (
            f"; a comment\n$TTL 1\n{anchors.IANA}"
            "com. 3600 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0d "
            "xCjjnopKl+GqJxpVXckHAeF+\n"
            'example. IN DS (\n 1 13 2 ; "x"\n'
            " E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D )\n"
        )
        return [anchors.IANA.encode(), text.replace("$TTL 1\n", "").encode(), text.encode()]

    def read(self, message: bytes) -> None:
        self.put("root.key", message)
        try:
            found = anchors.read(self.place / "root.key")
        except AnchorError as error:
            for told in error.lines:
                told.encode()
        else:
            anchors.closest(found, name_of("com."))


class ResolvConf(_File):
    """/etc/resolv.conf."""

    splinters = (*_ZONE, b"nameserver ", b"\r", b"\x0b", b"fe80::1%eth0")
    texts = False

    def written(self) -> Sequence[bytes]:
        return [b"# x\nsearch a b\nnameserver 127.0.0.1\nnameserver 2001:db8::1\noptions edns0\n"]

    def read(self, message: bytes) -> None:
        self.put("resolv.conf", message)
        for address in system_resolvers(self.place / "resolv.conf"):
            address.encode()


_OVERRIDES: Final = """\
overrides:
  - {name: x, match: {family: ipv6}, action: steer, to: pao, until: never, reason: r, by: noc}
  - name: y
    match: {upstream: gtld}
    action: freeze
    until: 2026-11-24T06:00:00Z
    reason: r
    by: noc
"""
_MORE: Final = """\
site: sin
lease: 60s
sites: {pao: {next_hop: [{dev: tun0}, {via: "fe80::1", dev: eth1}], capacity: 20000}}
resolver_sources: {ipv4: [10.0.0.53, {address: 10.0.1.53, interface: eth1}]}
transit_interfaces: [bb-pao]
act: {kernel: {table: 5353, mark: 0x40}, bgp: {local_as: 64500, router_id: 192.0.2.1,
  neighbors: [{address: 192.0.2.9, peer_as: 64500}]}}
status: 127.0.0.1:9353
"""
_SMALL: Final = 'upstream: gtld\nzones: [com.]\nnameservers: {a.example.: [192.0.2.1, "::2"]}\n'


class Configuration(_File):
    """Configuration, policies and overrides. A message is which of them it is, and its text."""

    splinters = _YAML
    texts = False
    _FILES: Final = (
        ("steering.yaml", CONFIG),
        ("policies/0.yaml", _SMALL),
        ("policies/overrides.yaml", _OVERRIDES),
        ("steering.yaml", _MORE),
    )

    def written(self) -> Sequence[bytes]:
        setup(self.place, _SMALL)
        (self.place / "policies" / "overrides.yaml").write_text("overrides: []\n")
        return [bytes([at]) + text.encode() for at, (_, text) in enumerate(self._FILES)]

    def message(self, draw: random.Random) -> bytes:
        base = self._bases[below(draw, len(self._bases))]
        return base[:1] + mangled(draw, base[1:], self.splinters)

    def read(self, message: bytes) -> None:
        name, good = self._FILES[message[0] % len(self._FILES) if message else 0]
        self.put(name, message[1:])
        try:
            load(self.place / "steering.yaml")
        except ConfigError as error:
            for problem in error.problems:
                str(problem).encode()
        finally:
            self.put(name, (CONFIG if name == "steering.yaml" else good).encode())


class Journal(_File):
    """Turns of a journal: the lines of a batch as they come, and as they are packed."""

    def written(self) -> Sequence[bytes]:
        sim = _Noted(setup(self.place, policy(letters=1)), _expired_at_1003)
        sim.run(8)
        return sorted(set(sim.lines), key=len)[-40:]

    def read(self, message: bytes) -> None:
        with contextlib.suppress(ForeignError):
            list(unpack_batch(pack_batch([message])))
        with contextlib.suppress(ForeignError):
            list(unpack_batch(zlib.compress(message, 1)))


class Columns(Journal):
    """A batch by columns, as it is in the file but for the compression."""

    texts = False

    def written(self) -> Sequence[bytes]:
        some = super().written()
        batches = (pack_batch(some[at : at + 5]) for at in range(0, len(some), 5))
        return [zlib.decompress(one.removeprefix(MAGIC)) for one in batches]

    def read(self, message: bytes) -> None:
        with contextlib.suppress(ForeignError):
            list(unpack_batch(MAGIC + zlib.compress(message, 1)))


class _Noted(Simulation):
    """A simulation that keeps its facts as a journal does."""

    def __post_init__(self) -> None:
        self.lines: list[bytes] = []
        super().__post_init__()

    def facts(self, rounds: Iterable[Round]) -> Facts:
        made = super().facts(rounds)
        self.lines.append(line(Turn(now=self.now, facts=made, plan="00")))
        return made


def _expired_at_1003(ask: Ask) -> Outcome:
    return Outcome.EXPIRED if ask.local and ask.now >= 1003 else Outcome.SECURE
