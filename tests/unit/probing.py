"""A prober at work over real sockets, and a healthy com. for it to ask."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from signedzone import NOW, Key, SignedZone

from steering.lab.waiting import async_until
from steering.model import (
    Family,
    Observation,
    Round,
    Source,
    Target,
)
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.probe.prober import Path, Prober
from steering.observe.probe.schedule import Pace
from steering.observe.strays import Strays

COM = SignedZone("com.", children={"safe": (Key(257).ds(SignedZone("safe.com.").name),)})
LOCAL_ONLY = (Path(name="local"),)


@dataclass(frozen=True)
class Upstream:
    name: str = "gtld"
    zones: Sequence[str] = ("com.",)
    skew: float = 0.0


@dataclass
class Watching:
    """A prober at work and what it delivered."""

    prober: Prober
    keys: KeyStore
    rounds: list[Round] = field(default_factory=list)

    @property
    def observations(self) -> list[Observation]:
        return [one for done in self.rounds for one in done.observations]

    async def first(self, true: Callable[[Observation], bool]) -> Observation:
        await async_until(lambda: any(true(one) for one in self.observations))
        return next(one for one in self.observations if true(one))


@contextlib.asynccontextmanager
async def probing(
    *addresses: str,
    port: int,
    paths: Sequence[Path] = LOCAL_ONLY,
    interval: float = 0.05,
    patience: float = 0.5,
    gateway_dead: Callable[[str, int | None], bool] = lambda _address, _mark: False,
    leads: Callable[[str, str, str | None], bool] = lambda _path, _address, _interface: True,
    link: Callable[[str, Family], int | None] = lambda _path, _family: None,
    strays: Strays | None = None,
    sources: Sequence[Source] = (),
) -> AsyncIterator[Watching]:
    signatures = Signatures()
    held = anchors.parse(COM.anchor_text, source="test")
    keys = KeyStore(["com."], held, [], signatures=signatures, wall=lambda: NOW)
    rounds: list[Round] = []
    prober = Prober(
        [
            Target(upstream="gtld", nameserver="a.com.", address=at, family=Family.of(at))
            for at in addresses
        ],
        [Upstream()],
        paths,
        Pace(interval=interval, fast_interval=min(interval, 0.02), timeout=patience),
        keys=keys,
        signatures=signatures,
        deliver=rounds.append,
        gateway_dead=gateway_dead,
        leads=leads,
        link=link,
        strays=strays,
        sources=lambda _family: sources,
        wall=lambda: NOW,
        rng=random.Random(4),
        port=port,
    )
    task = asyncio.create_task(prober.run())
    try:
        yield Watching(prober, keys, rounds)
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def question(wire: bytes) -> bytes:
    """The question section of a query."""
    return wire[12 : wire.index(b"\0", 12) + 5]


def healthy(wire: bytes, _tcp: bool) -> Iterable[bytes]:
    yield COM.respond(wire)
