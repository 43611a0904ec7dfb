"""The question set: what is asked, how often, and that nothing is left out."""

from __future__ import annotations

import random
from collections import Counter

import dns.flags
import dns.message
import pytest

from steering.model import Kind
from steering.observe.probe.questions import QuestionSet, delegations
from steering.observe.query import query

KNOWN = delegations(
    ["com.", "net.", "."], ["a.gtld-servers.net.", "b.gtld-servers.net.", "a.root-servers.net."]
)


def test_delegations_are_those_the_policies_mention() -> None:
    assert KNOWN == {
        ".": ("com.", "net."),
        "com.": (),
        "net.": ("gtld-servers.net.", "root-servers.net."),
    }


@pytest.mark.parametrize("zones", [["."], ["com.", "net."], [f"z{n}." for n in range(7)]])
@pytest.mark.parametrize("seed", range(3))
def test_every_zone_gets_every_kind_and_half_are_denials(zones: list[str], seed: int) -> None:
    asked = QuestionSet(zones, KNOWN, random.Random(seed))
    questions = [asked.fresh() for _ in range(6 * len(zones))]
    counts = Counter((question.zone, question.kind) for question in questions)
    for zone in zones:
        assert counts[zone, Kind.SOA] == counts[zone, Kind.DNSKEY] == 1
        delegated = 1 if KNOWN.get(zone) else 0
        assert counts[zone, Kind.DELEGATION] == delegated
        assert counts[zone, Kind.DENIAL] == 4 - delegated


def test_denials_are_one_label_below_the_zone_and_never_twice_the_same() -> None:
    asked = QuestionSet([".", "com."], {}, random.Random(1))
    names = [q.name for q in (asked.fresh() for _ in range(600)) if q.kind is Kind.DENIAL]
    assert len(names) == len(set(names)) == 400
    assert {name.count(".") for name in names} == {1, 2}


def test_every_second_fast_question_asks_a_witness_in_turn() -> None:
    asked = QuestionSet(["com.", "net."], {}, random.Random(1))
    witnesses = ("a.com.", "b.net.", "c.org.")
    questions = [asked.fast(witnesses) for _ in range(12)]
    again = [q for q in questions if q.kind is Kind.WITNESS]
    assert Counter(q.name for q in again) == {"a.com.": 2, "b.net.": 2}
    assert {(q.zone, q.rdtype) for q in again} == {("com.", "A"), ("net.", "A")}
    assert not any(asked.fast(()).kind is Kind.WITNESS for _ in range(12))


def test_a_query_asks_for_dnssec_and_the_servers_id_without_recursion() -> None:
    message = dns.message.from_wire(b"\x12\x34" + query("Example.COM.", "DS"))
    assert message.id == 0x1234
    assert message.question[0].to_text() == "example.com. IN DS"
    assert message.flags == 0
    assert message.ednsflags == dns.flags.DO
    assert message.payload == 1232
    assert [int(option.otype) for option in message.options] == [3]
    recursive = dns.message.from_wire(b"\x12\x34" + query(".", "DNSKEY", recursive=True))
    assert recursive.flags == dns.flags.RD | dns.flags.CD


def test_an_upstream_without_zones_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        QuestionSet([], {}, random.Random(1))
