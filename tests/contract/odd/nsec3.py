"""NSEC3 records one off, odd parameters, and many iterations."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import dns.name
import dns.rdata
import dns.rdtypes.ANY.NSEC3

from contract.kinds import (
    HASHED,
    PROVED,
    Making,
    Stage,
    Unfit,
    variant,
)
from contract.zone import NSEC3

ZONE, SETS = Stage.ZONE, Stage.SETS
_HASH: Final = 1 << 160


def _moved(m: Making, shift: int, part: str) -> None:
    """Another hash in one record of the proof, signed again."""
    rrset = m.denial()
    about = int.from_bytes(m.zone.hash(m.draft.name), "big")
    digest = ((about + shift) % _HASH).to_bytes(20, "big")
    if part == "owner":
        text = dns.rdata.from_text("IN", "NSEC3", "1 0 0 - 00 A").replace(next=digest).to_text()
        rrset.owner = m.zone.name(text.split()[4].lower())
    else:
        rrset.rdatas = [rrset.rdatas[0].replace(next=digest)]
    m.resign(rrset)


for _name, _shift in (("the name", 0), ("the name, one less", -1), ("the name, one more", 1)):
    for _part in ("owner", "next"):
        variant("nsec3", f"{_part}: hash of {_name}", SETS, PROVED, HASHED)(
            partial(_moved, shift=_shift, part=_part)
        )


def _own(m: Making, shift: int, part: str) -> None:
    """The hash in a record of the proof one off."""
    rrset = m.denial()
    rdata = rrset.rdatas[0]
    assert isinstance(rdata, dns.rdtypes.ANY.NSEC3.NSEC3)
    if part == "next":
        digest = (int.from_bytes(rdata.next, "big") + shift) % _HASH
        rrset.rdatas = [rdata.replace(next=digest.to_bytes(20, "big"))]
    else:
        held = dns.rdata.from_text("IN", "NSEC3", f"1 0 0 - {rrset.owner.labels[0].decode()} A")
        assert isinstance(held, dns.rdtypes.ANY.NSEC3.NSEC3)
        digest = (int.from_bytes(held.next, "big") + shift) % _HASH
        text = held.replace(next=digest.to_bytes(20, "big")).to_text()
        rrset.owner = m.zone.name(text.split()[4].lower())
    m.resign(rrset)


for _shift in (1, -1):
    for _part in ("owner", "next"):
        variant("nsec3", f"{_part} {_shift:+}", SETS, PROVED, HASHED)(
            partial(_own, shift=_shift, part=_part)
        )


def parameter(m: Making, every: bool, **fields: int | bytes) -> None:
    """Other parameters in one record of the proof or in all, signed again."""
    held = [r for r in m.draft.authority if r.rdtype == NSEC3]
    if not held:
        raise Unfit
    for rrset in held if every else [m.rng.choice(held)]:
        rrset.rdatas = [rrset.rdatas[0].replace(**fields)]
        m.resign(rrset)


_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "flags 2": {"flags": 2},
    "flags 3": {"flags": 3},
    "flags 128": {"flags": 128},
    "flags 255": {"flags": 255},
    "hash 0": {"algorithm": 0},
    "hash 2": {"algorithm": 2},
    "hash 255": {"algorithm": 255},
    "other salt": {"salt": b"\xaa"},
    "iterations 1 that are none": {"iterations": 1},
    "iterations 65535 that are none": {"iterations": 65_535},
    "next hash too short": {"next": b"\xff" * 19},
    "next hash too long": {"next": b"\xff" * 21},
}
for _name, _changed in _PARAMETERS.items():
    for _every in (False, True):
        variant("nsec3", f"{_name}, in {'all' if _every else 'one'}", SETS, PROVED, HASHED)(
            partial(parameter, every=_every, **_changed)
        )


@variant("nsec3", "owner that is no hash", SETS, PROVED, HASHED)
def _no_hash(m: Making) -> None:
    rrset = m.denial()
    rrset.owner = m.zone.name("zzzz")
    m.resign(rrset)


@variant("nsec3", "owner in upper case", SETS, PROVED, HASHED)
def _upper(m: Making) -> None:
    for rrset in m.draft.authority:
        if rrset.rdtype == NSEC3:
            label = rrset.owner.labels[0].upper()
            rrset.owner = dns.name.Name((label, *rrset.owner.labels[1:]))


@variant("nsec3", "owner too deep", SETS, PROVED, HASHED)
def _deep(m: Making) -> None:
    rrset = m.denial()
    rrset.owner = dns.name.Name((rrset.owner.labels[0], b"deep", *m.zone.apex.labels))
    m.resign(rrset)


@variant("nsec3", "made from a wildcard", SETS, PROVED, HASHED)
def _wild_nsec3(m: Making) -> None:
    rrset = m.denial()
    m.resign(rrset, labels=len(m.zone.apex) - 1)


def _hashing(m: Making, iterations: int, salt: bytes) -> None:
    m.zone.iterations, m.zone.salt = iterations, salt


for _iterations in (1, 10, 50, 51, 100, 101, 150, 151, 500, 2500):
    variant("iterations", f"{_iterations}", ZONE, PROVED, HASHED)(
        partial(_hashing, iterations=_iterations, salt=b"")
    )
for _salt in (1, 8, 255):
    variant("iterations", f"a salt of {_salt} octets", ZONE, PROVED, HASHED)(
        partial(_hashing, iterations=_salt % 3, salt=b"\xab" * _salt)
    )
