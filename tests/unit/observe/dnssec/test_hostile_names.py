"""Names at every limit, in the place of every name, and what one answer may cost."""

from __future__ import annotations

import functools
import io
import random
import struct
import time
from collections.abc import Callable

import dns.message
import dns.name
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.rrset
import pytest
from signedzone import DAY, NOW, SignedZone

from steering.act.bgp.output import Down, Listed, parse
from steering.model import Kind, Outcome, Question
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.denial import NSEC, NSEC3, DenialProof, types
from steering.observe.dnssec.response import LONGEST_NSID, classify, nsid_text
from steering.observe.dnssec.signatures import MOST_TRIED, Signatures
from steering.observe.dnssec.skim import skim
from steering.observe.dnssec.trust import Keys, Trust, name_of, octets, text_of
from steering.observe.nonce import LABEL
from steering.observe.probe.answer_cache import AnswerCache
from steering.observe.probe.questions import QuestionSet
from steering.observe.traffic.classify import Verified, verify_response
from steering.observe.traffic.denied_names import DeniedNames, within
from steering.system.unreadable import LONGEST

EXPIRED = (NOW - 9 * DAY, NOW - DAY)
ZONE = SignedZone("com.", nsec3=False, wildcard=False)
TRUST = Trust(
    secure={
        "com.": Keys(
            zone="com.",
            rdataset=dns.rdataset.from_rdata_list(3600, list(ZONE.dnskey())),
            inception=NOW - DAY,
            expiration=NOW + DAY,
            checked=NOW,
        )
    }
)
ASKED = Question(zone="com.", name="nothere.com.", rdtype="A", kind=Kind.DENIAL)


def longest(parent: str, size_: int) -> str:
    """A name of so many octets below another one."""
    left = size_ - octets(dns.name.from_text(parent))
    labels = []
    while left > 0:
        size = min(63, left - 1)
        size -= left - 1 - size == 1  # a label of no octets is the root's
        labels.append("a" * size)
        left -= 1 + size
    return ".".join([*labels, parent]) if parent != "." else ".".join([*labels, ""])


OWNERS = {
    ".": "the root",
    "net.": "beside the zone",
    "xcom.": "like the zone",
    "com.": "the apex",
    "a.com.": "below",
    longest("com.", 241): "one label more may be 255 octets",
    longest("com.", 242): "one label more is too long",
    longest("com.", 255): "nothing fits below",
    longest(".", 255): "as long, and outside",
    f"{'a' * 63}.com.": "the label is full",
    "\\000\\255.com.": "octets that are no letters",
    "\\.\\@\\;.com.": "signs that zone files escape",
    "*.com.": "a wildcard",
}
NEXT = (".", "com.", "net.", "b.com.", longest("com.", 255), "\\255.com.", "a.com.", "A.com.")


@functools.cache
def nsec(following: str) -> NSEC:
    made = dns.rdata.from_text("IN", "NSEC", f"{following} A RRSIG NSEC")
    assert isinstance(made, NSEC)
    return made


def with_nsec(owner: str, following: str, dates: tuple[int, int]) -> bytes:
    """An NXDOMAIN answer with an NSEC record before the SOA, signed by com.'s own key.

    If it is the zone's it stands alone: beside a whole proof it would not matter.
    """
    message = ZONE.ask(ASKED.name, ASKED.rdtype)
    if name_of(owner).is_subdomain(ZONE.name):
        message.authority[:] = [
            r for r in message.authority if dns.rdatatype.NSEC not in {r.rdtype, r.covers}
        ]
    rrset = dns.rrset.from_rdata_list(dns.name.from_text(owner), 60, [nsec(following)])
    rrsig = ZONE.zsk.sign(rrset, ZONE.name, dates)
    signed = dns.rrset.from_rdata_list(rrset.name, 60, [rrsig])
    message.authority[:0] = [rrset, signed]
    return message.to_wire(max_size=65_535)


