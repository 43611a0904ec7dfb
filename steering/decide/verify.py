"""The verifications of one turn: live answers are counted, and bad ones undo moves.

A site that does not help an address is avoided for a while. If the first address of a group that
returned fails on the local path, the recovery of the whole group ends (`relapsed`): the fault is
the same one, so its addresses stay or move again as after a further breach.

A steer over which the resolvers get no answers, or worse ones, ends too, although our own probes
are answered there. That happens to an address once in ten minutes; a second time only if next to
nothing came back over another site either: then it stays local for that long.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from steering.decide.override_state import NONE
from steering.decide.state import State
from steering.decide.traffic_served import AGAIN, FORGOTTEN, REST, Served, Unserved
from steering.decide.verification import AVOID, Verification, VerificationStage, allowance
from steering.judge.backoff import without_fast_refusals
from steering.judge.demand import good_answers
from steering.judge.ledger import breached
from steering.judge.traffic_counts import within
from steering.judge.transitions import relapse
from steering.layout import CLASSES
from steering.model import LOCAL, Action, Event, Facts, Health, Heard, Verdict

_FIRST_BACK = "first address back on the local path"


def verify(state: State, facts: Facts) -> tuple[State, tuple[Event, ...]]:
    """The state after this turn's live answers."""
    if not state.verifications:
        return state, ()
    turn = _Turn(state, facts)
    for a, proof in list(turn.verifications.items()):
        if proof.column:
            turn.steered(a, proof)
        else:
            turn.returned(a, proof)
    after = replace(state, verifications=turn.verifications)
    if turn.failed:
        avoid = state.avoid_until.copy()
        avoid[tuple(np.array(turn.failed).T)] = state.now + AVOID
        turned = {key: at for key, at in state.turned.items() if key not in turn.failed}
        after = replace(after, avoid_until=avoid, turned=turned)
    if turn.unserved != state.unserved:
        after = turn.avoided(after)
    if turn.relapsed:
        ledger = relapse(state.ledger, state.layout, turn.relapsed, state.now)
        after = replace(after, ledger=ledger)
    return after, tuple(turn.events)


