"""Odd rcodes, with records and without."""

from __future__ import annotations

from functools import partial

from contract.kinds import (
    PROBED,
    Making,
    Stage,
    variant,
)

WIRE, SETS = Stage.WIRE, Stage.SETS


def _rcode(m: Making, rcode: int) -> None:
    m.draft.rcode = rcode & 15
    if rcode > 15:
        for opt in m.draft.opts:
            opt.extended = rcode >> 4


for _code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 23, 3841):
    variant("rcode", f"rcode {_code}", WIRE, PROBED)(partial(_rcode, rcode=_code))


@variant("rcode", "error without records", SETS)
def _bare_error(m: Making) -> None:
    m.draft.answer, m.draft.authority, m.draft.additional = [], [], []
    m.draft.rcode = m.rng.choice((1, 2, 4, 5, 9))


@variant("rcode", "NOERROR without records", SETS)
def _empty(m: Making) -> None:
    m.draft.answer, m.draft.authority, m.draft.additional = [], [], []
    m.draft.rcode = 0
