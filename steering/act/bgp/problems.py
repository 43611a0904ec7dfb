"""What prevents the routers from having the wanted routes, in full sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from steering.act.bgp.prerequisites import Prerequisites
from steering.act.bgp.settings import BgpSettings
from steering.act.bgp.sync import Phase, Sync
from steering.model import Instant, Refused


def problems_of(
    terms: BgpSettings,
    refused: Sequence[Refused],
    prerequisites: Prerequisites | None,
    *,
    ended: str,
    sync: Sync,
    settled: bool,
    now: Instant,
) -> Iterator[str]:
    """All problems, the most general first.

    Args:
        terms: settings and neighbours.
        refused: routes that must never be announced.
        prerequisites: what this host has; None before the first check.
        ended: why there is no speaker; empty while there is one.
        sync: the state of the sessions.
        settled: whether the speaker had enough time to establish them.
        now: the present instant.
    """
    yield from (f"{r.address} to {r.site}: {r.because}" for r in refused)
    if prerequisites is not None:
        yield from prerequisites.troubles
    if ended:
        yield f"the speaker: {ended}"
    checked = prerequisites.terms if prerequisites is not None else terms
    usable = {peer.address for peer in checked.peers}
    for peer, session in sync.sessions.items():
        if peer not in usable:
            continue
        if not session.up and sync.phase is not Phase.DISCONNECTED and settled:
            yield f"neighbour {peer} is not established: {session.because or '-'}"
        if session.up and (lacking := session.families - session.negotiated):
            names = " and ".join(sorted(lacking))
            yield f"neighbour {peer} did not negotiate {names}: not installable there"
    for address, peer in sync.refused(now).items():
        yield f"{address}: the speaker refused the route for neighbour {peer}"
    for address, peer in sync.uncorrectable().items():
        yield f"{address}: can't correct the route that neighbour {peer} was sent"
