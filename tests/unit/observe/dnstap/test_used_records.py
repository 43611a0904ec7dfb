"""What counts of an answer: what a resolver would use, by the zone whose server was asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.RRSIG
import dns.rrset
import pytest
from responses import keys_of, question
from signedzone import DAY, NOW, Key, SignedZone

from steering.model import Kind, Outcome, Question
from steering.observe.dnssec.aliases import MOST_ALIASES, chain_of, signatures_in
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.response import classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust

ZONE = SignedZone("com.", children={"plain": ()}, names=("www", "deep"), nsec3=False)
CHILD = SignedZone("child.com.")
OTHER = SignedZone("other.")
TRUST = Trust(secure={"com.": keys_of(ZONE)})
GOOD = (NOW - DAY, NOW + DAY)
LATE = (NOW - DAY, NOW - 60)
WITNESS = question("www.com.", "A", Kind.WITNESS)
DENIAL = question("f3kq0zx71abcde.com.", "A", Kind.DENIAL)


def rrset(owner: str, rdtype: str, *values: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(owner, 300, "IN", rdtype, *values)


def signed(
    what: dns.rrset.RRset, by: SignedZone = ZONE, dates: tuple[int, int] = GOOD
) -> list[dns.rrset.RRset]:
    rrsig = by.zsk.sign(what, by.name, dates)
    return [what, dns.rrset.from_rdata(what.name, what.ttl, rrsig)]


def expanded(what: dns.rrset.RRset, wildcard: str, by: SignedZone = ZONE) -> list[dns.rrset.RRset]:
    """An RRset as a server makes it from a wildcard, with the wildcard's signature."""
    source = dns.rrset.from_rdata_list(dns.name.from_text(wildcard), what.ttl, list(what))
    rrsig = by.zsk.sign(source, by.name, GOOD)
    return [what, dns.rrset.from_rdata(what.name, what.ttl, rrsig)]


def flat(*parts: Iterable[dns.rrset.RRset]) -> Iterator[dns.rrset.RRset]:
    for part in parts:
        yield from part


def message(
    asked: Question,
    answer: Iterable[dns.rrset.RRset] = (),
    authority: Iterable[dns.rrset.RRset] = (),
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
) -> dns.message.Message:
    query = dns.message.make_query(asked.name, asked.rdtype, want_dnssec=True, id=7)
    made = dns.message.make_response(query)
    made.flags |= dns.flags.AA
    made.answer, made.authority = list(answer), list(authority)
    made.set_rcode(rcode)
    return made


def read(
    what: dns.message.Message | bytes, asked: Question = WITNESS, trust: Trust = TRUST
) -> Classified:
    wire = what if isinstance(what, bytes) else what.to_wire(max_size=65535)
    return classify(wire, asked, 7, trust, wall=NOW, skew=0, signatures=Signatures())


def outcome(
    asked: Question,
    answer: Iterable[dns.rrset.RRset] = (),
    authority: Iterable[dns.rrset.RRset] = (),
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
) -> Outcome:
    reading = read(message(asked, answer, authority, rcode), asked)
    assert reading.judged, reading
    return reading.outcome


def strict(asked: Question) -> Question:
    """The same, of a name that is known to be no zone below."""
    return dataclasses.replace(asked, kind=Kind.DENIAL)


ADDRESS = rrset("www.com.", "A", "192.0.2.1")
ALIAS = rrset("www.com.", "CNAME", "deep.com.")
SOA = signed(ZONE.soa())


# --- aliases --------------------------------------------------------------------------------


def dname(made: str = "x.target.com.") -> list[dns.rrset.RRset]:
    """The answer of NSD and BIND for x.moved.com."""
    return [
        *signed(rrset("moved.com.", "DNAME", "target.com.")),
        rrset("x.moved.com.", "CNAME", made),
    ]


MOVED = question("x.moved.com.", "A", Kind.WITNESS)


def test_the_cname_made_out_of_a_dname_is_not_signed() -> None:
    target = signed(rrset("x.target.com.", "A", "192.0.2.1"))
    assert outcome(MOVED, dname()) is Outcome.SECURE
    assert outcome(MOVED, flat(dname(), target)) is Outcome.SECURE
    assert outcome(MOVED, dname()[:2]) is Outcome.SECURE, "a resolver makes it by itself"
    assert outcome(strict(MOVED), dname()[::2]) is Outcome.UNSIGNED


