"""Which source a round is sent from, and by which transport: they take turns. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Final

from steering.model import Family, Source, Target

_BY_TCP: Final = 7
"""Of so many slow rounds one goes by TCP, to see whether that comes back too; of the first ones
from each source, more. A prime, or some addresses might never be asked so."""
_AT_FIRST: Final = 3
_BY_TCP_FAST: Final = 31
"""The same of fast rounds, each of which matters more: what was lost by TCP has to be found again
while its addresses are asked fast."""
_MUTE: Final = 16
"""Rounds in a row without any answer, after which a source is asked from seldom."""
_SELDOM: Final = 16
"""One turn in so many is such a source's."""

Sender = tuple[Family, Source | None]
"""A source; without one, what the kernel chooses for the family."""


class Rotation:
    """Whose turn it is, of each address: all sources together keep the pace of one."""

    def __init__(
        self, sources: Callable[[Family], Sequence[Source | None]], addresses: Collection[str]
    ) -> None:
        """`sources` are those in use; where there are none the kernel chooses."""
        self._sources = sources
        self._nth = {address: i for i, address in enumerate(addresses)}
        """Address -> the number of its turn; they do not all begin with the same source."""
        self._mute: Counter[Sender] = Counter()
        """Rounds in a row to which nothing came back over any path."""
        self._slow: Counter[Sender] = Counter()
        self._fast: Counter[Sender] = Counter()
        """Rounds in which TCP could be tried."""
        self._answered: set[str] = set()
        """Addresses whose last round had an answer over the local path."""

    def source(self, target: Target) -> Source | None:
        """The source of the next round.

        One to which nothing comes back, over any path, while something does to others, would blind
        us: it has its turn seldom.
        """
        family, sources = target.family, self._sources(target.family)
        if not sources:
            return None
        self._nth[target.address] += 1
        nth = self._nth[target.address]
        mute = [source for source in sources if self._mute[family, source] >= _MUTE]
        if mute and len(mute) < len(sources):
            if nth % _SELDOM == 0:
                return mute[nth // _SELDOM % len(mute)]
            sources = [source for source in sources if source not in mute]
        return sources[nth % len(sources)]

    def by_tcp(self, target: Target, source: Source | None, *, fast: bool) -> bool:
        """Whether the round goes by TCP from the start, to see that it could.

        What resolvers are told to ask again by TCP is lost where that does not come back. It is
        tried where datagrams were answered just now.
        """
        if target.address not in self._answered:
            return False
        count = self._fast if fast else self._slow
        count[target.family, source] += 1
        nth = count[target.family, source]
        if fast:
            return nth % _BY_TCP_FAST == 0
        return nth % 2 == 1 if nth < 2 * _AT_FIRST else nth % _BY_TCP == 0

    def landed(self, target: Target, source: Source | None, *, came: bool, answered: bool) -> None:
        """A round is over: something `came` over some path; the local one `answered`."""
        sender = target.family, source
        if came and self._mute[sender] >= _MUTE:  # something changed: all are tried again
            for other in [one for one in self._mute if one[0] is target.family]:
                del self._mute[other]
        self._mute[sender] = 0 if came else min(self._mute[sender] + 1, _MUTE)
        (self._answered.add if answered else self._answered.discard)(target.address)
