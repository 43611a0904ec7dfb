"""Signatures by others than the zone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import dns.name

from contract.keys import Key
from contract.kinds import SIGNED, Making, Stage, variant

SETS = Stage.SETS


_SIGNERS: Final[dict[str, Callable[[Making], tuple[dns.name.Name, Key]]]] = {
    "the root": lambda m: (m.root.apex, m.root.zsks[0]),
    "the parent": lambda m: (m.parent.apex, m.parent.zsks[0]),
    "the sibling": lambda m: (m.sibling.apex, m.sibling.zsks[0]),
    "the child": lambda m: (m.child.apex, m.child.zsks[0]),
    "itself, the owner": lambda m: (m.draft.name, m.zone.zsks[0]),
    "a name below": lambda m: (m.zone.name("nope"), m.zone.zsks[0]),
    "the root, by the zone's key": lambda m: (m.root.apex, m.zone.zsks[0]),
    "the parent, by the zone's key": lambda m: (m.parent.apex, m.zone.zsks[0]),
    "the zone, by the parent's key": lambda m: (m.zone.apex, m.parent.zsks[0]),
    "the zone, by the child's key": lambda m: (m.zone.apex, m.child.zsks[0]),
}


def _by(m: Making, who: Callable[[Making], tuple[dns.name.Name, Key]], keep: bool) -> None:
    signer, key = who(m)
    rrset = m.pick()
    made = m.rrsig(rrset, signer=signer, key=key)
    rrset.sigs = [made, *rrset.sigs] if keep else [made]


for _name, _who in _SIGNERS.items():
    variant("signer", _name, SETS, SIGNED)(partial(_by, who=_who, keep=False))
    variant("signer", f"{_name}, beside the right one", SETS, SIGNED)(
        partial(_by, who=_who, keep=True)
    )


@variant("signer", "the zone's KSK", SETS, SIGNED)
def _by_ksk(m: Making) -> None:
    m.resign(m.pick(), key=m.zone.ksks[0])


@variant("signer", "everything by the child", SETS, ("positive", "nxdomain", "nodata"))
def _all_by_child(m: Making) -> None:
    for rrset in m.draft.rrsets:
        m.resign(rrset, signer=m.child.apex, key=m.child.zsks[0])
