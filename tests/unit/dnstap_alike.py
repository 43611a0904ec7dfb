"""One answer by dates alone: what the reader of dnstap counts, and what the classifier says.

The classifier has no keys here, so that nothing but dates can decide.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Collection, Iterator
from typing import Final

import dns.flags
import dns.name
import dns.rdataclass
from dnstap_frames import ADDRESS, frame, payload

from steering.model import Kind, Outcome
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.parse import decode
from steering.observe.dnssec.response import weigh
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust
from steering.observe.dnstap import counter
from steering.observe.dnstap.counter import FrameCounter
from steering.observe.dnstap.tally import Watched
from steering.observe.dnstap.tally_builder import build_tally, upstreams
from steering.observe.traffic.classify import _zone_of

_FIXED: Final = struct.Struct("!HHIH")


class Word(enum.Enum):
    """What an answer counts as, by dates."""

    GOOD = "good"
    EXPIRED = "expired"
    EARLY = "early"
    NOTHING = "nothing"
    NO_MESSAGE = "no message"


def counted(wire: bytes, zones: Collection[str], now: int) -> tuple[Word, frozenset[str]]:
    """The reader's word, and the owners that it says are failing."""
    walker = FrameCounter(upstreams({ADDRESS: Watched(zones=frozenset(zones))}), 1)
    chunk = frame(payload(4, message=wire))
    assert walker.walk(chunk, 0, now) == len(chunk)
    tally = build_tally(walker, began=0, ended=1)
    (traffic,) = tally.traffic
    if traffic.malformed:
        return Word.NO_MESSAGE, frozenset()
    for signed in tally.signed:
        numbers = (signed.good, signed.expired, signed.not_yet_valid)
        assert sum(numbers) <= 1
        for number, word in zip(numbers, Word, strict=False):
            if number:
                return word, frozenset(failure.name for failure in signed.failing)
    return Word.NOTHING, frozenset()


def read(wire: bytes, zones: Collection[str], now: int) -> Word:
    """The classifier's word on an answer that was given to somebody else."""
    message = decode(wire)
    if isinstance(message, Classified):
        return Word.NO_MESSAGE
    if message.flags & dns.flags.TC or len(message.question) != 1:
        return Word.NOTHING
    (asked,) = message.question
    zone = _zone_of(asked.name, asked.rdtype, zones)
    if zone is None or asked.rdclass != dns.rdataclass.IN:
        return Word.NOTHING
    reading = weigh(
        message,
        zone=zone,
        name=asked.name,
        rdtype=asked.rdtype,
        kind=Kind.WITNESS,
        trust=Trust(),
        wall=now,
        skew=0,
        signatures=Signatures(),
    )
    match reading.outcome:
        case Outcome.EXPIRED:
            return Word.EXPIRED
        case Outcome.NOT_YET_VALID:
            return Word.EARLY
        case Outcome.NO_KEY if reading.evidence is not None:  # its dates are good
            return Word.GOOD
        case Outcome.MALFORMED if "oversized" in reading.detail:
            return Word.NO_MESSAGE
        case _:
            return Word.NOTHING


def signatures(wire: bytes) -> Iterator[int]:
    """Where the RDATA of each RRSIG of a well-formed message stands."""
    questions, *counts = struct.unpack_from("!4H", wire, 4)
    at = 12
    for _ in range(questions):
        at = counter.skip(wire, at, len(wire)) + 4
    for _ in range(sum(counts)):
        at = counter.skip(wire, at, len(wire))
        rdtype, _, _, length = _FIXED.unpack_from(wire, at)
        at += _FIXED.size
        if rdtype == 46:
            yield at
        at += length


def dated(wire: bytes, at: int, inception: int, expiration: int) -> bytes:
    """The message with other dates in the signature that stands there."""
    dates = struct.pack("!II", expiration, inception)
    return wire[: at + 8] + dates + wire[at + 16 :]
