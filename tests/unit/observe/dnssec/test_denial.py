"""What denial records prove, and what they don't (RFC 4035 5.4, RFC 5155 section 8)."""

from __future__ import annotations

from collections.abc import Iterable

import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from signedzone import Key, SignedZone

from steering.observe.dnssec.denial import Cut, DenialProof, _gap

_SAFE = Key(257).ds(dns.name.from_text("safe.com."))

BOTH = pytest.mark.parametrize("nsec3", [True, False], ids=["NSEC3", "NSEC"])


def zone(*, nsec3: bool = True, opt_out: bool = False, names: tuple[str, ...] = ()) -> SignedZone:
    children = {"safe": (_SAFE,), "plain": ()}
    return SignedZone("com.", children=children, names=names, nsec3=nsec3, opt_out=opt_out)


def name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


def proof(of: SignedZone, *covered: str) -> DenialProof:
    """Of the records that match or cover these names."""
    return of_records(rrset for text in covered for rrset in of.cover(name(text)))


def of_records(rrsets: Iterable[dns.rrset.RRset]) -> DenialProof:
    return DenialProof.of(
        name("com."), [(rrset.name, rdata) for rrset in rrsets for rdata in rrset]
    )


def test_only_an_opt_out_gap_makes_a_delegation_in_it_insecure() -> None:
    covered = "com.", "gone.com.", "*.com."
    assert proof(zone(opt_out=True), *covered).no_ds(name("gone.com.")) is Cut.INSECURE
    assert proof(zone(), *covered).no_ds(name("gone.com.")) is Cut.UNPROVEN
    assert proof(zone(nsec3=False), *covered).no_ds(name("gone.com.")) is Cut.UNPROVEN


@BOTH
def test_a_delegation_s_own_record_says_whether_it_has_a_ds(nsec3: bool) -> None:
    made = zone(nsec3=nsec3, names=("www",))
    assert proof(made, "plain.com.").no_ds(name("plain.com.")) is Cut.INSECURE
    assert proof(made, "safe.com.").no_ds(name("safe.com.")) is Cut.UNPROVEN
    assert proof(made, "www.com.").no_ds(name("www.com.")) is Cut.NONE


def test_the_child_s_record_of_its_apex_says_nothing_of_its_ds() -> None:
    made = zone()
    made._types[name("plain.com.")] = ["NS", "SOA", "RRSIG", "DNSKEY"]
    assert proof(made, "plain.com.").no_ds(name("plain.com.")) is Cut.UNPROVEN


def test_where_a_wildcard_answers_a_ds_or_an_alias_there_is_no_proof_of_no_ds() -> None:
    for types, cut in (
        (["A", "RRSIG"], Cut.NONE),
        (["DS", "RRSIG"], Cut.UNPROVEN),
        (["CNAME", "RRSIG"], Cut.UNPROVEN),
    ):
        made = zone()
        made._types[name("*.com.")] = types
        assert proof(made, "com.", "gone.com.", "*.com.").no_ds(name("gone.com.")) is cut


@BOTH
def test_what_lies_below_a_delegation_is_not_the_parent_s_to_deny(nsec3: bool) -> None:
    made = zone(nsec3=nsec3)
    below = "x.plain.com."
    covered = "com.", "plain.com.", below, "*.plain.com.", "*.com."
    missing = proof(made, *covered).no_name(name(below))
    assert missing == (
        "plain.com. is a delegation or DNAME" if nsec3 else f"no closest encloser of {below}"
    )


@BOTH
def test_what_lies_below_a_dname_does_not_exist_there(nsec3: bool) -> None:
    made = zone(nsec3=nsec3)
    made._types[name("moved.com.")] = ["DNAME", "RRSIG"]
    covered = "com.", "moved.com.", "x.moved.com.", "*.moved.com."
    assert proof(made, *covered).no_name(name("x.moved.com.")) != ""


@BOTH
def test_what_lies_below_a_name_that_is_no_cut_can_be_denied(nsec3: bool) -> None:
    made = zone(nsec3=nsec3, names=("www",))
    covered = "com.", "www.com.", "x.www.com.", "*.www.com."
    assert proof(made, *covered).no_name(name("x.www.com.")) == ""


