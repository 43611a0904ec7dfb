"""Counts the resolvers' unanswered questions, from the numbers of questions and answers alone.

Each address has a queue of numbers of questions with their times; an answer takes one from the
oldest. A question that has waited for too long is lost. Questions and answers are not matched
individually: over a second or two the counts give the same result. A resolver that reports no
queries has no losses here. If no address has answers, only queries are reported, and nothing counts
as lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from steering.model import Instant, Seconds

PATIENCE: Seconds = 5.0
"""Longer than any answer takes that a resolver can use."""
SOON: Seconds = 2.0
"""Longer than nearly all answers take: one second, and another during which a resolver may buffer
frames (Unbound, if there are few)."""
HALF: Seconds = 60.0
"""After so long without any answer from any address, only queries are being reported."""


@dataclass(slots=True)
class Losses:
    """The unanswered questions by address."""

    patience: Seconds = PATIENCE
    _waiting: dict[str, deque[tuple[Instant, int]]] = field(default_factory=dict)
    _answered: Instant = float("-inf")
    """When any address last answered."""

    def count(self, address: str, *, asked: int, answered: int, now: Instant) -> int:
        """Add questions and answers; returns how many questions have become lost.

        `now` is the end of the period of the counts.
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
        """The addresses with unanswered questions."""
        return tuple(address for address, queue in self._waiting.items() if queue)

    def forget(self, address: str | None = None) -> None:
        """Drop the questions to one address, or to all: some were not counted."""
        if address is None:
            self._waiting.clear()
        else:
            self._waiting.pop(address, None)
