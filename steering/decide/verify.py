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

from steering.decide.state import State
from steering.decide.traffic_served import AGAIN, FORGOTTEN, REST, Served, Unserved
from steering.decide.verification import AVOID, Verification, VerificationStage, allowance
from steering.facts import Facts
from steering.index import Key
from steering.judge.known.ledger import breached
from steering.judge.probes.backoff import without_fast_refusals
from steering.judge.traffic.demand import good_answers
from steering.judge.traffic.traffic_counts import within
from steering.judge.transitions import relapse
from steering.model import LOCAL, NEVER, Event, Health, Heard, Verdict
from steering.override import Action

_FIRST_BACK = "first address back on the local path"


def verify(state: State, facts: Facts) -> tuple[State, tuple[Event, ...]]:
    """The state after this turn's live answers."""
    if not state.verifications:
        return state, ()
    turn = _Turn(state, facts)
    for address, proof in list(turn.verifications.items()):
        if proof.path == LOCAL:
            turn.returned(address, proof)
        else:
            turn.steered(address, proof)
    after = replace(state, verifications=turn.verifications)
    if turn.failed:
        avoid = {**state.avoid_until, **dict.fromkeys(turn.failed, state.now + AVOID)}
        turned = {key: at for key, at in state.turned.items() if key not in turn.failed}
        after = replace(after, avoid_until=avoid, turned=turned)
    if turn.unserved != state.unserved:
        after = turn.avoided(after)
    if turn.relapsed:
        ledger = relapse(state.ledger, state.index, turn.relapsed, state.now)
        after = replace(after, ledger=ledger)
    return after, tuple(turn.events)