@BOTH
def test_a_wildcard_answers_where_nothing_is_one_label_below_it(nsec3: bool) -> None:
    """RFC 4035 5.3.4: the next closer name has to be absent, not just the name itself."""
    made = zone(nsec3=nsec3, names=("b",))
    absent = "x.gone.com."
    assert proof(made, "gone.com.").not_closer(name(absent), 1) == ""
    assert proof(made, "gone.com.").not_closer(name("gone.com."), 1) == ""
    assert proof(made, "x.b.com.").not_closer(name("x.b.com."), 1) == "no cover of b.com."
    assert proof(made, "x.b.com.").not_closer(name("x.b.com."), 2) == ""


def test_no_record_covers_a_name_that_is_there() -> None:
    """Neither its own nor the next one's, at the end of the chain too (RFC 5155 section 1.3)."""
    made = zone(names=("www", "a", "b"))
    there = [*made._types]
    for owner in there:
        for other in there:
            record = proof(made, other.to_text())
            missing = record.not_closer(owner, len(owner) - 2)
            assert missing in {f"no cover of {owner}", "the name is shown to exist"}


def test_a_wildcard_answers_for_no_name_that_others_lie_below() -> None:
    """The gap before x.gone.com. holds gone.com. itself, which is there (RFC 4592 2.2.2)."""
    made = zone(nsec3=False)
    made._types[name("x.gone.com.")] = ["A", "RRSIG"]
    assert proof(made, "a.gone.com.").not_closer(name("a.gone.com."), 1) == "no cover of gone.com."
    assert proof(made, "a.gone.com.").not_closer(name("a.gone.com."), 2) == ""


def test_a_record_whose_next_name_is_another_zone_s_proves_nothing() -> None:
    owner = name("com.")
    for after, missing in (("www.com.", ""), ("net.", "no NSEC or NSEC3 record")):
        text = f"{after} NS SOA RRSIG NSEC DNSKEY"
        made = of_records([dns.rrset.from_text(owner, 900, "IN", "NSEC", text)])
        assert made.no_name(name("gone.com.")) == missing


@pytest.mark.parametrize("flags", [2, 3, 128])
def test_a_record_with_a_flag_that_nobody_knows_proves_nothing(flags: int) -> None:
    """RFC 5155 8.2: it is left out, whatever else is in it."""
    covered = "com.", "gone.com.", "*.com."
    known = [rrset for text in covered for rrset in zone().cover(name(text))]
    strange = [
        dns.rrset.from_rdata_list(
            rrset.name, rrset.ttl, [rdata.replace(flags=flags) for rdata in rrset]
        )
        for rrset in known
    ]
    assert of_records(known).no_name(name("gone.com.")) == ""
    assert of_records(strange).no_name(name("gone.com.")) == "no NSEC or NSEC3 record"


def test_what_is_there_through_insecure_delegations_alone_has_no_record() -> None:
    """RFC 5155 7.1: an opt-out gap is all that can be shown of such an empty non-terminal."""
    for opt_out, missing in ((True, ""), (False, "no record of ent.com.")):
        made = proof(zone(opt_out=opt_out), "com.", "ent.com.", "*.com.")
        assert made.no_type(name("ent.com."), dns.rdatatype.A) == missing


# --- found beside four validators (`make contract`) -------------------------------------------


@BOTH
@pytest.mark.parametrize("types", [["NS", "RRSIG"], ["NS", "SOA", "DNAME", "RRSIG"]])
def test_at_the_apex_too_a_delegation_or_a_dname_denies_nothing_below(
    nsec3: bool, types: list[str]
) -> None:
    """RFC 6840 4.1: an NSEC of the apex without SOA is another zone's; RFC 6672 2.4."""
    made = zone(nsec3=nsec3)
    covered = "com.", "gone.com.", "*.com."
    assert proof(made, *covered).no_name(name("gone.com.")) == ""
    made._types[name("com.")] = types
    assert proof(made, *covered).no_name(name("gone.com.")) != ""


def test_a_gap_that_holds_the_wildcard_too_does_not_show_that_it_had_to_answer() -> None:
    """RFC 4592 3.3.1: by it the closest encloser is the apex, and *.wild is not there."""
    text = "com. NS SOA RRSIG NSEC DNSKEY"
    whole = of_records([dns.rrset.from_text("com.", 900, "IN", "NSEC", text)])
    assert whole.not_closer(name("q.wild.com."), 2) != ""
    assert whole.not_closer(name("q.com."), 1) == ""


