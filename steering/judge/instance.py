"""Which anycast instance answers: a changed NSID (RFC 5001) means another one.

An NSID is an opaque string, and one instance may have many servers with a string each, chosen
per source port. So a key knows a *set* of strings. It is complete when answers enough in a row
have brought no new one; after that, answers outside the set are another instance only when three
in a row come from outside. One from inside between them means that the newcomers are neighbours,
and they join the set.

Nobody signs an NSID, and whoever answers may choose a new one each time. If that were another
instance each time, no evidence would ever add up. So where a path shows more strings than can be
known, or another instance more than three times a day, its instances can't be told apart: for a
day no string means anything.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from steering.model import Instant, Seconds

STRANGERS = 3
KNOWN = 32
"""More servers than this are not told apart."""
ACQUAINTED = 24
"""After so many answers each of four servers has been met with 99.6 % probability."""
PER_SERVER = 3
"""Where more servers were met, it takes so many answers for each: of n servers one that was not
met yet is then left in 5 %, and answers three times in a row before any other in 1/n**2."""
CHANGES = 3
"""More changes within a day are no changes of routing."""
DAY: Seconds = 86_400.0
LONGEST = 128
"""Characters of a string that are looked at. One may have 65,000 octets."""


class Sight(enum.Enum):
    """What an answer says of the instance."""

    SAME = "same"
    ANOTHER = "another"
    MIXED = "mixed"
    """From now on instances can't be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The servers seen behind one (address, path)."""

    known: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    answers: int = 0
    """Answers since the last one that brought a new string, while getting acquainted."""
    changes: int = 0
    """Within a day from `since` on."""
    since: Instant = 0.0
    """When the first of these changes was seen; where it is mixed, when that was found."""
    mixed: bool = False
    """Instances can't be told apart."""

    def see(self, nsid: str, now: Instant) -> tuple[Instance, Sight]:
        """The instance after an answer from `nsid`, and whether it is another one now."""
        if self.mixed and now - self.since < DAY:
            return self, Sight.SAME
        nsid = nsid[:LONGEST]
        if self.answers < max(ACQUAINTED, PER_SERVER * len(self.known)):
            return self._see_server(nsid, now)
        if self.mixed:  # a day is over, and the strings are few
            return replace(self, mixed=False).see(nsid, now)
        if nsid in self.known:
            return self._join(self.strangers, now) if self.strangers else (self, Sight.SAME)
        strangers = (*self.strangers, nsid)
        if len(strangers) < STRANGERS:
            return replace(self, strangers=strangers), Sight.SAME
        return self._change(strangers, now)

    def _see_server(self, nsid: str, now: Instant) -> tuple[Instance, Sight]:
        if nsid in self.known:
            return replace(self, answers=self.answers + 1), Sight.SAME
        after, sight = self._join((nsid,), now)
        return replace(after, answers=1), sight

    def _join(self, newcomers: tuple[str, ...], now: Instant) -> tuple[Instance, Sight]:
        met = tuple(dict.fromkeys((*self.known, *newcomers)))
        if len(met) > KNOWN:
            return self._mix(now)
        return replace(self, known=met, strangers=()), Sight.SAME

    def _change(self, strangers: tuple[str, ...], now: Instant) -> tuple[Instance, Sight]:
        more = self.changes > 0 and now - self.since < DAY
        if more and self.changes >= CHANGES:
            return self._mix(now)
        another = Instance(
            known=tuple(dict.fromkeys(strangers)),
            answers=STRANGERS,
            changes=self.changes + 1 if more else 1,
            since=self.since if more else now,
        )
        return another, Sight.ANOTHER

    def _mix(self, now: Instant) -> tuple[Instance, Sight]:
        mixed = Instance(known=self.known[-1:], since=now, mixed=True)
        return mixed, Sight.SAME if self.mixed else Sight.MIXED

    @property
    def name(self) -> str | None:
        """The string to show for it."""
        return self.known[-1] if self.known else None
