"""The turn of the proofs: live answers counted, and the sites that did not help avoided."""

from __future__ import annotations

from dataclasses import replace

from steering.decide.proof import AVOID, Proof, Standing, allowance
from steering.model import Event, Facts, Health
from steering.world import World


def prove(world: World, facts: Facts) -> tuple[World, tuple[Event, ...]]:
    """The world after this turn's live answers; a failed steer loses its proof and its site."""
    if not world.proofs:
        return world, ()
    layout, now = world.layout, world.now
    proofs = dict(world.proofs)
    for a, proof in proofs.items():
        there = facts.installed.get(layout.targets[a].address) == layout.paths[proof.column]
        if not there:
            proofs[a] = proof.pause()
        elif proof.installed is None:
            proofs[a] = proof.begin(now, allowance(layout.fast_interval, layout.timeout))
    for item in facts.rounds:
        row = layout.row.get(item.address)
        if row is not None and row in proofs:
            proofs[row] = proofs[row].see(item)
    avoid = world.avoid_until
    events: list[Event] = []
    for a, proof in list(proofs.items()):
        site = layout.paths[proof.column]
        live = f"{proof.good} good and {proof.bad} bad live answers"
        standing = proof.standing(now)
        if standing is Standing.PROVED and not proof.proved:
            proofs[a] = replace(proof, proved=True)
            events.append(world.event("proved", a, live, path=site))
        elif standing is Standing.FAILED and not _site_itself(world, a, proof):
            avoid = avoid.copy()
            avoid[a, proof.column] = now + AVOID
            del proofs[a]
            why = f"{live}: {site} does not help"
            events.append(world.event("undone", a, why, path=site, was=site))
    return replace(world, proofs=proofs, avoid_until=avoid), tuple(events)


def _site_itself(world: World, a: int, proof: Proof) -> bool:
    """Whether what was proved is bad because the whole path is: then the rules see to it."""
    key = (a, proof.column)
    bad = world.ledger.health[key] >= Health.SUSPECT or world.ledger.run[key] == 0
    return proof.proved and bool(bad)
