"""Which addresses are probed fast, and over which paths: suspicion, trials, detours, recovery.

An address with an open question is probed at the fast interval. One that is only watched is probed
at a slower one: detours that work while the local path stays bad, and moves that a rule holds back.
That is as many probes as the decisions need, and a load that does not grow with their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import islice, zip_longest

from steering.decide.moves.common_cause import bad_now
from steering.decide.moves.no_site import nowhere
from steering.decide.moves.room import Held
from steering.decide.situation import AddressSituation, Situation
from steering.decide.state import State
from steering.judge.known.failed_names import WITNESSES, holds, latest
from steering.judge.probes.backoff import gap
from steering.judge.probes.control import refused, wanted
from steering.judge.probes.losses import EVERY, watched_slowly
from steering.model import LOCAL, Attention, Health, Seconds

AT_ONCE = 128
"""Most addresses that are probed fast at the same time: by default that is some 1,500 questions a
second, as many as one process can send and judge. The others wait; the sample of the operators
(`Settings.sampled`) is probed in addition."""
HELD_ROUNDS = 5
"""Fast rounds between two questions to an address that is held back."""
HELD_PER_ROUND = 25
"""Addresses that are probed in one fast round, of all that are held back; the sample of the
operators always is."""
CALM_ROUNDS, CALM_PER_ROUND = 10, 10
"""The same for detours that work: no decision waits for their answers."""
HEALING = 64
"""A recovery is probed fast once 1/64 of its clean answers have come in a row."""


def attention(state: State) -> dict[str, Attention]:
    """Address -> what is asked of it at the fast or a slower interval; all others have slow rounds.

    A suspect address without a path to compare with is not probed faster: that would last as long
    as every path is bad, and confirm nothing.
    """
    index, ledger, plan, now = state.index, state.ledger, state.plan, state.now
    curious = {a for a in ledger.open if ledger.address(a).curious_until > now}
    on_trial = {a for a in ledger.open if ledger.address(a).trial is not None}
    unproved = {a for a, proof in state.verifications.items() if not proof.proved}
    unshown, held = _held(state)
    compared = _without_mark(state, on_trial | unshown)
    sample = _sample_beside(state, curious)
    calm = {a for a in plan if a not in unproved and _is_calm(state, a)}
    no_site = nowhere(state)
    watched = plan.keys() | state.verifications.keys()
    fast = (watched - calm) | curious | on_trial | unshown | no_site.keys()
    # Verifications first, since traffic depends on them; then trials, addresses that just failed,
    # breaches that need fresh evidence, other news, those without a site, and last recoveries.
    failed = {a for a in curious if not ledger.path(a).run}
    by = (unproved, on_trial, failed, unshown, curious, no_site)

    def urgency(address: str) -> int:
        return next((number for number, those in enumerate(by) if address in those), len(by))

    asked: dict[str, Attention] = {}
    chosen = sorted(index.in_order(fast - sample), key=urgency)[:AT_ONCE]
    for a in (*index.in_order(sample), *chosen):
        sites = no_site.get(a, frozenset()) if a not in curious else frozenset()
        asked[a] = _asked(state, a, sites=sites, live=a in compared)
    mute = frozenset[str]() if state.off else refused(ledger, index, now) - plan.keys()
    beside = {a: more for a in ledger.open if (more := watched_slowly(ledger, index, a))}
    slower = index.in_order((calm | held | beside.keys() | mute) - fast - sample)
    for a in slower:
        if a in calm:
            rounds = max(CALM_ROUNDS, len(calm) / CALM_PER_ROUND)
        elif index.settings[a].sampled:
            rounds = HELD_ROUNDS
        else:
            rounds = max(HELD_ROUNDS, len(slower) / HELD_PER_ROUND)
        every, sites = rounds * index.fast_interval, frozenset()
        if a in beside:
            every = max(every, EVERY)
            losses = {site: ledger.path(a, site).losses for site in beside[a]}
            sites = frozenset({max(losses, key=losses.__getitem__)})
        live = a in compared or a in mute
        asked[a] = _asked(state, a, every=every, sites=sites, live=live)
    return asked


def _without_mark(state: State, in_question: Collection[str]) -> set[str]:
    """The addresses on the local path that are also probed without a mark (`judge.probes.control`).

    That is while they are on trial, while a breach needs fresh evidence, and while only questions
    with our mark fail.
    """
    found = {a for a in in_question if a not in state.plan and wanted(state.ledger, a, state.now)}
    return found | {a for a, one in _situations(state).items() if one.marked}


def _asked(
    state: State,
    address: str,
    *,
    every: Seconds = 0.0,
    sites: frozenset[str] = frozenset(),
    live: bool = False,
) -> Attention:
    """What is asked of an address; `sites`: those that may be usable again."""
    index, ledger = state.index, state.ledger
    trial, proof = ledger.address(address).trial, state.verifications.get(address)
    if address in state.plan:
        paths = frozenset({state.plan[address]})
    elif proof is not None:
        paths = _beside(state, address)
    elif trial is not None:
        paths = frozenset({trial.candidate})
    elif sites:
        paths = sites
    elif ledger.path(address).health is Health.FAILING:
        paths = _compared(state, address)
    else:
        paths = frozenset(index.paths)
    proving = proof is not None and not proof.proved
    # In an agent that does not act, questions without a mark do not take the detour.
    shows = index.acts or address not in state.plan
    return Attention(
        paths=paths | {LOCAL},
        live=live or (shows and proof is not None and proof.installed is not None),
        witnesses=_witnesses(state, address),
        every=max(every, gap(index, ledger, address, state.now, proving=proving)),
    )


def _situations(state: State) -> Mapping[str, AddressSituation]:
    return state.situation.addresses if state.situation is not None else {}


def _held(state: State) -> tuple[set[str], set[str]]:
    """Breached addresses on the local path: those that need fresh evidence to move, and the others.

    Where another rule holds back the move anyway, the address is only watched.
    """
    situation, settings = state.situation, state.index.settings
    if situation is None:
        return set(), set()
    stays = [one for a, one in situation.addresses.items() if one.own and a not in state.plan]
    full = _full_upstreams(state) if stays else ()
    unshown = {
        one.address
        for one in stays
        if settings[one.address].upstream not in full and _only_unshown(situation, one)
    }
    held = {one.address for one in stays} - unshown
    if any(situation.common_causes.values()):  # rare, so all may be looked through
        held |= {
            a
            for a, each in settings.items()
            if each.sampled and bad_now(state.index, state.ledger, a, state.now)
        }
    return unshown, held


def _only_unshown(situation: Situation, one: AddressSituation) -> bool:
    """Whether nothing holds back a move but that the last few seconds do not show the fault."""
    kept = one.ordered or one.self_doubt or one.marked or one.all_bad or one.held is not Held.NOT
    all_kept = situation.off or situation.clock_doubt or situation.room.minute <= 0
    return one.unshown and bool(one.proven) and not (kept or all_kept)


def _full_upstreams(state: State) -> Collection[str]:
    """The upstreams whose limit of steered addresses is reached."""
    index, at_once = state.index, state.index.budget.at_once
    if at_once is not None and len(state.plan) >= at_once:
        return index.upstreams.keys()
    away = Counter(index.settings[a].upstream for a in state.plan)
    limits = {upstream: index.settings[index.upstreams[upstream][0]].at_most for upstream in away}
    return {upstream for upstream, number in away.items() if number >= limits[upstream]}


def _sample_beside(state: State, curious: set[str]) -> set[str]:
    """The sample of the operators, while more addresses should be probed fast than can be."""
    if len(curious) <= AT_ONCE:
        return set()
    settings, ledger = state.index.settings, state.ledger
    return {a for a in curious if settings[a].sampled and ledger.path(a).health <= Health.HEALTHY}


def _is_calm(state: State, address: str) -> bool:
    """Whether a detour works, while the local path is far from its recovery."""
    ledger, proof = state.ledger, state.verifications.get(address)
    if proof is not None and (proof.bad_run or proof.stuck):
        return False
    clean = state.index.settings[address].policy.recover.clean
    well = ledger.path(address, state.plan[address]).run > 0
    return well and ledger.path(address).run * HEALING < clean


def _compared(state: State, address: str) -> frozenset[str]:
    """The site that the address would take; while none is proven, each that it may take."""
    one = _situations(state).get(address)
    if one is not None and one.best is not None:
        return frozenset({one.best})
    return frozenset(state.index.settings[address].order)


def _beside(state: State, address: str) -> frozenset[str]:
    """The sites of the others in its group: a name that fails there too is no fault of the path."""
    settings, mine = state.index.settings, state.index.settings[address]
    return mine.hops.intersection(
        site for a, site in state.plan.items() if settings[a].group == mine.group
    )


def _witnesses(state: State, address: str) -> tuple[str, ...]:
    """The names that failed by probes and by the resolvers' traffic, in equal parts."""
    heard = latest(state.ledger.upstream(state.index.settings[address].upstream).failed)
    own = state.ledger.witnesses(address)
    ignored = state.ledger.address(address).ignored
    mixed = dict.fromkeys(name for pair in zip_longest(heard, own) for name in pair)
    asked = (name for name in mixed if name is not None and not holds(ignored, name, state.now))
    return tuple(islice(asked, WITNESSES))
