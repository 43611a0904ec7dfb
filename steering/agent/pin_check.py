"""Whether the local path is still asked by itself once routers send the address elsewhere.

A pin that routers don't know is not seen while nothing is steered: everything goes the local way
then. With the detour its questions take the detour too, and the local path looks healed: the
traffic would go home to the fault, and away again. What tells is the instance that answers
(RFC 5001): the site's where the local path had another one before. Such answers are no evidence
of the local path; they are left out, which keeps the detour, and an alarm says so. What was asked
while routers may have sent it by the detour is never taken for the local path's own: that would
be believed in every detour to come.

Where nobody tells its instance, or both paths lead to the same one, nothing can be told. One may
have more servers than are remembered, so a single one met over both paths says that they do. Nor
can it be told after a restart within a detour, where the local path's instance was never met: then
the site's is left out as well, which is safe, and the alarm says that nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from steering.model import LOCAL, Instant, Observation, Round, Seconds

SURE = 3
"""Answers in a row before the alarm; left out is the first one already."""
LINGERS: Seconds = 10.0
"""What routers were told they may go by so much longer: the hold time (9 s by default) where they
do not hear the session's end, and less than 0.1 s to change their forwarding where they do."""
_KNOWN = 16  # servers of one instance, as in judge.instance


class PinCheck:
    """What is known of who answers over which path."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], list[str]] = {}
        """(address, path) -> NSIDs; of the local path only while nothing was steered."""
        self._told: Mapping[str, str] = {}
        self._until: dict[str, dict[str, Instant]] = {}
        """Address -> site -> until when the routers were told of it, as far as is known."""
        self._astray: Counter[str] = Counter()
        self._shared: set[tuple[str, str]] = set()
        """(address, site) whose instance also answers the local path while nothing is steered."""

    def stand(self, told: Mapping[str, str] | None, now: Instant) -> None:
        """What the routers are told now, address -> site; None: nobody knows, so what they were."""
        was, self._told = self._told, self._told if told is None else dict(told)
        for address, site in (*was.items(), *self._told.items()):
            self._until.setdefault(address, {})[site] = now

    def sift(self, item: Round) -> Round:
        """The round without answers that came by the detour: by `at`, when it was asked."""
        address = item.address
        sites = [
            site
            for site, until in self._until.get(address, {}).items()
            if item.at <= until + LINGERS
        ]
        own = [o for o in item.observations if not o.live and o.nsid is not None]
        for seen in own:
            if seen.path != LOCAL or not sites:
                self._meet(address, seen)
        if not sites:
            self._share(address, [seen.path for seen in own if seen.path != LOCAL])
            self._astray.pop(address, None)
            return item
        strayed = [
            o for o in own if o.path == LOCAL and any(self._is_of(o, address, s) for s in sites)
        ]
        if any(o.path == LOCAL for o in own):
            self._astray[address] = self._astray[address] + 1 if strayed else 0
        return replace(item, observations=tuple(o for o in item.observations if o not in strayed))

    def forget(self, paths: Collection[str]) -> None:
        """Begin anew with paths that are another way now: others may answer there."""
        self._met = {pair: met for pair, met in self._met.items() if pair[1] not in paths}
        self._shared = {
            pair for pair in self._shared if LOCAL not in paths and pair[1] not in paths
        }
        if paths:
            self._astray.clear()

    @property
    def trouble(self) -> str:
        """Which addresses' local path is not asked; empty if all are."""
        sure = sorted(address for address, times in self._astray.items() if times >= SURE)
        known = [address for address in sure if self._met.get((address, LOCAL))]
        unknown = [address for address in sure if address not in known]
        told = []
        if known:
            told.append(
                f"local path of {_some(known)}: the questions take the detour, the same instance"
                " answers; is `observe.probe.pins` known to the routers? The detour stays until"
                " it is"
            )
        if unknown:
            told.append(
                f"local path of {_some(unknown)}: since the restart it can't be told whether the"
                " questions take the detour or the same instance answers on both paths; the"
                " answers don't count and the detour stays. Where the routers know"
                " `observe.probe.pins`, end it by hand for half a minute (`steering override"
                " add --local`)"
            )
        return "; ".join(told)

    def _meet(self, address: str, seen: Observation) -> None:
        assert seen.nsid is not None
        met = self._met.setdefault((address, seen.path), [])
        if seen.nsid not in met:
            met.append(seen.nsid)
            del met[:-_KNOWN]

    def _share(self, address: str, sites: Collection[str]) -> None:
        """Note whose instances have a server that the local path is answered by as well."""
        local = set(self._met.get((address, LOCAL), ()))
        for site in sites:
            if not local.isdisjoint(self._met.get((address, site), ())):
                self._shared.add((address, site))

    def _is_of(self, seen: Observation, address: str, site: str) -> bool:
        if (address, site) in self._shared:
            return False
        beyond = self._met.get((address, site), ())
        return seen.nsid in beyond and seen.nsid not in self._met.get((address, LOCAL), ())


def _some(addresses: Sequence[str]) -> str:
    return ", ".join(addresses[:3]) + (", ..." if len(addresses) > 3 else "")