def read(wire: bytes, signatures: Signatures | None = None) -> Classified:
    held = Signatures() if signatures is None else signatures  # an empty one is false
    return classify(wire, ASKED, 7, TRUST, wall=NOW, skew=0, signatures=held)


def listen(wire: bytes) -> Verified | None:
    held = Signatures()
    return verify_response(wire, ["com."], TRUST, wall=NOW, skew=0, signatures=held, secret=b"x")


@pytest.mark.parametrize("following", NEXT)
@pytest.mark.parametrize("owner", OWNERS, ids=OWNERS.get)
def test_no_owner_of_a_record_ends_the_reading(owner: str, following: str) -> None:
    for dates in (EXPIRED, (NOW - DAY, NOW + DAY)):
        wire = with_nsec(owner, following, dates)
        reading, verified = read(wire), listen(wire)
        if not name_of(owner).is_subdomain(name_of("com.")):
            assert reading.outcome is Outcome.SECURE, "outside the zone it is none of its records"
            assert verified is not None
            assert verified.failure is None
        elif dates is EXPIRED:
            assert reading.outcome is Outcome.EXPIRED
            assert verified is not None
            assert verified.failure is not None
            asked_again(verified)


def asked_again(verified: Verified) -> None:
    """What a failing record leads to being asked is a name of the zone, in the gap."""
    assert verified.failure is not None
    assert isinstance(verified.denial, NSEC)
    owner = verified.failure.evidence.owner
    name = within(owner, verified.denial, "com.", random.Random(4))
    if name is None:
        return
    assert octets(name_of(name)) <= 255
    assert name_of(owner) < name_of(name)
    assert name.isascii()
    assert name.isprintable()
    asked = QuestionSet(["com."], {}, random.Random(1))
    names = {asked.fast([name]).name for _ in range(4)}
    assert name in names


@pytest.mark.parametrize("owner", OWNERS, ids=OWNERS.get)
@pytest.mark.parametrize("zone", [".", "com.", "a.com."])
def test_the_search_for_a_name_in_a_gap_gives_up_on_what_is_no_gap(owner: str, zone: str) -> None:
    record = dns.rdata.from_text("IN", "NSEC3", f"1 0 1 aa {'0' * 32} A")
    assert isinstance(record, NSEC3)
    for following in NEXT:
        name = within(owner, nsec(following), zone, random.Random(2))
        assert name is None or name_of(name).is_subdomain(name_of(zone))
    gaps = DeniedNames(zone, random.Random(2))
    gaps.open(owner, record, 0.0)
    for _ in gaps.search(20, 1.0):
        pass
    assert not gaps.owners or name_of(owner).parent() == name_of(zone)


def test_a_search_still_finds_a_name_where_there_is_one() -> None:
    name = within("a.com.", nsec("b.com."), "com.", random.Random(2))
    assert name is not None
    assert name_of("a.com.") < name_of(name) < name_of("b.com.")
    root = within(".", nsec("zz."), ".", random.Random(2))
    assert root is not None
    assert len(name_of(root)) == 2


@pytest.mark.parametrize("owner", OWNERS, ids=OWNERS.get)
@pytest.mark.parametrize("name", [longest("com.", n) for n in (255, 254, 253)] + ["x.com.", "com."])
def test_no_proof_builds_a_name_that_is_too_long(owner: str, name: str) -> None:
    apex = name_of("com.")
    for following in NEXT:
        proof = DenialProof.of(apex, [(name_of(owner), nsec(following))])
        for said in (proof.no_name(name_of(name)), proof.no_type(name_of(name), dns.rdatatype.A)):
            assert isinstance(said, str)
        proof.no_ds(name_of(name))
        for labels in (0, 1, 200):
            proof.not_closer(name_of(name), labels)


