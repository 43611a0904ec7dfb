"""What is really the matter in a random story: the agent learns of it by its probes alone."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chaos_files import Files
from simulation import WALL, Ask, Shown

from steering.model import LOCAL, Family, Outcome

LIFE, RENEWED = 700.0, 200.0
"""Seconds that a signature lives, and after which it is made anew."""
EDITED = 5.0
"""Seconds between two serials."""
BOGUS = (Outcome.EXPIRED, Outcome.BAD_SIGNATURE, Outcome.UNSIGNED, Outcome.NO_KEY)
WRONG = (Outcome.SERVFAIL, Outcome.REFUSED, Outcome.LAME, Outcome.MALFORMED)
SHARES = (0.003, 0.02, 0.13, 0.5, 0.5, 1.0, 1.0, 1.0)
SURE = 0.5
"""A path that fails so often can't seem to have recovered, with `clean` of 10 and more."""
NOISE = 0.03
"""Lost packets that are nobody's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is wrong for a while, somewhere."""

    number: int
    begin: float
    end: float
    upstream: str | None
    """None: of them all."""
    addresses: frozenset[str] | None
    family: Family | None
    paths: frozenset[str] | None
    share: float
    outcome: Outcome | None
    """None: the copy is frozen."""
    live: bool = False
    """Only what carries no mark: the routes are wrong."""

    def about(self, address: str, path: str) -> bool:
        """Whether it is a fault of this key."""
        return (
            (self.addresses is None or address in self.addresses)
            and (self.family is None or Family.of(address) is self.family)
            and (self.paths is None or path in self.paths)
        )

    def strikes(self, ask: Ask) -> bool:
        """Whether this question meets it."""
        if not self.begin <= ask.now < self.end or not self.about(ask.address, ask.path):
            return False
        if self.live and not ask.live:
            return False
        if self.outcome is Outcome.TIMEOUT:
            return ask.lost(self.share, f"f{self.number}")
        return self.share == 1.0 or ask.unlucky(self.share, f"f{self.number}")


@dataclass
class Truth:
    """All faults of a story, those to come too."""

    faults: list[Fault] = field(default_factory=list)
    own_clock: float = 0.0
    loss: float = 0.0
    instances: dict[str, int] = field(default_factory=dict)
    """Path -> which server answers."""

    def answer(self, ask: Ask) -> Outcome | Shown:
        """What comes back."""
        struck = [f for f in self.faults if f.strikes(ask)]
        for fault in struck:
            if fault.outcome is Outcome.LOCAL_ERROR:
                return fault.outcome
        if ask.lost(self.loss, "loss"):
            return Outcome.TIMEOUT
        frozen = [f.begin for f in struck if f.outcome is None]
        made = min(frozen, default=ask.now)
        expires = WALL + (made // RENEWED) * RENEWED + LIFE
        outcome = next((f.outcome for f in struck if f.outcome is not None), Outcome.SECURE)
        if outcome is Outcome.TIMEOUT:
            return outcome
        if outcome is Outcome.SECURE:
            if ask.name.startswith("planted"):
                outcome = Outcome.BAD_SIGNATURE
            elif expires <= WALL + ask.now + self.own_clock:
                outcome = Outcome.EXPIRED
            elif self.own_clock < -LIFE:
                outcome = Outcome.NOT_YET_VALID
        # Each operator has servers of its own: one of all would be somebody who answers for them.
        whose = ask.name.rstrip(".").rpartition(".")[2]
        bad_server = f"{self.instances.get(ask.path, 0)}.{ask.path}.{whose}"
        return Shown(
            outcome=outcome,
            serial=int(WALL + (made // EDITED) * EDITED) if outcome in _CARRIES else None,
            expires=expires if outcome in _CARRIES else None,
            nsid=bad_server if outcome in _CARRIES else None,
        )

    def ill(self, address: str, path: str, since: float, until: float, on: Iterable[str]) -> bool:
        """Whether the path was bad at any time of these, in a way that counts."""
        classes = set(on)
        return any(
            f.about(address, path)
            and f.begin < until
            and f.end > since
            and not f.live
            and f.outcome is not Outcome.LOCAL_ERROR
            and (
                (f.outcome is None and bool(classes & {"stale", "bogus"}))
                or (f.outcome is not None and str(f.outcome.verdict) in classes)
            )
            for f in self.faults
        )

    def surely_ill(
        self,
        address: str,
        path: str,
        since: float,
        until: float,
        on: Iterable[str],
        *,
        share: float = SURE,
    ) -> bool:
        """Whether it was so bad all that time that nobody could miss it."""
        return any(
            f.about(address, path)
            and f.begin <= since
            and f.end >= until
            and f.share >= share
            and f.outcome is not None
            and f.outcome is not Outcome.LOCAL_ERROR
            and not f.live
            and str(f.outcome.verdict) in on
            for f in self.faults
        )


_CARRIES = {Outcome.SECURE, Outcome.EXPIRED, Outcome.NOT_YET_VALID}


def fault_of(draw: random.Random, number: int, now: float, lasts: float, files: Files) -> Fault:
    """Any fault that begins now."""
    upstream = draw.choice(files.upstreams)
    whole = frozenset(a for _, addresses in upstream.letters for a in addresses)
    some = frozenset(draw.sample(sorted(whole), draw.randint(1, len(whole))))
    paths = draw.choice(
        [frozenset({LOCAL})] * 8
        + [None, frozenset({draw.choice(list(files.sites))}), frozenset(files.sites)]
        + [frozenset({LOCAL, draw.choice(list(files.sites))})]
    )
    outcome = draw.choice([*BOGUS, *BOGUS, *WRONG, *[Outcome.TIMEOUT] * 4, None, None])
    share = draw.choice(SHARES) if outcome is not None else 1.0
    made = Fault(
        number=number,
        begin=now,
        end=now + draw.choice([1.0, 4.0, 15.0, 40.0, lasts, lasts]) * draw.uniform(0.5, 1.5),
        upstream=upstream.name,
        addresses=draw.choice([whole, whole, whole, some]),
        family=draw.choice([None, None, None, *Family]),
        paths=paths,
        share=max(share, 0.1) if outcome is Outcome.TIMEOUT else share,
        outcome=outcome,
    )
    special = draw.random()
    if special < 0.08:  # our own uplink, or a site's link
        return replace(
            made,
            upstream=None,
            addresses=None,
            share=1.0,
            paths=frozenset({draw.choice([LOCAL, LOCAL, *files.sites])}),
            outcome=draw.choice([Outcome.TIMEOUT, Outcome.LOCAL_ERROR]),
        )
    if special < 0.14:  # the routes of a site lead nowhere for what carries no mark
        return replace(
            made, live=True, share=1.0, outcome=Outcome.TIMEOUT, paths=frozenset(files.sites)
        )
    if special < 0.18:  # several operators at once
        return replace(made, upstream=None, addresses=None)
    return made
