"""Routes and rules of the agent that something removed and the agent installed again.

Another program that removes them does so every second, perhaps. The first time is an event at
once; after that there is one event a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from steering.act.kernel.rtnetlink import Route
from steering.act.kernel.rules import Rule
from steering.model import Event, Instant, Seconds

PAUSE: Seconds = 60.0
"""Least time between two events."""


class ExternalChanges:
    """How many were installed again, in all and since the last event."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {"route": 0, "rule": 0}
        """Since the start, by kind."""
        self._unreported: Counter[str] = Counter()
        self._rounds = 0
        self._reported_at: Instant = float("-inf")

    def put_back(self, what: Iterable[Route | Rule]) -> None:
        """Count these, which were missing and are installed again."""
        now = Counter("route" if isinstance(one, Route) else "rule" for one in what)
        for kind, number in now.items():
            self.counts[kind] += number
        self._unreported += now
        self._rounds += bool(now)

    def events(self, now: Instant) -> tuple[Event, ...]:
        """The event `put_back`, if there is one to report; at most one a minute."""
        if not self._unreported or now - self._reported_at < PAUSE:
            return ()
        numbers = " and ".join(
            f"{number} {kind}{'' if number == 1 else 's'}"
            for kind, number in sorted(self._unreported.items())
        )
        one = self._unreported.total() == 1
        often = f" in {self._rounds} rounds" if self._rounds > 1 else ""
        because = (
            f"{numbers} of this agent {'was' if one else 'were'} removed{often} and "
            f"{'is' if one else 'are'} installed again. Cause: a link down, or another program "
            "(see `ip monitor route rule` and the logs of network daemons)"
        )
        more = {f"{kind}s": self._unreported[kind] for kind in self.counts}
        self._unreported, self._rounds, self._reported_at = Counter(), 0, now
        return (Event(event="put_back", because=because, more={**more}),)