def test_the_closest_encloser_may_be_as_long_as_a_name_can_be() -> None:
    closest, apex = longest("com.", 253), name_of("com.")
    name = dns.name.Name((b"b", *name_of(longest("com.", 253)).labels))
    assert octets(name) == 255
    records = [(name_of(closest), nsec("com."))]
    assert DenialProof.of(apex, records).no_name(name) == "", (
        "the wildcard just fits, and is covered"
    )
    deeper = longest("com.", 254)
    proof = DenialProof.of(apex, [(name_of(deeper), nsec("com."))])
    assert isinstance(proof.no_name(name), str)


def test_a_name_survives_being_written_and_read() -> None:
    for octet in range(256):
        name = dns.name.Name((bytes([octet, octet]), b"com", b""))
        text = text_of(name)
        assert name_of(text) == name
        assert text.isascii()
        assert text.isprintable()


# --- what others are shown --------------------------------------------------------------------


def test_an_nsid_of_any_length_is_short_where_it_is_shown_and_still_tells_instances_apart() -> None:
    assert nsid_text(b"sin1") == "sin1"
    assert nsid_text(b"a" * LONGEST_NSID) == "a" * LONGEST_NSID
    assert nsid_text(b"\x1b" * LONGEST_NSID) == "1b" * LONGEST_NSID
    message = ZONE.ask("com.", "SOA")
    seen = set()
    for last in (b"1", b"2"):
        message.use_edns(
            0,
            0,
            1232,
            options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, b"a" * 60_000 + last)],
        )
        soa = Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA)
        wire = message.to_wire(max_size=65_535)
        reading = classify(wire, soa, 7, TRUST, wall=NOW, skew=0, signatures=Signatures())
        assert reading.outcome is Outcome.SECURE
        assert reading.nsid is not None
        assert len(reading.nsid) < 2 * LONGEST_NSID
        seen.add(reading.nsid)
        assert AnswerCache().find(wire, TRUST) is None
    assert len(seen) == 2


def test_an_extended_error_is_shown_short_and_without_control_characters() -> None:
    message = ZONE.ask("com.", "SOA")
    message.set_rcode(dns.rcode.SERVFAIL)
    message.use_edns(
        0,
        0,
        1232,
        options=[dns.edns.EDEOption(dns.edns.EDECode.NO_REACHABLE_AUTHORITY, "\x1b[31m\n" * 5000)],
    )
    detail = read_soa(message.to_wire(max_size=65_535)).detail
    assert detail.isprintable()
    assert len(detail) == LONGEST


def read_soa(wire: bytes) -> Classified:
    soa = Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA)
    return classify(wire, soa, 7, TRUST, wall=NOW, skew=0, signatures=Signatures())


def test_numbers_and_texts_of_the_speaker_are_bounded() -> None:
    said = "neighbor 192.0.2.1 local-ip 192.0.2.2 family-allowed in-open ipv4 unicast 192.0.2.9/32"
    listed = parse(f"{said} next-hop 192.0.2.3 local-preference {'9' * 5000} med 7")
    assert isinstance(listed, Listed)
    assert (listed.attributes.local_preference, listed.attributes.med) == (None, 7)
    down = parse(
        '{"type": "state", "neighbor": {"address": {"peer": "192.0.2.1"}, "state": "down",'
        f' "reason": "\\u001b[2J{"x" * 9999}"}}}}'
    )
    assert isinstance(down, Down)
    assert down.because.startswith("\\x1b[2Jxxx")
    assert len(down.because) == LONGEST


# --- what one answer may cost -----------------------------------------------------------------

HEAD = b"\7nothere\3com\0" + struct.pack("!HH", 1, 1)
NAME, COM = b"\xc0\x0c", b"\xc0\x14"
DEEP = b"".join(b"\1" + bytes([97 + n % 26]) for n in range(120)) + COM
AT = 12 + len(HEAD)


def raw(answer: int, authority: int, additional: int, body: bytes) -> bytes:
    return struct.pack("!HHHHHH", 7, 0x8400, 1, answer, authority, additional) + HEAD + body


def record(owner: bytes, rdtype: int, rdata: bytes) -> bytes:
    return owner + struct.pack("!HHIH", rdtype, 1, 5, len(rdata)) + rdata


