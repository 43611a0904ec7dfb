"""The agent's ears: what the resolvers' traffic says of each address, as facts.

Here the reader's tallies meet what the kernel had installed meanwhile, and the second look.
What can't be given to one path for certain is dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from steering.layout import Layout
from steering.model import (
    LOCAL,
    Event,
    Evidence,
    Failure,
    Heard,
    Instant,
    Outcome,
    Seconds,
    WallTime,
)
from steering.observe.dnstap.ipc import tally_message
from steering.observe.dnstap.listeners import Place
from steering.observe.dnstap.reader_client import ReaderClient
from steering.observe.dnstap.tally import (
    Failing,
    Frames,
    Interest,
    Reason,
    Signed,
    Tally,
    Traffic,
    Watched,
)
from steering.observe.traffic.attribution import Attribution
from steering.observe.traffic.losses import SOON, Losses
from steering.observe.traffic.verify import SampledResponse, SampleVerifier
from steering.report.snapshot import TrafficStatus
from steering.system.unreadable import HERE, Where, printable

_RCODES = {2: Outcome.SERVFAIL, 5: Outcome.REFUSED, 9: Outcome.LAME}
_FINE = frozenset({0, 3})  # NOERROR, NXDOMAIN
_GAP: Seconds = 0.2
"""A resolver's queue is full after so long: frames are lost without a word."""
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 28: "AAAA", 43: "DS", 47: "NSEC"}
_TYPES |= {48: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM"}
_SHOWN_BY_A = frozenset({1, 5, 6, 43})
_TROUBLED: Seconds = 60.0
"""How long an alarm about frames lasts after the last of them."""


class DnstapSource:
    """Listens where the configuration says, and tells what was heard."""

    def __init__(
        self,
        layout: Layout,
        places: Sequence[Place],
        look: SampleVerifier,
        was: DnstapSource | None = None,
        wall: Callable[[], WallTime] = time.time,
    ) -> None:
        """Listens at once, at the places of others (`was`) beside them until it succeeds them.

        Raises OSError where nobody can listen, LookupError for a stranger.
        """
        self.look, self.places = look, tuple(places)
        self.interest = _interest(layout)
        self.tap: ReaderClient = ReaderClient(places, self.interest, was.tap if was else None)
        self.frames: Counter[Frames] = Counter()
        self.lost = 0
        self.writers = 0
        self.longest_gap: Seconds = 0.0
        """The longest of the latest minute."""
        self.rate = 0.0
        """Frames per second, of the latest tally."""
        self._ended: Instant = float("-inf")
        self._tallies: list[Tally] = []
        self._where, self._losses, self._soon = Attribution(), Losses(), Losses(patience=SOON)
        self._wall = wall
        self._behind_until: Instant = float("-inf")
        self._gap_until: Instant = float("-inf")

    def watch(self, layout: Layout) -> None:
        """Listen for these addresses and zones from now on; what stays is counted on."""
        self.interest = _interest(layout)
        self._watch()

    def _watch(self) -> None:
        """Have the reader count what is of interest, of those that moved lately since they did."""
        since = self._where.since
        self.tap.watch(
            {a: replace(w, since=since[a]) if a in since else w for a, w in self.interest.items()}
        )

    def succeed(self, was: DnstapSource) -> None:
        """Take the place of others, and go on with their counts."""
        self.frames, self.lost = was.frames, was.lost
        self.tap.succeed(was.tap)

    def close(self) -> None:
        self.tap.close()

    def listen(self, now: Instant) -> tuple[Event, ...]:
        """Take what the reader has, if anything; what there is to tell of the writers."""
        told: list[Event] = []
        self.tap.repair_sockets(now)
        for tally in self.tap.take(now):
            self._tallies.append(tally)
            self._keep_count(tally, now)
            for unread in tally.unreadable:
                HERE.add(unread)
            told += [
                Event(event="dnstap", because=f"{notice.listener}: {printable(notice.because)}")
                for notice in tally.notices
            ]
            if tally.unnoticed:
                because = f"{tally.unnoticed} more complaints about writers"
                told.append(Event(event="dnstap", because=because))
        return tuple(told)

    @property
    def waiting(self) -> bool:
        """Whether there is something that a turn should hear of."""
        return any(tally.traffic for tally in self._tallies)

    def hear(self, installed: Mapping[str, str], now: Instant) -> tuple[Heard, ...]:
        """What was heard since the last call. `installed` is what the kernel has now."""
        if self._where.note_installed(installed, now, self._wall()):
            self._watch()
        tallies, self._tallies = self._tallies, []
        heard: list[Heard] = []
        for tally in tallies:
            with HERE.reading(Where.DNSTAP, partial(tally_message, tally)):
                heard += self._read(tally)
        return (*heard, *self.look.take())

    def hearing(self) -> TrafficStatus:
        """How well it goes."""
        return TrafficStatus(
            frames={str(result): number for result, number in self.frames.items()},
            lost=self.lost,
            writers=self.writers,
            rate=self.rate,
            longest_gap=self.longest_gap,
            looked=self.look.looked,
            passed_over=self.look.dropped,
        )

    def troubles(self, now: Instant) -> str:
        """What is wrong with the listening; empty if nothing is."""
        if self.tap.lost:
            return self.tap.lost
        if self.tap.because and self.tap.restarts:
            return self.tap.because
        if now < self._behind_until:
            return "the reader falls behind and drops frames: see steering_dnstap_lost_total"
        if now < self._gap_until:
            return f"no socket was read for {self.longest_gap:.2f} s: resolvers drop frames"
        return ""

    def _keep_count(self, tally: Tally, now: Instant) -> None:
        self.frames.update(tally.frames)
        self.lost += tally.lost
        span = max(tally.ended - max(tally.began, self._ended), 1e-3)
        self._ended = tally.ended
        self.rate = sum(tally.frames.values()) / span
        if now >= self._gap_until:
            self.longest_gap = 0.0
        if tally.longest_gap >= max(self.longest_gap, 1e-3):
            self.longest_gap = tally.longest_gap
            self._gap_until = now + _TROUBLED if tally.longest_gap > _GAP else self._gap_until
        if tally.lost:
            self._behind_until = now + _TROUBLED
        if tally.lost or tally.writers != self.writers:
            for losses in (self._losses, self._soon):
                losses.forget()  # queries whose answers were not read, or the other way
        self.writers = tally.writers

    def _read(self, tally: Tally) -> list[Heard]:
        """One tally as facts, address by address."""
        signed: dict[str, list[Signed]] = {}
        for item in tally.signed:
            signed.setdefault(item.address, []).append(item)
        paths: dict[str, str | None] = {}
        heard = []
        traffic = {item.address: item for item in tally.traffic}
        for mine in tally.traffic:
            self._where.reader_counts_since(mine.address, mine.since)
        for address in traffic.keys() | set(self._losses.addresses):
            paths[address] = path = self._where.path(address, tally.began)
            if path is None:
                self._losses.forget(address)
                self._soon.forget(address)
                continue
            mine = traffic.get(address) or Traffic(address=address)
            lost, overdue = (
                losses.count(
                    address,
                    asked=mine.queries + mine.forwarded,
                    answered=mine.responses,
                    now=tally.ended,
                )
                for losses in (self._losses, self._soon)
            )
            overdue = 0 if path == LOCAL else overdue
            if mine.responses or lost or overdue:
                one = _heard(mine, signed.get(address, []), path, tally.began, lost)
                heard.append(replace(one, overdue=overdue))
        for sample in tally.samples:
            path, watched = paths.get(sample.address), self.interest.get(sample.address)
            if path is not None and watched is not None:
                self.look.offer(
                    SampledResponse(
                        address=sample.address,
                        path=path,
                        at=tally.began,
                        message=sample.message,
                        drawn=sample.reason is Reason.RANDOM,
                        zones=watched.zones,
                        skew=watched.skew,
                    )
                )
        return heard


def _interest(layout: Layout) -> Interest:
    return {
        target.address: Watched(zones=frozenset(layout.policy(a).zones), skew=layout.policy(a).skew)
        for a, target in enumerate(layout.targets)
    }


def _heard(traffic: Traffic, signed: Sequence[Signed], path: str, at: Instant, lost: int) -> Heard:
    counts: Counter[Outcome] = Counter()
    for item in signed:
        counts[Outcome.SECURE] += item.good
        counts[Outcome.EXPIRED] += item.expired
        counts[Outcome.NOT_YET_VALID] += item.not_yet_valid
    for rcode, number in traffic.rcodes.items():
        if rcode not in _FINE:
            counts[_RCODES.get(rcode, Outcome.SERVFAIL)] += number
    counts[Outcome.MALFORMED] += traffic.malformed
    counts[Outcome.TIMEOUT] += lost
    ends = [item.expires for item in signed if item.expires is not None]
    return Heard(
        address=traffic.address,
        path=path,
        at=at,
        answers=traffic.responses,
        counts={outcome: number for outcome, number in counts.items() if number},
        failures=tuple(_failure(failing) for item in signed for failing in item.failing),
        expires=min(ends, default=None),
    )


def _failure(failing: Failing) -> Failure:
    late = failing.outcome is Outcome.EXPIRED
    return Failure(
        name=failing.owner,
        outcome=failing.outcome,
        evidence=Evidence(
            owner=failing.owner,
            rdtype=_TYPES.get(failing.rdtype, f"TYPE{failing.rdtype}"),
            detail="signature expired" if late else "signature not yet valid",
            key_tag=failing.key_tag,
            inception=int(failing.inception),
            expiration=int(failing.expiration),
        ),
        ask=failing.owner if failing.rdtype in _SHOWN_BY_A else None,
    )
