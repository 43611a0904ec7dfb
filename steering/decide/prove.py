"""The turn of the proofs: live answers counted, and what follows where they are bad.

A steer that does not help loses its site for a while. The first address of a group that went
home and does not do well there takes the recovery of its group back with it: the fault is the
same one, so all go on, or go again, as after a further breach.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from steering.decide.orders import NONE
from steering.decide.proof import AVOID, Proof, Standing, allowance
from steering.judge.backoff import without_haste
from steering.judge.ledger import breached
from steering.judge.settle import relapse
from steering.model import LOCAL, Action, Event, Facts, Health
from steering.world import World


def prove(world: World, facts: Facts) -> tuple[World, tuple[Event, ...]]:
    """The world after this turn's live answers."""
    if not world.proofs:
        return world, ()
    turn = _Turn(world, facts)
    for a, proof in list(turn.proofs.items()):
        if proof.column:
            turn.away(a, proof)
        else:
            turn.at_home(a, proof)
    after = replace(world, proofs=turn.proofs)
    if turn.failed:
        avoid = world.avoid_until.copy()
        avoid[tuple(np.array(turn.failed).T)] = world.now + AVOID
        turned = {key: at for key, at in world.turned.items() if key not in turn.failed}
        after = replace(after, avoid_until=avoid, turned=turned)
    if turn.relapsed:
        ledger = relapse(world.ledger, world.layout, turn.relapsed, world.now)
        after = replace(after, ledger=ledger)
    return after, tuple(turn.events)


class _Turn:
    """One turn's proofs while they are gone through."""

    def __init__(self, world: World, facts: Facts) -> None:
        self.world, self.layout, self.now = world, world.layout, world.now
        self.allowed = allowance(world.layout.fast_interval, world.layout.timeout)
        self.proofs = self._seen(facts)
        self.failed: list[tuple[int, int]] = []
        """(row, column) of sites that did not help."""
        self.relapsed: list[int] = []
        """Rows whose way home is bad."""
        self.events: list[Event] = []

    def _seen(self, facts: Facts) -> dict[int, Proof]:
        """The proofs after this turn's live answers."""
        proofs = dict(self.world.proofs)
        for a, proof in proofs.items():
            there = facts.installed.get(self.layout.targets[a].address, LOCAL)
            if there != self.layout.paths[proof.column]:
                proofs[a] = proof.pause()
            elif proof.installed is None:
                sources = self.world.sources.get(self.layout.targets[a].family, ())
                proofs[a] = proof.begin(self.now, self.allowed, sources)
        for item in facts.rounds:
            row = self.layout.row.get(item.address)
            if row is not None and row in proofs:
                told = without_haste(item, self.layout, self.world.ledger)
                proofs[row] = proofs[row].see(told)
        return proofs

    def away(self, a: int, proof: Proof) -> None:
        """The proof of a steer."""
        standing, site = proof.standing(self.now), self.layout.paths[proof.column]
        if standing is Standing.PROVED and not proof.proved:
            self.proofs[a] = replace(proof, proved=True, shouted=False)
            self.tell("proved", a, proof.shown, site)
        elif standing is Standing.UNSHOWN:
            later = proof.prolong(self.now, self.allowed)
            self._go_on(a, proof, later, f"{proof.shown}: not shown yet whether {site} helps")
        elif standing is Standing.FAILED and not self._site_itself(a, proof):
            verdict = (
                f"{site} does not help" if proof.bad else f"could not be shown that {site} helps"
            )
            order = self.world.orders.of(a)
            if order is not None and order.action is not Action.LOCAL:
                says = f"the override {order.name} says so"
                anew = proof.again(self.now, self.allowed)
                self._go_on(a, proof, anew, f"{proof.shown}: {verdict}; kept, because {says}")
                return
            del self.proofs[a]
            self.failed.append((a, proof.column))
            self.tell("undone", a, f"{proof.shown}: {verdict}", site, was=site)

    def _go_on(self, a: int, proof: Proof, after: Proof, why: str) -> None:
        """Ask on, and say so the first time."""
        self.proofs[a] = after
        if not proof.shouted:
            self.tell("unshown", a, why, self.layout.paths[proof.column])

    def _site_itself(self, a: int, proof: Proof) -> bool:
        """Whether what was proved is bad as the whole path is: then the rules see to it."""
        key, ledger = (a, proof.column), self.world.ledger
        bad = ledger.health[key] >= Health.SUSPECT or ledger.run[key] == 0
        return proof.proved and bool(bad)

    def at_home(self, a: int, proof: Proof) -> None:
        """The proof of the first of its group to go home: well there, or back with it."""
        standing, ledger = proof.standing(self.now), self.world.ledger
        group_of, plan = self.layout.group_of, self.world.plan
        run = int(ledger.run[a, 0])
        # Suspicion is for the trial: others can cause it, and it may move nobody.
        ill = breached(self.layout, a, Health(int(ledger.health[a, 0])))
        if standing is Standing.FAILED or ill:
            ours = self.world.orders.decides == NONE  # where men decide, no recovery is at stake
            mates = np.flatnonzero((group_of == group_of[a]) & (plan > 0) & ours).tolist()
            del self.proofs[a]
            self.relapsed += [a, *mates]
            seen = f"the first one home: {proof.shown}, {run} good probes in a row"
            self.tell("relapsed", a, f"{seen}; {len(mates)} more stay away", LOCAL)
        elif standing is Standing.PROVED and not proof.proved and run > 0:
            self.proofs[a] = replace(proof, proved=True)
            self.tell("proved", a, f"the first one home: {proof.shown}; the rest follows", LOCAL)
        elif standing is Standing.UNSHOWN:
            later = proof.prolong(self.now, self.allowed)
            self._go_on(a, proof, later, f"the first one home: {proof.shown}; the rest waits")

    def tell(self, event: str, a: int, because: str, path: str, *, was: str | None = None) -> None:
        """Note what became of a proof, for the log."""
        self.events.append(self.world.event(event, a, because, path=path, was=was))
