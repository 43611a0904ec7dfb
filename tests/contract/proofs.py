"""Oddities of proofs: wildcards, NSEC, NSEC3, opt-out, and what of a denial is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import dns.name
import dns.rcode
import dns.rdata
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG

from contract.keys import Signed
from contract.kinds import (
    DENIED,
    HASHED,
    LISTED,
    WILD,
    Making,
    Stage,
    Unfit,
    broken,
    variant,
)
from contract.zone import NSEC, NSEC3, SOA, A, Denial

ZONE, SETS = Stage.ZONE, Stage.SETS
_PROVED: Final = (*DENIED, *WILD, "bare")
_HASH: Final = 1 << 160

# --- wildcards --------------------------------------------------------------------------------

for _base in (*WILD, "wild-nodata", "asterisk"):
    variant("wildcard", f"as it should be, {_base}", ZONE, (_base,))(lambda _m: None)


def _labels(m: Making, more: int) -> None:
    rrset = m.first()
    m.resign(rrset, labels=max(rrset.sigs[0].labels + more, 0))


for _more in (1, 2, 4, -1, -2):
    variant("wildcard", f"labels {_more:+}", SETS, (*WILD, "asterisk"))(
        partial(_labels, more=_more)
    )
    variant("wildcard", f"labels {_more:+}, no wildcard", SETS, ("positive", "text", "soa"))(
        partial(_labels, more=_more)
    )


@variant("wildcard", "labels changed after signing", SETS, WILD)
def _relabelled(m: Making) -> None:
    rrset = m.first()
    rrsig = rrset.sigs[0].replace(labels=rrset.sigs[0].labels + m.rng.choice((1, -1)))
    rrset.sigs = [rrsig] if isinstance(rrsig, RRSIG) else []


@variant("wildcard", "signed under its own name", SETS, WILD)
def _own_name(m: Making) -> None:
    rrset = m.first()
    rrset.over = None
    m.resign(rrset)


@variant("wildcard", "no proof", SETS, WILD)
def _unproved(m: Making) -> None:
    m.draft.authority = []


@variant("wildcard", "no proof, under its own name", SETS, WILD)
def _unproved_own(m: Making) -> None:
    _own_name(m)
    m.draft.authority = []


@variant("wildcard", "a proof of another name", SETS, WILD)
def _other_proof(m: Making) -> None:
    other = m.zone.name("zzz.www")
    m.draft.authority = [
        m.zone.nsec(other) if m.zone.denial is Denial.NSEC else m.zone.nsec3(other)
    ]


@variant("wildcard", "answers for a name that exists", SETS, ("positive",))
def _existing(m: Making) -> None:
    _expanded(m, m.zone.name("*"))


@variant("wildcard", "answers for a name below one that exists", SETS, ("nxdomain",))
def _too_far(m: Making) -> None:
    _expanded(m, m.zone.name("*"))
    m.draft.rcode = 0


@variant("wildcard", "answers for an empty non-terminal", SETS, ("ent",))
def _for_ent(m: Making) -> None:
    _expanded(m, m.zone.name("*.ent"))


def _expanded(m: Making, wildcard: dns.name.Name) -> None:
    """An answer by a wildcard that the zone does not have, well signed, with the proof there is."""
    rdata = dns.rdata.from_text("IN", "A", "192.0.2.99")
    made = Signed(m.draft.name, int(A), 300, [rdata], over=wildcard)
    m.resign(made)
    m.draft.answer = [made]
    m.draft.authority = [r for r in m.draft.authority if r.rdtype in {NSEC, NSEC3}]


# --- NSEC -------------------------------------------------------------------------------------


def _nsec(m: Making, owner: Callable[[Making, Signed], dns.name.Name | None], part: str) -> None:
    """Another owner or next name in one record of the proof, signed again."""
    rrset = m.denial()
    name = owner(m, rrset)
    if name is None:
        return
    if part == "owner":
        rrset.owner = name
    else:
        rrset.rdatas = [rrset.rdatas[0].replace(next=name)]
    m.resign(rrset)


def _predecessor(name: dns.name.Name) -> dns.name.Name | None:
    """A name a little before, at the same place."""
    first = name.labels[0]
    if not first or first[-1:] <= b"!":
        return None
    shorter = first[:-1] + bytes([first[-1] - 1]) + b"\xff"
    return dns.name.Name((shorter, *name.labels[1:]))


def _successor(name: dns.name.Name) -> dns.name.Name:
    return dns.name.Name((b"\0", *name.labels))


_NEXTS: Final[dict[str, Callable[[Making, Signed], dns.name.Name | None]]] = {
    "the name itself": lambda m, _r: m.draft.name,
    "just before the name": lambda m, _r: _predecessor(m.draft.name),
    "just behind the name": lambda m, _r: _successor(m.draft.name),
    "the parent of the name": lambda m, _r: m.draft.name.parent(),
    "the apex": lambda m, _r: m.zone.apex,
    "the wildcard beside the name": lambda m, _r: dns.name.Name((b"*", *m.draft.name.labels[1:])),
    "a name out of the zone": lambda m, _r: m.sibling.apex,
    "the root": lambda _m, _r: dns.name.root,
    "its own owner": lambda _m, r: r.owner,
}


for _name, _which in _NEXTS.items():
    variant("nsec", f"next name: {_name}", SETS, _PROVED, LISTED)(
        partial(_nsec, owner=_which, part="next")
    )
    variant("nsec", f"owner: {_name}", SETS, _PROVED, LISTED)(
        partial(_nsec, owner=_which, part="owner")
    )


def _bitmap(m: Making, types: str) -> None:
    rrset = m.denial()
    rdata = rrset.rdatas[0]
    if isinstance(rdata, dns.rdtypes.ANY.NSEC.NSEC):
        made = dns.rdata.from_text("IN", "NSEC", f"{rdata.next} {types}")
    else:
        assert isinstance(rdata, dns.rdtypes.ANY.NSEC3.NSEC3)
        head, old = rdata.to_text().split()[:5], rdata
        made = dns.rdata.from_text("IN", "NSEC3", f"{' '.join(head)} {types}")
        assert old.next == getattr(made, "next", None)
    rrset.rdatas = [made]
    m.resign(rrset)


_TYPES: Final = {
    "of nothing": "",
    "of all that is asked": "A AAAA TXT DS RRSIG NSEC",
    "of an alias": "CNAME RRSIG NSEC",
    "of a delegation": "NS RRSIG NSEC",
    "of a signed delegation": "NS DS RRSIG NSEC",
    "of an apex": "NS SOA RRSIG NSEC DNSKEY",
    "of a DNAME": "DNAME RRSIG NSEC",
    "of NXNAME": "RRSIG NSEC TYPE128",
    "of a DNAME at the apex": "NS SOA DNAME RRSIG NSEC DNSKEY",
}
for _name, _text in _TYPES.items():
    variant("bitmap", _name, SETS, _PROVED)(partial(_bitmap, types=_text))


@variant("nsec", "made from a wildcard", SETS, _PROVED, LISTED)
def _wild_nsec(m: Making) -> None:
    rrset = m.denial()
    if len(rrset.owner) > len(m.zone.apex):
        m.resign(rrset, labels=len(rrset.owner) - 2)


@variant("nsec", "the apex's gap round the whole zone", SETS, ("nxdomain", "wild"), LISTED)
def _round(m: Making) -> None:
    rdata = dns.rdata.from_text("IN", "NSEC", f"{m.zone.apex} NS SOA RRSIG NSEC DNSKEY")
    made = Signed(m.zone.apex, int(NSEC), 300, [rdata])
    m.resign(made)
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == SOA] + [made]


@variant("nsec", "minimal, around each name (RFC 4470)", SETS, ("nxdomain",), LISTED)
def _minimal(m: Making) -> None:
    names = [m.draft.name, dns.name.Name((b"*", *m.draft.name.labels[1:]))]
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == SOA]
    for name in names:
        before = _predecessor(name)
        assert before is not None
        rdata = dns.rdata.from_text("IN", "NSEC", f"{_successor(name)} RRSIG NSEC")
        made = Signed(before, int(NSEC), 300, [rdata])
        m.resign(made)
        m.draft.authority.append(made)


@variant("nsec", "black lie: NODATA for what is not there (RFC 9824)", SETS, ("nxdomain",), LISTED)
def _black_lie(m: Making) -> None:
    rdata = dns.rdata.from_text("IN", "NSEC", f"{_successor(m.draft.name)} RRSIG NSEC TYPE128")
    made = Signed(m.draft.name, int(NSEC), 300, [rdata])
    m.resign(made)
    m.draft.rcode = m.rng.choice((0, 3))
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == SOA] + [made]


# --- NSEC3 ------------------------------------------------------------------------------------


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
        variant("nsec3", f"{_part}: hash of {_name}", SETS, _PROVED, HASHED)(
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
        variant("nsec3", f"{_part} {_shift:+}", SETS, _PROVED, HASHED)(
            partial(_own, shift=_shift, part=_part)
        )


def _parameter(m: Making, every: bool, **fields: int | bytes) -> None:
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
        variant("nsec3", f"{_name}, in {'all' if _every else 'one'}", SETS, _PROVED, HASHED)(
            partial(_parameter, every=_every, **_changed)
        )


@variant("nsec3", "owner that is no hash", SETS, _PROVED, HASHED)
def _no_hash(m: Making) -> None:
    rrset = m.denial()
    rrset.owner = m.zone.name("zzzz")
    m.resign(rrset)


@variant("nsec3", "owner in upper case", SETS, _PROVED, HASHED)
def _upper(m: Making) -> None:
    for rrset in m.draft.authority:
        if rrset.rdtype == NSEC3:
            label = rrset.owner.labels[0].upper()
            rrset.owner = dns.name.Name((label, *rrset.owner.labels[1:]))


@variant("nsec3", "owner too deep", SETS, _PROVED, HASHED)
def _deep(m: Making) -> None:
    rrset = m.denial()
    rrset.owner = dns.name.Name((rrset.owner.labels[0], b"deep", *m.zone.apex.labels))
    m.resign(rrset)


@variant("nsec3", "made from a wildcard", SETS, _PROVED, HASHED)
def _wild_nsec3(m: Making) -> None:
    rrset = m.denial()
    m.resign(rrset, labels=len(m.zone.apex) - 1)


def _hashing(m: Making, iterations: int, salt: bytes) -> None:
    m.zone.iterations, m.zone.salt = iterations, salt


for _iterations in (1, 10, 50, 51, 100, 101, 150, 151, 500, 2500):
    variant("iterations", f"{_iterations}", ZONE, _PROVED, HASHED)(
        partial(_hashing, iterations=_iterations, salt=b"")
    )
for _salt in (1, 8, 255):
    variant("iterations", f"a salt of {_salt} octets", ZONE, _PROVED, HASHED)(
        partial(_hashing, iterations=_salt % 3, salt=b"\xab" * _salt)
    )

# --- opt-out ----------------------------------------------------------------------------------

_OUT: Final = frozenset({Denial.OPT_OUT})
for _base in (*DENIED, *WILD, "bare", "secure", "ds"):
    variant("opt-out", f"as it should be, {_base}", ZONE, (_base,), _OUT)(lambda _m: None)


@variant("opt-out", "an empty non-terminal in the gap", ZONE, ("ent",), _OUT)
def _gap(m: Making) -> None:
    """It exists through an insecure delegation alone, so the signer left it out (RFC 5155 7.1)."""
    del m.zone.sets[m.zone.name("a.b.ent")]
    m.zone.delegate("d.b.ent", m.child.address, [])


def _opted(m: Making, flag: int) -> None:
    _parameter(m, every=True, flags=flag)


for _flag in (0, 1):
    variant("opt-out", f"flag {'set' if _flag else 'not set'} in all", SETS, _PROVED, HASHED)(
        partial(_opted, flag=_flag)
    )
    variant("opt-out", f"flag {'set' if _flag else 'not set'} in one", SETS, _PROVED, HASHED)(
        partial(_parameter, every=False, flags=_flag)
    )


@variant("opt-out", "a signed delegation said to be in the gap", SETS, ("ds", "secure"), _OUT)
def _hidden_ds(m: Making) -> None:
    gap = [m.zone.nsec3(m.zone.apex), m.zone.nsec3(m.zone.name("bare"))]
    soa = [m.zone.sign(m.zone.sets[m.zone.apex][SOA])] if m.base == "ds" else []
    kept = [r for r in m.draft.authority if r.rdtype == 2]
    m.draft.answer, m.draft.authority = [], [*kept, *soa, *gap]


# --- parts of a denial ------------------------------------------------------------------------


def _parts(m: Making, keep: Callable[[Signed], bool]) -> None:
    m.draft.authority = [r for r in m.draft.authority if keep(r)]


_KEPT: Final[dict[str, Callable[[Signed], bool]]] = {
    "no SOA": lambda r: r.rdtype != SOA,
    "nothing but the SOA": lambda r: r.rdtype == SOA,
    "nothing": lambda _r: False,
}
for _name, _keep in _KEPT.items():
    variant("denial", _name, SETS, DENIED)(partial(_parts, keep=_keep))


def _one_less(m: Making, at: int) -> None:
    held = [r for r in m.draft.authority if r.rdtype in {NSEC, NSEC3}]
    if not held:
        raise Unfit
    gone = held[at % len(held)]
    m.draft.authority = [r for r in m.draft.authority if r is not gone]


for _at in (0, 1, 2):
    variant("denial", f"record {_at} of the proof missing", SETS, (*DENIED, "bare"))(
        partial(_one_less, at=_at)
    )


@variant("denial", "SOA without signature", SETS, DENIED)
def _bare_soa(m: Making) -> None:
    m.pick(int(SOA)).sigs = []


@variant("denial", "SOA with a broken signature", SETS, DENIED)
def _broken_soa(m: Making) -> None:
    rrset = m.pick(int(SOA))
    rrset.sigs = [broken(rrset.sigs[0])]


@variant("denial", "a record of the proof without signature", SETS, DENIED)
def _bare_proof(m: Making) -> None:
    m.denial().sigs = []


@variant("denial", "a record of the proof with a broken signature", SETS, DENIED)
def _broken_proof(m: Making) -> None:
    rrset = m.denial()
    rrset.sigs = [broken(rrset.sigs[0])]


def _soa_of(m: Making, whose: Callable[[Making], Signed]) -> None:
    m.draft.authority = [whose(m), *(r for r in m.draft.authority if r.rdtype != SOA)]


for _name, _whose in (
    ("the parent", lambda m: m.parent.sign(m.parent.sets[m.parent.apex][SOA])),
    ("the child", lambda m: m.child.sign(m.child.sets[m.child.apex][SOA])),
    ("the sibling", lambda m: m.sibling.sign(m.sibling.sets[m.sibling.apex][SOA])),
    ("the root", lambda m: m.root.sign(m.root.sets[m.root.apex][SOA])),
):
    variant("denial", f"SOA of {_name}", SETS, DENIED)(partial(_soa_of, whose=_whose))


@variant("denial", "the other rcode", SETS, DENIED)
def _other_rcode(m: Making) -> None:
    m.draft.rcode = 3 - m.draft.rcode


@variant(
    "denial",
    "NXDOMAIN beside an answer",
    SETS,
    ("positive", "text", "alias", "wild", "dname", "out"),
)
def _beside(m: Making) -> None:
    m.draft.rcode = int(dns.rcode.NXDOMAIN)


@variant("denial", "the whole chain", SETS, DENIED)
def _chain(m: Making) -> None:
    names = [name for name in m.zone.sets if m.zone.cut(name) in {None, name}]
    make = m.zone.nsec if m.zone.denial is Denial.NSEC else m.zone.nsec3
    for name in names:
        made = make(name)
        if all(made.owner != r.owner for r in m.draft.authority):
            m.draft.authority.append(made)


@variant("denial", "of a name that is there", SETS, ("positive",))
def _lie(m: Making) -> None:
    other = m.zone.reply(m.zone.name("nope"), int(A))
    m.draft.answer, m.draft.authority, m.draft.rcode = [], other.authority, other.rcode


def _other_name(m: Making, text: str, rdtype: int) -> None:
    other = m.zone.reply(m.zone.name(text), rdtype)
    m.draft.authority, m.draft.rcode = other.authority, other.rcode


for _name, _text in (
    ("a name beside", "zzz"),
    ("a name below www", "x.www"),
    ("another NODATA", "ns"),
):
    variant("denial", f"the proof of {_name}", SETS, ("nxdomain", "nodata"))(
        partial(_other_name, text=_text, rdtype=28)
    )


@variant("denial", "NSEC beside NSEC3", SETS, DENIED, HASHED)
def _mixed(m: Making) -> None:
    """A zone has one kind (RFC 5155 10.4)."""
    rdata = dns.rdata.from_text("IN", "NSEC", f"{m.zone.name('zz')} NS SOA RRSIG NSEC DNSKEY")
    made = Signed(m.zone.apex, int(NSEC), 300, [rdata])
    m.resign(made)
    m.draft.authority.append(made)
