"""The hot path of dnstap: exact beside dnspython, and the same in each build."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import dnstap_oracle as oracle
import pytest
from dnstap_frames import (
    ADDRESS,
    APART,
    NOW,
    PACKED,
    SIGNERS,
    ZONES,
    Framed,
    as_compiled,
    compare_frame,
    field,
    frame,
    interpreted,
    odd_payload,
    payload,
)
from dnstap_messages import message as odd_message
from dnstap_messages import mutated
from dnstap_oracle import Walked
from hypothesis import given, settings
from hypothesis import strategies as st

from steering.model import Outcome
from steering.observe.dnstap import counter, tally_builder
from steering.observe.dnstap.counter import FRAME_LIMIT, MOST_SIGNATURES, FrameCounter
from steering.observe.dnstap.tally import (
    NAME_BYTES,
    NAMES,
    Frames,
    Interest,
    Reason,
    Tally,
    Watched,
)
from steering.observe.dnstap.tally_builder import build_tally, name_to_text, name_to_wire, upstreams

INTEREST: Interest = {ADDRESS: Watched(zones=frozenset(ZONES))}
PLAIN = interpreted()
MODULES = list(dict.fromkeys((PLAIN, as_compiled(), counter)))
BUILDS = [Walked(module, zones=zones) for module in MODULES for zones in (APART, ZONES)]
FRAMED = [Framed(PLAIN, shortcut=False), *map(Framed, MODULES)]


def signed(*signatures: tuple[str, str, int, int], rcode: int = 0) -> bytes:
    """A denial by NSEC3 records, of one signature each: owner, signer, both dates from now."""
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rrset

    answer = dns.message.make_response(dns.message.make_query("gone.com.", "A"))
    answer.set_rcode(dns.rcode.Rcode(rcode))
    answer.flags |= dns.flags.AA
    for owner, signer, inception, expiration in signatures:
        record = dns.rrset.from_text(owner, 900, "IN", "NSEC3", f"1 0 0 - {'0' * 32} A")
        text = f"NSEC3 13 2 900 {NOW + expiration} {NOW + inception} 4711 {signer} {'AAAA' * 22}"
        answer.authority += [record, dns.rrset.from_text(owner, 900, "IN", "RRSIG", text)]
    return answer.to_wire(max_size=65_535)


GOOD = ("good.com.", "com.", -3_600, 600_000)
OLD = ("old.com.", "com.", -700_000, -1)
EARLY = ("early.com.", "com.", 1, 700_000)


def tally(*messages: bytes, kind: int = 4) -> Tally:
    walker = FrameCounter(upstreams(INTEREST), 1)
    count(walker, *messages, kind=kind)
    return build_tally(walker, began=0, ended=1)


def count(walker: FrameCounter, *messages: bytes, kind: int = 4) -> None:
    chunk = b"".join(frame(payload(kind, message=message)) for message in messages)
    assert walker.walk(chunk, 0, NOW) == len(chunk)


# --- exactness ------------------------------------------------------------------------------


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**64))
def test_no_signature_is_missed_and_none_invented(seed: int) -> None:
    draw = random.Random(seed)
    base = odd_message(draw)
    oracle.compare(base, BUILDS)
    for _ in range(8):
        oracle.compare(mutated(draw, base), BUILDS)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_at_all_confuse_the_walk(noise: bytes) -> None:
    oracle.compare(b"\0\1\x81\0\0\1" + noise, BUILDS)
    oracle.compare(noise, BUILDS)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**64))
def test_protobuf_with_fields_unknown_missing_repeated_and_of_another_type(seed: int) -> None:
    draw = random.Random(seed)
    body = odd_payload(draw)
    compare_frame(body, FRAMED)
    for _ in range(4):
        if broken := mutated(draw, body):
            compare_frame(broken, FRAMED)


def usual_answers() -> Iterator[bytes]:
    """What resolvers get all day: an address, an alias, a denial, no data, a referral."""
    import dns.flags
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rrset

    def rrsigs(owner: str, rdtype: str, labels: int, *, more: str = "com.") -> dns.rrset.RRset:
        text = f"{rdtype} 13 {labels} 900 {NOW + 9000} {NOW - 9000} 4711 {more} {'AAAA' * 22}"
        return dns.rrset.from_text(owner, 900, "IN", "RRSIG", text)

    rrset = dns.rrset.from_text
    soa = rrset("com.", 900, "IN", "SOA", "a.com. b.com. 1700000000 1 1 1 1")
    nsec3 = f"1 0 0 - {'0' * 32} A"
    denial = ("k.com.", 900, "IN", "NSEC3", nsec3)
    address = [rrset("www.com.", 900, "IN", "A", "192.0.2.1"), rrsigs("www.com.", "A", 2)]
    alias = [rrset("www.com.", 900, "IN", "CNAME", "x.org."), rrsigs("www.com.", "CNAME", 2)]
    none = [soa, rrsigs("com.", "SOA", 1), rrset(*denial), rrsigs("k.com.", "NSEC3", 2)]
    ns = rrset("www.com.", 900, "IN", "NS", "ns.www.com.")
    signed_ds = [ns, rrset("www.com.", 900, "IN", "DS", f"1 13 2 {'00' * 32}")]
    signed_ds += [rrsigs("www.com.", "DS", 2)]
    unsigned = [ns, rrset(*denial), rrsigs("k.com.", "NSEC3", 2)]
    for answer, authority, rcode, aa in (
        (address, [], 0, True),
        (alias, [], 0, True),
        ([], none, 3, True),
        ([], none, 0, True),
        ([], signed_ds, 0, False),
        ([], unsigned, 0, False),
    ):
        made = dns.message.make_response(dns.message.make_query("www.com.", "A"))
        made.flags |= dns.flags.AA if aa else 0
        made.set_rcode(dns.rcode.Rcode(rcode))
        made.answer, made.authority = answer, authority
        yield made.to_wire()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_usual_answers_are_judged_without_a_second_reading(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second reading takes several times as long; only what is unusual is worth it."""
    if not module.__file__ or not module.__file__.endswith(".py"):
        pytest.skip("methods of a compiled class can't be replaced")
    twice: list[bytes] = []
    monkeypatch.setattr(
        module.FrameCounter, "_weigh", lambda _self, message, *_: twice.append(message)
    )
    for answer in usual_answers():
        for zones in (ZONES, APART):
            build = Walked(module, zones=zones)
            what, seen = build.verdict(answer)
            assert not twice
            assert what == "counted"
            assert seen["com."].outcome == "good"


