"""Tells the receivers of the configuration what is new, after each turn."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from steering.config import Config
from steering.decide.messages.reasons import because
from steering.decide.state import State
from steering.model import Instant, Seconds
from steering.report.metrics import Meters
from steering.report.notifications.news import News, alarms, moves
from steering.report.notifications.notice import Notice
from steering.report.notifications.receiver import Counts, Receiver
from steering.report.notifications.receivers import receivers
from steering.report.snapshot import Snapshot

EVERY: Seconds = 1.0
"""How often the snapshot is looked at: people read slower than that."""


class Notifications:
    """The receivers in force, and what was told."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._news = News()
        self._config: Config | None = None
        self._receivers: Mapping[str, Receiver] = {}
        self._counted: dict[str, Counts] = {}
        self._looked_at: Instant = float("-inf")

    def _use(self, config: Config) -> None:
        """Tell these receivers from now on. One that stays as it was keeps what waits."""
        was, built = self._config, receivers(config)
        for name, receiver in self._receivers.items():
            same = was is not None and (
                was.notify.receivers.get(name) == config.notify.receivers.get(name)
                and (was.site, was.mode) == (config.site, config.mode)
            )
            if same:
                built[name] = receiver
            elif name in built:
                receiver.successor(built[name], self._news.lasting())
                self._counted.pop(name, None)
            else:
                receiver.close()
                self._counted.pop(name, None)
        for name in built.keys() - self._receivers.keys():
            built[name].put(self._news.lasting())
        self._config, self._receivers = config, built

    def tell(self, snapshot: Snapshot, config: Config, now: Instant) -> None:
        """Have the receivers of this configuration told what began, changed or ended."""
        if config is not self._config:
            self._use(config)
        if now - self._looked_at < EVERY:
            return
        self._looked_at = now
        state = snapshot.state
        present = (*alarms(snapshot.alarms), *_moves(state))
        seen_by = {
            name: f"acknowledged by {overrides[0].by}"
            for name, overrides in snapshot.acknowledged.by.items()
            if overrides
        }
        news = tuple(self._news.of(present, now, state.wall, seen_by))
        for name, receiver in self._receivers.items():
            receiver.put(news)
            self._count(name, receiver.counts)

    @property
    def problem(self) -> str:
        """Which receivers take nothing, since when and why; empty: none."""
        return "; ".join(filter(None, (one.problem() for one in self._receivers.values())))

    def close(self, seconds: Seconds) -> None:
        """Send what waits, for so long in all, and nothing after that."""
        until = time.monotonic() + seconds
        for receiver in self._receivers.values():
            receiver.wait(until - time.monotonic())
            receiver.close()

    def _count(self, name: str, counts: Counts) -> None:
        was = self._counted.get(name, Counts())
        now = Counts(sent=counts.sent, failed=counts.failed, dropped=counts.dropped)
        for result in ("sent", "failed", "dropped"):
            more = getattr(now, result) - getattr(was, result)
            self._meters.notices.labels(name, result).inc(more)
        self._counted[name] = now


def _moves(state: State) -> Iterator[Notice]:
    upstreams = {address: state.index.settings[address].upstream for address in state.plan}
    return moves(
        state.plan,
        upstreams,
        state.since,
        lambda address: because(state, address),
        acts=state.index.acts,
    )
