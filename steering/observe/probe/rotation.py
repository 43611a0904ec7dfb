"""Chooses the source and the transport of each round: they take turns. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Final

from steering.model import Family, Source, Target

_BY_TCP: Final = 7
"""One of so many slow rounds goes by TCP, to see whether TCP comes back too. Of the first rounds
from each source it is every second one. A prime, or some addresses might never be asked by TCP."""
_AT_FIRST: Final = 3
_BY_TCP_FAST: Final = 31
"""The same for fast rounds, of which each matters more: loss by TCP alone must also be found
while addresses are probed fast."""
_UNANSWERED: Final = 16
"""Rounds in a row without any answer, after which a source is used only seldom."""
_SELDOM: Final = 16
"""One of so many rounds uses such a source."""

Sender = tuple[Family, Source | None]
"""A family and a source; None: the source that the kernel chooses."""


class Rotation:
    """Whose turn it is, for each address: all sources together probe at the rate of one."""

    def __init__(
        self, sources: Callable[[Family], Sequence[Source | None]], addresses: Collection[str]
    ) -> None:
        """`sources` are those in use; if there are none, the kernel chooses."""
        self._sources = sources
        self._nth = {address: i for i, address in enumerate(addresses)}
        """Address -> the number of its round; addresses begin with different sources."""
        self._unanswered: Counter[Sender] = Counter()
        """Rounds in a row to which nothing came back over any path."""
        self._slow: Counter[Sender] = Counter()
        self._fast: Counter[Sender] = Counter()
        """Rounds in which TCP could be tried."""
        self._answered: set[str] = set()
        """Addresses whose last round had an answer over the local path."""

    def source(self, target: Target) -> Source | None:
        """The source of the next round.

        A source to which nothing comes back over any path, while something does to others, would
        hide the state of the paths. It is used only seldom.
        """
        family, sources = target.family, self._sources(target.family)
        if not sources:
            return None
        self._nth[target.address] += 1
        nth = self._nth[target.address]
        unanswered = [
            source for source in sources if self._unanswered[family, source] >= _UNANSWERED
        ]
        if unanswered and len(unanswered) < len(sources):
            if nth % _SELDOM == 0:
                return unanswered[nth // _SELDOM % len(unanswered)]
            sources = [source for source in sources if source not in unanswered]
        return sources[nth % len(sources)]

    def by_tcp(self, target: Target, source: Source | None, *, fast: bool) -> bool:
        """Whether the round goes by TCP from the start.

        Resolvers repeat truncated questions by TCP, and lose them if TCP does not come back. TCP is
        tried only at addresses that answered the last round.
        """
        if target.address not in self._answered:
            return False
        count = self._fast if fast else self._slow
        count[target.family, source] += 1
        nth = count[target.family, source]
        if fast:
            return nth % _BY_TCP_FAST == 0
        return nth % 2 == 1 if nth < 2 * _AT_FIRST else nth % _BY_TCP == 0

    def finished(
        self, target: Target, source: Source | None, *, any_reply: bool, answered: bool
    ) -> None:
        """A round is over. `any_reply`: something came over some path; `answered`: over `local`."""
        sender = target.family, source
        # After the first answer to such a source something has changed: all sources are tried.
        if any_reply and self._unanswered[sender] >= _UNANSWERED:
            for other in [one for one in self._unanswered if one[0] is target.family]:
                del self._unanswered[other]
        self._unanswered[sender] = (
            0 if any_reply else min(self._unanswered[sender] + 1, _UNANSWERED)
        )
        (self._answered.add if answered else self._answered.discard)(target.address)
