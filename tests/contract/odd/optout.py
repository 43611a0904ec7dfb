"""Opt-out, as it should be and not."""

from __future__ import annotations

from functools import partial
from typing import Final

from contract.kinds import (
    DENIED,
    HASHED,
    PROVED,
    WILD,
    Making,
    Stage,
    variant,
)
from contract.odd.nsec3 import parameter
from contract.zone import SOA, Denial

ZONE, SETS = Stage.ZONE, Stage.SETS


_OUT: Final = frozenset({Denial.OPT_OUT})
for _base in (*DENIED, *WILD, "bare", "secure", "ds"):
    variant("opt-out", f"as it should be, {_base}", ZONE, (_base,), _OUT)(lambda _m: None)


@variant("opt-out", "an empty non-terminal in the gap", ZONE, ("ent",), _OUT)
def _gap(m: Making) -> None:
    """It exists through an insecure delegation alone, so the signer left it out (RFC 5155 7.1)."""
    del m.zone.sets[m.zone.name("a.b.ent")]
    m.zone.delegate("d.b.ent", m.child.address, [])


def _opted(m: Making, flag: int) -> None:
    parameter(m, every=True, flags=flag)


for _flag in (0, 1):
    variant("opt-out", f"flag {'set' if _flag else 'not set'} in all", SETS, PROVED, HASHED)(
        partial(_opted, flag=_flag)
    )
    variant("opt-out", f"flag {'set' if _flag else 'not set'} in one", SETS, PROVED, HASHED)(
        partial(parameter, every=False, flags=_flag)
    )


@variant("opt-out", "a signed delegation said to be in the gap", SETS, ("ds", "secure"), _OUT)
def _hidden_ds(m: Making) -> None:
    gap = [m.zone.nsec3(m.zone.apex), m.zone.nsec3(m.zone.name("bare"))]
    soa = [m.zone.sign(m.zone.sets[m.zone.apex][SOA])] if m.base == "ds" else []
    kept = [r for r in m.draft.authority if r.rdtype == 2]
    m.draft.answer, m.draft.authority = [], [*kept, *soa, *gap]
