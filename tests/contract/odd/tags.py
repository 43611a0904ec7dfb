"""Key tags and key sets: collisions, keys that may not sign."""

from __future__ import annotations

from functools import partial

from contract.keys import DAY, KSK, REVOKED, ZSK, Key, Signed, key_of, twins
from contract.kinds import PLAIN, SIGNED, SINGLE, Making, Stage, variant
from contract.zone import DNSKEY

ZONE, SETS = Stage.ZONE, Stage.SETS


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
    m.anchor()
