"""What the lab's own server says, packet by packet."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.lab.servers.answers import Answers, Asked
from steering.lab.servers.zone import Fault, FaultKind, Keys, ZoneSpec, nsec3_hash, sign

SPEC = ZoneSpec.like_com("com.", serial=1, count=40, secure=0.5)
ANSWERS = Answers.of([sign(SPEC, Keys.fresh())])


def told(
    name: str, rdtype: str, *, do: bool = True, answers: Answers = ANSWERS, limit: int = 65_535
) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, want_dnssec=do)
    asked = Asked.parse(query.to_wire())
    assert asked is not None
    return dns.message.from_wire(answers.reply(asked).render(asked, nsid=b"x", limit=limit))


def kinds(section: list[dns.rrset.RRset]) -> list[str]:
    return sorted({dns.rdatatype.to_text(r.rdtype) for r in section})


def test_a_denial_proves_the_encloser_the_name_and_the_wildcard() -> None:
    answer = told("nobody.com.", "A")
    assert answer.rcode() == dns.rcode.NXDOMAIN
    hashed = [
        (r.name.labels[0].decode(), r[0].to_text().split()[4])
        for r in answer.authority
        if r.rdtype == dns.rdatatype.NSEC3
    ]
    apex = nsec3_hash(dns.name.from_text("com."))
    assert apex in {owner for owner, _ in hashed}
    for name in ("nobody.com.", "*.com."):
        digest = nsec3_hash(dns.name.from_text(name))
        assert any(_covers(owner, after, digest) for owner, after in hashed), name


def _covers(owner: str, after: str, digest: str) -> bool:
    if owner < after:
        return owner < digest < after
    return digest > owner or digest < after


def test_a_signed_delegation_shows_its_ds_and_an_unsigned_one_that_it_has_none() -> None:
    assert kinds(told("d0000.com.", "A").authority) == ["DS", "NS", "RRSIG"]
    assert kinds(told("d0030.com.", "A").authority) == ["NS", "NSEC3", "RRSIG"]
    assert kinds(told("d0030.com.", "DS").authority) == ["NSEC3", "RRSIG", "SOA"]


def test_who_does_not_ask_for_dnssec_gets_none() -> None:
    for name in ("nobody.com.", "d0000.com.", "d0030.com."):
        answer = told(name, "A", do=False)
        assert {"DS", "NSEC3", "RRSIG"}.isdisjoint(kinds(answer.authority))


def test_an_unsigned_zone_denies_without_proof() -> None:
    unsigned = Answers.of([sign(SPEC, Keys.fresh(), fault=Fault(kind=FaultKind.UNSIGNED))])
    answer = told("nobody.com.", "A", answers=unsigned)
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert kinds(answer.authority) == ["SOA"]


def test_what_does_not_fit_is_truncated_but_missing_glue_is_not() -> None:
    query = dns.message.make_query("d0000.com.", "A", want_dnssec=True)
    asked = Asked.parse(query.to_wire())
    assert asked is not None
    whole = ANSWERS.reply(asked).render(asked)
    assert kinds(dns.message.from_wire(whole).additional) == ["A", "AAAA"]
    shortened = dns.message.from_wire(ANSWERS.reply(asked).render(asked, limit=len(whole) - 1))
    assert not shortened.flags & dns.flags.TC
    assert kinds(shortened.additional) == ["A"]
    assert told("nobody.com.", "A", limit=512).flags & dns.flags.TC


def test_a_zone_that_is_not_here_is_refused() -> None:
    assert told("example.org.", "A").rcode() == dns.rcode.REFUSED


@given(st.binary(max_size=300))
def test_no_packet_ends_the_server(packet: bytes) -> None:
    asked = Asked.parse(packet)
    if asked is not None:
        assert ANSWERS.reply(asked).render(asked)


@given(st.integers(0, 60), st.binary(max_size=8))
def test_no_broken_query_ends_the_server(at: int, noise: bytes) -> None:
    whole = dns.message.make_query("www.nobody.com.", "A", want_dnssec=True).to_wire()
    asked = Asked.parse(whole[:at] + noise + whole[at + len(noise) :])
    if asked is not None:
        assert ANSWERS.reply(asked).render(asked)


def test_an_answer_is_no_question() -> None:
    query = dns.message.make_query("com.", "SOA")
    assert Asked.parse(query.to_wire()) is not None
    assert Asked.parse(dns.message.make_response(query).to_wire()) is None
    assert Asked.parse(b"") is None


@pytest.mark.parametrize("payload", [0, 511, 512, 1232, 65_535])
def test_no_answer_is_larger_than_what_passes_everywhere(payload: int) -> None:
    query = dns.message.make_query("com.", "SOA", use_edns=0, payload=payload)
    asked = Asked.parse(query.to_wire())
    assert asked is not None
    assert 512 <= asked.payload <= 1232