@pytest.mark.parametrize("rdtype", ["CNAME", "ANY"])
def test_a_question_for_that_very_cname_is_answered_by_its_dname(rdtype: str) -> None:
    asked = question("x.moved.com.", rdtype, Kind.DENIAL)
    assert outcome(asked, dname()) is Outcome.SECURE
    assert outcome(asked, dname()[::2]) is Outcome.UNSIGNED
    assert outcome(asked, dname("x.evil.com.")) is Outcome.UNSIGNED


def test_a_cname_under_a_dname_that_says_something_else_is_none_of_its() -> None:
    assert outcome(MOVED, dname("x.evil.com.")) is Outcome.UNSIGNED


def test_a_dname_made_from_a_wildcard_is_none() -> None:
    made = expanded(rrset("moved.com.", "DNAME", "target.com."), "*.com.")
    proof = signed(rrset("com.", "NSEC", "www.com. NS SOA RRSIG NSEC DNSKEY"))
    assert outcome(MOVED, flat(made, dname()[2:]), proof) is Outcome.UNSIGNED


def test_a_name_that_a_dname_makes_too_long_is_an_answer() -> None:
    label = "a" * 60
    asked = question(f"{label}.{label}.moved.com.", "A", Kind.WITNESS)
    long = signed(rrset("moved.com.", "DNAME", f"{label}.{label}.{label}.com."))
    assert outcome(asked, long, rcode=dns.rcode.YXDOMAIN) is Outcome.SECURE


@pytest.mark.parametrize("by", [OTHER, None], ids=["signed", "not signed"])
def test_an_alias_into_another_zone_of_the_server_is_judged_alone(by: SignedZone | None) -> None:
    alias = signed(rrset("www.com.", "CNAME", "gone.other."))
    address = rrset("gone.other.", "A", "192.0.2.1")
    soa = OTHER.soa()
    denial = rrset("other.", "NSEC", "z.other. NS SOA RRSIG NSEC DNSKEY")
    behind = signed(address, by) if by else [address]
    beside = flat(signed(soa, by), signed(denial, by)) if by else [soa, denial]
    assert outcome(WITNESS, flat(alias, behind)) is Outcome.SECURE
    assert outcome(WITNESS, alias, beside) is Outcome.SECURE
    assert outcome(WITNESS, alias, [soa], dns.rcode.NXDOMAIN) is Outcome.SECURE


@pytest.mark.parametrize("by", [CHILD, None], ids=["signed", "not signed"])
def test_an_alias_into_a_zone_below_is_judged_alone(by: SignedZone | None) -> None:
    alias = signed(rrset("www.com.", "CNAME", "www.child.com."))
    address = rrset("www.child.com.", "A", "192.0.2.1")
    behind = signed(address, by, LATE) if by else [address]
    assert outcome(WITNESS, flat(alias, behind)) is Outcome.SECURE
    assert outcome(strict(WITNESS), flat(alias[:1], behind)) is Outcome.UNSIGNED


def test_what_the_zone_signed_behind_an_alias_counts() -> None:
    late = signed(rrset("deep.com.", "A", "192.0.2.1"), dates=LATE)
    assert outcome(WITNESS, flat(signed(ALIAS), late)) is Outcome.EXPIRED


def test_an_alias_from_a_zone_below_back_into_the_zone_is_the_zone_s_below() -> None:
    asked = question("www.child.com.", "A", Kind.WITNESS)
    alias = signed(rrset("www.child.com.", "CNAME", "www.com."), CHILD)
    assert not read(message(asked, flat(alias, signed(ADDRESS))), asked).judged
    assert not read(message(asked, flat(alias[:1], signed(ADDRESS))), asked).judged, "not signed"


def test_the_order_of_an_answer_does_not_matter_and_its_strays_are_left_out() -> None:
    links = [*signed(ALIAS), *signed(rrset("deep.com.", "A", "192.0.2.1"))]
    stray = rrset("bank.com.", "A", "192.0.2.66")
    assert outcome(WITNESS, reversed([*links, stray])) is Outcome.SECURE
    assert outcome(WITNESS, [stray, *links]) is Outcome.SECURE
    assert outcome(WITNESS, [rrset("www.com.", "TXT", "x"), *links]) is Outcome.SECURE


