"""What somebody took out of the kernel and the agent put back: counted, and told of.

A fight with another program over the same routes goes on every second. The first of it is an event
at once, the rest one a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from steering.act.kernel.rtnetlink import Route, Rule
from steering.model import Event, Instant, Seconds

PAUSE: Seconds = 60.0


class ExternalChanges:
    """What was put back, and what of that is still to be told."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {"route": 0, "rule": 0}
        """What was put back since the start, by its kind."""
        self._untold: Counter[str] = Counter()
        self._times = 0
        self._told: Instant = float("-inf")

    def put_back(self, what: Iterable[Route | Rule]) -> None:
        """These were gone and are there again."""
        now = Counter("route" if isinstance(one, Route) else "rule" for one in what)
        for kind, number in now.items():
            self.counts[kind] += number
        self._untold += now
        self._times += bool(now)

    def news(self, now: Instant) -> tuple[Event, ...]:
        """What there is to tell, once a minute at most."""
        if not self._untold or now - self._told < PAUSE:
            return ()
        said = " and ".join(
            f"{number} {kind}{'' if number == 1 else 's'}"
            for kind, number in sorted(self._untold.items())
        )
        often = f", in {self._times} rounds" if self._times > 1 else ""
        because = (
            f"{said} of ours had been removed{often}, and are installed again. Cause: a link that "
            "was down, or another program (see `ip monitor route rule` and the logs of network "
            "daemons)"
        )
        more = {f"{kind}s": self._untold[kind] for kind in self.counts}
        self._untold, self._times, self._told = Counter(), 0, now
        return (Event(event="put_back", because=because, more={**more}),)