def test_frames_like_the_one_before_are_read_by_the_short_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow: list[int] = []
    real = PLAIN.FrameCounter._frame

    def spied(self: FrameCounter, chunk: bytes, start: int, end: int, now: int) -> None:
        slow.append(end - start)
        real(self, chunk, start, end, now)

    monkeypatch.setattr(PLAIN.FrameCounter, "_frame", spied)
    (answer, *_) = usual_answers()
    for query in (None, bytes(12), bytes(200)):
        build = Framed(PLAIN)
        for length in (0, 1, 50, 100, 127, 128, 129, 1000, 10_000, 16_000):
            message = (answer + bytes(length))[: max(length, 12)]
            body = payload(4, message=message, query=query)
            assert build.verdict(body) == ("response", message)
        assert len(slow) == 1, "the first one shows the order of the fields"
        slow.clear()


def test_a_signature_inside_a_text_record_is_none() -> None:
    import dns.message
    import dns.rrset

    answer = dns.message.make_response(dns.message.make_query("com.", "TXT"))
    inside = signed(OLD)[26:]
    text = "".join(f"\\{byte:03d}" for byte in inside[:250])
    answer.answer.append(dns.rrset.from_text("com.", 900, "IN", "TXT", f'"{text}"'))
    assert b"\0\x2e\0\1" in answer.to_wire()
    found = tally(answer.to_wire())
    assert found.signed == ()
    assert found.traffic[0].bare == 1


def test_a_loop_of_pointers_is_malformed_and_ends() -> None:
    loop = b"\0\1\x81\0\0\0\0\2\0\0\0\0" + b"\xc0\x0c" + b"\0\x2e\0\1\0\0\0\0\0\0"
    assert tally(loop).traffic[0].malformed == 1


@pytest.mark.parametrize(("pointers", "malformed"), [(256, 0), (257, 1), (5000, 1)])
def test_names_behind_thousands_of_pointers_are_malformed(pointers: int, malformed: int) -> None:
    """Four hundred such names in one answer kept the reader from its work for half a second."""
    question = b"\0\1\x84\0\0\1\0\2\0\0\0\0" + b"\3com\0\0\1\0\1"
    first = len(question) + 12  # where the RDATA of the first record begins
    chain = b"\xc0\x0c" + b"".join(
        (0xC000 | first + 2 * n).to_bytes(2, "big") for n in range(pointers - 2)
    )
    text = b"\xc0\x0c\0\x10\0\1\0\0\0\x09" + len(chain).to_bytes(2, "big") + chain
    last = (0xC000 | first + len(chain) - 2).to_bytes(2, "big")
    rrsig = b"\0\1\x08\1" + bytes(4) + b"\x7f\0\0\0" + bytes(4) + b"\0\1\3com\0"
    signed = last + b"\0\x2e\0\1\0\0\0\x09" + len(rrsig).to_bytes(2, "big") + rrsig
    assert tally(question + text + signed).traffic[0].malformed == malformed


