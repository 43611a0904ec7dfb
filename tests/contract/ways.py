"""Oddities of aliases, delegations and DS records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import dns.flags
import dns.name
import dns.rcode
import dns.rdata
import dns.rdtypes.ANY.DS

from contract.keys import DAY, KSK, Signed, key_of
from contract.kinds import EVERY, LISTED, PLAIN, REFERRED, Making, Stage, Unfit, broken, variant
from contract.zone import DS, NS, NSEC, SOA, A, Denial

ZONE, SETS = Stage.ZONE, Stage.SETS
_CNAME, _DNAME = 5, 39
_ALIASES: Final = ("alias", "chain", "out", "plain", "gone", "wild-alias")
_DNAMES: Final = ("dname", "dname-out")

# --- nothing ----------------------------------------------------------------------------------

for _base in EVERY:
    variant("untouched", _base, ZONE, (_base,))(lambda _m: None)

# --- aliases ----------------------------------------------------------------------------------


def _last(m: Making) -> Signed:
    if not m.draft.answer or not m.draft.answer[-1].sigs:
        raise Unfit
    return m.draft.answer[-1]


@variant("alias", "nothing behind it", SETS, _ALIASES)
def _alone(m: Making) -> None:
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
    made = Signed(m.draft.name, _CNAME, 300, [_cname(m.draft.name)])
    m.resign(made)
    m.draft.answer = [made]


@variant("alias", "round in a circle", SETS, ("alias",))
def _circle(m: Making) -> None:
    names = [m.draft.name, m.zone.name("one"), m.zone.name("two")]
    m.draft.answer = []
    for name, target in zip(names, [*names[1:], names[0]], strict=True):
        made = Signed(name, _CNAME, 300, [_cname(target)])
        m.resign(made)
        m.draft.answer.append(made)


@variant("alias", "a long chain", SETS, ("alias",))
def _long(m: Making) -> None:
    length = m.rng.choice((5, 9, 10, 13, 20))
    names = [m.draft.name, *(m.zone.name(f"step{n}") for n in range(length)), m.zone.name("www")]
    for name, target in itertools.pairwise(names[1:]):
        m.zone.put(name, [_cname(target)])
    m.zone.put(m.draft.name, [_cname(names[1])])
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
    made = Signed(m.draft.name, _CNAME, 300, [_cname(target)])
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


# --- DNAME ------------------------------------------------------------------------------------


@variant("dname", "without the CNAME", SETS, _DNAMES)
def _no_cname(m: Making) -> None:
    m.draft.answer = [r for r in m.draft.answer if r.rdtype != _CNAME]


@variant("dname", "with another CNAME", SETS, _DNAMES)
def _other_cname(m: Making) -> None:
    m.first(_CNAME).rdatas = [_cname(m.sibling.name("elsewhere"))]


@variant("dname", "with another CNAME, signed", SETS, _DNAMES)
def _signed_cname(m: Making) -> None:
    rrset = m.first(_CNAME)
    rrset.rdatas = [_cname(m.sibling.name("elsewhere"))]
    m.resign(rrset)


@variant("dname", "with its CNAME signed", SETS, _DNAMES)
def _right_signed(m: Making) -> None:
    m.resign(m.first(_CNAME))


@variant("dname", "unsigned", SETS, _DNAMES)
def _bare_dname(m: Making) -> None:
    m.first(_DNAME).sigs = []


@variant("dname", "broken", SETS, _DNAMES)
def _broken_dname(m: Making) -> None:
    rrset = m.first(_DNAME)
    rrset.sigs = [broken(rrset.sigs[0])]


@variant("dname", "CNAME's TTL is 0", SETS, _DNAMES)
def _no_ttl(m: Making) -> None:
    m.first(_CNAME).ttl = 0


@variant("dname", "two at one name", SETS, _DNAMES)
def _two_dnames(m: Making) -> None:
    rrset = m.first(_DNAME)
    rrset.rdatas.append(dns.rdata.from_text("IN", "DNAME", f"{m.sibling.apex}"))
    m.resign(rrset)


@variant("dname", "made from a wildcard", SETS, _DNAMES)
def _wild_dname(m: Making) -> None:
    rrset = m.first(_DNAME)
    m.resign(rrset, labels=len(rrset.owner) - 2)


@variant("dname", "above the zone", SETS, ("dname",))
def _above(m: Making) -> None:
    made = Signed(m.parent.apex, _DNAME, 300, [dns.rdata.from_text("IN", "DNAME", "other.")])
    m.resign(made)
    m.draft.answer = [made, *m.draft.answer[1:]]


@variant("dname", "at the name that was asked for", SETS, ("positive",))
def _at_name(m: Making) -> None:
    rdata = dns.rdata.from_text("IN", "DNAME", f"{m.sibling.apex}")
    made = Signed(m.draft.name, _DNAME, 300, [rdata])
    m.resign(made)
    m.draft.answer.append(made)


@variant("dname", "too long a name", SETS, ("dname",))
def _too_long(m: Making) -> None:
    target = dns.name.Name((*[b"x" * 60] * 4, b""))
    rrset = m.first(_DNAME)
    rrset.rdatas = [dns.rdata.from_text("IN", "DNAME", target.to_text())]
    m.resign(rrset)
    m.draft.answer = [rrset]
    m.draft.rcode = int(dns.rcode.YXDOMAIN)


def _cname(target: dns.name.Name) -> dns.rdata.Rdata:
    return dns.rdata.from_text("IN", "CNAME", target.to_text())


# --- DS answers -------------------------------------------------------------------------------


@variant("ds", "with NS of the child", SETS, ("ds", "no-ds"))
def _with_ns(m: Making) -> None:
    servers = m.zone.sets[m.draft.name][NS]
    m.draft.authority.append(Signed(m.draft.name, int(NS), 300, list(servers.rdatas)))


@variant("ds", "a referral instead", SETS, ("ds", "no-ds"))
def _referral(m: Making) -> None:
    below = m.zone.reply(dns.name.Name((b"x", *m.draft.name.labels)), int(A))
    m.draft.answer, m.draft.authority, m.draft.additional = [], below.authority, below.additional
    m.draft.flags &= ~int(dns.flags.AA)


@variant("ds", "signed by the child", SETS, ("ds",))
def _by_child(m: Making) -> None:
    m.resign(m.first(), signer=m.child.apex, key=m.child.zsks[0])


@variant("ds", "denied by the child", SETS, ("ds",))
def _child_denies(m: Making) -> None:
    reply = m.child.reply(m.child.apex, 28)
    m.draft.answer, m.draft.authority = [], reply.authority


@variant("ds", "denied by the zone, though there are some", SETS, ("ds",))
def _denied(m: Making) -> None:
    soa = m.zone.sign(m.zone.sets[m.zone.apex][SOA])
    m.draft.answer, m.draft.authority = [], [soa, *m.zone.at(m.draft.name)]


@variant("ds", "one more, unsigned", SETS, ("ds",))
def _one_more(m: Making) -> None:
    m.first().rdatas.append(key_of(55, KSK).ds(m.draft.name))


@variant("ds", "a wildcard's proof instead", SETS, ("no-ds",))
def _wild_proof(m: Making) -> None:
    name = m.zone.name("*.wild")
    proof = m.zone.nsec(name) if m.zone.denial is Denial.NSEC else m.zone.nsec3(name)
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == SOA] + [proof]


@variant("ds", "NXDOMAIN", SETS, ("no-ds", "ds"))
def _nxdomain(m: Making) -> None:
    m.draft.rcode = int(dns.rcode.NXDOMAIN)


# --- referrals --------------------------------------------------------------------------------


def _only(m: Making, *rdtypes: int) -> None:
    m.draft.authority = [r for r in m.draft.authority if r.rdtype in rdtypes]


@variant("referral", "as it should be", ZONE, REFERRED)
def _good(m: Making) -> None:
    """Both kinds, by every way of denial."""


@variant("referral", "neither DS nor proof", SETS, REFERRED)
def _neither(m: Making) -> None:
    _only(m, int(NS))


@variant("referral", "no signatures", SETS, REFERRED)
def _no_signatures(m: Making) -> None:
    for rrset in m.draft.authority:
        rrset.sigs = []


@variant("referral", "broken signatures", SETS, REFERRED)
def _broken_signatures(m: Making) -> None:
    for rrset in m.draft.authority:
        rrset.sigs = [broken(rrsig) for rrsig in rrset.sigs]


@variant("referral", "expired signatures", SETS, REFERRED)
def _expired_signatures(m: Making) -> None:
    for rrset in m.draft.authority:
        if rrset.sigs:
            m.resign(rrset, inception=m.now - 9 * DAY, expiration=m.now - DAY)


@variant("referral", "authoritative", SETS, REFERRED)
def _authoritative(m: Making) -> None:
    m.draft.flags |= int(dns.flags.AA)


@variant("referral", "NS signed", SETS, REFERRED)
def _signed_ns(m: Making) -> None:
    m.resign(m.first(int(NS)))


@variant("referral", "with the SOA", SETS, REFERRED)
def _with_soa(m: Making) -> None:
    m.draft.authority.append(m.zone.sign(m.zone.sets[m.zone.apex][SOA]))


@variant("referral", "proof that it is signed, beside no DS", SETS, ("secure",))
def _proof_of_ds(m: Making) -> None:
    cut = m.child.apex
    proof = m.zone.at(cut)
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == NS] + proof


@variant("referral", "DS and the proof that there is none", SETS, ("secure",), LISTED)
def _both(m: Making) -> None:
    cut = m.child.apex
    rdata = dns.rdata.from_text("IN", "NSEC", f"zz.{m.zone.apex} NS RRSIG NSEC")
    made = Signed(cut, int(NSEC), 300, [rdata])
    m.resign(made)
    m.draft.authority.append(made)


@variant("referral", "to itself", SETS, ("positive",))
def _itself_again(m: Making) -> None:
    _refer(m, m.zone.apex)


@variant("referral", "upward, to the root", SETS, ("positive",))
def _upward(m: Making) -> None:
    _refer(m, dns.name.root)


@variant("referral", "upward, to the parent", SETS, ("positive",))
def _to_parent(m: Making) -> None:
    _refer(m, m.parent.apex)


@variant("referral", "sideways", SETS, ("positive",))
def _sideways(m: Making) -> None:
    _refer(m, m.sibling.apex)


@variant("referral", "to the name that was asked for, unproved", SETS, ("positive",))
def _to_name(m: Making) -> None:
    _refer(m, m.draft.name)


def _refer(m: Making, cut: dns.name.Name) -> None:
    server = dns.rdata.from_text("IN", "NS", f"ns.{m.zone.apex}")
    m.draft.answer, m.draft.authority = [], [Signed(cut, int(NS), 300, [server])]
    m.draft.flags &= ~int(dns.flags.AA)


# --- digests ----------------------------------------------------------------------------------

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
