"""Zones signed by every algorithm, known or not, alone and beside a good one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from contract.keys import KSK, ZSK, key_of
from contract.kinds import DENIED, PLAIN, Making, Stage, variant

ZONE = Stage.ZONE


def _algorithm(m: Making, algorithms: Sequence[int]) -> None:
    numbers = [(m.rng.randrange(1 << 30), algorithm) for algorithm in algorithms]
    m.zone.ksks = [key_of(number, KSK, algorithm) for number, algorithm in numbers]
    m.zone.zsks = [key_of(number + 1, ZSK, algorithm) for number, algorithm in numbers]
    m.anchor()


_MIXED: Final = (*PLAIN, *DENIED)
for _number in (1, 3, 5, 6, 7, 8, 10, 12, 13, 14, 15, 16, 17, 23, 200, 252, 253, 254):
    variant("algorithm", f"{_number} alone", ZONE, _MIXED)(
        partial(_algorithm, algorithms=(_number,))
    )
for _number in (3, 5, 8, 10, 12, 14, 15, 16, 17, 200, 253):
    variant("algorithm", f"13 and {_number}", ZONE, _MIXED)(
        partial(_algorithm, algorithms=(13, _number))
    )


def _one_of_two(m: Making, other: int, signs: int, anchored: Sequence[int]) -> None:
    """Two algorithms in the DNSKEY RRset, and the data signed by one of them alone."""
    _algorithm(m, (13, other))
    m.zone.shown = [key for key in m.zone.zsks if key.algorithm != signs]
    m.zone.zsks = [key for key in m.zone.zsks if key.algorithm == signs]
    ds = [key.ds(m.zone.apex) for key in m.zone.ksks if key.algorithm in anchored]
    m.parent.put(m.zone.apex, list(ds))


for _other in (8, 15, 200):
    for _signs in (13, _other):
        for _anchors in ((13,), (_other,), (13, _other)):
            variant(
                "algorithm",
                f"13 and {_other} shown, {_signs} signs, DS of {' and '.join(map(str, _anchors))}",
                ZONE,
                _MIXED,
            )(partial(_one_of_two, other=_other, signs=_signs, anchored=_anchors))