def test_the_end_of_the_32_bit_clock_is_no_end_of_validity() -> None:
    import dns.flags
    import dns.message
    import dns.rrset

    late = (1 << 32) - 100  # 2106
    answer = dns.message.make_response(dns.message.make_query("com.", "A"))
    answer.flags |= dns.flags.AA
    text = f"A 13 1 900 500 {late - 3_600} 4711 com. AAAA"
    answer.answer = [
        dns.rrset.from_text("com.", 900, "IN", "A", "192.0.2.1"),
        dns.rrset.from_text("com.", 900, "IN", "RRSIG", text),
    ]
    walker = FrameCounter(upstreams(INTEREST), 1)
    for now in (late, late + 200, late + 701):
        chunk = frame(payload(4, message=answer.to_wire()))
        walker.walk(chunk, 0, now)
    (found,) = build_tally(walker, began=0, ended=1).signed
    assert (found.good, found.expired, found.not_yet_valid) == (2, 1, 0)


def test_what_is_outside_the_zone_that_is_named_as_its_signer_fails_nobody() -> None:
    outside = [(name, "com.", -700_000, -1) for name in (".", "org.", "xcom.", "x\\003com.")]
    assert tally(*(signed(one) for one in outside)).signed == ()
    (found,) = tally(signed(*outside, OLD)).signed
    assert [failure.name for failure in found.failing] == ["old.com."]


def test_long_names_do_not_make_a_tally_long() -> None:
    long = [f"{n:03d}{'x' * 58}.{'y' * 63}.{'z' * 63}.com." for n in range(2 * NAMES)]
    wires = [signed((name, "com.", -700_000, -1)) for name in long]
    (found,) = tally(*wires).signed
    assert found.expired == 2 * NAMES
    assert sum(len(failure.name) for failure in found.failing) <= NAME_BYTES
    assert len(found.failing) >= NAMES
    odd = [".".join([f"\\{n:03d}" * 60] * 3 + ["com."]) for n in range(128, 128 + NAMES)]
    (found,) = tally(*(signed((name, "com.", -700_000, -1)) for name in odd)).signed
    assert found.expired == NAMES
    assert 0 < sum(len(failure.name) for failure in found.failing) <= NAME_BYTES
    assert len(found.failing) < NAMES


def test_names_are_written_as_in_zone_files() -> None:
    import dns.name

    for wire in (b"\0", b"\3com\0", b'\5a.b\\c\3\0\x80\xff\1"\0', b"\4@$();\0"[:5] + b"\0"):
        assert name_to_text(wire) == str(dns.name.from_wire(wire, 0)[0])
    assert name_to_wire(".") == b"\0"
    assert name_to_wire("Example.com.") == b"\7example\3com\0"


# --- what is counted ------------------------------------------------------------------------


def test_an_answer_counts_once_and_by_its_worst_rrset() -> None:
    found = tally(signed(GOOD, OLD), signed(GOOD, OLD, EARLY), signed(GOOD))
    (com,) = found.signed
    assert (com.good, com.expired, com.not_yet_valid) == (1, 1, 1)
    assert com.expires == NOW - 1
    assert [(f.name, f.outcome, f.evidence.key_tag) for f in com.failing] == [
        ("old.com.", Outcome.EXPIRED, 4711),
        ("early.com.", Outcome.NOT_YET_VALID, 4711),
    ]
    assert com.failing[0].evidence.expiration == NOW - 1
    assert found.traffic[0].rcodes == {0: 3}


@pytest.mark.parametrize(("rdtype", "text", "ask"), [(43, "DS", "d.com."), (50, "NSEC3", None)])
def test_a_name_to_ask_is_one_that_shows_the_failure(
    rdtype: int, text: str, ask: str | None
) -> None:
    failed = counter.Failed(b"\1d\3com\0", rdtype, 7, 1, 2, True)
    failure = tally_builder._failure(failed)
    assert (failure.evidence.rdtype, failure.ask) == (text, ask)


