"""An hour of the resolvers' traffic into one agent's ears: what it loses, keeps, and suspects.

A core of Unbound writes 15,000 frames a second at most, so an hour of it is 54 million. They
come from a real Unbound (``corpus``) through the socket, the reader and the second look into
turns of the engine, as fast as the reader counts. Nothing is wrong with them: a suspicion is a
false one. That it would be raised is shown in the end, by the same frames with the signatures
of one RRset in eight run out.

By default a tenth of it; STEERING_BENCH_FRAMES says how many frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import dns.rrset

from benchmarks import corpus, feed
from steering.agent.dnstap_source import DnstapSource
from steering.config import Setup, load
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.index import Index
from steering.lab.addresses import GTLD_SERVERS
from steering.observe.dnssec.trust import Keys, Trust
from steering.observe.dnstap.listeners import Place
from steering.observe.traffic.attribution import GRACE
from steering.observe.traffic.verify import SampleVerifier

FRAMES = int(os.environ.get("STEERING_BENCH_FRAMES", "10_000_000"))
_DATED = re.compile(  # an RRSIG by algorithm 13 (RFC 4034 3.1): expiration, and the signature
    rb"(\x00\x2e\x00\x01.{4}\x00.{3}\x0d.{5})(.{4})(.{6}\x03(?:com|net)\x00)(.{4})", re.DOTALL
)
_OVER = 9 * 86_400  # seconds: longer than any of these signatures lasts
_ONE_IN = 8
_SHOWN = 5.0  # seconds in which the ill frames are sent: one turn alone convicts nobody


class Known:
    """The keys the corpus was signed with, believed from the beginning."""

    def __init__(self, file: Path) -> None:
        now = time.time()
        told: dict[str, list[str]] = json.loads(file.read_text())
        zones = {
            zone: dns.rrset.from_text_list(zone, 900, "IN", "DNSKEY", texts)
            for zone, texts in told.items()
        }
        self.trust = Trust(
            secure={
                zone: Keys(
                    zone=zone,
                    rdataset=keys.to_rdataset(),
                    inception=now - 3_600,
                    expiration=now + 86_400,
                    checked=now,
                )
                for zone, keys in zones.items()
            }
        )

    def trust_for(self, _zones: object, _server: object) -> Trust:
        return self.trust

    def miss(self, zone: str, _server: object) -> None:
        raise AssertionError(f"a key of {zone} that it was not signed with")


class Listening:
    """The part of an agent that hears: ears, second look, and turns without probes or routes."""

    def __init__(self, dnstap: DnstapSource, index: Index) -> None:
        self.dnstap = dnstap
        self.suspected = self.moves = 0
        self.memory: list[int] = []
        self.longest_gap = 0.0
        self._world = State.blank(index, time.monotonic(), time.time())

    @property
    def judged(self) -> int:
        """Answers that were counted for or against an address."""
        paths = self._world.ledger.traffic.values()
        return sum(sum(path.counts.values()) for path in paths)

    async def until(self, frames: int) -> None:
        """Listen until so many frames have come since the beginning, counted or lost."""
        while self.dnstap.frames.total() + self.dnstap.lost < frames:
            await self.turn()

    async def turn(self) -> None:
        """What came in a twentieth of a second."""
        await asyncio.sleep(0.05)
        now = time.monotonic()
        told = self.dnstap.read(now)
        assert not told, told
        facts = Facts(wall=time.time(), heard=self.dnstap.evidence({}, now))
        self._world, steps, events = engine.turn(self._world, facts, now)
        self.suspected += sum(event.event == "suspected" for event in events)
        self.moves += len(steps)
        self.longest_gap = max(self.longest_gap, self.dnstap.longest_gap)
        if self.dnstap.reader.pid:
            self.memory.append(feed.resident(self.dnstap.reader.pid))


async def _listen(file: Path, keys: Path, frames: int, rate: float) -> dict[str, float]:
    body = feed.body_of(file)
    each = sum(1 for _ in corpus.frames(body))
    turns = -(-frames // each)
    with tempfile.TemporaryDirectory(prefix="steering-bench-") as place:
        index = Index.of(_setup(Path(place)))
        tap, ill = Path(place) / "tap.sock", Path(place) / "ill"
        ill.write_bytes(feed.file_of(_DATED.sub(_run_out, body)))
        look = SampleVerifier(Known(keys))
        with contextlib.closing(DnstapSource(index, [Place(at=str(tap))], look)) as dnstap:
            looking = asyncio.create_task(look.run())
            agent = Listening(dnstap, index)
            ready = time.monotonic() + GRACE + 1.0
            while time.monotonic() < ready:
                await agent.turn()
            began = time.monotonic()
            with feed.writer(tap, file, turns, rate=rate):
                await agent.until(turns * each)
            took = time.monotonic() - began
            tenth = max(1, len(agent.memory) // 10)
            said = {
                "frames counted": dnstap.frames.total(),
                "frames lost": dnstap.lost,
                "seconds it took": took,
                "answers judged by the engine": agent.judged,
                "looked at again with keys": look.looked,
                "suspicions": agent.suspected,
                "longest gap between reads, ms": agent.longest_gap * 1e3,
                "the reader's memory at first, KiB (median of a tenth)": statistics.median(
                    agent.memory[:tenth]
                ),
                "the reader's memory at last, KiB (median of a tenth)": statistics.median(
                    agent.memory[-tenth:]
                ),
            }
            assert not agent.moves, "without probes nothing may move"
            with feed.writer(tap, ill, 1, rate=len(body) / _SHOWN):
                await agent.until((turns + 1) * each)
            said["suspicions once one RRset in eight is out of its dates"] = agent.suspected
            looking.cancel()
    return said


def _run_out(found: re.Match[bytes]) -> bytes:
    """A signature with its expiration long over, of one RRset in eight."""
    head, expiration, middle, signature = found.groups()
    if int.from_bytes(signature, "big") % _ONE_IN:
        return found[0]
    over = int.from_bytes(expiration, "big") - _OVER
    return head + over.to_bytes(4, "big") + middle + signature


def _setup(base: Path) -> Setup:
    (base / "policies").mkdir()
    (base / "steering.yaml").write_text(
        "site: sin\npolicies: policies\n"
        "sites: {pao: {next_hop: {ipv4: 10.255.1.2, ipv6: 'fd00:ff:1::2'}}}\n"
    )
    servers = "\n".join(f"  {name}: {json.dumps(both)}" for name, both in GTLD_SERVERS.items())
    (base / "policies" / "gtld.yaml").write_text(
        f"upstream: gtld\nzones: [com., net.]\nnameservers:\n{servers}\n"
    )
    return load(base / "steering.yaml")


def _main(file: str, keys: str, frames: str, rate: str) -> None:
    print(json.dumps(asyncio.run(_listen(Path(file), Path(keys), int(frames), float(rate)))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
