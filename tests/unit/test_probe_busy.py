"""The prober on a host that has no time: it asks less often and judges what is fresh."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable

from scripted import Server, serving, until
from signedzone import NOW
from test_probe import COM, LOCAL_ONLY, Upstream

from steering.model import Family, Round, Target
from steering.observe import anchors
from steering.observe.cadence import Pace
from steering.observe.keys import KeyStore
from steering.observe.probe import Prober
from steering.observe.signatures import Signatures

FAST, SLOW_TO_JUDGE = 0.01, 0.03


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
                await until(lambda: len(rounds) >= 20)
                asked = sum(len(server.asked) for server in servers)
                assert asked - len(rounds) <= len(servers)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    asyncio.run(story())
