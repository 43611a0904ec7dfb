"""What one response may cost the reader of dnstap: a resolver's queue lasts for 0.2 s."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable
from typing import Final

import pytest
from dnstap_frames import NOW, interpreted
from dnstap_oracle import Walked, expected

from steering.observe.dnstap.counter import MOST_POINTERS, MOST_RECORDS, MOST_SIGNATURES

HEAD: Final = b"\3www\3com\0\0\1\0\1"
WWW, COM = b"\xc0\x0c", b"\xc0\x10"
BEGIN: Final = 12 + len(HEAD)
DEEP: Final = b"".join(b"\1" + bytes([97 + n % 26]) for n in range(120)) + COM
AGAIN: Final = struct.pack("!H", 0xC000 | BEGIN)
"""Where it stands, if the first record is its."""
MOST: Final = MOST_RECORDS - 1  # beside the question
LATE: Final = (NOW - 5, NOW - 900)


def message(answers: list[bytes], authority: list[bytes] | None = None) -> bytes:
    below = authority or []
    counts = struct.pack("!6H", 1, 0x8400, 1, len(answers), len(below), 0)
    return counts + HEAD + b"".join((*answers, *below))


def record(owner: bytes, rdtype: int, rdata: bytes) -> bytes:
    return owner + struct.pack("!HHIH", rdtype, 1, 5, len(rdata)) + rdata


def rrsig(owner: bytes, covers: int, number: int = 0, dates: tuple[int, int] = LATE) -> bytes:
    fixed = struct.pack("!HBBIIIH", covers, 13, 1, 5, *dates, number & 0xFFFF)
    return record(owner, 46, fixed + b"\3com\0" + bytes(64))


def pointed(hops: int) -> bytes:
    """Names of so many pointers, one into the other, in the owners of NSEC3 and signatures."""
    chain = COM + b"".join(
        struct.pack("!H", 0xC000 | BEGIN + 12 + 2 * hop) for hop in range(hops - 2)
    )
    last = 0xC000 | BEGIN + 12 + len(chain) - 2
    owners = [b"\1x" + struct.pack("!H", last - 2 * (n % 2)) for n in range(MOST - 1)]
    records = [
        rrsig(owner, 50, n) if n < MOST_SIGNATURES else record(owner, 50, bytes(30))
        for n, owner in enumerate(owners)
    ]
    return message([], [record(WWW, 16, chain), *records])


def aliases() -> bytes:
    """As many aliases as are followed, each of them far below the zone, and DNAMEs beside them."""
    answers = [record(DEEP, 1, b"")]
    answers += [record(b"\4%04d" % n + AGAIN, 39, b"\1z\3com\0") for n in range(MOST - 41)]
    owners = [WWW, *(b"\2%02d" % n + AGAIN for n in range(20))]
    for owner, target in itertools.pairwise(owners):
        answers += [record(owner, 5, target), rrsig(owner, 5)]
    return message(answers)


COSTLY: dict[str, Callable[[], bytes]] = {
    "as many pointers as are followed": lambda: pointed(MOST_POINTERS - 2),
    "more of them": lambda: pointed(8_000),
    "more signatures than are read": lambda: message(
        [record(WWW, 1, bytes(4))], [rrsig(WWW, 1, n) for n in range(600)]
    ),
    "as many signatures as are read": lambda: message(
        [record(WWW, 1, bytes(4))] * (MOST - MOST_SIGNATURES),
        [rrsig(WWW, 1, n) for n in range(MOST_SIGNATURES)],
    ),
    "signatures over as many RRsets": lambda: message(
        [],
        [
            record(DEEP, 50, b""),
            *(
                part
                for n in range(MOST_SIGNATURES)
                for owner in [b"\2%02d" % n + AGAIN]
                for part in (*[record(owner, 50, b"")] * 6, rrsig(owner, 50))
            ),
        ],
    ),
    "long owners": lambda: message(
        [record(DEEP, 1, b""), *(record(b"\1" + bytes([n]) + AGAIN, 1, b"") for n in range(200))],
        [*(record(b"\2%02d" % (n % 99) + AGAIN, 2, b"") for n in range(190)), rrsig(WWW, 1)],
    ),
    "aliases": aliases,
}


@pytest.mark.parametrize("make", COSTLY.values(), ids=COSTLY)
def test_no_response_keeps_the_reader_from_its_sockets(make: Callable[[], bytes]) -> None:
    """Of plain Python, which is some ten times slower than compiled."""
    wire, walked, spent = make(), Walked(interpreted()), []
    assert len(wire) < 65_536
    for _ in range(3):
        began = time.thread_time()
        verdict = walked.verdict(wire)
        spent.append(time.thread_time() - began)
    assert verdict[0] in {"counted", "malformed"}
    assert min(spent) < 0.2, spent


def test_of_more_records_or_signatures_than_any_answer_has_nothing_counts() -> None:
    walked = Walked(interpreted())

    def word(signatures: int, others: int) -> str | None:
        signed = [rrsig(WWW, 1, n) for n in range(signatures)]
        wire = message([record(WWW, 1, bytes(4))] * others + signed)
        what, seen = walked.verdict(wire)
        assert (what, seen) == expected(wire)
        assert what == "counted", "neither bare nor malformed"
        return seen["com."].outcome if seen else None

    assert word(MOST_SIGNATURES, 1) == "expired"
    assert word(MOST_SIGNATURES + 1, 1) is None
    assert word(1, MOST - 1) == "expired"
    assert word(1, MOST) is None
