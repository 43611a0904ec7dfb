"""Whether probes of the local path still take it once routers send the address over a detour.

While nothing is steered, a pin that the routers do not know has no effect: all packets take the
local path. During a detour such probes take the detour too. The local path then looks healthy, the
traffic would return to the fault, and leave again. The instance that answers shows it (RFC 5001):
the site's, where the local path had another one before. Such answers are no evidence for the local
path. They are dropped, which keeps the detour, and an alarm reports it. Instances that answered
while routers may have used the detour are never noted as the local path's own, as later detours
would rely on that.

If servers send no NSID, or both paths lead to the same instance, nothing can be found out. An
instance may have more servers than are noted here, so one server seen over both paths is enough
for "the same". After a restart during a detour the local path's instance is not known either:
then answers by the site's instance are dropped as well, which is safe, and the alarm has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from steering.model import LOCAL, Instant, Observation, Round, Seconds

ALARM_AFTER = 3
"""Answers in a row before the alarm; the first one is dropped already."""
ROUTERS_LAG: Seconds = 10.0
"""Routers may use a withdrawn route for so much longer: the hold time (9 s by default) if they do
not notice the end of the session, and less than 0.1 s to change their forwarding if they do."""
_KNOWN = 16  # servers of one instance, as in judge.known.instance


class PinCheck:
    """Which instances answer over which path."""

    def __init__(self) -> None:
        self._instances: dict[tuple[str, str], list[str]] = {}
        """(address, path) -> NSIDs; of the local path only while nothing was steered."""
        self._announced: Mapping[str, str] = {}
        self._until: dict[str, dict[str, Instant]] = {}
        """Address -> site -> until when it was announced to the routers, as far as is known."""
        self._strayed: Counter[str] = Counter()
        self._shared: set[tuple[str, str]] = set()
        """(address, site) whose instance also answers the local path while nothing is steered."""

    def update(self, announced: Mapping[str, str] | None, now: Instant) -> None:
        """Take what is announced now, address -> site; None: not known, so as before."""
        was, self._announced = (
            self._announced,
            self._announced if announced is None else dict(announced),
        )
        for address, site in (*was.items(), *self._announced.items()):
            self._until.setdefault(address, {})[site] = now

    def without_strayed(self, item: Round) -> Round:
        """The round without answers that came over the detour, by the time when it was asked."""
        address = item.address
        sites = [
            site
            for site, until in self._until.get(address, {}).items()
            if item.at <= until + ROUTERS_LAG
        ]
        own = [o for o in item.observations if not o.live and o.nsid is not None]
        for seen in own:
            if seen.path != LOCAL or not sites:
                self._note_instance(address, seen)
        if not sites:
            self._note_shared(address, [seen.path for seen in own if seen.path != LOCAL])
            self._strayed.pop(address, None)
            return item
        strayed = [
            o for o in own if o.path == LOCAL and any(self._is_of(o, address, s) for s in sites)
        ]
        if any(o.path == LOCAL for o in own):
            self._strayed[address] = self._strayed[address] + 1 if strayed else 0
        return replace(item, observations=tuple(o for o in item.observations if o not in strayed))

    def forget(self, paths: Collection[str]) -> None:
        """Forget the instances of these paths, which lead elsewhere now."""
        self._instances = {
            pair: met for pair, met in self._instances.items() if pair[1] not in paths
        }
        self._shared = {
            pair for pair in self._shared if LOCAL not in paths and pair[1] not in paths
        }
        if paths:
            self._strayed.clear()

    @property
    def problem(self) -> str:
        """Which addresses' local path is not asked; empty if all are."""
        sure = sorted(address for address, times in self._strayed.items() if times >= ALARM_AFTER)
        known = [address for address in sure if self._instances.get((address, LOCAL))]
        unknown = [address for address in sure if address not in known]
        texts = []
        if known:
            texts.append(
                f"local path of {_some(known)}: its probes take the detour, as the same instance"
                " answers; do the routers know `observe.probe.pins`? The detour stays until they do"
            )
        if unknown:
            texts.append(
                f"local path of {_some(unknown)}: since the restart it is not known whether its"
                " probes take the detour, or the same instance answers on both paths; the answers"
                " don't count, and the detour stays. If the routers know `observe.probe.pins`,"
                " end it by hand for half a minute (`steering override add --local`)"
            )
        return "; ".join(texts)

    def _note_instance(self, address: str, seen: Observation) -> None:
        assert seen.nsid is not None
        instances = self._instances.setdefault((address, seen.path), [])
        if seen.nsid not in instances:
            instances.append(seen.nsid)
            del instances[:-_KNOWN]

    def _note_shared(self, address: str, sites: Collection[str]) -> None:
        """Note the sites with an instance that also answers over the local path."""
        local = set(self._instances.get((address, LOCAL), ()))
        for site in sites:
            if not local.isdisjoint(self._instances.get((address, site), ())):
                self._shared.add((address, site))

    def _is_of(self, seen: Observation, address: str, site: str) -> bool:
        if (address, site) in self._shared:
            return False
        beyond = self._instances.get((address, site), ())
        return seen.nsid in beyond and seen.nsid not in self._instances.get((address, LOCAL), ())


def _some(addresses: Sequence[str]) -> str:
    return ", ".join(addresses[:3]) + (", ..." if len(addresses) > 3 else "")
