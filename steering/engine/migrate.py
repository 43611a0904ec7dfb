"""Moves the state to other policies and paths after the files changed.

All is kept by its name: what is still there goes on, what is new begins blank, and what is gone is
dropped. A test finds a part of the state in which a name stays that is gone.

Pure. Steers of addresses that no policy names any more are left out of the plan, and so removed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from steering.decide.overrides.override_state import carried
from steering.decide.situation import NO_CAUSES
from steering.decide.state import State
from steering.decide.verification import Verification
from steering.engine.carry_over import with_holds
from steering.index import Index, Key
from steering.judge.known.baseline import Baseline
from steering.judge.known.buckets import EMPTY
from steering.judge.known.ledger import (
    UNKNOWN_ADDRESS,
    AddressRecord,
    Asked,
    GroupRecord,
    GroupTrial,
    Ledger,
    Listened,
    PathRecord,
)
from steering.judge.known.paired_test import Trial
from steering.judge.known.recent import RECENT
from steering.judge.known.recovery import Bucket, Hold
from steering.judge.open_addresses import reopened
from steering.judge.transitions import adopt
from steering.model import LOCAL, Event, Health, Instant, WallTime

V = TypeVar("V")


def migrate(
    state: State,
    index: Index,
    now: Instant,
    wall: WallTime,
    *,
    rerouted: Collection[str] = (),
) -> tuple[State, tuple[Event, ...]]:
    """The state under another index, and the events of steers that end by it.

    `rerouted` are paths that lead elsewhere now. They are not measured yet, so their state is
    unknown. Addresses steered through such a site stay there, and are verified anew. The local
    path changes for probes only, which have another pin. So the evidence from resolvers' traffic
    is kept, and steered addresses return by a full recovery, as after a restart.

    If the agent acts from now on, or no longer acts, or no longer compares, everything begins on
    the local path: a move that was only rehearsed is decided and verified anew first.
    """
    stays = _Stays(old=state.index, new=index, paths=_paths(state.index, index, rerouted))
    plan, ended = _plan(state, index)
    again = _role(index) == _role(state.index)
    verifications = {
        address: proof
        for address, proof in (stays.of_addresses(state.verifications) if again else {}).items()
        if proof.path in stays.paths and proof.path == plan.get(address, LOCAL)
    }
    for address, site in plan.items():
        if site in rerouted:
            verifications[address] = Verification(path=site)
    ledger = _ledger(stays, state.ledger)
    if LOCAL in rerouted:
        ledger = _away(ledger, state, index, plan, now)
    ledger = _left_from_now_on(ledger, state.index, index, now)
    frozen = {
        address: frozen
        for address, frozen in (state.frozen if again else {}).items()
        if index.knows(address, frozen.path)
    }
    made = replace(
        state,
        index=index,
        ledger=reopened(ledger, index, now),
        plan=plan,
        rule=stays.of_addresses(state.rule),
        since={address: state.since.get(address, wall) for address in index.settings},
        left_at=stays.of_addresses(state.left_at) if again else {},
        breached=state.breached.intersection(index.settings),
        open_groups=state.open_groups.intersection(index.groups),
        avoid_until=stays.of_paths(state.avoid_until),
        verifications=verifications,
        override_state=carried(state.override_state, index),
        frozen=frozen,
        worn=stays.of_addresses(state.worn),
        situation=None,
        common_causes=NO_CAUSES,
        turned=stays.of_paths(state.turned),
        bypassed=state.bypassed.intersection(index.settings),
        unserved=stays.of_paths(state.unserved),
    )
    return made, ended


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stays:
    """What stays of all that is known by name."""

    old: Index
    new: Index
    paths: frozenset[str]
    """The paths that are still there and lead where they did."""

    def of_addresses(self, known: Mapping[str, V]) -> dict[str, V]:
        """The entries of addresses that stay."""
        return {address: one for address, one in known.items() if address in self.new.settings}

    def of_paths(self, known: Mapping[Key, V]) -> dict[Key, V]:
        """The entries of addresses and paths that stay."""
        settings = self.new.settings
        return {
            key: one for key, one in known.items() if key[0] in settings and key[1] in self.paths
        }

    def of_zones(self, address: str, known: Mapping[str, V]) -> Mapping[str, V]:
        """The entries of zones that the address still has."""
        zones = self.new.settings[address].policy.zones
        return {zone: one for zone, one in known.items() if zone in zones}

    def path(self, address: str, was: PathRecord, reviewed_at: Instant) -> PathRecord:
        """What is known of one path."""
        return replace(
            was,
            copies=self.of_zones(address, was.copies),
            floors=self.of_zones(address, was.floors),
            baseline=self.baseline(address, was.baseline, reviewed_at),
        )

    def baseline(self, address: str, was: Baseline | None, reviewed_at: Instant) -> Baseline | None:
        """If the policy tolerates another share now: its scales. The usual share of failures stays
        as measured.
        """
        old, new = self.old.settings[address], self.new.settings[address]
        same = old.policy.breach.failure_rate == new.policy.breach.failure_rate
        if was is None or same:
            return was
        return was.at(reviewed_at, old).rescaled(new)

    def trial(self, was: Trial | None) -> Trial | None:
        """A trial, if its path stays."""
        return was if was is not None and was.candidate in self.paths else None

    def group(self, was: GroupRecord) -> GroupRecord:
        """What is known of one group."""
        if was.trial is None:
            return was
        trial, failed = self.trial(was.trial.trial), was.trial.failed
        left = failed.intersection(self.new.settings)
        return replace(was, trial=GroupTrial(trial=trial, failed=left) if trial else None)


def _paths(old: Index, new: Index, rerouted: Collection[str]) -> frozenset[str]:
    return frozenset(old.paths).intersection(new.paths) - frozenset(rerouted)


def _role(index: Index) -> tuple[bool, bool]:
    """Whether the agent acts and compares. If that changes, earlier decisions do not hold."""
    return index.acts, index.compares


_ANEW = "decisions are carried out from now on: decided anew"
_NO_MORE = "decisions are reported and not carried out from now on: nothing is steered"
_ALONE = "from now on only the local path is probed, or other paths too: decided anew"


def _plan(state: State, index: Index) -> tuple[dict[str, str], tuple[Event, ...]]:
    """The steers that are still allowed, and the events of the others."""
    old, plan, ended = state.index, dict[str, str](), []
    for address, site in state.plan.items():
        settings = index.settings.get(address)
        if _role(index) != _role(old):
            why = _ANEW if index.acts else _NO_MORE if old.acts else _ALONE
        elif settings is None:
            why = "no policy names this address any more"
        elif site not in settings.hops:
            why = f"site {site} is gone, or has no next hop for it"
        elif site not in settings.order and site in old.settings[address].order:
            why = f"the policy does not use site {site} any more"
        else:
            plan[address] = site
            continue
        ended.append(state.event("released", address, why, path=LOCAL, was=site, now=LOCAL))
    return {address: plan[address] for address in index.in_order(plan)}, tuple(ended)


def _ledger(stays: _Stays, was: Ledger) -> Ledger:
    new, local = stays.new, LOCAL in stays.paths
    upstreams = {"", *new.upstreams}
    paths = stays.of_paths(was.paths).items()
    addresses = stays.of_addresses(was.addresses).items()
    groups = ((group, known) for group, known in was.groups.items() if group in new.groups)
    asked = stays.of_addresses(was.asked)
    # The local path of the resolvers' traffic is not changed by another pin for probes.
    traffic = replace(stays, paths=stays.paths | {LOCAL}).of_paths(was.traffic).items()
    return replace(
        was,
        paths={
            key: stays.path(key[0], known if local else replace(known, losses=0), was.reviewed_at)
            for key, known in paths
        },
        traffic={
            key: replace(known, baseline=stays.baseline(key[0], known.baseline, was.reviewed_at))
            for key, known in traffic
        },
        addresses={
            address: replace(known, trial=stays.trial(known.trial)) if local else _apart(known)
            for address, known in addresses
        },
        groups={
            group: stays.group(known) if local else replace(known, points=EMPTY, trial=None)
            for group, known in groups
        },
        upstreams={name: known for name, known in was.upstreams.items() if name in new.upstreams},
        zones={
            key: known
            for key, known in was.zones.items()
            if key[0] in new.upstreams and key[1] in _zones(new, key[0])
        },
        instances=stays.of_paths(was.instances),
        asked=asked,
        listened=_listened(was, asked),
        legs={
            leg: known
            for leg, known in was.legs.items()
            if leg.site in stays.paths and leg.large in upstreams
        },
        carried={leg: known for leg, known in was.carried.items() if leg.site in stays.paths},
    )


def _listened(was: Ledger, asked: Mapping[str, Asked]) -> Listened:
    """Without the queries to addresses that are gone."""
    if len(asked) == len(was.asked):
        return was.listened
    at = was.listened.at
    faded = (one.queries * math.exp((one.at - at) / RECENT) for one in asked.values())
    return replace(was.listened, queries=sum(faded))


def _zones(index: Index, upstream: str) -> Collection[str]:
    return index.settings[index.upstreams[upstream][0]].policy.zones


def _apart(known: AddressRecord) -> AddressRecord:
    """What is known of an address apart from what probes showed of its local path."""
    return replace(
        UNKNOWN_ADDRESS,
        zone_since=known.zone_since,
        curious_until=known.curious_until,
        asked_at=known.asked_at,
        backoff=known.backoff,
        hold=known.hold,
        raised=known.raised,
        quiet_until=known.quiet_until,
        deaf_until=known.deaf_until,
    )


def _away(ledger: Ledger, state: State, index: Index, plan: Iterable[str], now: Instant) -> Ledger:
    """The local path of steered addresses that no override sent counts as bad until it recovers.

    A changed pin is no further breach: the hold stays as it was.
    """
    sent = state.override_state.decides.keys() - state.override_state.frozen
    addresses = [address for address in plan if address not in sent]
    return with_holds(adopt(ledger, index, addresses, now), ledger, addresses)


def _left_from_now_on(ledger: Ledger, old: Index, new: Index, now: Instant) -> Ledger:
    """If the policy counts a stale local path from now on, its breach begins now."""
    paths, addresses = dict(ledger.paths), dict(ledger.addresses)
    for (address, path), known in ledger.paths.items():
        settings = new.settings[address]
        if path != LOCAL or known.health is not Health.STALE or not settings.acts_on_stale:
            continue
        if old.settings[address].acts_on_stale:
            continue
        bucket, one = Bucket.start(settings.policy.recover.clean), ledger.address(address)
        paths[address, path] = replace(known, bucket=bucket)
        addresses[address] = replace(one, hold=(one.hold or Hold()).breach(now))
    return replace(ledger, paths=paths, addresses=addresses)
