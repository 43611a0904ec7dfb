"""Questions of the resolvers that stay unanswered, told from counts alone.

Each address has a queue of what was asked when; an answer takes one from its old end. What
has waited for too long is lost. Nothing is matched one by one: over a second or two the
counts say the same. A resolver that reports no queries has no losses here, and one that
reports no answers, as nobody gets any, is not believed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from steering.model import Instant, Seconds

PATIENCE: Seconds = 5.0
"""Longer than an answer takes that is of any use to a resolver."""
SOON: Seconds = 2.0
"""Longer than nearly all answers take: a second, and another for which a resolver may keep frames
to itself (Unbound, where there are few of them)."""
HALF: Seconds = 60.0
"""Without a single answer to anybody for so long, only queries are being reported."""


@dataclass(slots=True)
class Losses:
    """What is waited for, by address."""

    patience: Seconds = PATIENCE
    _waiting: dict[str, deque[tuple[Instant, int]]] = field(default_factory=dict)
    _answered: Instant = float("-inf")
    """When anybody answered anything."""

    def count(self, address: str, *, asked: int, answered: int, now: Instant) -> int:
        """How many questions have become lost, after so many more were asked and answered.

        `now` is the end of the time that the counts are about.
        """
        queue = self._waiting.get(address)
        if queue is None:
            queue = self._waiting[address] = deque()
        if answered:
            self._answered = now
        if asked:
            queue.append((now, asked))
        while answered and queue:
            at, left = queue[0]
            taken = min(left, answered)
            answered -= taken
            queue[0] = (at, left - taken)
            if left == taken:
                queue.popleft()
        lost = 0
        while queue and now - queue[0][0] > self.patience:
            lost += queue.popleft()[1]
        return lost if now - self._answered < HALF else 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those of which answers are waited for."""
        return tuple(address for address, queue in self._waiting.items() if queue)

    def forget(self, address: str | None = None) -> None:
        """Wait for nothing any more, of one address or of any: some of it was not counted."""
        if address is None:
            self._waiting.clear()
        else:
            self._waiting.pop(address, None)
