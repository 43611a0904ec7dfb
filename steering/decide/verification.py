"""Proof: a move must show in live answers that it does well, or it is undone.

Live questions carry no mark, so they go where the host's own traffic to the address goes.
Good live answers prove that the routes work and that the site does, once the resolvers have had
one as well, where dnstap shows what they get (`traffic_served`); bad ones undo the steer,
and that site is avoided for a while. Questions that do not get out at all undo it as well: the
host's traffic does not either. Where nothing was asked or nothing could be judged, nothing is
shown: the steer stays, since the probes over the site's path are good, and is asked on. What
was proved can be lost again: bad live answers in a row undo it while the probes over the site's
path are good.

The way home has a proof as well, for the first address of a group that goes back.
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
"""Bad live answers in a row that end what was proved: no loss that is normal does this."""
AVOID: Seconds = 300.0
"""How long a site that did not help is not tried again for the address."""


class VerificationStage(enum.Enum):
    """How far a proof has come."""

    WAITING = "waiting"
    PROVED = "proved"
    FAILED = "failed"
    UNSHOWN = "unshown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The proof of one address's way: through a site, or home."""

    column: int
    """Column of the path; 0: home."""
    installed: Instant | None = None
    """When the route was first seen in place; questions asked before that prove nothing."""
    deadline: Instant = 0.0
    """By then it must be proved."""
    good: int = 0
    bad: int = 0
    bad_run: int = 0
    stuck: int = 0
    """Live questions in a row that did not get out of this host."""
    owing: frozenset[str] = frozenset()
    """Sources of the resolvers that no good live answer came back to yet."""
    proved: bool = False
    shouted: bool = False
    """It failed, or could not be shown, and that was told: it is not told each time."""
    served: Served = field(default_factory=Served)
    """What the resolvers got over it since then, as far as dnstap shows."""

    def pause(self) -> Verification:
        """The proof while the route is not in place: what was live went another way."""
        return Verification(column=self.column, proved=self.proved, shouted=self.shouted)

    def begin(self, now: Instant, allowed: Seconds, sources: Collection[str] = ()) -> Verification:
        """The proof from the moment the route was seen in place; `sources` all have to be heard."""
        owing = frozenset(filter(None, sources))
        return replace(self, installed=now, deadline=now + allowed, owing=owing)

    def prolong(self, now: Instant, allowed: Seconds) -> Verification:
        """The proof with more time. What was asked meanwhile still counts, however late it comes:
        a busy host may take long to read its answers.
        """
        return replace(self, deadline=now + allowed, shouted=True)

    def again(self, now: Instant, allowed: Seconds) -> Verification:
        """The proof from the beginning, at the same place."""
        anew = Verification(
            column=self.column, installed=self.installed, owing=self.owing, served=self.served
        )
        return anew.prolong(now, allowed)

    def live(self, *, good: bool) -> Verification:
        """The proof after one live answer (or its absence)."""
        return replace(
            self,
            good=self.good + good,
            bad=self.bad + (not good),
            bad_run=0 if good else self.bad_run + 1,
            stuck=0,
        )

    def see(self, item: Round) -> Verification:
        """The proof after the live answers of one round."""
        if self.installed is None or item.at < self.installed or not item.is_evidence:
            return self
        proof = self
        for seen in item.observations:
            if seen.live and seen.verdict is not Verdict.NOTHING:
                good = seen.verdict is Verdict.GOOD
                proof = proof.live(good=good)
                if good and seen.source in proof.owing:
                    proof = replace(proof, owing=proof.owing - {seen.source})
            elif seen.live and seen.outcome is Outcome.LOCAL_ERROR:
                proof = replace(proof, stuck=proof.stuck + 1)
        return proof

    def shown(self, kind: str = "live") -> str:
        """What was seen so far, in words; `kind`: the answers that count."""
        judged = f"{self.good} good and {self.bad} bad {kind} answers"
        if (self.good or self.bad) and self.owing and not self.proved:
            return f"{judged}, none of them good to {', '.join(sorted(self.owing))}"
        if self.good or self.bad:
            return judged
        stuck = f", {self.stuck} {kind} questions did not get out" if self.stuck else ""
        return f"no {kind} answer that could be judged{stuck}"

    def standing(self, now: Instant) -> VerificationStage:
        """Where it stands at this instant."""
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
    """Time a proof may take: some rounds more than it needs, and the slowest answers."""
    return 4 * GOOD_ENOUGH * fast_interval + 3 * timeout
