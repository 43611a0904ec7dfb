"""What denial records prove, and what they don't (RFC 4035 5.4, RFC 5155 section 8)."""

from __future__ import annotations

from collections.abc import Iterable

import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from signedzone import Key, SignedZone

from steering.observe.denial import Cut, Proof

_SAFE = Key(257).ds(dns.name.from_text("safe.com."))

BOTH = pytest.mark.parametrize("nsec3", [True, False], ids=["NSEC3", "NSEC"])


def zone(*, nsec3: bool = True, opt_out: bool = False, names: tuple[str, ...] = ()) -> SignedZone:
    children = {"safe": (_SAFE,), "plain": ()}
    return SignedZone("com.", children=children, names=names, nsec3=nsec3, opt_out=opt_out)


def name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


def proof(of: SignedZone, *covered: str) -> Proof:
    """Of the records that match or cover these names."""
    return of_records(rrset for text in covered for rrset in of.cover(name(text)))


def of_records(rrsets: Iterable[dns.rrset.RRset]) -> Proof:
    return Proof.of(name("com."), [(rrset.name, rdata) for rrset in rrsets for rdata in rrset])


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
            assert record.not_closer(owner, len(owner) - 2) == f"no cover of {owner}"


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
