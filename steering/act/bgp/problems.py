"""What keeps the routers from having what they should have, in whole sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from steering.act.bgp.prerequisites import Prerequisites
from steering.act.bgp.settings import BgpSettings
from steering.act.bgp.sync import Phase, Sync
from steering.model import Instant, Refused


def complaints(
    terms: BgpSettings,
    objections: Sequence[Refused],
    home: Prerequisites | None,
    *,
    ended: str,
    sync: Sync,
    settled: bool,
    now: Instant,
) -> Iterator[str]:
    """All that is the matter, the most general first.

    Args:
        terms: what was to be told, and to whom.
        objections: routes that must never be told.
        home: what this host has for a speaker; None before anybody looked.
        ended: why there is no speaker; empty while there is one.
        sync: what is known of the sessions.
        settled: whether the speaker had the time to get them up.
        now: the instant of all this.
    """
    yield from (f"{r.address} to {r.site}: {r.because}" for r in objections)
    if home is not None:
        yield from home.troubles
    if ended:
        yield f"the speaker: {ended}"
    spoken_to = {peer.address for peer in (home.terms if home is not None else terms).peers}
    for peer, session in sync.sessions.items():
        if peer not in spoken_to:
            continue
        if not session.up and sync.phase is not Phase.APART and settled:
            yield f"neighbour {peer} is not established: {session.because or '-'}"
        if session.up and (lacking := session.families - session.negotiated):
            names = " and ".join(sorted(lacking))
            yield f"neighbour {peer} did not negotiate {names}: not installable there"
    for address, peer in sync.refused(now).items():
        yield f"{address}: the speaker would not take it for neighbour {peer}"
    for address, peer in sync.unmended().items():
        yield f"{address}: can't correct the routes sent to neighbour {peer}"
