"""Signs that something on the path answers in place of the nameservers: a DNS proxy, a cache.

They are no proof: they raise an alarm, and nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from steering.decide.state import State
from steering.format import counted
from steering.index import Index, Key, Settings
from steering.judge.known.instance import Instance
from steering.model import LOCAL, WITHOUT_AUTHORITY, Seconds

ALONE: Seconds = 10.0
"""A suspicion that can't be compared, or has such a sign, raises an alarm after so long: one bad
answer is over sooner."""

_Sign = tuple[str, tuple[str, ...]]
"""In words, and at which addresses."""


def intercepted(state: State) -> _Sign | None:
    """The signs, and at which addresses, in order; None: none."""
    servers = _one_server(_Servers(state.index, state.ledger.instances))
    found = [*filter(None, (servers, _out_of_a_cache(state)))]
    if not found:
        return None
    where = {address for _, addresses in found for address in addresses}
    return "; ".join(text for text, _ in found), tuple(state.index.in_order(where))


@dataclass(frozen=True, slots=True, eq=False)
class _Servers:
    """Which servers answer. Compared by identity: it is looked through only when it changes."""

    index: Index
    instances: Mapping[Key, Instance]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Servers):
            return NotImplemented
        return other.instances is self.instances and other.index is self.index

    def __hash__(self) -> int:
        return id(self.instances)


@lru_cache(maxsize=4)
def _one_server(servers: _Servers) -> _Sign | None:
    """One and the same server answers for unrelated operators here; None if that is not so.

    Their own servers have different names (NSID, RFC 5001), so two names exclude it.
    """
    name, found = None, list[Settings]()
    for settings in servers.index.settings.values():
        instance = servers.instances.get((settings.address, LOCAL))
        if instance is None or instance.mixed or not instance.known:
            continue
        name = name or instance.known[0]
        if any(known != name for known in instance.known):
            return None
        found.append(settings)
    if len({settings.operator for settings in found}) < 2:
        return None
    upstreams = {settings.upstream for settings in found}
    text = (
        f"{len(found)} addresses of {', '.join(sorted(upstreams))} are answered by one server over"
        f" the local path (NSID {name}): something on the path answers in their place, and the"
        " measurements here are of that server"
    )
    return text, tuple(settings.address for settings in found)


def _out_of_a_cache(state: State) -> _Sign | None:
    """Some addresses are answered as by a cache here, and only here; None if that is not so."""
    found = state.index.in_order(a for a in state.ledger.open if _is_cached(state, a))
    if not found:
        return None
    text = (
        f"{those(state, found)} are answered over the local path without authority (no AA), and"
        " with it over another one: a cache on the path answers so in their place"
    )
    return text, tuple(found)


def _is_cached(state: State, address: str) -> bool:
    ledger = state.ledger
    since = ledger.address(address).suspected_at
    if since is None or state.now - since < ALONE:
        return False
    local = ledger.path(address)
    if local.run or local.evidence is None:
        return False
    there = any(ledger.path(address, site).run for site in state.index.settings[address].order)
    return there and WITHOUT_AUTHORITY in local.evidence.detail


def those(state: State, addresses: Collection[str]) -> str:
    """In words: how many addresses of which upstreams."""
    upstreams = sorted({state.index.settings[address].upstream for address in addresses})
    return f"{counted(len(addresses), 'address')} of {', '.join(upstreams)}"
