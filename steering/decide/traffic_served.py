"""Whether the resolvers get their answers over a detour, as their traffic (dnstap) shows it.

Our own live questions may be answered where the resolvers' are not: the site may have no route back
to their source address, or something there answers them differently. So both verify a detour, and
it ends if the resolvers get clearly worse answers over it than before. A return is always safe;
this module never moves an address off the local path.

What counts are the good answers a second that they *get*, compared with those before the move. A
client that asks for refused names, or a program that writes false questions to the dnstap socket,
adds failures and removes no good answer. So at least half of the good answers must be missing, and
more than half of the questions must have failed.

Questions are counted in spans, each of at least a second and of enough questions to be significant.
Two such spans in a row decide: a second or two without an answer, as when a route changes or a
resolver learns a longer round-trip time (Unbound begins at 50 ms and doubles it), is one. A
question is known to be lost only after `observe.traffic.losses.SOON`, an answer is counted when it
comes, so the first span after a move lasts as long as that. At 50 questions a second to the address
a detour without answers ends after about 3.5 s, at 8 after about 4 s; at one every two seconds it
takes 20 s, and with less than four a minute there is no decision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from steering.decide.moves.ranking import SURE
from steering.format import duration
from steering.model import Instant, Seconds

SPAN: Seconds = 1.0
FEW = 4
"""Least finished questions in a span that counts."""
SPANS = 2
LEAST = 8
"""Failures in all these spans."""
MORE = 0.1
"""And a failing share above the one on the local path before by this much and `SURE` deviations."""
KEPT = 0.5
"""With this part of the good answers a second from before, the resolvers are not served worse."""
SILENT = 0.2
"""If less than this share of the questions is answered, packets do not come back, however bad the
local path was."""
QUIET: Seconds = 60.0
"""A longer span with few questions does not show the present."""
_LEARNS = 0.1

AGAIN: Seconds = 600.0
"""The resolvers' traffic ends a detour of an address once in so long; a second time over another
site if next to nothing came back over either. Then it stays local."""
LONGEST: Seconds = 3600.0
FORGOTTEN: Seconds = 86400.0
REST: Seconds = 60.0
"""The address is local for so long before another site is tried: a resolver takes silent servers
for dead (Unbound after 12 s of doubling time-outs), and must have got answers from them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the resolvers got over one detour."""

    usual: float = 0.0
    """Good answers a second before the move, and over the detour since; 0: unknown."""
    before: float = 0.0
    """The share of questions that failed over the local path when it was left."""
    began: Instant = -math.inf
    """Begin of the present span; minus infinity: no traffic yet."""
    good: int = 0
    bad: int = 0
    lost: int = 0
    """Of this span: good answers, bad answers, questions not answered in time."""
    fine: bool = False
    """There was a good answer."""
    spans: int = 0
    """Spans in a row, before this one, in which they were served worse."""
    since: Instant = -math.inf
    """When those began; below, the counts in them."""
    all_good: int = 0
    all_bad: int = 0
    all_lost: int = 0

    def hear(self, good: int, bad: int, lost: int, now: Instant) -> Served:
        """After so many more finished questions."""
        began = now if math.isinf(self.began) else self.began
        heard = replace(
            self,
            began=began,
            good=self.good + good,
            bad=self.bad + bad,
            lost=self.lost + lost,
            fine=self.fine or good > 0,
        )
        return heard if now - began < SPAN else heard.close(now)

    def close(self, now: Instant) -> Served:
        """After the span that ends now; unchanged if it has too few questions yet."""
        length = now - self.began
        if self.good + self.bad + self.lost < FEW:
            return self._anew(now) if length > QUIET else self
        failing = self.bad + self.lost
        if failing > self.good and (not self.good or self.good < KEPT * self.usual * length):
            return replace(
                self._anew(now),
                spans=self.spans + 1,
                since=self.since if self.spans else self.began,
                all_good=self.all_good + self.good,
                all_bad=self.all_bad + self.bad,
                all_lost=self.all_lost + self.lost,
            )
        rate = self.good / length
        usual = self.usual + _LEARNS * (rate - self.usual) if self.usual else rate
        return Served(usual=usual, before=self.before, began=now, fine=self.fine)

    def _anew(self, now: Instant) -> Served:
        return replace(self, began=now, good=0, bad=0, lost=0)

    @property
    def worse(self) -> bool:
        """Whether they are served clearly worse than before."""
        failing = self.all_bad + self.all_lost
        questions = failing + self.all_good
        clear = failing - SURE * math.sqrt(failing) > questions * (self.before + MORE)
        return self.spans >= SPANS and failing >= LEAST and (clear or self.silent)

    @property
    def silent(self) -> bool:
        """Whether next to nothing came back in those spans."""
        answers = self.all_good + self.all_bad
        return answers < SILENT * (answers + self.all_lost)

    @property
    def shown(self) -> str:
        """In words: what the resolvers got in those spans."""
        every = self.all_good + self.all_bad + self.all_lost
        length = self.began - self.since
        return (
            f"of {every} questions of the resolvers in {duration(length)} {self.all_lost} were not "
            f"answered and {self.all_bad} got bad answers; before, the resolvers got "
            f"{self.usual:.1f} good answers a second"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """A detour that was ended because the resolvers were not served over it."""

    at: Instant
    times: int
    """How often in a row."""
    silent: bool
    """Next to nothing came back; else what came was worse."""
    shown: str
    """What they got, in words."""

    @property
    def avoid(self) -> Seconds:
        """How long the site is avoided for the address. Our own questions are answered there all
        the time, so only a new try can tell; each time it takes twice as long.
        """
        return min(LONGEST, AGAIN * 2.0 ** min(self.times - 1, 8))
