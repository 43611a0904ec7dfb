"""The breach buckets: what one turn's answers to probes, and to the resolvers, amount to.

Both streams fill their buckets alike (`known/stream`), for each path and for each group. A full one
means more if probes filled it: traffic makes local paths suspect, and nothing else. On a detour in
use its failures only cause fast probing: a detour that probes find good is not left because of
queries that others chose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from steering.index import Key
from steering.judge.edit import Draft
from steering.judge.known.baseline import BOGUS, SAMPLE, TIMEOUT, base_scale
from steering.judge.known.buckets import EMPTY, Levels, fill
from steering.judge.known.failed_names import count_once
from steering.judge.known.health import Signal
from steering.judge.known.stream import Poured, Stream
from steering.judge.probes.group_trial import begin
from steering.judge.traffic.dismissed import note_suspicion
from steering.model import LOCAL, Health, Verdict


def fill_by_probes(draft: Draft, own_fault: frozenset[str]) -> None:
    """Fill the buckets by the answers to probes."""
    for key, poured in draft.poured.items():
        if _is_full(draft, draft.edit(*key), key, poured, own_fault):
            count_against(draft, key)
    _fill_groups_by_probes(draft)


def fill_by_traffic(draft: Draft, heard: Mapping[Key, Poured], own_fault: frozenset[str]) -> None:
    """Fill the buckets by the resolvers' traffic; a full one begins a trial by probes."""
    for key, poured in heard.items():
        is_full = _is_full(draft, draft.traffic.to_write(key), key, poured, own_fault)
        address, path = key
        if is_full and path == LOCAL and _may_suspect(draft, address):
            note_suspicion(draft, address)
            draft.signal(address, LOCAL, Signal.FULL)
    _fill_groups_by_traffic(draft, heard)


def empty_excused(draft: Draft, own_fault: frozenset[str]) -> None:
    """Drop the silences that this host may have caused; comes before both streams."""
    for address in own_fault:
        for streams in (draft.paths, draft.traffic):
            if streams[address, LOCAL].levels[TIMEOUT] != EMPTY:
                streams.to_write((address, LOCAL)).set_levels(TIMEOUT, EMPTY)


def count_against(draft: Draft, key: Key) -> None:
    """Count evidence of probes against a path.

    A local path becomes suspect, and a trial has to compare it. A remote path needs no trial: it
    is only not usable. Nor does a local path that was left already because it is outdated.
    """
    address, path = key
    settings = draft.index.settings[address]
    stale = draft.was.path(address).health is Health.STALE and settings.acts_on_stale
    compared = path == LOCAL and not stale
    draft.signal(address, path, Signal.FULL if compared else Signal.CONFIRMED)


def _is_full(
    draft: Draft, stream: Stream, key: Key, poured: Poured, own_fault: frozenset[str]
) -> bool:
    """Fill the buckets of one stream of a path; whether a full one counts."""
    address, path = key
    settings, calm = draft.index.settings[address], draft.was.path(*key).health <= Health.HEALTHY
    full = stream.pour(poured, settings, draft.was.reviewed_at, calm=calm)
    excused = path == LOCAL and address in own_fault
    return any(
        verdict in settings.acts_on and not (excused and verdict is Verdict.TIMEOUT)
        for verdict in full
    )


def _may_suspect(draft: Draft, address: str) -> bool:
    health = draft.was.path(address).health
    if health is Health.STALE and draft.index.settings[address].acts_on_stale:
        return False
    # A failing path recovers by probes: the traffic alone could keep it failing for ever.
    return health is not Health.FAILING and draft.now >= draft.address(address).quiet_until


def _fill_groups_by_probes(draft: Draft) -> None:
    for group, addresses in _by_group(draft, draft.poured).items():
        before = draft.groups[group].points
        bad = sum(draft.poured[address, LOCAL].bad[BOGUS] for address in addresses)
        good = sum(draft.poured[address, LOCAL].good[BOGUS] for address in addresses)
        scale = base_scale(draft.index.settings[addresses[0]], BOGUS)
        points = _emptied(draft, group, fill(before, bad, good, scale))
        if points != before:
            draft.edit_group(group).points = points


def _fill_groups_by_traffic(draft: Draft, heard: Mapping[Key, Poured]) -> None:
    """A name counts once an hour for the whole group: one that fails at every address is one."""
    awake = {k: each for k, each in heard.items() if draft.now >= draft.address(k[0]).quiet_until}
    names = _new_names(draft, heard)
    for group, addresses in _by_group(draft, awake).items():
        if not names[group] and draft.groups[group].heard == EMPTY:
            continue
        known, new = draft.edit_group(group), 0
        for name in sorted(names[group]):
            known.heard_names, counts = count_once(known.heard_names, name, draft.now)
            new += counts
        good = sum(heard[address, LOCAL].good[BOGUS] for address in addresses)
        scale = draft.heard(addresses[-1]).scale(BOGUS, draft.index.settings[addresses[-1]])
        known.heard = _emptied(draft, group, fill(known.heard, new, good, scale))


def _by_group(draft: Draft, poured: Mapping[Key, Poured]) -> dict[str, list[str]]:
    """Group -> its addresses whose local answers count for it, in order."""
    found: dict[str, list[str]] = {}
    local = (a for (a, path), each in poured.items() if path == LOCAL and each.of_signatures)
    for address in draft.index.in_order(local):
        settings = draft.index.settings[address]
        # A suspect address has its own trial; here it would only hide the others of its group.
        if Verdict.BOGUS in settings.acts_on and draft.was.path(address).health <= Health.HEALTHY:
            found.setdefault(settings.group, []).append(address)
    return found


def _new_names(draft: Draft, heard: Mapping[Key, Poured]) -> dict[str, set[str]]:
    """Group -> the names that were counted this turn for any of its local paths."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for (address, path), poured in heard.items():
        if path == LOCAL and (poured.bad[BOGUS] or poured.bad[SAMPLE]):
            counted, group = draft.heard(address).counted, draft.index.settings[address].group
            found[group] |= {name for name, at in counted.items() if at == draft.now}
    return found


def _emptied(draft: Draft, group: str, filled: tuple[Levels, bool]) -> Levels:
    """A group's buckets after a turn; a full one is emptied, and begins a trial."""
    levels, full = filled
    if full:
        begin(draft, group)
    return EMPTY if full else levels