def test_a_wildcard_does_not_answer_for_a_name_that_its_record_shows() -> None:
    made = zone(names=("q",))
    before = made.cover(name("q.com."))[0]
    owner = name("q.com.")
    assert of_records([before]).not_closer(owner, 1) == "the name is shown to exist"


def test_an_nsec_record_takes_nothing_away_from_a_proof_by_nsec3() -> None:
    """A zone has one kind (RFC 5155 10.4); each is read by itself."""
    hashed = [r for text in ("com.", "gone.com.", "*.com.") for r in zone().cover(name(text))]
    text = "www.com. NS SOA RRSIG NSEC DNSKEY"
    other = dns.rrset.from_text("zzz.com.", 900, "IN", "NSEC", text)
    both = of_records([*hashed, other])
    assert both.no_name(name("gone.com.")) == ""
    assert both.not_closer(name("gone.com."), 1) == ""
    opted = [r for text in ("com.", "gone.com.") for r in zone(opt_out=True).cover(name(text))]
    assert of_records([*opted, other]).no_ds(name("gone.com.")) is Cut.INSECURE
    assert of_records([*opted, other]).no_type(name("gone.com."), dns.rdatatype.A) == ""
    assert of_records([*hashed[:1], other]).no_name(name("gone.com.")) != ""


def test_half_a_proof_of_each_kind_is_none() -> None:
    hashed = zone().cover(name("com."))
    listed = zone(nsec3=False, names=("f",)).cover(name("gone.com."))
    assert of_records([*hashed, *listed]).no_name(name("gone.com.")) != ""


@pytest.mark.parametrize(
    ("after", "last"),
    [("com.", True), ("yyy.com.", True), ("a.yyy.com.", True), ("aaa.com.", False)],
)
def test_the_last_record_of_a_chain_leads_back(after: str, last: bool) -> None:
    """To the apex (RFC 4034 4.1.1); BIND takes any name above its own for that."""
    record = dns.rrset.from_text("a.yyy.com.", 900, "IN", "NSEC", f"{after} A RRSIG NSEC")
    assert (of_records([record]).not_closer(name("zzz.com."), 1) == "") is last
    assert of_records([record]).not_closer(name("bbb.com."), 1) != ""


def test_one_record_with_too_many_iterations_is_enough() -> None:
    """In whatever order they come: BIND, Unbound, PowerDNS and Knot take the answer as insecure."""
    few, many = (zone(), zone())
    many.iterations = 151
    records = [*few.cover(name("com.")), *many.cover(name("com."))]
    assert of_records(records).beyond_reach
    assert of_records(reversed(records)).beyond_reach
    assert not of_records(few.cover(name("com."))).beyond_reach


@BOTH
def test_where_an_alias_is_there_is_no_proof_of_no_ds(nsec3: bool) -> None:
    """The answer would have been the alias (RFC 4035 5.4)."""
    made = zone(nsec3=nsec3, names=("www",))
    made._types[name("www.com.")] = ["CNAME", "RRSIG"]
    assert proof(made, "www.com.").no_ds(name("www.com.")) is Cut.UNPROVEN
    assert proof(made, "www.com.").no_type(name("www.com."), dns.rdatatype.DS) != ""


@pytest.mark.parametrize(
    ("low", "digest", "high", "between"),
    [
        (b"b", b"c", b"d", True),
        (b"b", b"b", b"d", False),  # the record's own name: it is there
        (b"b", b"d", b"d", False),  # so is the next one
        (b"b", b"a", b"d", False),
        (b"d", b"e", b"b", True),  # the last record of the chain
        (b"d", b"a", b"b", True),
        (b"d", b"d", b"b", False),
        (b"d", b"b", b"b", False),
        (b"d", b"c", b"b", False),
        (b"b", b"c", b"b", True),  # the only one of its chain
        (b"b", b"b", b"b", False),
    ],
)
def test_a_hash_lies_in_a_gap_only_between_its_ends(
    low: bytes, digest: bytes, high: bytes, *, between: bool
) -> None:
    """RFC 5155, 1.3: a record covers what is between its owner's hash and the next, neither."""
    assert _gap(low, digest, high) is between
