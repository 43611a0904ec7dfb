"""Which anycast instance answers: a changed NSID (RFC 5001) means another one.

An NSID is an opaque string. One instance may have many servers with a string each, chosen per
source port. So each key has a *set* of strings. The set is complete when enough answers in a row
have brought no new one. After that, three answers in a row from outside the set mean another
instance. One from inside between them means that the new strings belong to the same instance, and
they join the set.

An NSID is not signed, and a server may send a new one each time. If each were another instance,
evidence would never add up. So if a path shows more strings than can be kept, or another instance
more than three times a day, its instances can't be told apart: for a day the strings are ignored.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from steering.model import Instant, Seconds

STRANGERS = 3
KNOWN = 32
"""The most servers that are told apart."""
ACQUAINTED = 24
"""After so many answers each of four servers has answered with 99.6 % probability."""
PER_SERVER = 3
"""With more servers, it takes so many answers for each: then one of n servers has not answered yet
in 5 % of cases, and it answers three times in a row before any other in 1/n**2."""
CHANGES = 3
"""More changes within a day are no changes of routing."""
DAY: Seconds = 86_400.0
LONGEST = 128
"""Characters of a string that are compared. It may have 65,000 octets."""


class Sight(enum.Enum):
    """What an answer shows about the instance."""

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
    """Answers since the last one with a new string, while the set is not complete."""
    changes: int = 0
    """Within a day from `since` on."""
    since: Instant = 0.0
    """When the first of these changes was seen; if `mixed`, when that was found."""
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


NO_INSTANCE = Instance()