def test_one_good_signature_of_two_is_enough_for_an_rrset() -> None:
    renewed = ("old.com.", "com.", -3_600, 600_000)
    (com,) = tally(signed(OLD, renewed)).signed
    assert (com.good, com.expired, com.failing) == (1, 0, ())
    assert com.expires == NOW - 1


def test_signatures_of_zones_that_are_none_of_the_policys_count_for_nothing() -> None:
    customer = ("www.customer.org.", "customer.org.", -700_000, -1)
    found = tally(signed(customer))
    assert found.signed == ()
    assert (found.traffic[0].responses, found.traffic[0].bare) == (1, 0)


def test_clocks_may_differ_by_the_policys_skew() -> None:
    walker = FrameCounter(upstreams({ADDRESS: Watched(zones=frozenset({"com."}), skew=1.0)}), 1)
    older = ("old.com.", "com.", -700_000, -2)
    count(walker, signed(OLD, EARLY), signed(older))
    (com,) = build_tally(walker, began=0, ended=1).signed
    assert (com.good, com.expired) == (1, 1)


def test_a_part_of_a_second_forgives_a_whole_one() -> None:
    (watched,) = upstreams({ADDRESS: Watched(zones=frozenset({"com."}), skew=0.2)}).values()
    assert watched.skew == 1
    (exact,) = upstreams(INTEREST).values()
    assert exact.skew == 0


def test_only_the_resolvers_own_questions_are_looked_at() -> None:
    walker = FrameCounter(upstreams(INTEREST), 1)
    for kind in range(15):
        count(walker, signed(GOOD), kind=kind)
    found = build_tally(walker, began=0, ended=1)
    assert found.frames == {Frames.OK: 4, Frames.IGNORED: 11}
    (traffic,) = found.traffic
    assert (traffic.queries, traffic.forwarded, traffic.responses) == (1, 1, 2)


def test_a_new_domain_that_powerdns_tells_of_is_no_answer() -> None:
    walker = FrameCounter(upstreams(INTEREST), 1)
    chunk = frame(payload(4, message=signed(OLD), answered=False))
    walker.walk(chunk, 0, NOW)
    assert build_tally(walker, began=0, ended=1).frames == {Frames.IGNORED: 1}


def test_other_upstreams_are_counted_and_not_kept() -> None:
    walker = FrameCounter(upstreams(INTEREST), 1)
    chunk = frame(payload(4, message=signed(OLD), address=bytes(16)))
    walker.walk(chunk, 0, NOW)
    found = build_tally(walker, began=0, ended=1)
    assert found.frames == {Frames.OTHER: 1}
    assert (found.traffic, found.signed, found.samples) == ((), (), ())


def test_names_told_before_come_after_new_ones() -> None:
    walker = FrameCounter(upstreams(INTEREST), 1)

    def failing(numbers: range) -> list[bytes]:
        return [signed((f"n{n}.com.", "com.", -700_000, -1)) for n in numbers]

    count(walker, *failing(range(NAMES + 5)))
    (first,) = build_tally(walker, began=0, ended=1).signed
    assert [f.name for f in first.failing] == [f"n{n}.com." for n in range(NAMES)]
    count(walker, *failing(range(NAMES + 5)))
    (second,) = build_tally(walker, began=1, ended=2).signed
    assert [f.name for f in second.failing[:5]] == [f"n{n}.com." for n in range(NAMES, NAMES + 5)]
    assert {f.name for f in second.failing[5:]} == {f.name for f in first.failing}
    assert second.expired == NAMES + 5


def test_a_tally_stays_small_whatever_comes() -> None:
    walker = FrameCounter(upstreams(INTEREST), 1)
    many = [(f"n{n}.com.", "com.", -700_000, -1) for n in range(MOST_SIGNATURES)]
    huge = signed(*many)
    for n in range(300):
        count(walker, huge, signed((f"m{n}.com.", "com.", -9, -1)), b"broken", signed(GOOD))
    found = build_tally(walker, began=0, ended=1)
    assert len(found.signed[0].failing) <= 2 * NAMES
    assert sum(len(sample.message) for sample in found.samples) <= 1 << 17
    reasons = [sample.reason for sample in found.samples]
    assert set(reasons) == {Reason.FAILING, Reason.RANDOM}


