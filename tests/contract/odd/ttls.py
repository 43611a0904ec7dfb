"""Odd TTLs, of records and in signatures."""

from __future__ import annotations

from functools import partial

from contract.draft import SECTIONS
from contract.kinds import (
    PROBED,
    Making,
    Stage,
    variant,
)

RECORDS, SETS = Stage.RECORDS, Stage.SETS


def _ttl(m: Making, ttl: int, which: str) -> None:
    for section in SECTIONS:
        for record in m.draft.records[section]:
            if which == "all" or (record.rdtype == 46) == (which == "signatures"):
                record.ttl = ttl


for _seconds in (0, 1, 1_000_000, 1 << 31, (1 << 31) - 1, (1 << 32) - 1):
    for _which in ("all", "data", "signatures"):
        variant("ttl", f"{_seconds} s, {_which}", RECORDS, PROBED)(
            partial(_ttl, ttl=_seconds, which=_which)
        )


@variant("ttl", "another one in each record", RECORDS, PROBED)
def _uneven(m: Making) -> None:
    for section in SECTIONS:
        for record in m.draft.records[section]:
            record.ttl = m.rng.randrange(3600)


def _original(m: Making, ttl: int) -> None:
    rrset = m.pick()
    m.resign(rrset, ttl=ttl)


for _seconds in (0, 60, 1 << 31, (1 << 32) - 1):
    variant("ttl", f"original TTL {_seconds} s", SETS, PROBED)(partial(_original, ttl=_seconds))
