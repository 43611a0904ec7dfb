"""Lying, looping and broken answers are malformed observations, and never an exception."""

from __future__ import annotations

import struct

import dns.flags
import dns.message
import dns.name
import dns.rdataset
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signedzone import DAY, NOW, Key, SignedZone

from steering.model import Kind, Outcome, Question
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.parse import MOST_RECORDS, parse
from steering.observe.dnssec.response import MOST_SIGNATURES, classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Keys, Trust

ZONE = SignedZone("com.", children={"safe": (Key(257).ds(SignedZone("safe.com.").name),)})
NSEC_ZONE = SignedZone("com.", nsec3=False, wildcard=True)
KEYS = Keys(
    zone="com.",
    rdataset=dns.rdataset.from_rdata_list(3600, list(ZONE.dnskey())),
    inception=NOW - DAY,
    expiration=NOW + DAY,
    checked=NOW,
)
TRUST = Trust(secure={"com.": KEYS})
SOA = Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA)
ASKED = (
    SOA,
    Question(zone="com.", name="com.", rdtype="DNSKEY", kind=Kind.DNSKEY),
    Question(zone="com.", name="nothere.com.", rdtype="A", kind=Kind.DENIAL),
    Question(zone="com.", name="safe.com.", rdtype="DS", kind=Kind.DELEGATION),
    Question(zone="com.", name="x.safe.com.", rdtype="A", kind=Kind.WITNESS),
)
REAL = [
    (asked, zone.ask(asked.name, asked.rdtype).to_wire())
    for asked in ASKED
    for zone in (ZONE, NSEC_ZONE)
]
SIGNATURES = Signatures()


def read(wire: bytes, asked: Question = SOA) -> Classified:
    return classify(wire, asked, 7, TRUST, wall=NOW, skew=0, signatures=SIGNATURES)


def soa() -> dns.message.Message:
    return ZONE.ask("com.", "SOA")


@given(st.binary(max_size=600))
def test_random_bytes_never_raise(wire: bytes) -> None:
    assert read(wire).outcome is not Outcome.SECURE


@given(st.binary(max_size=200), st.tuples(*[st.integers(0, 3)] * 4), st.sampled_from(ASKED))
def test_random_bytes_behind_a_good_header_never_raise(
    rest: bytes, counts: tuple[int, ...], asked: Question
) -> None:
    wire = struct.pack("!HHHHHH", 7, 0x8400, *counts) + rest
    assert read(wire, asked).outcome is not Outcome.SECURE


@given(
    st.sampled_from(REAL),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_real_answers_with_changed_octets_never_raise(
    real: tuple[Question, bytes], changes: list[tuple[int, int]]
) -> None:
    asked, wire = real
    changed = bytearray(wire)
    for at, octet in changes:
        changed[at % len(changed)] = octet
    assert isinstance(read(bytes(changed), asked), Classified)


@given(st.sampled_from(REAL), st.data())
def test_answers_cut_short_are_malformed(real: tuple[Question, bytes], data: st.DataObject) -> None:
    asked, wire = real
    cut = data.draw(st.integers(0, len(wire) - 1))
    assert read(wire[:cut], asked).outcome is Outcome.MALFORMED


@given(st.sampled_from(REAL), st.binary(min_size=1, max_size=40))
def test_octets_behind_an_answer_are_read_by_nobody(
    real: tuple[Question, bytes], tail: bytes
) -> None:
    asked, wire = real
    assert read(wire + tail, asked) == read(wire, asked)


@pytest.mark.long
@given(st.sampled_from(REAL), st.data())
def test_records_out_of_other_answers_never_raise(
    real: tuple[Question, bytes], data: st.DataObject
) -> None:
    asked, wire = real
    message = dns.message.from_wire(wire)
    pool = [
        rrset
        for _, other in REAL
        for section in (dns.message.from_wire(other).answer, dns.message.from_wire(other).authority)
        for rrset in section
    ]
    for section in (message.answer, message.authority):
        section[:] = data.draw(st.lists(st.sampled_from(pool), max_size=6))
    message.flags = dns.flags.Flag(0x8000 | data.draw(st.integers(0, 0x07FF)) & ~0x0200)
    assert isinstance(read(message.to_wire(max_size=65535), asked), Classified)


def test_a_loop_of_compression_pointers_is_malformed() -> None:
    header = struct.pack("!HHHHHH", 7, 0x8400, 1, 1, 0, 0)
    asked = b"\x03com\x00" + struct.pack("!HH", 6, 1)
    loop = struct.pack("!H", 0xC000 | (len(header) + len(asked)))
    assert read(header + asked + loop + b"\x00" * 10).outcome is Outcome.MALFORMED
    assert read(header + b"\xc0\x0c" + b"\x00" * 10).outcome is Outcome.MALFORMED


@pytest.mark.parametrize(
    ("name", "rdtype"), [("net.", "SOA"), ("com.", "NS"), ("com.evil.", "SOA")]
)
def test_an_answer_to_another_question_is_malformed(name: str, rdtype: str) -> None:
    message = soa()
    message.question = dns.message.make_query(name, rdtype).question
    assert read(message.to_wire()).detail == "another question's answer"


def test_the_letters_case_of_the_question_does_not_matter() -> None:
    message = soa()
    message.question = dns.message.make_query("CoM.", "SOA").question
    assert read(message.to_wire()).outcome is Outcome.SECURE


def test_a_query_sent_back_is_malformed() -> None:
    assert read(dns.message.make_query("com.", "SOA", id=7).to_wire()).outcome is Outcome.MALFORMED


def test_another_id_opcode_or_class_is_malformed() -> None:
    wire = soa().to_wire()
    assert read(b"\x00\x08" + wire[2:]).detail == "another query's id"
    assert read(wire[:2] + bytes([wire[2] | 0x28]) + wire[3:]).outcome is Outcome.MALFORMED
    chaos = soa()
    chaos.authority.append(dns.rrset.from_text("com.", 1, "CH", "TXT", "x"))
    assert read(chaos.to_wire()).detail == "records of another class"


def test_no_question_at_all_is_malformed_in_an_answer() -> None:
    message = soa()
    message.question = []
    assert read(message.to_wire()).outcome is Outcome.MALFORMED


def test_a_record_beside_the_answer_is_left_out_and_alone_it_is_a_lie() -> None:
    message = soa()
    message.answer.insert(0, dns.rrset.from_text("bank.com.", 300, "IN", "A", "192.0.2.66"))
    assert read(message.to_wire()).outcome is Outcome.SECURE
    del message.answer[1:]
    reading = read(message.to_wire())
    assert (reading.outcome, reading.detail) == (
        Outcome.MALFORMED,
        "the answer is about bank.com.",
    )


def test_more_records_or_signatures_than_any_answer_has_are_not_read() -> None:
    message = soa()
    message.additional = [
        dns.rrset.from_text("com.", 1, "IN", "TXT", f"{n}") for n in range(MOST_RECORDS)
    ]
    assert "oversized" in read(message.to_wire(max_size=65535)).detail
    message = soa()
    rrsig = message.answer[1][0]
    many = [rrsig.replace(original_ttl=ttl) for ttl in range(MOST_SIGNATURES + 1)]
    message.answer[1] = dns.rrset.from_rdata_list("com.", 900, many)
    assert "oversized" in read(message.to_wire(max_size=65535)).detail


def test_a_truncated_answer_says_so() -> None:
    message = soa()
    message.flags |= dns.flags.TC
    reading = parse(message.to_wire(), SOA, 7)
    assert isinstance(reading, Classified)
    assert reading.detail == "truncated"
