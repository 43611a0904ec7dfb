"""The prober on a host that has no time: it asks less often and judges what is fresh."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable
from pathlib import Path

from probing import COM, LOCAL_ONLY, Upstream
from scripted import Server, serving
from signedzone import NOW

from steering.lab.waiting import async_until
from steering.model import Family, Outcome, Round, Target
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.probe.prober import Prober
from steering.observe.probe.schedule import Pace

FAST, SLOW_TO_JUDGE = 0.01, 0.03
AT_ONCE = 8


def silent(_wire: bytes, _tcp: bool) -> Iterable[bytes]:
    return ()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def answering(wire: bytes, _tcp: bool) -> Iterable[bytes]:
    yield COM.respond(wire)


def a_clock_that_takes_its_time() -> float:
    """Read once for each answer that is judged: a judgement three times as long as the interval."""
    time.sleep(SLOW_TO_JUDGE)
    return NOW


def test_who_cannot_judge_as_fast_as_he_asks_asks_less_often() -> None:
    """Asking on regardless, decisions of a busy host came from answers 20 s old, and ever older."""

    async def story() -> None:
        signatures, rounds = Signatures(), list[Round]()
        servers = [Server(f"127.0.0.{last}", answering) for last in (1, 2, 3, 4)]
        async with serving(*servers, tcp=False) as port:
            prober = Prober(
                [
                    Target(
                        upstream="gtld",
                        nameserver="a.com.",
                        address=server.address,
                        family=Family.IPV4,
                    )
                    for server in servers
                ],
                [Upstream()],
                LOCAL_ONLY,
                Pace(interval=FAST, fast_interval=FAST, timeout=0.5),
                keys=KeyStore(
                    ["com."],
                    anchors.parse(COM.anchor_text, source="test"),
                    [],
                    signatures=signatures,
                    wall=lambda: NOW,
                ),
                signatures=signatures,
                deliver=rounds.append,
                wall=a_clock_that_takes_its_time,
                rng=random.Random(4),
                port=port,
            )
            task = asyncio.create_task(prober.run())
            try:
                await async_until(lambda: len(rounds) >= 20)
                asked = sum(len(server.asked) for server in servers)
                assert asked - len(rounds) <= len(servers)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    asyncio.run(story())


def test_no_more_questions_are_under_way_than_there_are_descriptors_for() -> None:
    """Silent servers hold a socket each for the whole timeout; the others wait for one."""

    async def story() -> None:
        signatures, rounds = Signatures(), list[Round]()
        targets = [
            Target(upstream="gtld", nameserver="a.com.", address=address, family=Family.IPV4)
            for address in (f"127.0.1.{last}" for last in range(1, 41))
        ]
        async with serving(*(Server(t.address, silent) for t in targets), tcp=False) as port:
            before = descriptors()
            prober = Prober(
                targets,
                [Upstream()],
                LOCAL_ONLY,
                Pace(interval=0.2, fast_interval=0.2, timeout=0.2),
                keys=KeyStore(
                    ["com."],
                    anchors.parse(COM.anchor_text, source="test"),
                    [],
                    signatures=signatures,
                    wall=lambda: NOW,
                ),
                signatures=signatures,
                deliver=rounds.append,
                rng=random.Random(4),
                port=port,
                at_once=AT_ONCE,
            )
            task = asyncio.create_task(prober.run())
            most = 0

            def all_were_asked() -> bool:
                nonlocal most
                most = max(most, descriptors() - before)
                return {r.address for r in rounds} == {t.address for t in targets}

            try:
                await async_until(all_were_asked)
                assert 1 < most <= AT_ONCE
                assert all(o.outcome is Outcome.TIMEOUT for r in rounds for o in r.observations)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    asyncio.run(story())
