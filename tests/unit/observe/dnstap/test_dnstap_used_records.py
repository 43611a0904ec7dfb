"""What the reader of dnstap counts of an answer: what a resolver would use, as the classifier does.

Each answer is given to both, without keys: by dates they have to say the same.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dnstap_frames
import dnstap_messages
import pytest
from dnstap_alike import Word, counted, dated, read, signatures
from signedzone import DAY, NOW, RRSIG, Key, SignedZone

from steering.observe.dnssec.algorithms import ALGORITHMS
from steering.observe.dnssec.aliases import MOST_ALIASES
from steering.observe.dnssec.parse import MOST_RECORDS, decode
from steering.observe.dnssec.response import MOST_SIGNATURES
from steering.observe.dnstap import counter

GOOD = (NOW - DAY, NOW + DAY)
LATE = (NOW - DAY, NOW - 60)
EARLY = (NOW + 60, NOW + DAY)
ZONES = ("com.", "example.com.", "other.")
CHILDREN = {"safe": (Key(257).ds(dns.name.from_text("safe.com.")),), "bare": ()}
COM = SignedZone("com.", children=CHILDREN, names=("www", "deep"), nsec3=False)
HASHED = SignedZone("com.", children=CHILDREN, names=("www", "deep"))
CHILD = SignedZone("child.com.")
OTHER = SignedZone("other.")

RRsets = list[dns.rrset.RRset]


def rrset(owner: str, rdtype: str, *values: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(owner, 300, "IN", rdtype, *values)


def rrsig(
    what: dns.rrset.RRset,
    *dates: tuple[int, int],
    by: SignedZone = COM,
    algorithms: Sequence[int] = (13,) * 9,
) -> dns.rrset.RRset:
    """Signatures of these dates over an RRset; that they fit is not looked at."""
    made = [
        by.zsk.sign(what, by.name, date).replace(algorithm=algorithm)
        for date, algorithm in zip(dates, algorithms, strict=False)
    ]
    return dns.rrset.from_rdata_list(what.name, what.ttl, made)


def signed(what: dns.rrset.RRset, *dates: tuple[int, int], by: SignedZone = COM) -> RRsets:
    return [what, rrsig(what, *(dates or (GOOD,)), by=by)]


def answer(
    asked: str,
    answers: Iterable[dns.rrset.RRset] = (),
    authority: Iterable[dns.rrset.RRset] = (),
    additional: Iterable[dns.rrset.RRset] = (),
    *,
    rcode: int = 0,
    aa: bool = True,
) -> bytes:
    name, _, rdtype = asked.partition(" ")
    made = dns.message.make_response(dns.message.make_query(name, rdtype or "A", id=7))
    made.flags |= dns.flags.AA if aa else 0
    made.answer, made.authority = list(answers), list(authority)
    made.additional = list(additional)
    made.set_rcode(dns.rcode.Rcode(rcode))
    return made.to_wire(max_size=65535)


def both(wire: bytes, zones: Sequence[str] = ZONES) -> Word:
    """What reader and classifier agree on."""
    word, failing = counted(wire, zones, NOW)
    assert word is read(wire, zones, NOW)
    assert bool(failing) == (word in {Word.EXPIRED, Word.EARLY})
    return word


WWW = rrset("www.com.", "A", "192.0.2.1")
DEEP = rrset("deep.com.", "A", "192.0.2.2")
NS = rrset("com.", "NS", "ns.example.")
STRAY = rrset("bank.com.", "A", "192.0.2.66")
ALIAS = rrset("www.com.", "CNAME", "deep.com.")
SOA = COM.soa()
NSEC = rrset("deep.com.", "NSEC", "zzz.com. A RRSIG NSEC")
CUT = rrset("safe.com.", "NS", "ns.safe.com.")
DS = COM._ds(dns.name.from_text("safe.com."))[0]


# --- what counts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "word"), [(GOOD, Word.GOOD), (LATE, Word.EXPIRED), (EARLY, Word.EARLY)]
)
def test_what_answers_the_question_counts(dates: tuple[int, int], word: Word) -> None:
    dname = signed(rrset("moved.com.", "DNAME", "target.com."), dates)
    made = rrset("x.moved.com.", "CNAME", "x.target.com.")
    ds = dns.name.from_text("safe.com.")
    assert both(answer("www.com.", signed(WWW, dates))) is word
    assert both(answer("WWW.Com.", signed(WWW, dates))) is word
    assert both(answer("www.com.", signed(ALIAS, dates))) is word
    assert both(answer("www.com. CNAME", signed(ALIAS, dates))) is word
    assert both(answer("www.com. ANY", signed(WWW, dates))) is word
    assert both(answer("x.moved.com.", [*dname, made])) is word
    assert both(answer("x.moved.com.", dname)) is word, "a resolver makes the CNAME"
    assert both(answer("safe.com. DS", signed(DS, dates))) is word
    assert both(answer("x.safe.com.", (), [CUT, *signed(DS, dates)], aa=False)) is word
    bare = [rrset("bare.com.", "NS", "ns.bare.com."), *COM.cover(ds)]
    proof = rrset("bare.com.", "NSEC", "deep.com. NS RRSIG NSEC")
    assert both(answer("x.bare.com.", (), [bare[0], *signed(proof, dates)], aa=False)) is word
    for rcode in (0, 3):
        for authority in (signed(SOA, dates), [*signed(SOA), *signed(NSEC, dates)]):
            assert both(answer("gone.com.", (), authority, rcode=rcode)) is word
        assert both(answer("gone.com.", (), signed(NSEC, dates), rcode=rcode)) is word, "no SOA"


def test_the_worst_rrset_decides_and_the_best_signature_of_each() -> None:
    def having(*dates: tuple[int, int]) -> Word:
        return both(answer("www.com.", signed(WWW, *dates)))

    assert having(LATE, GOOD) is having(GOOD, LATE) is having(EARLY, GOOD) is Word.GOOD
    assert having(EARLY, LATE) is Word.EXPIRED
    denial = [*signed(SOA, LATE), *signed(NSEC, EARLY)]
    assert both(answer("gone.com.", (), denial, rcode=3)) is Word.EARLY


def test_an_answer_made_from_a_wildcard_needs_its_proof() -> None:
    """To the classifier without keys no wildcard is proved, so it looks at no proof."""
    source = rrset("*.com.", "A", "192.0.2.3")
    made = dns.rrset.from_rdata_list("gone.com.", 300, list(rrsig(source, GOOD)))
    expanded = [rrset("gone.com.", "A", "192.0.2.3"), made]
    for dates, word in ((GOOD, Word.GOOD), (LATE, Word.EXPIRED)):
        wire = answer("gone.com.", expanded, signed(NSEC, dates))
        assert counted(wire, ZONES, NOW)[0] is word
    assert both(answer("www.com.", signed(WWW), signed(NSEC, LATE))) is Word.GOOD
    wild = answer("*.com.", signed(source), signed(NSEC, LATE))
    assert both(wild) is Word.GOOD, "the asterisk itself was asked for"


# --- what does not --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "authority", "additional"),
    [
        (signed(STRAY, LATE), (), ()),
        (signed(rrset("www.com.", "TXT", "x"), LATE), (), ()),
        (signed(rrset("moved.com.", "DNAME", "target.com."), LATE), (), ()),
        ((), signed(NS, LATE), ()),
        ((), signed(SOA, LATE), ()),
        ((), signed(NSEC, LATE), ()),
        ((), signed(DS, LATE), ()),
        ((), (), signed(WWW, LATE)),
        ((), (), signed(NS, LATE)),
        ((), signed(rrset("www.child.com.", "A", "192.0.2.1"), LATE, by=CHILD), ()),
        ((), signed(OTHER.soa(), LATE, by=OTHER), ()),
        (signed(DEEP, LATE), (), ()),
    ],
)
def test_what_stands_beside_a_good_answer_is_nothing(
    answers: RRsets, authority: RRsets, additional: RRsets
) -> None:
    for right in (signed(WWW), list(reversed(signed(WWW)))):
        wire = answer("www.com.", [*right, *answers], authority, additional)
        assert both(wire) is Word.GOOD
        assert both(answer("www.com.", [*answers, *right], authority, additional)) is Word.GOOD


@pytest.mark.parametrize("dates", [GOOD, LATE])
def test_an_answer_of_nothing_that_was_asked_for_is_nothing(dates: tuple[int, int]) -> None:
    stray = signed(STRAY, dates)
    assert both(answer("www.com.", stray)) is Word.NOTHING
    assert both(answer("www.com.", [WWW, *stray])) is Word.NOTHING
    assert both(answer("www.com.", [WWW], signed(NS, dates))) is Word.NOTHING
    assert both(answer("www.com.", (), (), signed(WWW, dates))) is Word.NOTHING
    assert both(answer("www.com. RRSIG", signed(WWW, dates)[1:])) is Word.NOTHING
    assert both(answer("www.com.", signed(WWW, dates)[1:])) is Word.NOTHING
    assert both(answer("www.nobody.", signed(WWW, dates))) is Word.NOTHING


@pytest.mark.parametrize("dates", [GOOD, LATE])
def test_who_does_not_speak_for_the_zone_says_nothing_of_it(dates: tuple[int, int]) -> None:
    denial = [*signed(SOA, dates), *signed(NSEC, dates)]
    up = rrset(".", "NS", "a.root.")
    assert both(answer("www.com.", signed(WWW, dates), aa=False)) is Word.NOTHING
    assert both(answer("gone.com.", (), denial, aa=False)) is Word.NOTHING
    assert both(answer("www.com.", (), [up, *signed(DS, dates)], aa=False)) is Word.NOTHING
    assert both(answer("safe.com. DS", (), [CUT, *signed(DS, dates)])) is Word.NOTHING
    for rcode in (1, 2, 4, 5, 6, 9):
        assert both(answer("www.com.", signed(WWW, dates), rcode=rcode)) is Word.NOTHING
    theirs = [rrset("sub.com.", "SOA", "a. b. 1 2 3 4 5"), *signed(NSEC, dates)]
    assert both(answer("x.sub.com.", (), theirs)) is Word.NOTHING


@pytest.mark.parametrize("by", [CHILD, OTHER, None])
def test_what_stands_behind_an_alias_counts_if_the_zone_signed_it(by: SignedZone | None) -> None:
    signers = by or COM
    target = rrset(f"x.{signers.text}", "A", "192.0.2.9")
    alias = signed(rrset("www.com.", "CNAME", f"x.{signers.text}"))
    behind = signed(target, LATE, by=signers)
    word = Word.EXPIRED if by is None else Word.GOOD
    assert both(answer("www.com.", [*alias, *behind])) is word
    assert both(answer("www.com.", [*behind, *alias])) is word
    assert both(answer("www.com.", [*alias, target])) is Word.GOOD
    soa = signers.soa()
    denial = signed(soa, LATE, by=signers)
    assert both(answer("www.com.", alias, denial, rcode=3)) is Word.GOOD, "of the target"


def test_an_answer_out_of_a_zone_below_is_that_zone_s() -> None:
    below = rrset("www.child.com.", "A", "192.0.2.1")
    for dates in (GOOD, LATE):
        assert both(answer("www.child.com.", signed(below, dates, by=CHILD))) is Word.NOTHING
        back = signed(rrset("www.child.com.", "CNAME", "www.com."), dates, by=CHILD)
        late = signed(WWW, LATE)
        assert both(answer("www.child.com.", [*back, *late])) is Word.NOTHING
        assert both(answer("www.child.com.", [back[0], *late])) is Word.NOTHING


def test_the_closest_zone_is_asked_and_for_a_ds_record_its_parent() -> None:
    example = SignedZone("example.com.")
    address = rrset("www.example.com.", "A", "192.0.2.1")
    ds = rrset("example.com.", "DS", f"1 13 2 {'ab' * 32}")
    for dates, word in ((GOOD, Word.GOOD), (LATE, Word.EXPIRED)):
        assert both(answer("www.example.com.", signed(address, dates, by=example))) is word
        assert both(answer("www.example.com.", signed(address, dates))) is Word.NOTHING
        assert both(answer("example.com. DS", signed(ds, dates))) is word
        assert both(answer("example.com. DS", signed(ds, dates, by=example))) is Word.NOTHING
        both_sets = [*signed(address, GOOD, by=example), rrsig(address, dates)]
        assert both(answer("www.example.com.", both_sets)) is Word.GOOD


def test_algorithms_that_nobody_has_to_know_count_neither_way() -> None:
    def having(*dates: tuple[int, int], algorithms: Sequence[int]) -> Word:
        return both(answer("www.com.", [WWW, rrsig(WWW, *dates, algorithms=algorithms)]))

    assert having(LATE, GOOD, algorithms=(200, 13)) is Word.GOOD
    assert having(GOOD, LATE, algorithms=(200, 13)) is Word.EXPIRED
    for strange in (0, 1, 3, 6, 9, 11, 12, 17, 64, 69, 72, 77, 200, 253, 255):
        assert having(LATE, algorithms=(strange,)) is Word.NOTHING
        assert having(GOOD, algorithms=(strange,)) is Word.NOTHING
    for known in ALGORITHMS:
        assert having(LATE, algorithms=(known,)) is Word.EXPIRED


def test_reader_and_classifier_have_the_same_bounds() -> None:
    assert {n for n in range(64) if counter.ALGORITHMS >> n & 1} == ALGORITHMS
    assert (counter.MOST_RECORDS, counter.MOST_SIGNATURES) == (MOST_RECORDS, MOST_SIGNATURES)
    assert counter.MOST_ALIASES == MOST_ALIASES


# --- real answers, and odd ones -------------------------------------------------------------


def test_each_signature_of_a_real_answer_counts_in_both_or_in_neither() -> None:
    seen: Counter[Word] = Counter()
    asked = [("www", "A"), ("gone", "A"), ("www", "TXT"), ("x.safe", "A"), ("x.bare", "A")]
    asked += [("safe", "DS"), ("bare", "DS"), ("", "SOA"), ("", "DNSKEY"), ("", "TXT")]
    for zone in (COM, HASHED):
        for label, rdtype in asked:
            wire = zone.ask(f"{label}.com.".lstrip("."), rdtype).to_wire(max_size=65535)
            seen[both(wire)] += 1
            for at in signatures(wire):
                for dates in (LATE, EARLY):
                    seen[both(dated(wire, at, *dates))] += 1
    assert seen[Word.NOTHING] == 0
    assert all(seen[word] > 15 for word in (Word.GOOD, Word.EXPIRED, Word.EARLY)), seen


@pytest.mark.long
def test_of_odd_answers_they_say_the_same_but_for_what_dates_do_not_decide() -> None:
    draw, seen = random.Random(11), Counter[str]()
    for _ in range(3_000):
        wire = dnstap_messages.message(draw)
        if draw.random() < 0.3:
            wire = dnstap_messages.mutated(draw, wire)
        word, _ = counted(wire, ZONES, dnstap_frames.NOW)
        said = read(wire, ZONES, dnstap_frames.NOW)
        reason = "the same" if word is said else _reason(wire, word, said)
        assert reason, (word, said, wire.hex())
        seen[reason] += 1
    assert seen["the same"] > 2_700, seen


def _reason(wire: bytes, word: Word, said: Word) -> str:
    """Why they may differ over an answer; nothing if they may not."""
    if Word.NO_MESSAGE in {word, said}:
        return "one of them reads more of it than the other"
    message = decode(wire)
    assert isinstance(message, dns.message.Message)
    if message.errors:
        return "RDATA that can't be read, and that the reader does not look into"
    if message.rcode() > 15:
        return "the upper bits of the rcode, which stand in the additional section"
    made = any(
        isinstance(rdata, RRSIG) and rdata.labels < len(held.name) - 1
        for held in message.answer
        for rdata in held
    )
    if made and said is Word.GOOD:
        return "a wildcard's proof, which without keys the classifier does not look at"
    return ""
