"""Oddities of signatures and keys: dates, signers, tags, algorithms, several and many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import dns.name
from dns.rdtypes.ANY.RRSIG import RRSIG

from contract.keys import DAY, KSK, REVOKED, ZSK, Key, Signed, key_of, twins
from contract.kinds import ANSWERED, DENIED, PLAIN, SINGLE, Making, Stage, broken, variant
from contract.zone import DNSKEY

ZONE, SETS, RECORDS = Stage.ZONE, Stage.SETS, Stage.RECORDS
SIGNED: Final = (*PLAIN, "chain", "dname", "secure", "bare", "no-ds", "ent")
_HALF: Final = 1 << 31

# --- dates ------------------------------------------------------------------------------------

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

# --- signers ----------------------------------------------------------------------------------

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


# --- fields of a signature --------------------------------------------------------------------


def _fields(m: Making, **fields: int) -> None:
    m.resign(m.pick(), **fields)


for _name, _tag in (("tag 0", 0), ("tag 65535", 65_535)):
    variant("tags", f"signed with {_name}", SETS, SIGNED)(partial(_fields, tag=_tag))


@variant("tags", "signed with a tag one off", SETS, SIGNED)
def _off(m: Making) -> None:
    m.resign(m.pick(), tag=(m.zone.zsks[0].tag + m.rng.choice((1, -1))) % 65_536)


@variant("tags", "signed by a key that is not shown", SETS, SIGNED)
def _hidden(m: Making) -> None:
    m.resign(m.pick(), key=key_of(77))


@variant("tags", "another one shown with the same tag", ZONE, SINGLE)
def _collision(m: Making) -> None:
    first, second = m.rng.choice(twins())
    m.zone.zsks, m.zone.shown = [first], [second]


@variant("tags", "two with the same tag, both sign", ZONE, PLAIN)
def _both(m: Making) -> None:
    m.zone.zsks = list(m.rng.choice(twins()))


@variant("tags", "same tag, signed by the one that is not shown", ZONE, SINGLE)
def _swapped(m: Making) -> None:
    first, second = m.rng.choice(twins())
    m.zone.zsks = [first]
    m.zone.tampers[m.zone.apex, int(DNSKEY)] = partial(_showing, m, second)


def _showing(m: Making, key: Key, rrset: Signed) -> None:
    rrset.rdatas = [m.zone.ksks[0].dnskey, key.dnskey]
    rrset.sigs = [m.zone.ksks[0].sign(rrset, m.zone.apex, m.now - DAY, m.now + DAY)]


@variant("tags", "the KSK's tag is shared", ZONE, SINGLE)
def _shared(m: Making) -> None:
    first, second = m.rng.choice(twins())
    m.zone.ksks = [first.with_(flags=KSK)]
    m.zone.shown = [second.with_(flags=KSK)]


@variant("tags", "the key that signs is revoked", ZONE, SINGLE)
def _revoked(m: Making) -> None:
    m.zone.zsks = [m.zone.zsks[0].with_(flags=REVOKED)]


@variant("tags", "the key that signs is no zone key", ZONE, SINGLE)
def _no_zone_key(m: Making) -> None:
    m.zone.zsks = [m.zone.zsks[0].with_(flags=0)]


@variant("tags", "the key that signs has protocol 2", ZONE, SINGLE)
def _protocol(m: Making) -> None:
    m.zone.zsks = [m.zone.zsks[0].with_(protocol=2)]


@variant("tags", "the key that signs has odd flags", ZONE, SINGLE)
def _odd_flags(m: Making) -> None:
    m.zone.zsks = [m.zone.zsks[0].with_(flags=ZSK | 0x4002)]


@variant("tags", "one key for all", ZONE, PLAIN)
def _combined(m: Making) -> None:
    m.zone.zsks = [m.zone.ksks[0]]


@variant("tags", "the SEP bit is missing", ZONE, PLAIN)
def _no_sep(m: Making) -> None:
    m.zone.ksks = [m.zone.ksks[0].with_(flags=ZSK)]
    _anchored(m)


# --- several signatures -----------------------------------------------------------------------

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


# --- many signatures --------------------------------------------------------------------------


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


# --- algorithms -------------------------------------------------------------------------------


def _anchored(m: Making) -> None:
    """The DS records of the zone are those of its KSKs."""
    m.parent.put(m.zone.apex, [key.ds(m.zone.apex) for key in m.zone.ksks])


def _algorithm(m: Making, algorithms: Sequence[int]) -> None:
    numbers = [(m.rng.randrange(1 << 30), algorithm) for algorithm in algorithms]
    m.zone.ksks = [key_of(number, KSK, algorithm) for number, algorithm in numbers]
    m.zone.zsks = [key_of(number + 1, ZSK, algorithm) for number, algorithm in numbers]
    _anchored(m)


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
