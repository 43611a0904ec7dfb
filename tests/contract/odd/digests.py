"""DS records of odd digests at the parent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import dns.rdata
import dns.rdtypes.ANY.DS

from contract.keys import KSK, key_of
from contract.kinds import PLAIN, Making, Stage, variant
from contract.zone import DS

ZONE, SETS = Stage.ZONE, Stage.SETS
_CNAME, _DNAME = 5, 39


_Digests = Callable[[Making, dns.rdtypes.ANY.DS.DS], list[dns.rdata.Rdata]]


def _with(
    ds: dns.rdtypes.ANY.DS.DS, kind: int, digest: bytes, **fields: int
) -> dns.rdtypes.ANY.DS.DS:
    text = f"{ds.key_tag} {ds.algorithm} 253 {digest.hex() or '00'}"
    made = dns.rdata.from_text("IN", "DS", text)
    assert isinstance(made, dns.rdtypes.ANY.DS.DS)
    # Past the constructor, which knows how long a digest has to be.
    for name, value in ({"digest_type": kind, "digest": digest} | fields).items():
        object.__setattr__(made, name, value)
    return made


_ODD: Final[dict[str, _Digests]] = {
    "type 0": lambda _m, d: [_with(d, 0, d.digest)],
    "type 0, one octet of 0": lambda _m, d: [_with(d, 0, b"\0")],
    "type 3 (GOST)": lambda _m, d: [_with(d, 3, d.digest)],
    "type 5": lambda _m, d: [_with(d, 5, d.digest)],
    "type 200": lambda _m, d: [_with(d, 200, d.digest)],
    "SHA-256, 31 octets": lambda _m, d: [_with(d, 2, d.digest[:31])],
    "SHA-256, 33 octets": lambda _m, d: [_with(d, 2, d.digest + b"x")],
    "SHA-256, 1 octet": lambda _m, d: [_with(d, 2, d.digest[:1])],
    "SHA-384, 32 octets": lambda _m, d: [_with(d, 4, d.digest)],
    "SHA-1, 32 octets": lambda _m, d: [_with(d, 1, d.digest)],
    "another digest": lambda _m, d: [_with(d, 2, bytes(32))],
    "another tag": lambda _m, d: [_with(d, 2, d.digest, key_tag=d.key_tag ^ 1)],
    "another algorithm": lambda _m, d: [_with(d, 2, d.digest, algorithm=8)],
    "an unknown algorithm": lambda _m, d: [_with(d, 2, d.digest, algorithm=200)],
    "SHA-1": lambda m, _d: [m.zone.ksks[0].ds(m.zone.apex, "SHA1")],
    "SHA-384": lambda m, _d: [m.zone.ksks[0].ds(m.zone.apex, "SHA384")],
    "SHA-1, wrong": lambda _m, d: [_with(d, 1, bytes(20))],
    "SHA-384, wrong": lambda _m, d: [_with(d, 4, bytes(48))],
}


def _digested(m: Making, name: str, beside: bool) -> None:
    right = m.zone.ksks[0].ds(m.zone.apex)
    made = _ODD[name](m, right) + ([right] if beside else [])
    m.rng.shuffle(made)
    m.parent.put(m.zone.apex, made)


for _name in _ODD:
    variant("digest", _name, ZONE, PLAIN)(partial(_digested, name=_name, beside=False))
    variant("digest", f"{_name}, beside a good one", ZONE, PLAIN)(
        partial(_digested, name=_name, beside=True)
    )


def _pair(m: Making, names: Sequence[str]) -> None:
    right = m.zone.ksks[0].ds(m.zone.apex)
    m.parent.put(m.zone.apex, [made for name in names for made in _ODD[name](m, right)])


for _names in (
    ("SHA-1", "SHA-384, wrong"),
    ("SHA-1", "another digest"),
    ("SHA-384", "another digest"),
    ("SHA-384", "SHA-1, wrong"),
    ("SHA-1", "type 200"),
    ("type 0", "type 200"),
    ("SHA-256, 31 octets", "type 200"),
    ("SHA-1", "SHA-256, 31 octets"),
):
    variant("digest", " and ".join(_names), ZONE, PLAIN)(partial(_pair, names=_names))


@variant("digest", "of 40 keys that are not shown, and the good one", ZONE, PLAIN)
def _forty(m: Making) -> None:
    ds = [key_of(900 + n, KSK).ds(m.zone.apex) for n in range(40)]
    m.parent.put(m.zone.apex, [*ds, m.zone.ksks[0].ds(m.zone.apex)])


@variant("digest", "none at all", ZONE, PLAIN)
def _none(m: Making) -> None:
    """An insecure delegation to a zone that is signed all the same."""
    del m.parent.sets[m.zone.apex][int(DS)]


@variant("digest", "of a DS answer: odd ones beside the good one", SETS, ("ds", "secure"))
def _in_answer(m: Making) -> None:
    rrset = m.first(int(DS))
    right = rrset.rdatas[0]
    assert isinstance(right, dns.rdtypes.ANY.DS.DS)
    rrset.rdatas += [_with(right, kind, right.digest[:31]) for kind in (0, 2, 200)]
    m.resign(rrset)