def opt(options: bytes) -> bytes:
    return b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(options)) + options


def names_in_rdata(rdtype: int) -> bytes:
    """398 records, each with a name of 122 labels, in seven kilobytes."""
    extra = bytes(2) if rdtype in (15, 18) else b""
    body = record(NAME, rdtype, extra + DEEP)
    at = 0xC000 | AT + 2 + 10 + len(extra)
    for n in range(397):
        name = b"\1" + bytes([97 + n % 26]) + struct.pack("!H", at + 2 * (n // 26))
        body += record(NAME, rdtype, extra + name)
    return raw(0, 398, 0, body)


def owners() -> bytes:
    body = record(DEEP, 1, bytes(4))
    for n in range(397):
        owner = b"\1" + bytes([97 + n % 26]) + struct.pack("!H", 0xC000 | AT + 2 + 2 * (n // 26))
        body += record(owner, 1, struct.pack("!I", n))
    return raw(0, 398, 0, body)


def signed(rrsets: int, records: int, signatures: int) -> bytes:
    """RRsets with signatures by the zone's own key, by their dates and tags, that do not fit."""
    soa = ZONE.ask("com.", "SOA").answer
    rrsig = next(r[0] for r in soa if r.rdtype == dns.rdatatype.RRSIG)
    held = io.BytesIO()
    rrsig.to_wire(held)
    body = record(COM, 6, bytes(22))
    for n in range(rrsets):
        owner = b"\4" + b"%04d" % n + COM
        for m in range(records):
            body += record(
                owner, 50, b"\1\0\0\0\0\x14" + struct.pack("!I", m) + bytes(16) + b"\0\1\x40"
            )
        for m in range(signatures):
            sig = struct.pack("!H", 50) + held.getvalue()[2:-4] + struct.pack("!I", m)
            body += record(owner, 46, sig)
    return raw(0, 1 + rrsets * (records + signatures), 0, body)


COSTLY: dict[str, Callable[[], bytes]] = {
    "strings": lambda: raw(1, 0, 0, record(NAME, 16, bytes(65_000))),
    "strings just allowed": lambda: raw(1, 0, 0, record(NAME, 16, bytes(4096))),
    "parameters": lambda: raw(
        0,
        0,
        1,
        record(NAME, 64, b"\0\1\0" + b"".join(struct.pack("!HH", n, 0) for n in range(9, 16_000))),
    ),
    "prefixes": lambda: raw(1, 0, 0, record(NAME, 42, struct.pack("!HBB", 1, 0, 0) * 16_000)),
    "options": lambda: raw(0, 0, 1, opt(struct.pack("!HH", 65_001, 0) * 16_000)),
    "errors": lambda: raw(0, 0, 1, opt(struct.pack("!HHH", 15, 2, 1) * 10_000)),
    "names of servers": lambda: names_in_rdata(2),
    "names of other types": lambda: names_in_rdata(18),
    "names of mail servers": lambda: names_in_rdata(15),
    "owners": owners,
    "one RRset, many signatures": lambda: signed(1, 340, 48),
    "RRsets with signatures": lambda: signed(6, 30, 8),
}


@pytest.mark.parametrize("make", COSTLY.values(), ids=COSTLY)
def test_no_answer_keeps_the_loop_busy(make: Callable[[], bytes]) -> None:
    """0.3 to 3 s each before; a hundredth of that now, and room for a slow machine."""
    wire, spent = make(), []
    assert len(wire) < 65_536
    for look in (read, listen):
        for _ in range(3):
            began = time.thread_time()
            look(wire)
            spent.append(time.thread_time() - began)
    assert min(spent[:3]) < 0.15
    assert min(spent[3:]) < 0.15


def test_of_signatures_that_do_not_fit_only_so_many_are_tried() -> None:
    for wire, tried in ((signed(1, 1, 40), MOST_TRIED), (signed(6, 1, 8), 2 * MOST_TRIED)):
        signatures = Signatures()
        assert read(wire, signatures).outcome in {Outcome.UNSIGNED, Outcome.BAD_SIGNATURE}
        assert signatures.failed == tried


def test_a_good_signature_behind_bad_ones_is_found_as_resolvers_find_it() -> None:
    answer = dns.message.from_wire(ZONE.ask("com.", "SOA").to_wire()).answer
    soa, (good,) = answer[0], answer[1]
    bad = [good.replace(signature=bytes([n]) + good.signature[1:]) for n in range(MOST_TRIED + 1)]
    bad = [rdata for rdata in bad if rdata != good]
    for before, outcome in (
        (bad[: MOST_TRIED - 1], Outcome.SECURE),
        (bad[:MOST_TRIED], Outcome.BAD_SIGNATURE),
    ):
        finding = Signatures().examine(soa, [*before, good], TRUST.secure["com."], wall=NOW, skew=0)
        assert finding.outcome is outcome


def test_what_is_left_of_a_message_reads_like_the_whole() -> None:
    message = ZONE.ask(ASKED.name, ASKED.rdtype)
    message.additional.append(dns.rrset.from_text("ns.com.", 60, "IN", "A", "192.0.2.1"))
    wire = message.to_wire()
    left = dns.message.from_wire(skim(wire))
    assert not left.additional
    assert (left.answer, left.authority) == (message.answer, message.authority)
    assert (left.flags, left.ednsflags, left.payload) == (
        message.flags,
        message.ednsflags,
        message.payload,
    )
    assert read(wire) == read(left.to_wire())
    assert read(wire).outcome is Outcome.SECURE
    assert read(wire).nsid == "sin1"


def test_a_name_of_as_many_labels_as_there_can_be_is_read() -> None:
    """127 of one letter are 255 octets (RFC 1035 2.3.4)."""
    message = ZONE.ask(ASKED.name, ASKED.rdtype)
    longest = dns.rrset.from_text(127 * "a.", 60, "IN", "NS", "ns.com.")
    message.answer.append(longest)
    assert longest in dns.message.from_wire(skim(message.to_wire())).answer


@pytest.mark.parametrize("types_", ["A", "TYPE1 TYPE65535"])
def test_a_bitmap_is_read_the_same_each_time(types_: str) -> None:
    record_ = dns.rdata.from_text("IN", "NSEC", f"a.com. {types_}")
    assert isinstance(record_, NSEC)
    assert types(record_) == types(record_)
    assert 1 in types(record_)


def test_a_name_is_made_as_long_as_labels_and_names_may_be_and_no_longer() -> None:
    """RFC 1035 2.3.4: 63 octets in a label, 255 in a name."""
    rng = random.Random(2)
    longest = "a" * (63 - LABEL)
    made = within(f"{longest}.com.", nsec("z.com."), "com.", rng)
    assert made is not None
    assert len(made.split(".")[0]) == 63
    assert within(f"a{longest}.com.", nsec("z.com."), "com.", rng) is None
    full = ".".join(["b" * 63] * 3)  # with `com.` 197 octets
    for length, fits in ((255 - 197 - 1 - LABEL, True), (255 - 197 - LABEL, False)):
        made = within(f"{'a' * length}.{full}.com.", nsec(f"z.{full}.com."), "com.", rng)
        assert (made is not None) == fits
        assert made is None or octets(name_of(made)) == 255


def test_of_many_gaps_the_oldest_is_given_up() -> None:
    record = dns.rdata.from_text("IN", "NSEC3", f"1 0 1 aa {'0' * 32} A")
    assert isinstance(record, NSEC3)
    owners = [f"{number:032d}.com." for number in range(66)]
    gaps = DeniedNames("com.", random.Random(2))
    for owner in owners:
        gaps.open(owner, record, 0.0)
    assert gaps.owners == tuple(owners[2:])
    [*gaps.search(0, 600.0)]
    assert len(gaps.owners) == 64
    [*gaps.search(0, 600.1)]
    assert not gaps
