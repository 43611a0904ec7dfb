"""Several signatures over one RRset, some of them bad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from dns.rdtypes.ANY.RRSIG import RRSIG

from contract.keys import DAY, ZSK, Signed, key_of
from contract.kinds import ANSWERED, SIGNED, SINGLE, Making, Stage, broken, variant

SETS = Stage.SETS


_WORSE: Final[dict[str, Callable[[Making, Signed], RRSIG]]] = {
    "broken": lambda m, r: broken(m.rrsig(r)),
    "expired": lambda m, r: m.rrsig(r, inception=m.now - 9 * DAY, expiration=m.now - DAY),
    "not yet valid": lambda m, r: m.rrsig(r, inception=m.now + DAY, expiration=m.now + 9 * DAY),
    "by a key that is not shown": lambda m, r: m.rrsig(r, key=key_of(77)),
    "by an unknown algorithm": lambda m, r: m.rrsig(r, key=key_of(78, ZSK, 200)),
    "of an unknown algorithm, this key's tag": lambda m, r: m.rrsig(r, algorithm=200),
    "cut short": lambda m, r: _cut(m.rrsig(r)),
    "without octets": lambda m, r: _cut(m.rrsig(r), 0),
}


def _cut(rrsig: RRSIG, length: int = 63) -> RRSIG:
    made = rrsig.replace(signature=rrsig.signature[:length])
    assert isinstance(made, RRSIG)
    return made


def _several(m: Making, names: Sequence[str], good: bool) -> None:
    rrset = m.pick()
    made = [_WORSE[name](m, rrset) for name in names] + ([m.rrsig(rrset)] if good else [])
    m.rng.shuffle(made)
    rrset.sigs = made


for _name in _WORSE:
    variant("several signatures", _name, SETS, SIGNED)(
        partial(_several, names=(_name,), good=False)
    )
    variant("several signatures", f"{_name}, beside a good one", SETS, SIGNED)(
        partial(_several, names=(_name,), good=True)
    )
for _good in (False, True):
    variant("several signatures", f"all of these{', and a good one' * _good}", SETS, SIGNED)(
        partial(_several, names=tuple(_WORSE), good=_good)
    )
    variant("several signatures", f"expired and broken{', and a good one' * _good}", SETS, SIGNED)(
        partial(_several, names=("expired", "broken"), good=_good)
    )


@variant("several signatures", "the same one twice", SETS, SIGNED)
def _again(m: Making) -> None:
    m.pick().sigs *= 2


@variant("several signatures", "one for each RRset missing but the first", SETS, ANSWERED)
def _first_only(m: Making) -> None:
    for rrset in m.draft.rrsets[1:]:
        rrset.sigs = []


@variant("several signatures", "one RRset without", SETS, SIGNED)
def _without(m: Making) -> None:
    m.pick().sigs = []


@variant("several signatures", "made for another RRset", SETS, SINGLE)
def _borrowed(m: Making) -> None:
    other = m.zone.sign(m.zone.sets[m.zone.name("ns")][1])
    m.first().sigs = other.sigs
