"""Whether the local path is still asked by itself once routers send the address elsewhere.

A pin that routers don't know is not seen while nothing is steered: everything goes the local way
then. With the detour its questions take the detour too, and the local path looks healed: the
traffic would go home to the fault, and away again. What tells is the instance that answers
(RFC 5001): the site's where the local path had another one before. Such answers are no evidence
of the local path; they are left out, which keeps the detour, and an alarm says so.

Where nobody tells its instance, or both paths lead to the same one, nothing can be told. Nor can
it after a restart within a detour, where the local path's instance was never met: then the site's
is left out as well, which is safe, and the alarm says that nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from steering.model import LOCAL, Observation, Round

SURE = 3
"""Answers in a row before the alarm; left out is the first one already."""
_KNOWN = 16  # servers of one instance, as in judge.instance


class Pins:
    """What is known of who answers over which path."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, str], list[str]] = {}
        """(address, path) -> NSIDs; of the local path only while nothing was steered."""
        self._astray: Counter[str] = Counter()

    def sift(self, item: Round, told: Mapping[str, str]) -> Round:
        """The round without answers that came by the detour; `told`: address -> site, by BGP."""
        address, site = item.address, told.get(item.address)
        own = [o for o in item.observations if not o.live and o.nsid is not None]
        for seen in own:
            if seen.path != LOCAL or site is None:
                self._meet(address, seen)
        if site is None:
            self._astray.pop(address, None)
            return item
        strayed = [o for o in own if o.path == LOCAL and self._is_of(o, address, site)]
        if any(o.path == LOCAL for o in own):
            self._astray[address] = self._astray[address] + 1 if strayed else 0
        return replace(item, observations=tuple(o for o in item.observations if o not in strayed))

    def forget(self, paths: Collection[str]) -> None:
        """Begin anew with paths that are another way now: others may answer there."""
        self._met = {pair: met for pair, met in self._met.items() if pair[1] not in paths}
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
                " `observe.probe.pins`, end it by hand for a moment (`steering override add"
                " --local`)"
            )
        return "; ".join(told)

    def _meet(self, address: str, seen: Observation) -> None:
        assert seen.nsid is not None
        met = self._met.setdefault((address, seen.path), [])
        if seen.nsid not in met:
            met.append(seen.nsid)
            del met[:-_KNOWN]

    def _is_of(self, seen: Observation, address: str, site: str) -> bool:
        beyond = self._met.get((address, site), ())
        return seen.nsid in beyond and seen.nsid not in self._met.get((address, LOCAL), ())


def _some(addresses: Sequence[str]) -> str:
    return ", ".join(addresses[:3]) + (", ..." if len(addresses) > 3 else "")
