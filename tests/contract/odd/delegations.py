"""DS answers and referrals."""

from __future__ import annotations

import dns.flags
import dns.name
import dns.rcode
import dns.rdata

from contract.keys import DAY, KSK, Signed, key_of
from contract.kinds import LISTED, REFERRED, Making, Stage, broken, variant
from contract.zone import NS, NSEC, SOA, A, Denial

ZONE, SETS = Stage.ZONE, Stage.SETS
_CNAME, _DNAME = 5, 39


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