class _Turn:
    """The verifications of one turn while they are worked through."""

    def __init__(self, state: State, facts: Facts) -> None:
        self.state, self.index, self.now = state, state.index, state.now
        self.allowed = allowance(state.index.fast_interval, state.index.timeout)
        self.verifications = self._seen(facts)
        self._count_traffic(facts.heard)
        self.unserved = dict(state.unserved)
        self.failed: list[Key] = []
        """(address, site) of sites that did not help."""
        self.relapsed: list[str] = []
        """Addresses whose return failed."""
        self.events: list[Event] = []

    def _seen(self, facts: Facts) -> dict[str, Verification]:
        """The verifications after this turn's live answers."""
        verifications = dict(self.state.verifications)
        for address, proof in verifications.items():
            sources = self.state.sources.get(self.index.settings[address].family, ())
            if not proof.owing <= set(sources):  # not for sources that are out of use
                verifications[address] = replace(proof, owing=proof.owing & frozenset(sources))
            if facts.installed.get(address, LOCAL) != proof.path:
                verifications[address] = proof.pause()
            elif proof.installed is None:
                # Without a real detour dnstap does not show what the resolvers would get over it.
                acts, ledger = self.index.acts, self.state.ledger
                usual = good_answers(ledger, address, self.index.paths) if acts else 0.0
                served = Served(usual=usual, before=self._bad(address), began=self.now)
                begun = proof.begin(self.now, self.allowed, sources)
                verifications[address] = replace(begun, served=served)
        for item in facts.rounds:
            if item.address in verifications:
                counted = without_fast_refusals(item, self.index, self.state.ledger)
                verifications[item.address] = verifications[item.address].see(counted)
        return verifications

    def _bad(self, address: str) -> float:
        """The share that fails over the local path, by our own questions or the resolvers'."""
        ledger = self.state.ledger
        own = ledger.path(address).recent.share(self.now)
        heard = ledger.heard(address).recent.share(self.now)
        return max(own or 0.0, heard or 0.0)

    def _count_traffic(self, items: tuple[Heard, ...]) -> None:
        """Add to the verifications what the resolvers got over the detours."""
        answers: dict[str, list[int]] = {}
        for item in items:
            proof = self.verifications.get(item.address)
            if proof is None or proof.path == LOCAL or proof.installed is None:
                continue
            if item.path != proof.path:
                continue
            acts_on = self.index.settings[item.address].acts_on & {Verdict.BOGUS, Verdict.ERROR}
            bad = sum(
                within(number)
                for outcome, number in item.counts.items()
                if outcome.verdict in acts_on
            )
            sums = answers.setdefault(item.address, [0, 0, 0])
            for i, n in enumerate((within(item.answers) - bad, bad, within(item.overdue))):
                sums[i] += max(0, n)
        for address, (good, bad, lost) in answers.items():
            proof = self.verifications[address]
            served = proof.served.hear(good, bad, lost, self.now)
            self.verifications[address] = replace(proof, served=served)

    def steered(self, address: str, proof: Verification) -> None:
        """The verification of a steer."""
        standing, site = proof.standing(self.now), proof.path
        shown = proof.shown("live" if self.index.acts else "marked")
        if (
            proof.served.worse
            and standing is not VerificationStage.FAILED
            and self._well(address, proof)
        ):
            self._unserved(address, proof)
            return
        if standing is VerificationStage.PROVED and not proof.proved:
            if proof.served.usual and not proof.served.fine and self.now < proof.deadline:
                return  # dnstap shows no answer to the resolvers over it yet
            self.verifications[address] = replace(proof, proved=True, shouted=False)
            self.add_event("proved", address, shown, site)
        elif standing is VerificationStage.UNSHOWN:
            later = proof.prolong(self.now, self.allowed)
            self._go_on(address, proof, later, f"{shown}: not known yet whether {site} helps")
        elif standing is VerificationStage.FAILED and not self._site_itself(address, proof):
            verdict = f"{site} does not help" if proof.bad else f"no evidence that {site} helps"
            order = self.state.override_state.of(address)
            if order is not None and order.action is not Action.LOCAL:
                anew = proof.again(self.now, self.allowed)
                why = f"{shown}: {verdict}; kept: the override {order.name} orders it"
                self._go_on(address, proof, anew, why)
                return
            del self.verifications[address]
            self.failed.append((address, site))
            self.add_event("undone", address, f"{shown}: {verdict}", site, was=site)

    def _well(self, address: str, proof: Verification) -> bool:
        """Whether our own questions are answered there, live ones and those with a mark."""
        bad = proof.bad_run or proof.stuck or not (proof.good or proof.proved)
        return not (bad or self._site_itself(address, replace(proof, proved=True)))

    def _unserved(self, address: str, proof: Verification) -> None:
        """End a detour over which the resolvers are not served, unless that happened lately."""
        served, site, key = proof.served, proof.path, (address, proof.path)
        shown = f"{served.shown}; our own probes over {site} got good answers"
        lately = {p for (a, p), u in self.unserved.items() if a == address and self._lately(u)}
        order = self.state.override_state.of(address)
        if order is not None and order.action is not Action.LOCAL:
            kept = f"the override {order.name} orders it"
        elif site in lately or (lately and not served.silent):
            kept = "it returned to the local path for the same reason within the last ten minutes"
        elif len(lately) > 1:
            kept = "it returned from two sites for the same reason within the last ten minutes"
        else:
            was = self.unserved.get(key)
            times = was.times + 1 if was is not None and self.now - was.at < FORGOTTEN else 1
            del self.verifications[address]
            self.unserved[key] = Unserved(
                at=self.now, times=times, silent=served.silent, shown=served.shown
            )
            self.add_event("undone", address, f"{shown}: back to the local path", site, was=site)
            return
        after = replace(proof, served=Served(usual=served.usual, before=served.before))
        self._go_on(address, proof, replace(after, shouted=True), f"{shown}; kept: {kept}")

    def _lately(self, unserved: Unserved) -> bool:
        return self.now - unserved.at < AGAIN

    def avoided(self, state: State) -> State:
        """The state in which the sites that did not serve the resolvers are avoided."""
        avoid = dict(state.avoid_until)
        new = {key: u for key, u in self.unserved.items() if u.at == self.now}
        for (address, site), unserved in new.items():
            others = [u for (a, p), u in self.unserved.items() if a == address and p != site]
            alike = unserved.silent and any(u.silent and self._lately(u) for u in others)
            until = self.now + unserved.avoid
            for path in self.index.sites:
                least = until if alike or path == site else self.now + REST
                avoid[address, path] = max(avoid.get((address, path), NEVER), least)
        ended = {address for address, _ in new}
        turned = {key: at for key, at in state.turned.items() if key[0] not in ended}
        kept = {k: u for k, u in self.unserved.items() if self.now - u.at < FORGOTTEN}
        return replace(state, avoid_until=avoid, turned=turned, unserved=kept)

    def _go_on(self, address: str, proof: Verification, after: Verification, why: str) -> None:
        """Go on with the verification, with an event the first time."""
        self.verifications[address] = after
        if not proof.shouted:
            self.add_event("unshown", address, why, proof.path)

    def _site_itself(self, address: str, proof: Verification) -> bool:
        """Whether a proved steer fails because its whole path is bad: then the rules decide."""
        record = self.state.ledger.path(address, proof.path)
        return proof.proved and (record.health >= Health.SUSPECT or record.run == 0)

    def returned(self, address: str, proof: Verification) -> None:
        """The verification of the first address of a group back on the local path."""
        standing, settings = proof.standing(self.now), self.index.settings[address]
        record, decides = self.state.ledger.path(address), self.state.override_state.decides
        # Suspicion alone moves nothing: received packets can cause it. A trial decides.
        bad = breached(settings, record.health)
        if standing is VerificationStage.FAILED or bad:
            # An address that an override decides for has no recovery to lose.
            group = self.index.groups[settings.group]
            others = [a for a in group if a in self.state.plan and a not in decides]
            del self.verifications[address]
            self.relapsed += [address, *others]
            seen = f"{_FIRST_BACK}: {proof.shown()}, {record.run} good probes in a row"
            self.add_event(
                "relapsed", address, f"{seen}; {len(others)} more stay on their site", LOCAL
            )
        elif standing is VerificationStage.PROVED and not proof.proved and record.run > 0:
            self.verifications[address] = replace(proof, proved=True)
            why = f"{_FIRST_BACK}: {proof.shown()}; the others follow"
            self.add_event("proved", address, why, LOCAL)
        elif standing is VerificationStage.UNSHOWN:
            later = proof.prolong(self.now, self.allowed)
            why = f"{_FIRST_BACK}: {proof.shown()}; the others wait"
            self._go_on(address, proof, later, why)

    def add_event(
        self, event: str, address: str, because: str, path: str, *, was: str | None = None
    ) -> None:
        """Add an event about a verification."""
        self.events.append(self.state.event(event, address, because, path=path, was=was))