def test_aliases_in_a_circle_end() -> None:
    there = signed(rrset("www.com.", "CNAME", "deep.com."))
    back = signed(rrset("deep.com.", "CNAME", "www.com."))
    growing = signed(rrset("com.", "DNAME", "a.com."))
    assert outcome(WITNESS, flat(there, back)) is Outcome.SECURE
    assert outcome(WITNESS, growing) is Outcome.SECURE


def test_an_alias_that_leads_below_itself_ends_before_a_name_can_grow_no_more() -> None:
    """Each step is looked at with all signatures: a hundred of them took a tenth of a second."""
    asked = question("www.moved.com.", "A", Kind.WITNESS)
    held = message(asked, signed(rrset("moved.com.", "DNAME", "a.moved.com.")))
    name, rdtype = dns.name.from_text(asked.name), dns.rdatatype.A
    chain = chain_of(held, dns.name.from_text("com."), name, rdtype, signatures_in(held))
    assert len(chain.links) == MOST_ALIASES
    assert read(held, asked).outcome is Outcome.SECURE


def test_two_cnames_at_one_name_are_one_rrset() -> None:
    one, two = rrset("www.com.", "CNAME", "deep.com."), rrset("www.com.", "CNAME", "evil.com.")
    for first, second in ((one, two), (two, one)):
        made = message(WITNESS, [*signed(one), second])
        made.answer.insert(0, first)
        wire = made.to_wire(max_size=65535)
        assert read(wire).outcome is Outcome.BAD_SIGNATURE
    twice = message(WITNESS, [*signed(one), one])
    assert read(twice).outcome is Outcome.SECURE, "the same record again is no other one"


# --- the authority section ------------------------------------------------------------------


@pytest.mark.parametrize("dates", [GOOD, LATE, None], ids=["good", "expired", "no signature"])
def test_the_names_of_servers_beside_an_answer_are_hints(dates: tuple[int, int] | None) -> None:
    servers = rrset("com.", "NS", "a.gtld-servers.net.")
    beside = signed(servers, dates=dates) if dates else [servers]
    assert outcome(WITNESS, signed(ADDRESS), beside) is Outcome.SECURE


def test_nxdomain_beside_the_answer_needs_the_proof_that_there_is_none() -> None:
    assert outcome(WITNESS, signed(ADDRESS), rcode=dns.rcode.NXDOMAIN) is Outcome.UNSIGNED
    behind = flat(signed(ALIAS), signed(rrset("deep.com.", "A", "192.0.2.1")))
    assert outcome(WITNESS, behind, rcode=dns.rcode.NXDOMAIN) is Outcome.UNSIGNED
    assert outcome(WITNESS, signed(ALIAS), rcode=dns.rcode.NXDOMAIN) is Outcome.SECURE


@pytest.mark.parametrize("rdtype", ["CNAME", "ANY"])
def test_nxdomain_beside_an_alias_is_said_of_its_target(rdtype: str) -> None:
    """RFC 6604 3: also where the alias is what was asked for."""
    asked = question("www.com.", rdtype, Kind.DENIAL)
    assert outcome(asked, signed(ALIAS), rcode=dns.rcode.NXDOMAIN) is Outcome.SECURE


def test_a_denial_needs_no_soa() -> None:
    """RFC 2308 2.2.1: it can't be kept for long then, and is proven all the same."""
    denial = ZONE.ask(DENIAL.name, "A")
    proof = [r for r in denial.authority if dns.rdatatype.SOA not in {r.rdtype, r.covers}]
    assert outcome(DENIAL, (), proof, dns.rcode.NXDOMAIN) is Outcome.SECURE
    assert outcome(DENIAL, (), proof[:2], dns.rcode.NXDOMAIN) is Outcome.UNSIGNED
    assert outcome(DENIAL, (), (), dns.rcode.NXDOMAIN) is Outcome.LAME


