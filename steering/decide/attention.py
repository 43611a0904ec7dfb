"""What to ask fast, and over which paths: suspicion, trials, detours and their recovery."""

from __future__ import annotations

from itertools import islice, zip_longest

import numpy as np

from steering.judge.backoff import gap
from steering.judge.losses import EVERY, wary
from steering.judge.names import NONE, WITNESSES, holds
from steering.model import Attention
from steering.world import World

AT_ONCE = 128
"""Most addresses asked fast at the same time: at the default cadence that is some 1,500
questions a second, what one process can ask and judge. The others wait their turn."""


def attention(world: World) -> dict[str, Attention]:
    """Address -> what is asked of it at the fast interval; those left out stay slow.

    A suspect with nobody to be compared with is not asked faster: it would go on for as
    long as every path is bad, and prove nothing.
    """
    layout, ledger, now = world.layout, world.ledger, world.now
    curious = ledger.curious_until > now
    on_trial = np.zeros(len(layout.targets), dtype=np.bool_)
    on_trial[list(ledger.trials)] = True
    wanted: dict[str, Attention] = {}
    watched = np.zeros_like(on_trial)
    watched[list(world.proofs)] = True
    beside = wary(ledger, layout)
    loses = beside.any(axis=1)
    rows = np.flatnonzero((world.plan > 0) | curious | on_trial | watched | loses)
    if not rows.size:
        return wanted
    # Proofs first, since traffic depends on them; then trials, news, and last recoveries.
    unproved = np.zeros_like(watched)
    unproved[[a for a, proof in world.proofs.items() if not proof.proved]] = True
    urgency = np.where(unproved[rows], 0, np.where(on_trial[rows], 1, 3))
    urgency = np.where((urgency == 3) & curious[rows], 2, urgency)
    for a in rows[np.argsort(urgency, kind="stable")][:AT_ONCE].tolist():
        trial = ledger.trials.get(a)
        if world.plan[a]:
            columns = {0, int(world.plan[a])}
        elif watched[a]:
            columns = {0, *_beside(world, a)}
        elif trial is not None:
            columns = {0, trial.candidate}
        elif curious[a]:
            columns = set(range(len(layout.paths)))
        else:
            columns = {0, int(np.argmax(np.where(beside[a], ledger.losses[a], 0)))}
        proof = world.proofs.get(a)
        wanted[layout.targets[a].address] = Attention(
            paths=frozenset(layout.paths[p] for p in columns),
            live=proof is not None and proof.installed is not None,
            witnesses=_witnesses(world, a),
            every=EVERY
            if not (world.plan[a] or curious[a] or on_trial[a] or watched[a])
            else gap(layout, ledger, a, now, proving=bool(unproved[a])),
        )
    return wanted


def _beside(world: World, a: int) -> set[int]:
    """The site its mates are at: a name that fails there too says nothing of the way home."""
    layout, plan = world.layout, world.plan
    mates = plan[(layout.group_of == layout.group_of[a]) & (plan > 0)].tolist()
    return {p for p in mates if layout.hop[a, p]}


def _witnesses(world: World, a: int) -> tuple[str, ...]:
    """What own questions found failing, and what the resolvers' traffic did, in equal parts."""
    heard = world.ledger.hearsay.to_ask(int(world.layout.upstream_of[a]))
    own = world.ledger.witnesses(a)
    moot = world.ledger.ignored.get(a, NONE)
    mixed = dict.fromkeys(name for pair in zip_longest(heard, own) for name in pair)
    asked = (name for name in mixed if name is not None and not holds(moot, name, world.now))
    return tuple(islice(asked, WITNESSES))
