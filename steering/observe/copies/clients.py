"""A resolver seen as its clients see it: by their addresses, and through what stands before it.

Asked are the zone's SOA, a name that does not exist, an existing name and one at the end of the
zone, with DO and without CD. DS is asked for of existing names: the zone itself answers that, also
for what is delegated (RFC 4035 2.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from steering.copies import Asked, Way
from steering.model import WallTime
from steering.observe.copies.ask import Answer, ask
from steering.observe.nonce import random_label, system_random


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Where the clients of one resolver ask."""

    direct: tuple[str, ...]
    through: tuple[str, ...] = ()
    denial_shows: bool = True
    """False where denials come from the zone's own servers although there is a copy: PowerDNS."""
    port: int = 53


async def ask_clients(
    clients: Clients, zone: str, names: Sequence[str], wall: WallTime
) -> tuple[Asked, ...]:
    """What clients get now. `names` exist in the zone."""
    below = "" if zone == "." else zone
    questions = [
        (zone, "SOA", True),
        (f"{random_label(system_random())}.{below}", "A", False),
        *((name, "DS", True) for name in names),
    ]
    addresses = [*((a, False) for a in clients.direct), *((a, True) for a in clients.through)]
    return tuple(
        await asyncio.gather(
            *(
                _asked(clients, zone, address, behind, *question, wall)
                for address, behind in addresses
                for question in questions
            )
        )
    )


async def _asked(  # noqa: PLR0917 - one question
    clients: Clients,
    zone: str,
    address: str,
    behind: bool,
    name: str,
    rdtype: str,
    exists: bool,
    wall: WallTime,
) -> Asked:
    answer = await ask(address, name, rdtype, zone, port=clients.port)
    shows = rdtype == "SOA" or (not exists and clients.denial_shows)
    way = _way(answer, exists=exists, wall=wall)
    serial = answer.serial if isinstance(answer, Answer) else None
    return Asked(
        resolver=address,
        name=name,
        rdtype=rdtype,
        behind=behind,
        way=way,
        serial=serial if shows else None,
        denied=serial if way is Way.DENIED else None,
        expires=answer.expires if isinstance(answer, Answer) else None,
    )


def _way(answer: Answer | str, *, exists: bool, wall: WallTime) -> Way:
    if isinstance(answer, str):
        return Way.SILENT
    if answer.rcode == "SERVFAIL":
        return Way.SERVFAIL
    if answer.rcode not in ("NOERROR", "NXDOMAIN"):
        return Way.REFUSED
    if answer.expires is not None and answer.expires < wall:
        return Way.EXPIRED
    return Way.DENIED if exists and answer.rcode == "NXDOMAIN" else Way.GOOD
