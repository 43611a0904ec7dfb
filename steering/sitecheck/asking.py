"""Asks over all legs at the same time, within a time limit.

First a look-up in the kernel shows whether packets with a leg's mark and source take its path at
all. If not, nothing is sent, as it would take another path. Otherwise each address gets a small
question by UDP and, if it answers, the large ones, and the same by one TCP connection. A question
without an answer is sent once more.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from socket import IPPROTO_TCP, IPPROTO_UDP

from steering import from_config
from steering.act.kernel.claim import Claim
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.path_check import PathCheck, check_path, dropped_on_return
from steering.act.kernel.rules import Flow
from steering.act.kernel.state import KernelReader
from steering.config import Setup
from steering.model import LOCAL, Family, Instant, Seconds, Source
from steering.observe import exchange
from steering.observe.exchange import Exchange, Sending
from steering.observe.probe.prober import Path
from steering.observe.traffic.resolver_sources import lacks
from steering.sitecheck.legs import Findings, Leg, Tried, legs, sample

TIMEOUT: Seconds = 1.5
"""Time limit for one datagram; longer if the probes' timeout is. A handshake gets twice as long, in
which the kernel repeats it."""
TRIES = 2
FULL = 1200
"""Octets of a segment that shows whether full ones pass: a tunnel that loses full segments passes
only smaller ones (IPv6 guarantees 1,280 with all headers)."""
AT_ONCE = 64
"""Addresses that are asked at the same time."""
WHOLE: Seconds = 20.0
"""Time limit for everything."""

Sources = Mapping[Family, Sequence[Source | None]]


@dataclass(slots=True)
class _LegState:
    """One leg, and its results so far."""

    leg: Leg
    path: Path
    lacking: str
    sent_from: str | None = None
    dropped: int = 0
    tried: list[Tried] = field(default_factory=list)


def prepared(setup: Setup, sources: Sources) -> tuple[Leg, ...]:
    """The legs that can be asked: those with a mark or a pin, and those of the local path."""
    claim = from_config.claim_of(setup.config)
    paths = [path.name for path in from_config.probed_paths(claim, setup.config)]
    return tuple(legs(setup, paths, sources))


def missing(setup: Setup, sources: Sources) -> tuple[str, ...]:
    """The sites over which no rule of ours sends these questions. Raises OSError."""
    claim = from_config.claim_of(setup.config)
    if claim is None:
        return ()
    with QuerySocket() as query:
        return tuple(
            dict.fromkeys(
                leg.path
                for leg in prepared(setup, sources)
                if leg.path != LOCAL
                for address in list(sample(setup.policies, leg.family))[:1]
                for now in [check_path(query, claim, leg.path, _flow(claim, leg, address))]
                if not now.has_rule and not now.leads
            )
        )


async def ask(
    setup: Setup,
    sources: Sources,
    *,
    rng: random.Random,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[Findings, ...]:
    """Asks over every leg. Raises OSError if the kernel's routes can't be read."""
    claim, config = from_config.claim_of(setup.config), setup.config
    paths = {path.name: path for path in from_config.probed_paths(claim, config)}
    states = [
        _LegState(leg, paths[leg.path], lacks(leg.source) if leg.source else "")
        for leg in prepared(setup, sources)
    ]
    addresses = {family: sample(setup.policies, family) for family in Family}
    timeout = max(TIMEOUT, config.observe.probe.timeout)
    until = time.monotonic() + WHOLE
    with QuerySocket() as query:
        asker = _Asker(query, claim, _foreign_rules(claim, addresses, sources), timeout, rng)
        jobs = [
            (one, address, zones)
            for nth in range(max(map(len, addresses.values()), default=0))
            for one in states
            for address, zones in list(addresses[one.leg.family].items())[nth : nth + 1]
            if not one.lacking
        ]
        room, done = asyncio.Semaphore(AT_ONCE), 0

        async def run(one: _LegState, address: str, zones: Sequence[str]) -> None:
            nonlocal done
            try:
                async with room:
                    await asker.ask(one, address, zones)
            finally:
                done += 1
                progress(done, len(jobs))

        await _within(WHOLE, [run(*job) for job in jobs])
        await asker.watch(states, until)
    return tuple(
        Findings(
            leg=one.leg,
            sent_from=one.sent_from,
            lacking=one.lacking,
            mark=one.path.mark,
            dropped=one.dropped,
            tried=tuple(one.tried),
        )
        for one in states
    )


async def _within(seconds: Seconds, jobs: Sequence[Awaitable[None]]) -> None:
    """Runs all of these, and cancels those that take longer."""
    if not jobs:
        return
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.wait(tasks, timeout=seconds)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def _flow(claim: Claim | None, leg: Leg, address: str, mark: int | None = None) -> Flow:
    if claim is not None:
        mark = claim.mark_of(leg.path)
    return Flow(
        destination=address,
        mark=mark or 0,
        source=None if leg.source is None else leg.source.address,
    )


def _foreign_rules(
    claim: Claim | None, addresses: Mapping[Family, Mapping[str, object]], sources: Sources
) -> Mapping[tuple[str, str], str]:
    """(address, site) -> the foreign rule that catches the questions, and a remedy."""
    if claim is None:
        return {}
    every = [address for each in addresses.values() for address in each]
    named = [source.address if source else "" for family in sources.values() for source in family]
    with KernelReader(claim) as kernel:
        found = kernel.bypasses(every, named)
    texts = found.texts()
    return {
        key: next(
            (text for text in texts if f"`{one.rule}`" in text),
            f"the rule `{one.rule}` comes before ours and catches these questions",
        )
        for key, one in found.questions.items()
    }


def _may_be_dropped(one: _LegState) -> bool:
    return any(
        tried.check.leads
        and tried.check.reverse is not None
        and not any(each is not None and each.answered for each in (tried.udp, tried.tcp))
        for tried in one.tried
    )


class _Asker:
    """Asks one address over one leg."""

    def __init__(
        self,
        query: QuerySocket,
        claim: Claim | None,
        before: Mapping[tuple[str, str], str],
        timeout: Seconds,
        rng: random.Random,
    ) -> None:
        self._query, self._claim, self._before = query, claim, before
        self._timeout, self._rng = timeout, rng
        self._small: dict[str, bytes] = {}
        self._large: dict[str, Mapping[str, bytes]] = {}

    async def ask(self, one: _LegState, address: str, zones: Sequence[str]) -> None:
        """Asks everything and records the results; also if nothing is sent, with the path check.

        If it is cancelled it records nothing.
        """
        small = self._small.setdefault(address, exchange.small(zones[0]))
        large = self._large.setdefault(address, exchange.large(zones, self._rng))
        flow = self._flow(one, address)
        check = self._check_path(one, flow)
        sending = self._sending(one, address, self._link(one, flow, check))
        one.sent_from = one.sent_from or exchange.source_of(sending)
        if not check.leads or not check.up:
            unsent = Exchange(ended=exchange.Ended.SILENT)
            one.tried.append(Tried(address=address, check=check, udp=unsent, tcp=unsent))
            return
        (udp, answers), (tcp, stream) = await asyncio.gather(
            self._by_udp(sending, small, large), self._by_tcp(sending, small, large)
        )
        after = self._check_path(one, flow)
        one.tried.append(
            Tried(
                address=address,
                check=replace(after, leads=after.leads and check.leads),
                udp=udp,
                tcp=tcp,
                large=answers,
                stream=stream,
                route_mtu=exchange.route_mtu(sending),
            )
        )

    async def watch(self, states: Sequence[_LegState], until: Instant) -> None:
        """Counts what rp_filter drops on paths without answers where it may be the cause.

        The kernel has one counter for all links, so the paths are asked one after the other, as
        long as there is time.
        """
        for path in dict.fromkeys(one.path.name for one in states):
            mine = [one for one in states if one.path.name == path and _may_be_dropped(one)]
            if not mine or time.monotonic() + self._timeout > until:
                continue
            address = mine[0].tried[0].address
            before = dropped_on_return()
            await exchange.by_udp(
                self._sending(mine[0], address),
                self._small[address],
                self._rng.getrandbits(16),
                time_limit=self._timeout,
            )
            for one in mine:
                one.dropped = dropped_on_return() - before

    def _sending(self, one: _LegState, address: str, link: int | None = None) -> Sending:
        pin = one.path.pin if one.leg.source is None else one.path.pin.sent_from(one.leg.source)
        return Sending(address=address, mark=one.path.mark, pin=pin, link=link)

    def _flow(self, one: _LegState, address: str) -> Flow:
        own = one.path.pin.source(one.leg.family)
        flow = _flow(self._claim, one.leg, address, one.path.mark)
        return flow if own is None else replace(flow, source=own)

    def _check_path(self, one: _LegState, flow: Flow) -> PathCheck:
        """Checks UDP and TCP: if one of them does not take the path, the leg is not asked."""
        found = [
            check_path(
                self._query,
                self._claim,
                one.leg.path,
                replace(flow, protocol=protocol),
                before=self._before,
            )
            for protocol in (IPPROTO_UDP, IPPROTO_TCP)
        ]
        return next((check for check in found if not check.leads), found[0])

    def _link(self, one: _LegState, flow: Flow, check: PathCheck) -> int | None:
        """The interface that answers have to arrive by, as in the agent; None: any."""
        if one.leg.path == LOCAL or one.path.any_return or self._claim is None:
            return None
        local = replace(flow, mark=self._claim.mark_of(LOCAL))
        used = check_path(self._query, self._claim, LOCAL, local).link
        return None if check.link == used else check.link

    async def _by_udp(
        self, sending: Sending, small: bytes, large: Mapping[str, bytes]
    ) -> tuple[Exchange, Mapping[str, Exchange]]:
        first = await self._ask_twice(sending, small)
        if not first.answered:
            return first, {}
        answers = await asyncio.gather(*(self._ask_twice(sending, body) for body in large.values()))
        return first, dict(zip(large, answers, strict=True))

    async def _ask_twice(self, sending: Sending, body: bytes) -> Exchange:
        """Asks, and once more if no answer comes: a packet may be lost."""
        found = Exchange(ended=exchange.Ended.SILENT)
        for _ in range(TRIES):
            asked = await exchange.by_udp(
                sending, body, self._rng.getrandbits(16), time_limit=self._timeout
            )
            if asked.ended is not exchange.Ended.SILENT:
                found = asked
            if asked.answered or asked.ended is exchange.Ended.LOCAL_ERROR:
                break
        return found

    async def _by_tcp(
        self, sending: Sending, small: bytes, large: Mapping[str, bytes]
    ) -> tuple[Exchange, Exchange | None]:
        def once() -> Coroutine[None, None, tuple[Exchange, Exchange | None]]:
            return exchange.by_tcp(
                sending,
                small,
                list(large.values()),
                self._rng.getrandbits(15),
                time_limit=TRIES * self._timeout,
            )

        first, stream = await once()
        for _ in range(TRIES):
            if stream is None or not stream.answered or not stream.packet < FULL <= stream.octets:
                break
            # The server was slow and sent each answer separately, so no segment was full.
            _, again = await once()
            if again is not None and (not again.answered or again.packet > stream.packet):
                stream = again
        return first, stream
