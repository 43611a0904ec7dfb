"""CNAME records: chains, circles, and what stands behind them."""

from __future__ import annotations

import itertools
from typing import Final

import dns.rdata

from contract.keys import Signed
from contract.kinds import EVERY, Making, Stage, Unfit, broken, cname, variant
from contract.zone import SOA, A

ZONE, SETS = Stage.ZONE, Stage.SETS
_CNAME = 5
_ALIASES: Final = ("alias", "chain", "out", "plain", "gone", "wild-alias")
_DNAMES: Final = ("dname", "dname-out")


def _last(m: Making) -> Signed:
    if not m.draft.answer or not m.draft.answer[-1].sigs:
        raise Unfit
    return m.draft.answer[-1]


@variant("alias", "nothing behind it", SETS, _ALIASES)
def _exclusive(m: Making) -> None:
    m.draft.answer = m.draft.answer[:1]
    m.draft.authority, m.draft.rcode = [], 0


@variant("alias", "unsigned", SETS, _ALIASES)
def _unsigned(m: Making) -> None:
    m.first(_CNAME).sigs = []


@variant("alias", "broken", SETS, _ALIASES)
def _broken(m: Making) -> None:
    rrset = m.first(_CNAME)
    rrset.sigs = [broken(rrset.sigs[0])]


@variant("alias", "unsigned behind it", SETS, ("alias", "chain", "wild-alias"))
def _unsigned_behind(m: Making) -> None:
    _last(m).sigs = []


@variant("alias", "broken behind it", SETS, ("alias", "chain", "wild-alias"))
def _broken_behind(m: Making) -> None:
    rrset = _last(m)
    rrset.sigs = [broken(rrset.sigs[0])]


@variant("alias", "out of order", SETS, (*_ALIASES, *_DNAMES))
def _order(m: Making) -> None:
    m.draft.answer.reverse()


@variant("alias", "two at one name", SETS, _ALIASES)
def _two(m: Making) -> None:
    rrset = m.first(_CNAME)
    rrset.rdatas.append(dns.rdata.from_text("IN", "CNAME", f"www.{m.zone.apex}"))
    m.resign(rrset)


@variant("alias", "two at one name, one of them signed", SETS, _ALIASES)
def _two_one(m: Making) -> None:
    rdata = dns.rdata.from_text("IN", "CNAME", f"ns.{m.zone.apex}")
    m.first(_CNAME).rdatas.append(rdata)


@variant("alias", "beside other data", SETS, _ALIASES)
def _beside(m: Making) -> None:
    made = Signed(m.draft.name, int(A), 300, [dns.rdata.from_text("IN", "A", "192.0.2.77")])
    m.resign(made)
    m.draft.answer.append(made)


@variant("alias", "to itself", SETS, ("alias",))
def _itself(m: Making) -> None:
    made = Signed(m.draft.name, _CNAME, 300, [cname(m.draft.name)])
    m.resign(made)
    m.draft.answer = [made]


@variant("alias", "round in a circle", SETS, ("alias",))
def _circle(m: Making) -> None:
    names = [m.draft.name, m.zone.name("one"), m.zone.name("two")]
    m.draft.answer = []
    for name, target in zip(names, [*names[1:], names[0]], strict=True):
        made = Signed(name, _CNAME, 300, [cname(target)])
        m.resign(made)
        m.draft.answer.append(made)


@variant("alias", "a long chain", SETS, ("alias",))
def _long(m: Making) -> None:
    length = m.rng.choice((5, 9, 10, 13, 20))
    names = [m.draft.name, *(m.zone.name(f"step{n}") for n in range(length)), m.zone.name("www")]
    for name, target in itertools.pairwise(names[1:]):
        m.zone.put(name, [cname(target)])
    m.zone.put(m.draft.name, [cname(names[1])])
    m.zone._made.clear()
    made = [m.zone.sign(m.zone.sets[name][_CNAME]) for name in names[:-1]]
    m.draft.answer = [*made, _last(m)]


@variant("alias", "the target's data of another zone, signed by that", SETS, ("out",))
def _target_signed(m: Making) -> None:
    name = m.first(_CNAME).rdatas[0]
    m.draft.answer.append(m.sibling.reply(name.target, int(A)).answer[0])  # type: ignore[attr-defined]


@variant("alias", "the target's data of another zone, forged", SETS, ("out", "plain"))
def _target_forged(m: Making) -> None:
    name = m.first(_CNAME).rdatas[0]
    rdata = dns.rdata.from_text("IN", "A", "192.0.2.66")
    m.draft.answer.append(Signed(name.target, int(A), 300, [rdata]))  # type: ignore[attr-defined]


@variant("alias", "SOA of the target's zone beside it", SETS, ("out", "plain", "dname-out"))
def _target_soa(m: Making) -> None:
    m.draft.authority.append(m.sibling.sign(m.sibling.sets[m.sibling.apex][SOA]))


@variant("alias", "SOA of the own zone beside it", SETS, ("out", "plain", "alias", "dname-out"))
def _own_soa(m: Making) -> None:
    m.draft.authority.append(m.zone.sign(m.zone.sets[m.zone.apex][SOA]))


@variant("alias", "into the zone below, data unsigned", SETS, ("alias",))
def _into_child(m: Making) -> None:
    target = m.child.name("www")
    made = Signed(m.draft.name, _CNAME, 300, [cname(target)])
    m.resign(made)
    data = m.child.reply(target, int(A)).answer[0]
    data.sigs = data.sigs if m.rng.random() < 0.5 else []
    m.draft.answer = [made, data]


@variant("alias", "NXDOMAIN without the proof for the target", SETS, ("gone",))
def _target_unproved(m: Making) -> None:
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == SOA]


@variant("alias", "NOERROR for a target that is not there", SETS, ("gone",))
def _target_noerror(m: Making) -> None:
    m.draft.rcode = 0


for _base in EVERY:
    variant("untouched", _base, ZONE, (_base,))(lambda _m: None)