def test_a_denial_by_another_zone_s_records_is_none() -> None:
    theirs = flat(signed(rrset("child.com.", "NSEC", "z.child.com. NS SOA RRSIG NSEC"), CHILD))
    denial = ZONE.ask(DENIAL.name, "A")
    assert outcome(DENIAL, (), [*denial.authority, *theirs], dns.rcode.NXDOMAIN) is Outcome.SECURE
    assert outcome(DENIAL, (), [*SOA, *theirs], dns.rcode.NXDOMAIN) is Outcome.UNSIGNED


def test_a_bad_record_of_a_denial_counts_where_the_others_prove_too_little() -> None:
    denial = ZONE.ask(DENIAL.name, "A")
    spare = signed(rrset("www.com.", "NSEC", "zzz.com. A RRSIG NSEC"), dates=LATE)
    authority = [*denial.authority, *spare]
    assert outcome(DENIAL, (), authority, dns.rcode.NXDOMAIN) is Outcome.SECURE
    apex = signed(rrset("com.", "NSEC", "deep.com. NS SOA RRSIG NSEC DNSKEY"))
    assert outcome(DENIAL, (), [*SOA, *apex, *spare], dns.rcode.NXDOMAIN) is Outcome.EXPIRED
    reading = read(message(DENIAL, (), [*SOA, *spare], dns.rcode.NXDOMAIN), DENIAL, Trust())
    assert (reading.outcome, reading.judged) == (Outcome.EXPIRED, True), "dates need no keys"


def test_an_nsec_record_made_from_a_wildcard_denies_nothing() -> None:
    """RFC 4035 5.3.2: its owner is whatever was asked for, and the gap with it (CVE-2017-15105)."""
    honest = rrset("deep.com.", "NSEC", "zzz.com. A RRSIG NSEC")
    apex = signed(rrset("com.", "NSEC", "deep.com. NS SOA RRSIG NSEC DNSKEY"))
    forged = expanded(honest, "*.com.")
    for proof, expected in ((signed(honest), Outcome.SECURE), (forged, Outcome.UNSIGNED)):
        authority = flat(SOA, apex, proof)
        assert outcome(DENIAL, (), authority, dns.rcode.NXDOMAIN) is expected


def test_the_signature_that_fits_says_whether_there_was_a_wildcard() -> None:
    honest = rrset("deep.com.", "NSEC", "zzz.com. A RRSIG NSEC")
    apex = signed(rrset("com.", "NSEC", "deep.com. NS SOA RRSIG NSEC DNSKEY"))
    good, broken = signed(honest)[1][0], expanded(honest, "*.com.")[1][0]
    assert isinstance(broken, dns.rdtypes.ANY.RRSIG.RRSIG)
    both = dns.rrset.from_rdata_list(honest.name, 300, [broken.replace(signature=b"x" * 64), good])
    authority = flat(SOA, apex, [honest, both])
    assert outcome(DENIAL, (), authority, dns.rcode.NXDOMAIN) is Outcome.SECURE


# --- what can't be read ---------------------------------------------------------------------


def with_option(code: int, value: bytes, length: int | None = None) -> bytes:
    """A good answer with one more option, which may say a length that it does not have."""
    made = message(WITNESS, signed(ADDRESS))
    nsid = dns.edns.GenericOption(dns.edns.OptionType.NSID, b"sin1")
    made.use_edns(
        0,
        dns.flags.DO,
        1232,
        options=[nsid, dns.edns.GenericOption(dns.edns.OptionType.make(code), value)],
    )
    wire = bytearray(made.to_wire())
    if length is not None:
        at = len(wire) - len(value) - 2
        wire[at : at + 2] = length.to_bytes(2, "big")
    return bytes(wire)


@pytest.mark.parametrize("value", [b"\0\6caf\xe9", b"\0", b""], ids=["latin-1", "half", "none"])
def test_an_extended_error_that_cannot_be_read_is_left_out(value: bytes) -> None:
    reading = read(with_option(15, value))
    assert (reading.outcome, reading.nsid) == (Outcome.SECURE, "sin1")


@pytest.mark.parametrize("length", [0, 1, 3, 4000])
def test_an_option_of_an_impossible_length_is_left_out(length: int) -> None:
    reading = read(with_option(10, b"cookie", length))
    assert (reading.outcome, reading.nsid) == (Outcome.SECURE, "sin1")


