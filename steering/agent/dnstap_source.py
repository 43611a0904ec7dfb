"""Evidence from the resolvers' traffic: the dnstap reader's counts as facts for each address.

Here each count is assigned to the path that the kernel had installed meanwhile, and sampled
responses go to the verifier. Counts that may belong to two paths are dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from steering.index import Index
from steering.model import (
    LOCAL,
    Event,
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
_GOOD_RCODES = frozenset({0, 3})  # NOERROR, NXDOMAIN
_GAP: Seconds = 0.2
"""A resolver's queue is full after so long, and it drops frames without a message."""
_ALARM_LASTS: Seconds = 60.0
"""How long an alarm about frames lasts after the last of them."""


class DnstapSource:
    """Receives dnstap at the configured sockets, and turns it into facts."""

    def __init__(
        self,
        index: Index,
        places: Sequence[Place],
        verifier: SampleVerifier,
        was: DnstapSource | None = None,
        wall: Callable[[], WallTime] = time.time,
    ) -> None:
        """Listens at once. It shares the sockets of `was` until `take_over`.

        Raises OSError where listening fails, LookupError for an unknown group.
        """
        self.verifier, self.places = verifier, tuple(places)
        self.interest = _interest(index)
        self.reader: ReaderClient = ReaderClient(places, self.interest, was.reader if was else None)
        self.frames: Counter[Frames] = Counter()
        self.lost = 0
        self.writers = 0
        self.longest_gap: Seconds = 0.0
        """The longest time of the latest minute in which no socket was read."""
        self.rate = 0.0
        """Frames per second, of the latest tally."""
        self._ended: Instant = float("-inf")
        self._tallies: list[Tally] = []
        self._attribution, self._losses, self._early_losses = (
            Attribution(),
            Losses(),
            Losses(patience=SOON),
        )
        self._wall = wall
        self._behind_until: Instant = float("-inf")
        self._gap_until: Instant = float("-inf")

    def watch(self, index: Index) -> None:
        """Count these addresses and zones from now on. Counts of those that stay go on."""
        self.interest = _interest(index)
        self._watch()

    def _watch(self) -> None:
        """Have the reader count what is of interest; for an address that moved, since then."""
        since = self._attribution.since
        self.reader.watch(
            {a: replace(w, since=since[a]) if a in since else w for a, w in self.interest.items()}
        )

    def take_over(self, was: DnstapSource) -> None:
        """Replace `was`, and go on with its counts."""
        self.frames, self.lost = was.frames, was.lost
        self.reader.succeed(was.reader)

    def close(self) -> None:
        self.reader.close()

    def read(self, now: Instant) -> tuple[Event, ...]:
        """Take what the reader has counted. Returns events about the resolvers that write."""
        events: list[Event] = []
        self.reader.repair_sockets(now)
        for tally in self.reader.take(now):
            self._tallies.append(tally)
            self._count_frames(tally, now)
            for unread in tally.unreadable:
                HERE.add(unread)
            events += [
                Event(event="dnstap", because=f"{notice.listener}: {printable(notice.because)}")
                for notice in tally.notices
            ]
            if tally.unnoticed:
                because = f"{tally.unnoticed} more problems of writers"
                events.append(Event(event="dnstap", because=because))
        return tuple(events)

    @property
    def has_news(self) -> bool:
        """Whether there is traffic that no turn has seen."""
        return any(tally.traffic for tally in self._tallies)

    def evidence(self, installed: Mapping[str, str], now: Instant) -> tuple[Heard, ...]:
        """The facts since the last call. `installed` is what the kernel has now."""
        if self._attribution.note_installed(installed, now, self._wall()):
            self._watch()
        tallies, self._tallies = self._tallies, []
        heard: list[Heard] = []
        for tally in tallies:
            with HERE.reading(Where.DNSTAP, partial(tally_message, tally)):
                heard += self._facts(tally)
        return (*heard, *self.verifier.take())

    def status(self) -> TrafficStatus:
        """Counters and losses, for the status and the metrics."""
        return TrafficStatus(
            frames={str(result): number for result, number in self.frames.items()},
            lost=self.lost,
            writers=self.writers,
            rate=self.rate,
            longest_gap=self.longest_gap,
            looked=self.verifier.looked,
            passed_over=self.verifier.dropped,
        )

    def problem(self, now: Instant) -> str:
        """What is wrong with the reader or its sockets; empty if nothing is."""
        if self.reader.lost:
            return self.reader.lost
        if self.reader.because and self.reader.restarts:
            return self.reader.because
        if now < self._behind_until:
            return "the reader is too slow and drops frames: see steering_dnstap_lost_total"
        if now < self._gap_until:
            return f"no socket was read for {self.longest_gap:.2f} s: resolvers drop frames"
        return ""

    def _count_frames(self, tally: Tally, now: Instant) -> None:
        self.frames.update(tally.frames)
        self.lost += tally.lost
        span = max(tally.ended - max(tally.began, self._ended), 1e-3)
        self._ended = tally.ended
        self.rate = sum(tally.frames.values()) / span
        if now >= self._gap_until:
            self.longest_gap = 0.0
        if tally.longest_gap >= max(self.longest_gap, 1e-3):
            self.longest_gap = tally.longest_gap
            self._gap_until = now + _ALARM_LASTS if tally.longest_gap > _GAP else self._gap_until
        if tally.lost:
            self._behind_until = now + _ALARM_LASTS
        if tally.lost or tally.writers != self.writers:
            for losses in (self._losses, self._early_losses):
                losses.forget()  # some queries or answers were not read
        self.writers = tally.writers

    def _facts(self, tally: Tally) -> list[Heard]:
        """The facts of one tally, address by address."""
        signed: dict[str, list[Signed]] = {}
        for item in tally.signed:
            signed.setdefault(item.address, []).append(item)
        paths: dict[str, str | None] = {}
        heard = []
        traffic = {item.address: item for item in tally.traffic}
        for mine in tally.traffic:
            self._attribution.reader_counts_since(mine.address, mine.since)
        for address in traffic.keys() | set(self._losses.addresses):
            paths[address] = path = self._attribution.path(address, tally.began)
            if path is None:
                self._losses.forget(address)
                self._early_losses.forget(address)
                continue
            mine = traffic.get(address) or Traffic(address=address)
            lost, overdue = (
                losses.count(
                    address,
                    asked=mine.queries + mine.forwarded,
                    answered=mine.responses,
                    now=tally.ended,
                )
                for losses in (self._losses, self._early_losses)
            )
            overdue = 0 if path == LOCAL else overdue
            if mine.responses or lost or overdue:
                one = _fact(mine, signed.get(address, []), path, tally.began, lost)
                heard.append(replace(one, overdue=overdue))
        for sample in tally.samples:
            path, watched = paths.get(sample.address), self.interest.get(sample.address)
            if path is not None and watched is not None:
                self.verifier.offer(
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


def _interest(index: Index) -> Interest:
    return {
        address: Watched(zones=frozenset(each.policy.zones), skew=each.policy.skew)
        for address, each in index.settings.items()
    }


def _fact(traffic: Traffic, signed: Sequence[Signed], path: str, at: Instant, lost: int) -> Heard:
    counts: Counter[Outcome] = Counter()
    for item in signed:
        counts[Outcome.SECURE] += item.good
        counts[Outcome.EXPIRED] += item.expired
        counts[Outcome.NOT_YET_VALID] += item.not_yet_valid
    for rcode, number in traffic.rcodes.items():
        if rcode not in _GOOD_RCODES:
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
        failures=tuple(failure for item in signed for failure in item.failing),
        expires=min(ends, default=None),
    )