class _Turn:
    """The verifications of one turn while they are worked through."""

    def __init__(self, state: State, facts: Facts) -> None:
        self.state, self.layout, self.now = state, state.layout, state.now
        self.allowed = allowance(state.layout.fast_interval, state.layout.timeout)
        self.verifications = self._seen(facts)
        self._count_traffic(facts.heard)
        self.unserved = dict(state.unserved)
        self.failed: list[tuple[int, int]] = []
        """(row, column) of sites that did not help."""
        self.relapsed: list[int] = []
        """Rows whose return failed."""
        self.events: list[Event] = []

    def _seen(self, facts: Facts) -> dict[int, Verification]:
        """The verifications after this turn's live answers."""
        verifications = dict(self.state.verifications)
        for a, proof in verifications.items():
            sources = self.state.sources.get(self.layout.targets[a].family, ())
            if not proof.owing <= set(sources):  # not for sources that are out of use
                verifications[a] = replace(proof, owing=proof.owing & frozenset(sources))
            there = facts.installed.get(self.layout.targets[a].address, LOCAL)
            if there != self.layout.paths[proof.column]:
                verifications[a] = proof.pause()
            elif proof.installed is None:
                # Without a real detour dnstap does not show what the resolvers would get over it.
                acts, traffic = self.layout.acts, self.state.ledger.traffic
                usual = good_answers(traffic, a) if acts else 0.0
                served = Served(usual=usual, before=self._bad(a), began=self.now)
                begun = proof.begin(self.now, self.allowed, sources)
                verifications[a] = replace(begun, served=served)
        for item in facts.rounds:
            row = self.layout.row.get(item.address)
            if row is not None and row in verifications:
                counted = without_fast_refusals(item, self.layout, self.state.ledger)
                verifications[row] = verifications[row].see(counted)
        return verifications

    def _bad(self, a: int) -> float:
        """The share that fails over the local path, by our own questions or the resolvers'."""
        ledger = self.state.ledger
        own, heard = ledger.share_of((a, 0), self.now), ledger.traffic.share_of((a, 0), self.now)
        return float(np.nan_to_num(np.fmax(own, heard)))

    def _count_traffic(self, items: tuple[Heard, ...]) -> None:
        """Add to the verifications what the resolvers got over the detours."""
        answers: dict[int, list[int]] = {}
        for item in items:
            row = self.layout.row.get(item.address)
            proof = self.verifications.get(row) if row is not None else None
            if row is None or proof is None or not proof.column or proof.installed is None:
                continue
            if item.path != self.layout.paths[proof.column]:
                continue
            bad = sum(
                within(number)
                for outcome, number in item.counts.items()
                if outcome.verdict in (Verdict.BOGUS, Verdict.ERROR)
                and self.layout.acts_on[CLASSES.index(outcome.verdict), row]
            )
            sums = answers.setdefault(row, [0, 0, 0])
            for i, n in enumerate((within(item.answers) - bad, bad, within(item.overdue))):
                sums[i] += max(0, n)
        for row, (good, bad, lost) in answers.items():
            proof = self.verifications[row]
            served = proof.served.hear(good, bad, lost, self.now)
            self.verifications[row] = replace(proof, served=served)

    def steered(self, a: int, proof: Verification) -> None:
        """The verification of a steer."""
        standing, site = proof.standing(self.now), self.layout.paths[proof.column]
        shown = proof.shown("live" if self.layout.acts else "marked")
        if proof.served.worse and standing is not VerificationStage.FAILED and self._well(a, proof):
            self._unserved(a, proof, site)
            return
        if standing is VerificationStage.PROVED and not proof.proved:
            if proof.served.usual and not proof.served.fine and self.now < proof.deadline:
                return  # dnstap shows no answer to the resolvers over it yet
            self.verifications[a] = replace(proof, proved=True, shouted=False)
            self.add_event("proved", a, shown, site)
        elif standing is VerificationStage.UNSHOWN:
            later = proof.prolong(self.now, self.allowed)
            self._go_on(a, proof, later, f"{shown}: not known yet whether {site} helps")
        elif standing is VerificationStage.FAILED and not self._site_itself(a, proof):
            verdict = f"{site} does not help" if proof.bad else f"no evidence that {site} helps"
            order = self.state.override_state.of(a)
            if order is not None and order.action is not Action.LOCAL:
                anew = proof.again(self.now, self.allowed)
                self._go_on(
                    a, proof, anew, f"{shown}: {verdict}; kept: the override {order.name} orders it"
                )
                return
            del self.verifications[a]
            self.failed.append((a, proof.column))
            self.add_event("undone", a, f"{shown}: {verdict}", site, was=site)

    def _well(self, a: int, proof: Verification) -> bool:
        """Whether our own questions are answered there, live ones and those with a mark."""
        bad = proof.bad_run or proof.stuck or not (proof.good or proof.proved)
        return not (bad or self._site_itself(a, replace(proof, proved=True)))

    def _unserved(self, a: int, proof: Verification, site: str) -> None:
        """End a detour over which the resolvers are not served, unless that happened lately."""
        served, key = proof.served, (a, proof.column)
        shown = f"{served.shown}; our own probes over {site} got good answers"
        lately = {p: u for (row, p), u in self.unserved.items() if row == a and self._lately(u)}
        order = self.state.override_state.of(a)
        if order is not None and order.action is not Action.LOCAL:
            kept = f"the override {order.name} orders it"
        elif proof.column in lately or (lately and not served.silent):
            kept = "it returned to the local path for the same reason within the last ten minutes"
        elif len(lately) > 1:
            kept = "it returned from two sites for the same reason within the last ten minutes"
        else:
            was = self.unserved.get(key)
            times = was.times + 1 if was is not None and self.now - was.at < FORGOTTEN else 1
            del self.verifications[a]
            self.unserved[key] = Unserved(
                at=self.now, times=times, silent=served.silent, shown=served.shown
            )
            self.add_event("undone", a, f"{shown}: back to the local path", site, was=site)
            return
        after = replace(proof, served=Served(usual=served.usual, before=served.before))
        self._go_on(a, proof, replace(after, shouted=True), f"{shown}; kept: {kept}")

    def _lately(self, unserved: Unserved) -> bool:
        return self.now - unserved.at < AGAIN

    def avoided(self, state: State) -> State:
        """The state in which the sites that did not serve the resolvers are avoided."""
        avoid = state.avoid_until.copy()
        new = {key: u for key, u in self.unserved.items() if u.at == self.now}
        for (a, p), unserved in new.items():
            others = [u for (row, q), u in self.unserved.items() if row == a and q != p]
            alike = unserved.silent and any(u.silent and self._lately(u) for u in others)
            until = self.now + unserved.avoid
            avoid[a, 1:] = np.maximum(avoid[a, 1:], until if alike else self.now + REST)
            avoid[a, p] = max(avoid[a, p], until)
        rows = {a for a, _ in new}
        turned = {key: at for key, at in state.turned.items() if key[0] not in rows}
        kept = {k: u for k, u in self.unserved.items() if self.now - u.at < FORGOTTEN}
        return replace(state, avoid_until=avoid, turned=turned, unserved=kept)

    def _go_on(self, a: int, proof: Verification, after: Verification, why: str) -> None:
        """Go on with the verification, with an event the first time."""
        self.verifications[a] = after
        if not proof.shouted:
            self.add_event("unshown", a, why, self.layout.paths[proof.column])

    def _site_itself(self, a: int, proof: Verification) -> bool:
        """Whether a proved steer fails because its whole path is bad: then the rules decide."""
        key, ledger = (a, proof.column), self.state.ledger
        bad = ledger.health[key] >= Health.SUSPECT or ledger.run[key] == 0
        return proof.proved and bool(bad)

    def returned(self, a: int, proof: Verification) -> None:
        """The verification of the first address of a group back on the local path."""
        standing, ledger = proof.standing(self.now), self.state.ledger
        group_of, plan = self.layout.group_of, self.state.plan
        run = int(ledger.run[a, 0])
        # Suspicion alone moves nothing: received packets can cause it. A trial decides.
        bad = breached(self.layout, a, Health(int(ledger.health[a, 0])))
        if standing is VerificationStage.FAILED or bad:
            # An address that an override decides for has no recovery to lose.
            free = self.state.override_state.decides == NONE
            others = np.flatnonzero((group_of == group_of[a]) & (plan > 0) & free).tolist()
            del self.verifications[a]
            self.relapsed += [a, *others]
            seen = f"{_FIRST_BACK}: {proof.shown()}, {run} good probes in a row"
            self.add_event("relapsed", a, f"{seen}; {len(others)} more stay on their site", LOCAL)
        elif standing is VerificationStage.PROVED and not proof.proved and run > 0:
            self.verifications[a] = replace(proof, proved=True)
            self.add_event("proved", a, f"{_FIRST_BACK}: {proof.shown()}; the others follow", LOCAL)
        elif standing is VerificationStage.UNSHOWN:
            later = proof.prolong(self.now, self.allowed)
            self._go_on(a, proof, later, f"{_FIRST_BACK}: {proof.shown()}; the others wait")

    def add_event(
        self, event: str, a: int, because: str, path: str, *, was: str | None = None
    ) -> None:
        """Add an event about a verification."""
        self.events.append(self.state.event(event, a, because, path=path, was=was))