def test_records_that_cannot_be_read_count_in_the_answer_alone() -> None:
    mark = b"more octets than an address has"
    strange = dns.rrset.from_text("com.", 300, "IN", "TYPE65280", rf"\# {len(mark)} {mark.hex()}")

    def as_address(wire: bytes) -> bytes:
        at = wire.index(mark) - 10  # type, class, TTL and length stand before
        return wire[:at] + dns.rdatatype.A.to_bytes(2, "big") + wire[at + 2 :]

    beside = message(WITNESS, signed(ADDRESS), [strange]).to_wire()
    inside = message(WITNESS, [*signed(ADDRESS), strange]).to_wire()
    assert read(as_address(beside)).outcome is Outcome.SECURE
    assert read(as_address(inside)).outcome is Outcome.MALFORMED


# --- algorithms -----------------------------------------------------------------------------


def test_a_signature_by_an_algorithm_nobody_knows_counts_neither_way() -> None:
    rrsig = signed(ADDRESS)[1][0]
    assert isinstance(rrsig, dns.rdtypes.ANY.RRSIG.RRSIG)
    strange = rrsig.replace(algorithm=200)

    def having(*rrsigs: object) -> Outcome:
        held = dns.rrset.from_rdata_list(ADDRESS.name, 300, list(rrsigs))  # type: ignore[arg-type]
        return outcome(question("www.com.", "A", Kind.DENIAL), [ADDRESS, held])

    late = ZONE.zsk.sign(ADDRESS, ZONE.name, LATE)
    assert having(strange, rrsig) is Outcome.SECURE
    assert having(strange, late) is Outcome.EXPIRED
    assert having(strange, rrsig.replace(signature=b"x" * 64)) is Outcome.BAD_SIGNATURE
    assert having(strange) is Outcome.UNSIGNED
    assert having(Key().sign(ADDRESS, ZONE.name, GOOD), strange) is Outcome.NO_KEY


# --- found beside four validators (`make contract`) -------------------------------------------


def test_a_signature_counts_in_the_section_of_what_it_covers() -> None:
    """RFC 4035 3.1.1: BIND, PowerDNS and Knot Resolver look nowhere else."""
    address, rrsig = signed(ADDRESS)
    assert outcome(strict(WITNESS), [address, rrsig]) is Outcome.SECURE
    assert outcome(strict(WITNESS), [address], [rrsig]) is Outcome.UNSIGNED
    moved, of_moved, alias = dname()
    asked = strict(question("x.moved.com.", "A", Kind.WITNESS))
    assert outcome(asked, [moved, of_moved, alias]) is Outcome.SECURE
    assert outcome(asked, [moved, alias], [of_moved]) is Outcome.UNSIGNED


def test_a_signature_that_ends_before_it_begins_is_never_valid() -> None:
    """By serial arithmetic (RFC 4034 3.1.5), though the date of today lies between both."""
    wide = (NOW - 10 * DAY, NOW + (1 << 31) - 5 * DAY)
    assert outcome(strict(WITNESS), signed(ADDRESS, dates=wide)) is Outcome.EXPIRED
    narrow = (NOW - 10 * DAY, NOW + (1 << 31) - 11 * DAY)
    assert outcome(strict(WITNESS), signed(ADDRESS, dates=narrow)) is Outcome.SECURE


def test_two_cnames_at_one_name_are_refused_though_both_are_signed() -> None:
    """RFC 2181 10.1: BIND and Unbound read none of them."""
    both = rrset("www.com.", "CNAME", "deep.com.")
    assert outcome(WITNESS, signed(both)) is Outcome.SECURE
    both.items.update(rrset("www.com.", "CNAME", "other.com.").items)
    assert len(both) == 2
    assert outcome(WITNESS, signed(both)) is Outcome.MALFORMED


def test_an_alias_beside_data_has_to_be_signed_as_well() -> None:
    """RFC 2181 10.1 forbids it; where it comes, all four validators want both to be right."""
    asked = strict(WITNESS)
    assert outcome(asked, [*signed(ADDRESS), *signed(ALIAS)]) is Outcome.SECURE
    assert outcome(asked, [*signed(ADDRESS), *signed(ALIAS, dates=LATE)]) is Outcome.EXPIRED
    assert outcome(asked, [*signed(ADDRESS), ALIAS]) is Outcome.UNSIGNED
