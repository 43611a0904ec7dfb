"""Losses of the local path alone: a share of one in ten, which no series of silences shows.

The same question goes over the local path and over others in one instant. Lost here and
answered there gives 20 points, answered here and lost there takes 80, and any other round
takes one: a CUSUM (Page 1954) for each address and other path. For losses that both paths
have with the same share q, whatever it is, its exponential 2**(points/20) does not grow on
average: q(1-q) * (2 + 2**-4) + (1 - 2q(1-q)) * 2**(-1/20) <= 1. At 320 points the losses are
of the local path, unless the other one has lost more than 4.5 % of about the last five hundred.
Points grow on average from a share of one in 21 on.

Only slow probes count, since fast probing may itself cause losses (`backoff`). An address with
points is probed about once a second, until it has none left.
"""

from __future__ import annotations

from collections.abc import Mapping

from steering.index import Index, Settings
from steering.judge.edit import Draft
from steering.judge.known.health import Signal
from steering.judge.known.ledger import ASKED, Book, Ledger
from steering.judge.probes.backoff import GENTLE
from steering.judge.probes.recent_evidence import confirm
from steering.model import LOCAL, NEVER, Health, Instant, Observation, Round, Seconds, Verdict

HERE = 20
THERE = -80
NEITHER = -1
CONFIRM_AT = 320
MEMORY = 512
"""Rounds over which a path's own share of losses fades."""
CLEAN = 0.045
"""The most that the other path may lose: losses of all paths are no reason to move. A path that
loses 3 % is above this in about one hour of a hundred."""
SHARE = 0.1
"""The least share that is found; it sets the good answers in a row after which it is over."""
LEISURE: Seconds = 0.8 * GENTLE
"""A probe so long after the one before is slow. With an interval of a second, jitter makes it less
than a second."""
EVERY: Seconds = 1.05
"""Time between two rounds of an address that has points: just slow."""


def count_losses(draft: Draft, address: str, item: Round, seen: Mapping[str, Observation]) -> None:
    """Count a round over several paths; comes before its answers are counted."""
    index, last = draft.index, _note(draft, address, item.at)
    # A failing address is probed fast; its points have to go down to zero all the same.
    away = draft.was.path(address).health is Health.FAILING and any(
        draft.path(address, path).losses for path in index.sites
    )
    fast = item.at - last < LEISURE and index.fast_interval < LEISURE
    here = seen.get(LOCAL)
    if here is None or here.verdict is Verdict.NOTHING or (fast and not away):
        return
    if not item.is_evidence:
        return
    settings = index.settings[address]
    lost = _lost(settings, here)
    for path, other in seen.items():
        if path != LOCAL and other.verdict is not Verdict.NOTHING:
            there, before = _lost(settings, other), draft.path(address, path)
            step = NEITHER if lost == there else HERE if lost else THERE
            points = min(max(0, before.losses + step), CONFIRM_AT)
            share = before.loses + (there - before.loses) / MEMORY
            if (points, share) != (before.losses, before.loses):
                after = draft.edit(address, path)
                after.losses, after.loses = points, share
    if away and not lost:
        # Only the site in use is probed now. A good answer here takes a point for the others too.
        for path in index.sites:
            if path not in seen and draft.path(address, path).losses:
                draft.edit(address, path).losses += NEITHER


def _note(draft: Draft, address: str, at: Instant) -> Instant:
    """When the probe before this one was sent.

    A loss becomes known after answers to later probes, so it is inserted by time. If more probes
    than are remembered were sent meanwhile, they were all fast.
    """
    asked = draft.address(address).asked_at
    place = sum(other > at for other in asked)
    if place == ASKED:
        return at
    draft.edit_address(address).asked_at = (*asked[:place], at, *asked[place:])[:ASKED]
    return asked[place] if place < len(asked) else NEVER


def _lost(settings: Settings, seen: Observation) -> bool:
    lost = seen.verdict in (Verdict.TIMEOUT, Verdict.ERROR)
    return lost and seen.verdict in settings.acts_on


def raise_losses(draft: Draft, own_fault: frozenset[str]) -> None:
    """Confirm losses of the local path. They were compared in each round, so there is no trial.

    `own_fault`: silences that this host may have caused; these add nothing.
    """
    for address in draft.open():
        some = [path for path in draft.index.sites if draft.path(address, path).losses]
        if address in own_fault:
            for path in some:
                before = draft.was.path(address, path).losses
                if draft.path(address, path).losses > before:
                    draft.edit(address, path).losses = before
        if not any(_shows(draft, address, path) for path in some):
            continue
        if draft.was.path(address).health is not Health.FAILING:
            draft.signal(address, LOCAL, Signal.CONFIRMED)
        if (address, LOCAL) in draft.touched and not draft.path(address).run:
            # Lost right now: at this share a few seconds show one loss and not more.
            confirm(draft, address, EVERY, SHARE)


def _shows(draft: Draft, address: str, path: str) -> bool:
    """Whether a good remote path does not share the losses of the local one."""
    known = draft.path(address, path)
    return (
        known.losses >= CONFIRM_AT
        and known.loses <= CLEAN
        and known.run > 0
        and draft.was.path(address, path).health is Health.HEALTHY
        and path in draft.index.settings[address].order
    )


def watched(book: Book, index: Index, address: str) -> bool:
    """Whether the local path is already probed slowly because of losses, so they are no news."""
    return any(book.path(address, path).losses > 2 * HERE for path in index.sites)


def watched_slowly(ledger: Ledger, index: Index, address: str) -> tuple[str, ...]:
    """Remote paths that are probed slowly beside a local path that loses more."""
    if ledger.path(address).health > Health.HEALTHY:
        return ()
    known = ((path, ledger.path(address, path)) for path in index.settings[address].order)
    return tuple(path for path, one in known if one.losses and one.health is Health.HEALTHY)
