"""Signatures that ran out, have not begun, or say something odd of when they are valid."""

from __future__ import annotations

from functools import partial
from typing import Final

from contract.keys import DAY, Signed
from contract.kinds import SIGNED, SINGLE, Making, Stage, variant
from contract.zone import DNSKEY

ZONE, SETS = Stage.ZONE, Stage.SETS
_HALF: Final = 1 << 31


_DATES: Final[dict[str, tuple[int, int]]] = {  # inception and expiration, from now on
    "expired 2 s ago": (-DAY, -2),
    "expired 60 s ago": (-DAY, -60),
    "expired an hour ago": (-30 * DAY, -3600),
    "expired a day ago": (-8 * DAY, -DAY),
    "expired 30 days ago": (-60 * DAY, -30 * DAY),
    "expires in 60 s": (-DAY, 60),
    "begun 2 s ago": (-2, DAY),
    "begins in 60 s": (60, DAY),
    "begins in a day": (DAY, 9 * DAY),
    "inverted": (DAY, -DAY),
    "inverted in the past": (-DAY, -2 * DAY),
    "inverted in the future": (2 * DAY, DAY),
    "a span of 67 years": (-DAY, _HALF - 2 * DAY),
    "a span of more than 68 years": (-10 * DAY, _HALF - 5 * DAY),
}


def _dated(m: Making, begin: int, end: int) -> None:
    m.resign(m.pick(), inception=m.now + begin, expiration=m.now + end)


for _name, (_begin, _end) in _DATES.items():
    variant("dates", _name, SETS, SIGNED)(partial(_dated, begin=_begin, end=_end))


@variant("dates", "both zero", SETS, SIGNED)
def _zero(m: Making) -> None:
    m.resign(m.pick(), inception=0, expiration=0)


@variant("dates", "from 0 to the last", SETS, SIGNED)
def _ever(m: Making) -> None:
    m.resign(m.pick(), inception=0, expiration=0xFFFFFFFF)


def _keys_dated(m: Making, begin: int, end: int) -> None:
    def tamper(rrset: Signed) -> None:
        key = m.zone.ksks[0]
        rrset.sigs = [key.sign(rrset, m.zone.apex, m.now + begin, m.now + end)]

    m.zone.tampers[m.zone.apex, int(DNSKEY)] = tamper


for _name in ("expired a day ago", "expired 60 s ago", "begins in a day", "expires in 60 s"):
    _begin, _end = _DATES[_name]
    variant("dates", f"of the DNSKEY RRset: {_name}", ZONE, SINGLE)(
        partial(_keys_dated, begin=_begin, end=_end)
    )
