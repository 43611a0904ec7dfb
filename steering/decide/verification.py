"""Verification: live answers must show that a move helped, or it is undone.

Live questions carry no mark, so they take the path of the host's own traffic to the address. Good
live answers prove that the routes and the site work; where dnstap shows what the resolvers get
(`traffic_served`), they must have had a good answer too. Bad live answers undo the steer, and the
site is avoided for a while. So do questions that do not leave this host: its traffic does not
either. Without an answer that can be judged the steer stays, since the probes over the site's path
are good, and verification goes on. A proved steer can fail later: bad live answers in a row undo it
while the probes over the site's path are good.

The return to the local path is verified too, for the first address of a group.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from steering.decide.traffic_served import Served
from steering.model import Instant, Outcome, Round, Seconds, Verdict

GOOD_ENOUGH = 5
TOO_BAD = 3
LOST_AFTER = 10
"""Bad live answers in a row after which a proved steer fails: more than normal loss causes."""
AVOID: Seconds = 300.0
"""How long a site that did not help is not used again for the address."""


class VerificationStage(enum.Enum):
    """How far a verification has come."""

    WAITING = "waiting"
    PROVED = "proved"
    FAILED = "failed"
    UNSHOWN = "unshown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The verification of one address's move: to a site, or back to the local path."""

    path: str
    """The path; `LOCAL`: of the return."""
    installed: Instant | None = None
    """When the route was first seen in place; earlier questions do not count."""
    deadline: Instant = 0.0
    """Until then it must be proved."""
    good: int = 0
    bad: int = 0
    bad_run: int = 0
    stuck: int = 0
    """Live questions in a row that did not leave this host."""
    owing: frozenset[str] = frozenset()
    """Sources of the resolvers that got no good live answer yet."""
    proved: bool = False
    shouted: bool = False
    """It failed or is unshown, and there was an event for that: there is no second one."""
    served: Served = field(default_factory=Served)
    """What the resolvers got over it since then, by dnstap."""

    def pause(self) -> Verification:
        """While the route is not in place, live questions take another path: counts start anew."""
        return Verification(path=self.path, proved=self.proved, shouted=self.shouted)

    def begin(self, now: Instant, allowed: Seconds, sources: Collection[str] = ()) -> Verification:
        """From the moment that the route is in place; each of `sources` must get a good answer."""
        owing = frozenset(filter(None, sources))
        return replace(self, installed=now, deadline=now + allowed, owing=owing)

    def prolong(self, now: Instant, allowed: Seconds) -> Verification:
        """With more time. Answers to questions asked meanwhile still count, however late they are
        read: a busy host may take long.
        """
        return replace(self, deadline=now + allowed, shouted=True)

    def again(self, now: Instant, allowed: Seconds) -> Verification:
        """From the beginning, on the same path."""
        anew = Verification(
            path=self.path, installed=self.installed, owing=self.owing, served=self.served
        )
        return anew.prolong(now, allowed)

    def live(self, *, good: bool) -> Verification:
        """After one live answer, or its absence."""
        return replace(
            self,
            good=self.good + good,
            bad=self.bad + (not good),
            bad_run=0 if good else self.bad_run + 1,
            stuck=0,
        )

    def see(self, item: Round) -> Verification:
        """After the live answers of one round."""
        if self.installed is None or item.at < self.installed or not item.is_evidence:
            return self
        after = self
        for seen in item.observations:
            if seen.live and seen.verdict is not Verdict.NOTHING:
                good = seen.verdict is Verdict.GOOD
                after = after.live(good=good)
                if good and seen.source in after.owing:
                    after = replace(after, owing=after.owing - {seen.source})
            elif seen.live and seen.outcome is Outcome.LOCAL_ERROR:
                after = replace(after, stuck=after.stuck + 1)
        return after

    def shown(self, kind: str = "live") -> str:
        """The answers so far, in words; `kind`: which answers count."""
        judged = f"{self.good} good and {self.bad} bad {kind} answers"
        if (self.good or self.bad) and self.owing and not self.proved:
            return f"{judged}, no good one yet to {', '.join(sorted(self.owing))}"
        if self.good or self.bad:
            return judged
        stuck = f", {self.stuck} {kind} questions did not leave this host" if self.stuck else ""
        return f"no {kind} answer that could be judged{stuck}"

    def standing(self, now: Instant) -> VerificationStage:
        """Its stage at this instant."""
        if self.installed is None:
            return VerificationStage.WAITING
        if self.proved:
            return (
                VerificationStage.FAILED if self.bad_run >= LOST_AFTER else VerificationStage.PROVED
            )
        if self.bad >= TOO_BAD and self.bad > self.good // 4:
            return VerificationStage.FAILED
        if self.good >= GOOD_ENOUGH and not self.owing:
            return VerificationStage.PROVED
        if now < self.deadline:
            return VerificationStage.WAITING
        return (
            VerificationStage.FAILED
            if self.bad or self.stuck >= TOO_BAD
            else VerificationStage.UNSHOWN
        )


def allowance(fast_interval: Seconds, timeout: Seconds) -> Seconds:
    """Time that a verification may take: more rounds than it needs, and the slowest answers."""
    return 4 * GOOD_ENOUGH * fast_interval + 3 * timeout