@pytest.mark.long
def test_random_samples_are_drawn_evenly() -> None:
    walker = FrameCounter(upstreams(INTEREST), 7)
    messages = (signed((f"n{n}.com.", "com.", -9, 9), rcode=n // 500 * 3) for n in range(1_000))
    chunk = b"".join(frame(payload(4, message=message)) for message in messages)
    total = [0, 0]
    for _ in range(40):
        walker.walk(chunk, 0, NOW)
        for sample in build_tally(walker, began=0, ended=1).samples:
            total[sample.message[3] & 15 == 3] += 1
    assert sum(total) == 40 * 48
    assert abs(total[0] - total[1]) < 5 * (40 * 48) ** 0.5, total


def test_what_is_of_interest_may_change_and_counts_go_on() -> None:
    walker = FrameCounter(upstreams(INTEREST), 1)
    count(walker, signed(GOOD))
    wider = {**INTEREST, "2001:db8::1": Watched(zones=frozenset({"net."}))}
    walker.upstreams = upstreams(wider, walker.upstreams.values())
    count(walker, signed(GOOD))
    found = build_tally(walker, began=0, ended=1)
    assert [s.good for s in found.signed] == [2]
    assert found.traffic[0].responses == 2


ASKED = NOW * 1_000_000 + 67_305
"""When a `payload` was asked: 0x04030201 ns, lowest first, after the second."""


@pytest.mark.parametrize("module", [PLAIN, counter], ids=["interpreted", "as built"])
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("kind", [3, 4, 7, 8])
def test_what_was_asked_before_a_move_is_counted_as_a_frame_alone(
    module: ModuleType, shortcut: bool, kind: int
) -> None:
    message = signed(GOOD) if kind in (4, 8) else None
    dated = frame(payload(kind, message=message))
    undated = frame(payload(kind, message=message, asked=False))
    for since, chunk, counts in (
        (0, dated, True),
        (0, undated, True),
        (ASKED, dated, True),
        (ASKED + 1, dated, False),
        (ASKED - 10**9, dated, True),
        (ASKED + 10**9, dated, False),
        (ASKED, undated, False),
    ):
        framed = Framed(module, shortcut=shortcut)
        framed.upstream.watch(list(SIGNERS), 0, since)
        framed.walker.walk(chunk, 0, NOW)
        upstream = framed.upstream
        assert upstream.queries + upstream.forwarded + upstream.responses == counts, since
        assert framed.walker.ok == 1
        assert len(framed.walker.drawn) == (counts and message is not None)


def test_counts_begin_anew_with_a_move_and_say_since_when() -> None:
    walker = FrameCounter(upstreams(INTEREST), 1)
    count(walker, signed(GOOD))
    moved = {ADDRESS: replace(INTEREST[ADDRESS], since=ASKED)}
    walker.upstreams = upstreams(moved, walker.upstreams.values())
    count(walker, signed(GOOD), signed(GOOD))
    walker.upstreams = upstreams(moved, walker.upstreams.values())
    (traffic,) = build_tally(walker, began=0, ended=1).traffic
    assert (traffic.responses, traffic.since) == (2, ASKED)
    count(walker, signed(GOOD))
    walker.upstreams = upstreams(INTEREST, walker.upstreams.values())
    (traffic,) = build_tally(walker, began=1, ended=2).traffic
    assert (traffic.responses, traffic.since) == (1, 0), "a minute later they go on"


# --- frames ---------------------------------------------------------------------------------


def test_frames_cut_anywhere_wait_for_the_rest() -> None:
    whole = frame(payload(4, message=signed(GOOD))) * 2
    for end in range(len(whole)):
        walker = FrameCounter(upstreams(INTEREST), 1)
        at = walker.walk(whole[:end], 0, NOW)
        assert at in (0, len(whole) // 2)
        assert walker.walk(whole, at, NOW) == len(whole)
        assert walker.ok == 2


@pytest.mark.parametrize("length", [0, FRAME_LIMIT + 1, 2**31, 2**32 - 1])
def test_the_walk_stops_at_lengths_that_are_none(length: int) -> None:
    walker = FrameCounter(upstreams(INTEREST), 1)
    good = frame(payload(3))
    assert walker.walk(good + length.to_bytes(4, "big") + bytes(99), 0, NOW) == len(good)
    assert walker.drop(good + length.to_bytes(4, "big") + bytes(99), 0) == len(good)


def test_a_message_of_64_kib_is_no_malformed_frame() -> None:
    big = signed(GOOD) + bytes(65_000)
    assert tally(big).frames == {Frames.OK: 1}
    broken = frame(field(14, bytes(FRAME_LIMIT - 9)) + field(15, 1))
    walker = FrameCounter(upstreams(INTEREST), 1)
    assert walker.walk(broken, 0, NOW) == len(broken)
    assert walker.malformed == 1


def test_the_packed_address_is_the_policys() -> None:
    assert list(upstreams(INTEREST)) == [PACKED]
