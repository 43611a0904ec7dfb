"""After which moves the resolvers have something to forget: those that carry, and the returns.

A move counts once its route is installed and a question without a mark was answered well over its
site, in its family. The addresses of an upstream mostly move together, so those whose routes are
missing are waited for, but not for long. What the resolvers remember is known by what the agent's
own probes of the local path got lately: a detour that an override ordered, with no fault, leaves
nothing to forget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from steering.act.resolvers.driver import Fault, Moved
from steering.decide.state import State
from steering.decide.verification import Verification
from steering.format import counted
from steering.judge.known.ledger import SILENCES
from steering.model import LOCAL, Family, Health, Instant, Kind, Round, Seconds, Verdict

TOGETHER: Final[Seconds] = 0.5
"""How long a move that carries waits for others of the same upstream."""
GRADUAL: Final[Seconds] = 60.0
"""How long a return waits for others of the same upstream."""
REMEMBERED: Final[Seconds] = 3600.0
"""How long the longest memory of a resolver lasts: PowerDNS Recursor's `max-cache-bogus-ttl`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Something to forget, after what, and for which upstream."""

    upstream: str
    moved: Moved
    after: str


@dataclass(slots=True)
class _Upstream:
    """What is known of one upstream's faults and moves."""

    faults: dict[Fault, Instant] = field(default_factory=dict)
    """When the local path showed each of them last."""
    carried: dict[str, str] = field(default_factory=dict)
    """Address -> the site over which it was steered when the resolvers were made to forget."""
    silent: set[str] = field(default_factory=set)
    """The addresses of these moves that had been silent."""
    left_with: frozenset[Fault] = frozenset()
    """The faults of these moves."""
    carries_since: Instant | None = None
    """Since when an address carries whose move was not followed up yet."""
    returning: set[str] = field(default_factory=set)
    """Addresses that are steered no more."""
    back_since: Instant | None = None
    """Since when one of them is back and healthy."""


class FlushDue:
    """Watches the turns. `see` returns what is due; the caller has it done."""

    def __init__(self) -> None:
        self._upstreams: dict[str, _Upstream] = {}

    def see(
        self, state: State, rounds: Iterable[Round], installed: Mapping[str, str]
    ) -> tuple[Due, ...]:
        """What is due after a turn, with the rounds of that turn and the routes in place."""
        self._note_faults(state, rounds)
        return tuple(self._due(state, installed))

    def _note_faults(self, state: State, rounds: Iterable[Round]) -> None:
        for item in rounds:
            for seen in item.observations:
                if seen.path != LOCAL or seen.verdict not in (Verdict.BOGUS, Verdict.TIMEOUT):
                    continue
                settings = state.index.settings.get(item.address)
                if settings is None:
                    continue
                known = self._upstreams.setdefault(settings.upstream, _Upstream())
                if seen.verdict is Verdict.TIMEOUT:
                    record = state.ledger.path(item.address)
                    if record.streak >= SILENCES:
                        known.faults[Fault.SILENCE] = state.now
                else:
                    keys = item.question.kind is Kind.DNSKEY
                    known.faults[Fault.KEYS if keys else Fault.BOGUS] = state.now

    def _due(self, state: State, installed: Mapping[str, str]) -> Iterator[Due]:
        for name, known in list(self._upstreams.items()):
            planned = {
                address: site
                for address, site in state.plan.items()
                if state.index.settings[address].upstream == name
            }
            yield from self._moved(state, name, known, planned)
            yield from self._returned(state, name, known, planned, installed)
            old = all(state.now - at > REMEMBERED for at in known.faults.values())
            if old and not (planned or known.carried or known.returning):
                del self._upstreams[name]

    def _moved(
        self, state: State, name: str, known: _Upstream, planned: Mapping[str, str]
    ) -> Iterator[Due]:
        """After moves to sites."""
        waiting = {a: site for a, site in planned.items() if known.carried.get(a) != site}
        new = _carried(state, waiting)
        faults = _lately(known, state.now)
        if not new or not faults:
            known.carries_since = None
            return
        if known.carries_since is None:
            known.carries_since = state.now
        if len(new) < len(waiting) and state.now - known.carries_since < TOGETHER:
            return
        silent = {a for a in new if state.ledger.path(a).streak >= SILENCES}
        known.carries_since = None
        known.carried.update(new)
        known.silent |= silent
        known.left_with |= faults
        sites = ", ".join(sorted(set(new.values())))
        after = f"{counted(len(new), 'address')} went over {sites}"
        yield _due(state, name, silent, faults, after)

    def _returned(
        self,
        state: State,
        name: str,
        known: _Upstream,
        planned: Mapping[str, str],
        installed: Mapping[str, str],
    ) -> Iterator[Due]:
        """After returns to the local path, once it is healthy."""
        for address in [a for a in known.carried if a not in planned]:
            del known.carried[address]
            known.returning.add(address)
        known.returning -= planned.keys()
        known.returning &= state.index.settings.keys()
        back = {
            address
            for address in known.returning
            if address not in installed and state.ledger.path(address).health is Health.HEALTHY
        }
        if not back:
            known.back_since = None
            return
        if known.back_since is None:
            known.back_since = state.now
        waits = bool(planned) or back != known.returning
        if waits and state.now - known.back_since < GRADUAL:
            return
        known.back_since = None
        known.returning -= back
        silent, faults = known.silent & back, known.left_with
        known.silent -= back
        if not (known.carried or known.returning):
            known.left_with = frozenset()
        after = f"{counted(len(back), 'address')} returned to the local path"
        yield _due(state, name, silent, faults, after)


def _carried(state: State, waiting: Mapping[str, str]) -> dict[str, str]:
    """Those whose route is in place, over a site from which a live answer came in their family.

    None of them has had a bad one. The routes of all come at once, so one good answer is waited
    for and not one from each: clients fail meanwhile.
    """
    in_place = {
        address: site
        for address, site in waiting.items()
        if (proof := state.verifications.get(address)) is not None
        and _in_place(proof, site)
        and (proof.proved or not proof.bad)
    }
    carry = {
        (site, Family.of(address))
        for address, site in in_place.items()
        if (proof := state.verifications[address]).proved or proof.good
    }
    return {a: site for a, site in in_place.items() if (site, Family.of(a)) in carry}


def _in_place(proof: Verification, site: str) -> bool:
    return proof.path == site and proof.installed is not None


def _lately(known: _Upstream, now: Instant) -> frozenset[Fault]:
    return frozenset(fault for fault, at in known.faults.items() if now - at <= REMEMBERED)


def _due(
    state: State, upstream: str, silent: set[str], faults: frozenset[Fault], after: str
) -> Due:
    addresses = (s for s in state.index.settings.values() if s.upstream == upstream)
    policy = next(addresses).policy
    moved = Moved(zones=tuple(policy.zones), silent=tuple(sorted(silent)), faults=faults)
    return Due(upstream=upstream, moved=moved, after=after)
