"""Which addresses should leave the local path: where a breach shows, or with their group."""

from __future__ import annotations

from collections.abc import Collection

from steering.decide.moves import groups
from steering.decide.moves.common_cause import others_unprobed, unheard
from steering.decide.situation import AddressSituation
from steering.decide.state import State
from steering.judge.known.ledger import SILENCES, PathRecord, breached
from steering.judge.probes.control import marked
from steering.judge.probes.recent_evidence import over, shown
from steering.model import LOCAL, Health

BAD = 0.5
"""A local path that an earlier agent left is still bad when more than this share of its answers
is."""


def begin(state: State) -> tuple[dict[str, AddressSituation], frozenset[str]]:
    """The situation of each address that is not as usual, as far as it is about breaches, in order;
    and the groups that are open.
    """
    index, ledger, now = state.index, state.ledger, state.now
    found = {address for address in ledger.open if _stands_out(ledger.path(address))}
    found.update(state.plan, state.override_state.decides, state.verifications)
    known = {address: _of(state, address) for address in found if address in index.settings}
    own = {address for address, one in known.items() if one.own}
    home = {address for address in own if known[address].path == LOCAL}
    present = {address for address in own if _is_present(state, address)}
    by_mark = {a for a in marked(ledger, index, now) if state.path_of(a) == LOCAL}
    ripe = _ripe(state, own, home, present) - by_mark
    seen = {address for address in ripe if not _adopted_only(state, address)}
    opened = groups.open_groups(state.open_groups, index, seen)
    along = groups.reach(opened, index, seen)
    moves = set(ripe)
    if others := along - ripe:
        # Nor does an address go along because of an old fault of its group.
        lately = groups.reach(opened, index, present - by_mark)
        moves.update(a for a in others if a in lately or a in state.plan)
    settling = groups.settling(ledger, index, home, now)
    ones: dict[str, AddressSituation] = {}
    for address in index.in_order({*known, *moves}):
        one = ones[address] = known.get(address) or _of(state, address)
        one.breached = address in moves
        # Where it is breached, the others of its group show a fault that is not the mark's.
        one.marked = address in by_mark and address not in moves
        one.unshown = address in home and address not in present
        one.settling = address in settling and index.settings[address].group not in opened
    return ones, opened


def _stands_out(local: PathRecord) -> bool:
    """Whether a local path shows anything that the rules look at."""
    return local.health > Health.HEALTHY or local.streak >= SILENCES or local.stuck >= SILENCES


def _of(state: State, address: str) -> AddressSituation:
    local = state.ledger.path(address).health
    return AddressSituation(
        address=address,
        local=local,
        path=state.path_of(address),
        own=breached(state.index.settings[address], local),
        banned=frozenset(state.override_state.banned.get(address, ())),
    )


def _is_present(state: State, address: str) -> bool:
    """Whether the last few seconds show the fault of a breached address."""
    index, ledger, now = state.index, state.ledger, state.now
    if shown(ledger.address(address), index, now) and not over(ledger, index, address, now):
        return True
    local = ledger.path(address)
    return local.health is Health.STALE and local.late and now - local.answered < index.fresh


def _ripe(
    state: State, own: Collection[str], home: Collection[str], present: Collection[str]
) -> set[str]:
    """Breached addresses that may move as far as evidence goes: those that did, and those whose
    fault shows, once the other operators were probed.
    """
    index, ledger, now = state.index, state.ledger, state.now
    waits = bool(own) and unheard(index, ledger, now, state.begun)
    return {
        address
        for address in own
        if address not in home
        or (
            address in present
            and not waits
            and not others_unprobed(index, ledger.address(address), now)
        )
    }


def _adopted_only(state: State, address: str) -> bool:
    """Whether a steer was adopted at the start and not confirmed since (`transitions.adopt`).

    It is kept, and not counted towards moving its group, while the local path answers well enough.
    """
    local = state.ledger.path(address)
    if local.health is not Health.FAILING or local.late:
        return False
    if state.ledger.address(address).confirmed_at is not None:
        return False
    share = local.recent.share(state.now)
    return share is None or share <= BAD
