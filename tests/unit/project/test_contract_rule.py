"""The rule that our verdicts are held to beside four validators', and its list of exceptions."""

from __future__ import annotations

import time
from pathlib import Path

import dns.message
import dns.rdatatype
import pytest
from contract.case import KINDS, World, build, kind_of, plan
from contract.heard import Heard
from contract.keys import KSK, key_of, twins
from contract.kinds import VARIANTS
from contract.meant import MEANT, meant
from contract.words import Sum, Word, agree, letters, sum_of

ROOT = Path(__file__).parents[3]
NAMES = ("Unbound", "BIND", "PowerDNS", "Knot")
BY_LETTER = {"S": Word.SECURE, "a": Word.ACCEPTED, "x": Word.REFUSED}


def words(text: str) -> dict[str, Word]:
    return dict(zip(NAMES, (BY_LETTER[letter] for letter in text), strict=True))


@pytest.mark.parametrize(
    ("said", "total", "good"),
    [
        ("SSSS", Sum.ALL_SECURE, True),
        ("xxxx", Sum.ALL_REFUSED, False),
        ("SxSS", Sum.MIXED, False),
        ("xaxx", Sum.MIXED, True),
        ("aaaa", Sum.MIXED, True),
    ],
)
def test_of_one_mind_they_decide_and_else_bind_does(said: str, total: Sum, good: bool) -> None:
    assert letters(words(said)) == said
    assert sum_of(words(said)) is total
    assert agree(Word.ACCEPTED, words(said)) is good
    assert agree(Word.REFUSED, words(said)) is not good
    assert not agree(Word.UNJUDGED, words(said))


def test_what_is_meant_is_defended_in_the_docs_and_nothing_else_is() -> None:
    page = (ROOT / "docs/verdicts.md").read_text().partition("## Beside four validators")[2]
    for one in MEANT:
        assert f"| {'good' if one.ours.good else 'bad'} | {one.reason} |" in page, one.reason
    assert page.count("\n| good |") + page.count("\n| bad |") == len(MEANT)


def test_an_exception_holds_for_what_it_says_and_no_further() -> None:
    def heard(label: str, ours: Word, said: str, because: str) -> Heard:
        return Heard(1, "header", f"{label} [text, NSEC]", "", ours, because, words(said))

    turned = "header: AA turned over"
    assert meant(heard(turned, Word.REFUSED, "SSSS", "lame not authoritative"))
    assert not meant(heard(turned, Word.REFUSED, "SSSS", "unsigned www"))
    assert not meant(heard(turned, Word.ACCEPTED, "xxxx", "secure"))
    assert not meant(heard("untouched: text", Word.REFUSED, "SSSS", "unsigned"))
    assert not meant(heard("untouched: text", Word.ACCEPTED, "xxxx", "secure"))
    # What all refuse is never good for a part that nobody reads.
    assert not meant(heard("edns: twice", Word.ACCEPTED, "xxxx", "secure"))


def test_a_case_is_told_by_seed_and_number_alone() -> None:
    now = int(time.time())
    for number in range(len(KINDS)):
        first, second = (build(World(now), 3, number, now) for _ in range(2))
        assert (first.label, first.kind) == (second.label, kind_of(number))
        if "algorithm" not in first.label:  # keys of RSA are made anew
            assert first.wire == second.wire, first.label
    assert len({build(World(now), seed, 0, now).label for seed in range(8)}) > 1


def test_every_variant_is_met() -> None:
    most = max(sum(one.kind == kind for one in VARIANTS) for kind in KINDS)
    met = {one for number in range(most * len(KINDS)) for one in plan(1, number)[0]}
    assert met == set(VARIANTS)


def test_what_is_not_touched_is_a_message_as_any() -> None:
    now = int(time.time())
    for number in range(KINDS.index("untouched"), 400, len(KINDS)):
        case = build(World(now), 1, number, now)
        message = dns.message.from_wire(case.wire)
        assert message.question[0].name == case.name
        assert any(r.rdtype == dns.rdatatype.RRSIG for r in (*message.answer, *message.authority))


def test_key_tags_collide_where_they_are_to() -> None:
    for first, second in twins():
        assert first.tag == second.tag
        assert first.dnskey != second.dnskey
    assert len({key_of(number, KSK).tag for number in range(50)}) > 40
