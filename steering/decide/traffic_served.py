"""Whether the resolvers get their answers over a detour, as their own traffic (dnstap) shows it.

Our own live questions may do well where the resolvers' do not: those may have a source address
that the site has no way back to, or be answered by something else there. So a detour is proved by
both, and ends where the resolvers are served clearly worse over it than they were before. Going
home is always safe; nothing here takes an address away from the local path.

What counts is what they *get*: good answers a second, beside what they got before the move. A
client that asks for names that are refused, or somebody who writes questions to the dnstap socket
that nobody asked, adds to what fails and takes no good answer away. So at least half of the good
answers must be missing, and more than half of what is told must have failed.

Counted in spans, each of a second at least and of so many questions that it tells something. Two
such spans in a row decide: a second or two without an answer, as when a route changes or a
resolver first has to learn a longer round-trip time (Unbound begins at 50 ms and doubles it), are
one. A question is known to be lost only after `observe.losses.SOON`, while an answer is counted
when it comes, so the first span after a move lasts as long as that. At 50 questions a second to
the address a detour without answers ends after some 3.5 s, at 8 after some 4 s; at one every two
seconds it takes 20 s, and with less than four a minute nothing is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from steering.decide.ranking import SURE
from steering.format import duration
from steering.model import Instant, Seconds

SPAN: Seconds = 1.0
FEW = 4
"""Questions with an end, in a span that tells something."""
SPANS = 2
LEAST = 8
"""Failures in all these spans."""
MORE = 0.1
"""And a share of them that is this much above what failed locally before, by `SURE` deviations."""
KEPT = 0.5
"""The part of the good answers a second from before with which nobody is served worse."""
SILENT = 0.2
"""With less than this share of the questions answered packets do not come back, however bad the
local path was."""
QUIET: Seconds = 60.0
"""What few questions there are in a longer span say nothing of now."""
_LEARNS = 0.1

AGAIN: Seconds = 600.0
"""What the resolvers' traffic shows ends a detour of an address once in so long; and a second time
over another site, where next to nothing came back over either. Then it stays local."""
LONGEST: Seconds = 3600.0
FORGOTTEN: Seconds = 86400.0
REST: Seconds = 60.0
"""So long it is local before another site is tried: a resolver takes servers that stay silent for
dead (Unbound after 12 s of time-outs that double), and is to have heard them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the resolvers got over one detour."""

    usual: float = 0.0
    """Good answers a second before the move, and over the detour since; 0: nobody knows."""
    before: float = 0.0
    """The share of questions that failed over the local path as it was left."""
    began: Instant = -math.inf
    """Of the span that is counted now; minus infinity: nothing was heard yet."""
    good: int = 0
    bad: int = 0
    lost: int = 0
    """Of this span: answered well, answered badly, not answered in time."""
    fine: bool = False
    """There was a good answer."""
    spans: int = 0
    """In a row, before this one, in which they were served worse."""
    since: Instant = -math.inf
    """When those began; and what was counted in them:"""
    all_good: int = 0
    all_bad: int = 0
    all_lost: int = 0

    def hear(self, good: int, bad: int, lost: int, now: Instant) -> Served:
        """After so many more ends of questions."""
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
        """After the span that ends now; the same where it tells nothing yet."""
        spell = now - self.began
        if self.good + self.bad + self.lost < FEW:
            return self._anew(now) if spell > QUIET else self
        failing = self.bad + self.lost
        if failing > self.good and (not self.good or self.good < KEPT * self.usual * spell):
            return replace(
                self._anew(now),
                spans=self.spans + 1,
                since=self.since if self.spans else self.began,
                all_good=self.all_good + self.good,
                all_bad=self.all_bad + self.bad,
                all_lost=self.all_lost + self.lost,
            )
        rate = self.good / spell
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
        """What they got in those spans, in words."""
        every = self.all_good + self.all_bad + self.all_lost
        spell = self.began - self.since
        return (
            f"of {every} questions of the resolvers in {duration(spell)} {self.all_lost} were not "
            f"answered and {self.all_bad} answered badly; before, they got {self.usual:.1f} good "
            "answers a second"
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
        """How long the site is avoided for the address: our own questions will be answered there
        all the while, so nothing but time can tell, and each time takes twice as long.
        """
        return min(LONGEST, AGAIN * 2.0 ** min(self.times - 1, 8))
