"""What is handed over for a second look tells nothing of clients' networks."""

from __future__ import annotations

import random

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rrset
import dnstap_oracle as oracle
import pytest
from dnstap_frames import ADDRESS, NOW, frame, payload
from dnstap_messages import message as odd_message
from dnstap_messages import mutated
from hypothesis import given, settings
from hypothesis import strategies as st

from steering.observe.dnstap.counter import FrameCounter
from steering.observe.dnstap.redact import redacted
from steering.observe.dnstap.tally import Reason, Sample, Watched
from steering.observe.dnstap.tally_builder import build_tally, upstreams

CLIENT = "203.0.113.0"
SUBNET = dns.edns.ECSOption(CLIENT, 24)
NETWORK = bytes([203, 0, 113])


def answer(*options: dns.edns.Option, expired: bool = False) -> bytes:
    """A denial as servers send it, with those options beside an NSID."""
    query = dns.message.make_query("www.example.com.", "A", want_dnssec=True)
    made = dns.message.make_response(query)
    begin, end = (NOW - 99, NOW - 9) if expired else (NOW - 9, NOW + 99)
    text = f"NSEC3 13 2 900 {end} {begin} 4711 com. {'AAAA' * 22}"
    made.flags |= dns.flags.AA
    for rdtype, rdata in (("NSEC3", f"1 0 0 - {'0' * 32} A"), ("RRSIG", text)):
        made.authority.append(dns.rrset.from_text("hash.com.", 900, "IN", rdtype, rdata))
    made.use_edns(0, ednsflags=1 << 15, options=[dns.edns.NSIDOption(b"sin1"), *options])
    return made.to_wire()


def samples(*messages: bytes) -> tuple[Sample, ...]:
    walker = FrameCounter(upstreams({ADDRESS: Watched(zones=frozenset({"com."}))}), 1)
    for message in messages:
        chunk = frame(payload(4, message=message))
        assert walker.walk(chunk, 0, NOW) == len(chunk)
    return build_tally(walker, began=0, ended=1).samples


def record(kind: int, rdata: bytes, owner: bytes = b"\0") -> bytes:
    fixed = kind.to_bytes(2, "big") + b"\x04\xd0" + bytes(4) + len(rdata).to_bytes(2, "big")
    return owner + fixed + rdata


def hostile(*records: bytes, after: bytes = b"") -> bytes:
    """A response whose answer section is these records."""
    return b"\0\1\x81\0\0\0" + bytes([0, len(records)]) + bytes(4) + b"".join(records) + after


ECS = b"\0\x08\0\x07\0\1\x18\0" + NETWORK


def test_a_clients_subnet_never_leaves_the_reader() -> None:
    before = answer(SUBNET, expired=True)
    assert NETWORK in before
    found = samples(before, answer(SUBNET))
    assert [sample.reason for sample in found] == [Reason.FAILING, Reason.RANDOM]
    for sample in found:
        assert NETWORK not in sample.message
        assert len(sample.message) == len(before)


def test_all_else_in_a_message_is_as_it_was() -> None:
    whole = answer(
        SUBNET, dns.edns.GenericOption(dns.edns.OptionType.make(20_730), b"before it had a number")
    )
    left = redacted(whole)
    assert left is not None
    was, now = dns.message.from_wire(whole), dns.message.from_wire(left)
    assert (now.id, now.flags, now.ednsflags) == (was.id, was.flags, was.ednsflags)
    assert now.authority == was.authority
    assert now.question == was.question
    assert [int(option.otype) for option in now.options] == [12]


def test_a_message_without_options_is_handed_over_as_it_came() -> None:
    plain = dns.message.make_response(dns.message.make_query("www.example.com.", "A")).to_wire()
    assert redacted(plain) == plain
    assert redacted(answer()[: -len(b"\0\3\0\4sin1") - 2] + b"\0\0") is not None


@pytest.mark.parametrize(
    "message",
    [
        hostile(record(41, ECS), record(41, ECS)),
        hostile(record(41, ECS, owner=b"\4name\xc0\x0c"[:5] + b"\0")),
        hostile(record(41, ECS[:-3] + b"\xff\xff" + NETWORK)),  # lengths that lie
        hostile(record(41, b"\0\x08\xff\xff" + NETWORK)),
        hostile(record(1, bytes(4)), record(41, b"\xfd\xe9\0\3" + NETWORK)),
    ],
)
def test_an_odd_option_is_blanked_wherever_it_stands(message: bytes) -> None:
    assert NETWORK in message
    left = redacted(message)
    assert left is not None
    assert NETWORK not in left


@pytest.mark.parametrize(
    "message",
    [
        hostile(record(1, bytes(4)), after=record(41, ECS)),  # behind the last record
        hostile(record(1, bytes(4)), record(41, ECS)[:-1]),
        hostile(record(41, NETWORK)),  # no option is so short
        hostile(record(41, ECS, owner=b"\xc0\x0c")),  # a name that leads to itself
        ECS,
        b"",
    ],
)
def test_what_can_not_be_read_to_its_end_stays(message: bytes) -> None:
    assert redacted(message) is None
    assert samples(message) == ()


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64))
def test_whatever_dnspython_can_read_is_handed_over_without_options(seed: int) -> None:
    draw = random.Random(seed)
    base = answer(SUBNET) if draw.random() < 0.5 else odd_message(draw)
    for _ in range(8):
        wire = mutated(draw, base)
        left = redacted(wire)
        readable = oracle.whole(wire) is not None and not _trailing(wire)
        if readable:
            assert left is not None
        if left is not None:
            assert len(left) == len(wire)
            found = oracle.whole(left)
            if readable and found is not None:
                options = dns.message.from_wire(left).options
                assert {int(option.otype) for option in options} <= {12}


def _trailing(wire: bytes) -> bool:
    try:
        dns.message.from_wire(wire)
    except dns.message.TrailingJunk:
        return True
    except Exception:  # noqa: BLE001 - some other fault
        return False
    return False
