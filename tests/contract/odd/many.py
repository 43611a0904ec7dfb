"""Many signatures over one RRset: a validator has to give up somewhere (CVE-2023-50387)."""

from __future__ import annotations

from functools import partial

from dns.rdtypes.ANY.RRSIG import RRSIG

from contract.keys import DAY, key_of
from contract.kinds import SINGLE, Making, Stage, variant

SETS = Stage.SETS


def _many(m: Making, count: int, place: str) -> None:
    rrset = m.first()
    right = m.rrsig(rrset)
    wrong = [
        right.replace(signature=number.to_bytes(4, "big") + right.signature[4:])
        for number in range(count)
    ]
    made = [rrsig for rrsig in wrong if isinstance(rrsig, RRSIG)]
    if place:
        made.insert({"first": 0, "middle": count // 2, "last": count}[place], right)
    rrset.sigs = made


for _count in (3, 7, 9, 16, 40, 60, 200):
    for _place in ("", "first", "middle", "last"):
        variant(
            "many signatures",
            f"{_count} broken{', a good one ' * bool(_place)}{_place}",
            SETS,
            SINGLE,
        )(partial(_many, count=_count, place=_place))


@variant("many signatures", "20 by keys that are not shown, and a good one", SETS, SINGLE)
def _strangers(m: Making) -> None:
    rrset = m.first()
    rrset.sigs = [*(m.rrsig(rrset, key=key_of(900 + n)) for n in range(20)), m.rrsig(rrset)]


@variant("many signatures", "60 good ones", SETS, SINGLE)
def _all_good(m: Making) -> None:
    rrset = m.first()
    rrset.sigs = [m.rrsig(rrset, inception=m.now - DAY - n) for n in range(60)]
