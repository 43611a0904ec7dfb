"""The hot path: counts a chunk of Frame Streams, without an object for each message.

Each frame is read in one pass: its length, the needed protobuf fields (dnstap.proto), then the
records of the DNS message inside. The records are read only in answers of watched upstreams. If the
type and class of a signature occur nowhere in the bytes, there is no signature and reading ends.
Otherwise the answer and authority sections are read, never the additional section.

What counts of a message is what a resolver would use of it, as in the classifier
(`dnssec/used_records.py`): an answer counts for the zone that was asked, by the dates of the zone's
signatures over the RRsets that answer the question. In nearly every answer all signatures are in
their validity period, and one of them is where it is expected first: `_read` finds that in its
pass. All other answers are read again, RRset by RRset (`_weigh`), by the same rule and at some ten
times the cost.

The reading is exact: names are followed as a resolver would (RFC 1035 4.1.4, pointers only to
earlier octets), so bytes in a TXT record that look like a signature are none. A message with an
error anywhere in the part that was read counts only as `malformed`.

It is plain Python that mypyc also compiles, with the same results. That is why annotations have
64-bit integers and bytes are read one by one. Where this is slow without a compiler, there is a
shortcut beside it with the same result.
Other modules: control frames (``framestream``), sockets (``reader``), tallies (``tally_builder``).
"""

from __future__ import annotations

import math
import random
import re
import struct
from typing import TYPE_CHECKING, Final

from steering.observe.dnstap.tally import CANDIDATES, MESSAGES, NAMES

if TYPE_CHECKING:
    from mypy_extensions import i64

FRAME_LIMIT: Final = 1 << 18
"""Bytes of a frame's payload: two DNS messages of 64 KiB, and as much again for the rest."""

_TOLD: Final = 256  # names remembered as reported before, for each (address, zone)
_NEVER: Final = 1 << 62
_STRANGE: Final = 1 << 40  # added to a number whose upper bits were cut off
_RRSIG: Final = b"\0\x2e\0\1"  # type 46 (RFC 4034 3), class IN
_NS: Final = 2
_CNAME: Final = 5
_SOA: Final = 6
_DNAME: Final = 39
_DS: Final = 43
_SIG: Final = 46  # RRSIG
_NSEC: Final = 47
_NSEC3: Final = 50
_ANY: Final = 255
_IN_NS: Final = 0x00020001  # type and class together
_IN_CNAME: Final = 0x00050001
_IN_SOA: Final = 0x00060001
_IN_DNAME: Final = 0x00270001
_IN_DS: Final = 0x002B0001
_IN_RRSIG: Final = 0x002E0001
_IN_NSEC: Final = 0x002F0001
_IN_NSEC3: Final = 0x00320001
_HALF: Final = 0x80000000
_ALL: Final = 0xFFFFFFFF
_POINTER: Final = 0xC000
_QNAME: Final = 12  # the offset of the question's name in nearly every message
_LONGEST: Final = 255  # octets of a name (RFC 1035 2.3.4)
MOST_POINTERS: Final = 256
"""Pointers in one name, as in Unbound (MAX_COMPRESS_PTRS): 400 names with thousands of pointers
took seconds."""
_NXDOMAIN: Final = 3
_YXDOMAIN: Final = 6

# The same values as the classifier's; a test compares them. Importing it would load dnspython.
ALGORITHMS: Final = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 13 | 1 << 14 | 1 << 15 | 1 << 16
"""A bit for each algorithm that validators implement (RFC 8624 3.1)."""
MOST_RECORDS: Final = 400
"""Including the question. A message with more records is no real answer, and is not read."""
MOST_SIGNATURES: Final = 48
MOST_ALIASES: Final = 16

# The result for an RRset, or a whole answer, by dates. Of an answer's RRsets the greatest value
# counts, of an RRset's signatures the least above `_NOTHING`.
_NOTHING: Final = 0
_GOOD: Final = 1
_EXPIRED: Final = 2
_EARLY: Final = 3

_RESOLVER_QUERY: Final = 3
_RESOLVER_RESPONSE: Final = 4
_FORWARDER_QUERY: Final = 7
_FORWARDER_RESPONSE: Final = 8

_INTERPRETED: Final = __file__.endswith(".py")
_WORD: Final = struct.Struct("!I").unpack_from
_COUNTS: Final = struct.Struct("!4H").unpack_from
_DATES: Final = struct.Struct("!II").unpack_from
_FIXED: Final = struct.Struct("!I4xH").unpack_from  # type and class, RDLENGTH
_POINTED: Final = struct.Struct("!HI4xH").unpack_from  # the same after a pointer
_NUMBER: Final = rb"[\x80-\xff]{0,4}+[\x00-\x7f]"
# The fields with which all resolvers begin Dnstap.message, whose length is up to 16,383: kind,
# family, protocol, both addresses, ports, the time of the query; and the fields at the end of a
# response. An optional field is one of two branches: `re` matches that twice as fast as `?`.
_OPENING: Final = (
    rb"\x72[\x80-\xff]?[\x00-\x7f]\x08([\x01-\x7f])(?:\x10[\x00-\x7f]|)(?:\x18[\x00-\x7f]|)"
    rb"(?:\x22(?:\x04.{4}|\x10.{16})|)\x2a(?:\x04(.{4})|\x10(.{16}))"
    rb"(?:\x30N|)(?:\x38N|)(?:(\x40N)|)(?:(\x4d.{4})|)".replace(b"N", _NUMBER)
)
_ENDING: Final = re.compile(
    rb"(?:(\x60N)|)(?:\x6d.{4}|)\x72[\x80-\xff]?[\x00-\x7f]".replace(b"N", _NUMBER), re.DOTALL
).match
_TYPE: Final = b"\x78\x01"  # Dnstap.type: MESSAGE


class MalformedError(Exception):
    """The bytes are malformed."""


class RRset:
    """One RRset of a message, and the result of its signatures, in any order of records."""

    def __init__(self, owner: bytes, rdtype: int) -> None:
        self.owner = owner
        self.rdtype = rdtype
        self.answer = False
        """Whether one of its records is in the answer section, and was asked for or is an alias."""
        self.authority = False
        self.sections: i64 = 0
        """The sections with its records: 1 answer, 2 authority, 3 both."""
        self.start: i64 = 0
        """The offset of the RDATA of its last record in the answer section."""
        self.end: i64 = 0
        self.signed = False
        self.by_zone = False
        """Whether one of its signatures is by the zone that was asked."""
        self.by_lower = True
        """Whether all its signatures are by zones below that one."""
        self.word: i64 = _NOTHING
        self.away: i64 = 0
        """Seconds from now to the validity period of the least bad signature."""
        self.key_tag: i64 = 0
        self.inception: i64 = 0
        self.expiration: i64 = 0
        self.labels: i64 = 0
        """Of its first good signature."""

    @property
    def wild(self) -> bool:
        """Whether it was made from a wildcard (RFC 4035 5.3.2)."""
        labels: i64 = 0
        at: i64 = 0
        while self.owner[at] != 0:
            count: i64 = self.owner[at]
            at += count + 1
            labels += 1
        if self.owner[:2] == b"\1*":
            labels -= 1
        return self.word == _GOOD and self.labels < labels


class Failed:
    """One RRset without a valid date: the least bad one of its signatures by the zone."""

    def __init__(
        self, owner: bytes, rdtype: int, key_tag: int, inception: int, expiration: int, late: bool
    ) -> None:
        self.owner = owner
        self.rdtype = rdtype
        self.key_tag = key_tag
        self.inception = inception
        self.expiration = expiration
        self.late = late


class Zone:
    """The counts of one zone at one address since the last tally."""

    def __init__(self, signer: bytes) -> None:
        self.signer = signer
        self.size: i64 = len(signer)
        self.good: i64 = 0
        self.expired: i64 = 0
        self.early: i64 = 0
        self.expires: i64 = _NEVER
        self.serial: i64 = -1
        self.fresh: dict[bytes, Failed] = {}
        self.again: dict[bytes, Failed] = {}
        self.told: dict[bytes, None] = {}

    def note(self, failed: Failed) -> bool:
        """Keep a failing RRset if there is room. Returns whether it is a new one."""
        key = failed.owner + failed.rdtype.to_bytes(2, "big")
        if key in self.told:
            if len(self.again) < NAMES:
                self.again[key] = failed
            return False
        new = key not in self.fresh
        if not new or len(self.fresh) < NAMES:
            self.fresh[key] = failed
        return new

    def begin(self) -> None:
        """Reset the counts, but remember which names were reported."""
        for key in self.fresh:
            self.told[key] = None
        while len(self.told) > _TOLD:
            del self.told[next(iter(self.told))]
        self.fresh, self.again = {}, {}
        self.good = self.expired = self.early = 0
        self.expires, self.serial = _NEVER, -1


class Upstream:
    """The counts of one watched address since the last tally."""

    def __init__(self, address: str, signers: list[bytes], skew: int) -> None:
        self.address = address
        self.skew: i64 = skew
        self.since: i64 = 0
        self.zones: dict[bytes, Zone] = {}
        self.watch(signers, skew)
        self.begin()

    def watch(self, signers: list[bytes], skew: int, since: int = 0) -> None:
        """Set the watched zones; counts of zones that stay go on.

        With another `since` all counts are reset: they belong to one path.
        """
        self.skew = skew
        if since != self.since:
            self.since = since
            if since:
                self.begin()
        self.zones = {signer: self.zones.get(signer) or Zone(signer) for signer in signers}
        self.last = next(iter(self.zones.values()), Zone(b"\xff"))  # \xff is no name
        self.apart = not any(_enclosed(signer, self.zones) for signer in signers)
        """Whether no zone is below another: then a name is in at most one of them."""

    def begin(self) -> None:
        """Reset the counts."""
        for zone in self.zones.values():
            zone.begin()
        self.queries: i64 = 0
        self.forwarded: i64 = 0
        self.responses: i64 = 0
        self.noerror: i64 = 0
        self.nxdomain: i64 = 0
        self.rcodes: list[int] = [0] * 16  # all other rcodes
        self.bare: i64 = 0
        self.truncated: i64 = 0
        self.malformed: i64 = 0
        self.failing_new: list[bytes] = []
        self.failing_old: list[bytes] = []
        self.bare_ones: list[bytes] = []


class FrameCounter:
    """Counts the frames in chunks of bytes."""

    def __init__(self, upstreams: dict[bytes, Upstream], seed: int) -> None:
        """`upstreams` by address in network form. `seed` decides which messages are drawn."""
        self.upstreams = upstreams
        self.broken_run: i64 = 0
        """Malformed frames since the last well-formed one."""
        self.failed_at: i64 = -1
        """The offset of the frame at which `walk` raised an unexpected exception."""
        self._random = random.Random(seed)
        # Matches the last writer's name and version, which precede Dnstap.message, and `_OPENING`.
        self._usual = re.compile(_OPENING, re.DOTALL).match
        self._named: i64 = 0
        # About the message being read:
        self._zone: Zone | None = None
        self._soonest: i64 = 0
        self._failed: list[Failed] = []
        self._seen_signature = False
        self.begin()

    def begin(self) -> None:
        """Reset the counts of frames, and begin a new even sample of all responses."""
        self.ok: i64 = 0
        self.other: i64 = 0
        self.ignored: i64 = 0
        self.malformed: i64 = 0
        self.lost: i64 = 0
        self.drawn: list[tuple[Upstream, bytes]] = []
        self._wait: i64 = 0
        self._weight = 1.0

    def walk(self, chunk: bytes, start: i64, now: i64) -> i64:
        """Count all complete frames from `start` on, at `now` in UNIX seconds.

        Returns the offset where it stopped: at a control frame, at a frame that is too long, or at
        an incomplete one.
        """
        at = start
        size: i64 = len(chunk)
        while size - at > 4:
            length: i64 = _WORD(chunk, at)[0] if _INTERPRETED else _number(chunk, at)
            end = at + 4 + length
            if end > size or length == 0 or length > FRAME_LIMIT:
                break
            try:
                if not _INTERPRETED or not self._shortcut(chunk, at + 4, end, now):
                    self._frame(chunk, at + 4, end, now)
                self.broken_run = 0
            except (IndexError, struct.error, MalformedError):
                self.malformed += 1
                self.broken_run += 1
            except Exception:
                self.failed_at = at
                raise
            at = end
        return at

    def drop(self, chunk: bytes, start: i64) -> i64:
        """As `walk`, but count all frames as lost without reading them."""
        at = start
        size: i64 = len(chunk)
        while size - at > 4:
            length = _number(chunk, at)
            if at + 4 + length > size or length == 0 or length > FRAME_LIMIT:
                break
            self.lost += 1
            at += 4 + length
        return at

    def _frame(self, chunk: bytes, start: i64, end: i64, now: i64) -> None:
        """Read one Dnstap message (dnstap.proto), and count it for its upstream."""
        at = start
        stop = end  # of the protobuf message being read: Dnstap, or the Message in it
        inside = False
        outer: i64 = 0
        kind: i64 = 0
        who = b""
        message: bytes | None = None
        asked = False
        answered = False
        seconds: i64 = 0  # the time of the query
        moment: i64 = 0
        first = True
        while True:
            if at == stop:
                if not inside:
                    break
                stop = end
                inside = False
                continue
            here = at
            key: i64 = chunk[at]
            at += 1
            if key > 127:
                key, at = _varint(chunk, at - 1)
            value: i64 = 0
            wire = key & 7
            if wire == 0:
                value = chunk[at]
                at += 1
                if value > 127:
                    value, at = _varint(chunk, at - 1)
            elif wire == 2:
                value = chunk[at]
                at += 1
                if value > 127:
                    value, at = _varint(chunk, at - 1)
                at += value
            elif wire == 5:
                if inside and key == 0x4D:  # query_time_nsec
                    moment = _little(chunk, at)
                at += 4
            elif wire == 1:
                at += 8
            else:
                raise MalformedError
            if at > stop or key < 8:
                raise MalformedError
            if inside:
                if key == 0x72:  # response_message
                    message = chunk[at - value : at]
                elif key == 0x60:  # response_time_sec
                    answered = True
                elif key == 0x08:  # type
                    kind = value
                elif key == 0x40:  # query_time_sec
                    asked = True
                    seconds = value
                elif key == 0x2A:  # response_address
                    who = chunk[at - value : at]
            elif key == 0x78:  # Dnstap.type
                outer = value
                first = False
            elif key == 0x72:  # Dnstap.message; several of them are merged
                stop = at
                at -= value
                inside = True
                if _INTERPRETED and first and here - start < 512:
                    self._named = here - start
                    opening = re.escape(chunk[start:here]) + _OPENING
                    self._usual = re.compile(opening, re.DOTALL).match
                first = False
        if outer != 1:
            raise MalformedError
        self._belongs(kind, who, asked and not answered, message, now, seconds, moment)

    def _shortcut(self, chunk: bytes, start: i64, end: i64, now: i64) -> bool:
        """As `_frame`, for a frame with the usual order of fields; else False, and nothing done."""
        usual = self._usual(chunk, start, end)
        if usual is None or chunk[end - 2 : end] != _TYPE:
            return False
        at = usual.end()
        place = start + self._named + 1
        length: i64 = chunk[place]
        place += 1
        if length > 127:
            length = (length & 127) | chunk[place] << 7
            place += 1
        stop = end - 2
        if place + length != stop:
            return False
        kind, short, long, asked, split = usual.groups()
        answered = None
        message: bytes | None = None
        while at < stop:
            key: i64 = chunk[at]
            if key == 0x52 or key == 0x5A:  # query_message, query_zone
                length = chunk[at + 1]
                at += 2
                if length > 127:
                    length = (length & 127) | chunk[at] << 7
                    if length > 16383:
                        return False
                    at += 1
                at += length
            elif message is None:
                ending = _ENDING(chunk, at, stop)
                if ending is None:
                    return False
                answered = ending[1]
                at = ending.end()
                length = chunk[at - 1]
                low: i64 = chunk[at - 2]
                if low > 127:
                    length = (low & 127) | length << 7
                message = chunk[at : at + length]
                at += length
            else:
                return False
        if at != stop:
            return False
        who: bytes = short or long
        seconds: i64 = 0
        moment: i64 = 0
        known = self.upstreams.get(who)
        if known is not None and known.since:  # the time is read only for recently moved addresses
            seconds = _varint(asked, 1)[0] if asked else 0
            moment = _little(split, 1) if split else 0
        unanswered = bool(asked) and not answered
        self._belongs(kind[0], who, unanswered, message, now, seconds, moment)
        return True

    def _belongs(
        self,
        kind: i64,
        who: bytes,
        unanswered: bool,
        message: bytes | None,
        now: i64,
        seconds: i64,
        moment: i64,
    ) -> None:
        """Count a frame's message for its upstream.

        `seconds` and `moment` (nanoseconds): UNIX time of the query, if that matters.
        """
        if kind == _RESOLVER_RESPONSE or kind == _FORWARDER_RESPONSE:
            if unanswered:  # PowerDNS's notice of a new domain
                self.ignored += 1
                return
            if message is None:
                raise MalformedError
        elif kind != _RESOLVER_QUERY and kind != _FORWARDER_QUERY:
            self.ignored += 1
            return
        upstream = self.upstreams.get(who)
        if upstream is None:
            self.other += 1
            return
        self.ok += 1
        if upstream.since > 0 and seconds * 1_000_000 + moment // 1000 < upstream.since:
            return  # asked over another path, or at an unknown time
        if kind == _RESOLVER_QUERY:
            upstream.queries += 1
        elif kind == _FORWARDER_QUERY:
            upstream.forwarded += 1
        elif message is not None:
            self._response(message, upstream, now)

    def _response(self, message: bytes, upstream: Upstream, now: i64) -> None:
        """Count one response: completely, or only as malformed."""
        upstream.responses += 1
        self._wait -= 1
        if self._wait < 0:
            self._draw(message, upstream)
        self._seen_signature = False
        word: i64 = _NOTHING
        try:
            word = self._read(message, upstream, now)
        except (IndexError, struct.error, MalformedError):
            upstream.malformed += 1
            return
        code: i64 = message[3]
        code &= 15
        if code == 0:
            upstream.noerror += 1
        elif code == _NXDOMAIN:
            upstream.nxdomain += 1
        else:
            upstream.rcodes[code] += 1
        if message[2] & 2:
            upstream.truncated += 1
        elif not self._seen_signature and (code == 0 or code == _NXDOMAIN):
            upstream.bare += 1
            if len(upstream.bare_ones) < CANDIDATES:
                upstream.bare_ones.append(message)
        zone = self._zone
        if word == _NOTHING or zone is None:
            return
        if now + self._soonest < zone.expires:
            zone.expires = now + self._soonest
        if word == _GOOD:
            zone.good += 1
            return
        if word == _EXPIRED:
            zone.expired += 1
        else:
            zone.early += 1
        new = False
        for failed in self._failed:
            new = zone.note(failed) or new
        kept = upstream.failing_new if new else upstream.failing_old
        if len(kept) < CANDIDATES:
            kept.append(message)

    def _draw(self, message: bytes, upstream: Upstream) -> None:
        """Algorithm L (Li 1994): an even sample that needs random numbers for few messages only."""
        if len(self.drawn) < MESSAGES:
            self.drawn.append((upstream, message))
            if len(self.drawn) < MESSAGES:
                self._wait = 0
                return
        else:
            self.drawn[self._random.randrange(MESSAGES)] = (upstream, message)
        self._weight *= math.exp(math.log(1.0 - self._random.random()) / MESSAGES)
        gap = math.log(1.0 - self._random.random()) / math.log1p(-self._weight)
        self._wait = int(min(gap, 1e15))

    def _read(self, message: bytes, upstream: Upstream, now: i64) -> i64:
        """Read answer and authority: the result for the zone that was asked, by dates.

        It is `_GOOD` at once if all signatures by the zone are good, and one of them covers an
        RRset that a resolver certainly uses: names are equal by the same pointer, and the signature
        follows its RRset. Otherwise `_weigh` decides.
        """
        size: i64 = len(message)
        if size < _QNAME or message[2] & 0xF8 != 0x80:  # not a response to a query
            raise MalformedError
        if message.find(_RRSIG) < 0:
            return _NOTHING
        questions: i64
        answers: i64
        authority: i64
        additional: i64
        if _INTERPRETED:
            questions, answers, authority, additional = _COUNTS(message, 4)
        else:
            questions = _number(message, 4)
            answers = questions & 0xFFFF
            questions >>= 16
            authority = _number(message, 8)
            additional = authority & 0xFFFF
            authority >>= 16
        left = answers + authority
        if questions + left + additional > MOST_RECORDS:
            self._seen_signature = True
            return _NOTHING
        at: i64 = _QNAME
        asked: i64 = 0  # type and class
        root: i64 = -1  # the offset of the zone's name in the question
        zone: Zone | None = None
        code: i64 = message[3]
        code &= 15
        count: i64
        here: i64
        if questions == 1:
            at = skip(message, _QNAME, size)
            asked = _number(message, at)
            fine = code == 0 or code == _NXDOMAIN or code == _YXDOMAIN
            if fine and asked & 0xFFFF == 1 and message[2] & 2 == 0:
                root = self._asked(upstream, message, at, asked)
                zone = self._zone
            at += 4
        else:
            while questions > 0:
                at = skip(message, at, size) + 4
                questions -= 1
            questions = -1
        if at > size:
            raise MalformedError
        records = at
        signer = zone.signer if zone is not None else b"\xff"
        extent: i64 = zone.size if zone is not None else 1
        # A name that was followed before is not followed again. It is recognised by the two bytes
        # of a pointer to it, or of a pointer after a label that was not shorter.
        known: i64 = _POINTER + _QNAME if questions == 1 else -1
        recent: i64 = 0
        tail: i64 = 0
        longest: i64 = 0
        apex: i64 = _POINTER + root if root > 0 else -1
        place: i64  # the owner, if it is just a pointer, else 0
        behind: i64  # the pointer at the owner's end, else 0
        signatures: i64 = 0
        soonest: i64 = _NEVER
        bad = False
        # Owner and type of the RRset whose signature is needed; the type of the last one found.
        name: i64 = -1
        covered: i64 = 0
        good: i64 = 0
        first_soa: i64 = -1  # the owners' places
        first_ns: i64 = -1
        answered = False
        alias = False
        beside = False  # a CNAME beside the answer, or one that `_weigh` has to follow
        doubt = False
        skew = upstream.skew
        past = now - _HALF
        future = now + _HALF
        serial: i64 = -1
        to: i64
        kind: i64
        length: i64
        expiration: i64
        inception: i64
        for index in range(left):
            owner = at
            count = message[at]
            if count > 191:
                if _INTERPRETED:
                    to, kind, length = _POINTED(message, at)
                else:
                    to = _number(message, at) >> 16
                    kind = _number(message, at + 2)
                    length = _number(message, at + 8) & 0xFFFF
                if to != known and to != recent:
                    skip(message, at, size)
                    recent = to
                start = at + 12
                place = behind = to
            else:
                place = 0
                recent = owner + _POINTER
                at += count + 1
                if count > 0 and message[at] > 191:
                    if _INTERPRETED:
                        to, kind, length = _POINTED(message, at)
                    else:
                        to = _number(message, at) >> 16
                        kind = _number(message, at + 2)
                        length = _number(message, at + 8) & 0xFFFF
                    if to != tail or count > longest:
                        skip(message, owner, size)
                        tail = to
                        longest = count
                    start = at + 12
                    behind = to
                else:
                    at = skip(message, owner, size)
                    if _INTERPRETED:
                        kind, length = _FIXED(message, at)
                    else:
                        kind = _number(message, at)
                        length = _number(message, at + 6) & 0xFFFF
                    start = at + 10
                    behind = 0
                    if count == 0 and extent == 1:
                        place = apex  # the root's own name, which is never compressed
            at = start + length
            if at > size:
                raise MalformedError
            if kind == _IN_RRSIG:
                signatures += 1
                if zone is None:
                    continue
                here = start + 18
                mine = message[here : here + extent] == signer and here + extent <= at
                if not mine and not _names(message, here, at, signer):
                    continue
                if _INTERPRETED:
                    expiration, inception = _DATES(message, start + 8)
                else:
                    expiration = _number(message, start + 8)
                    inception = _number(message, start + 12)
                if past < inception <= now <= expiration < future:
                    remaining = expiration - now  # no date is more than half a cycle away
                    if expiration - inception >= _HALF:
                        bad = bad or _supported(message, start)
                else:
                    remaining = _ahead(expiration, now)
                    if (
                        remaining < -skew
                        or _ahead(inception, now) > skew
                        or _ahead(expiration, inception) < 0
                    ):
                        bad = bad or _supported(message, start)
                if remaining < soonest:
                    soonest = remaining
                if place == name and good != covered and (index < answers or answers == 0):
                    high: i64 = message[start]
                    low: i64 = message[start + 1]
                    if high << 8 | low == covered and _supported(message, start):
                        good = covered
            elif zone is None:
                continue
            elif index < answers:
                if kind == asked:
                    if place != known:
                        doubt = True
                    elif not answered:
                        answered = True
                        beside = alias
                        name = known
                        covered = kind >> 16
                        good = 0
                elif kind == _IN_CNAME:
                    if place == known and not answered:
                        alias = True
                        name = known
                        covered = _CNAME
                    else:
                        beside = True
                elif kind == _IN_DNAME:
                    doubt = True
            elif answers == 0:
                if kind == _IN_NSEC3 or kind == _IN_NSEC:
                    if behind == apex or place == known or (place == first_ns and first_soa < 0):
                        name = place if place != 0 else owner + _POINTER
                        covered = kind >> 16
                elif kind == _IN_NS:
                    if first_ns < 0:
                        first_ns = place
                elif kind == _IN_DS:
                    doubt = True
                    if place == first_ns:
                        name = place
                        covered = _DS
            if kind == _IN_SOA:
                here = skip(message, skip(message, start, at), at)
                if here + 20 != at:
                    raise MalformedError
                if place == apex or _expand(message, owner, size) == signer:
                    serial = _number(message, here)
                if index >= answers and answers == 0:
                    if first_soa < 0:
                        first_soa = place
                        good = 0
                    if place == apex:
                        name = apex
                        covered = _SOA
        if signatures > 0:
            self._seen_signature = True
        if zone is None:
            return _NOTHING
        if serial >= 0:
            zone.serial = serial
        if soonest == _NEVER or signatures > MOST_SIGNATURES:
            return _NOTHING
        self._soonest = soonest
        if not bad and good != 0 and code != _YXDOMAIN:
            authoritative = message[2] & 4 != 0
            rdtype = asked >> 16
            if answers > 0:
                if answered:
                    doubt = beside or (doubt and rdtype == _CNAME)
                else:
                    doubt = doubt or not alias or rdtype == _SIG
                if authoritative and not doubt and rdtype != _ANY:
                    return _GOOD
            elif first_soa >= 0:
                if authoritative and first_soa == apex and good != _DS:
                    return _GOOD
            elif code == 0 and (good == _DS or not doubt):
                here = _QNAME
                while here < root and here + _POINTER != first_ns:
                    count = message[here]
                    here += count + 1
                if here < root and (here > _QNAME or rdtype != _DS):
                    return _GOOD  # a referral
        return self._weigh(message, zone, now, skew, records, answers, left)

    def _asked(self, upstream: Upstream, message: bytes, end: i64, asked: i64) -> i64:
        """Find the closest watched zone of a question's name, which ends here.

        Returns the offset of the zone's name, -1 if that is behind a pointer. A DS record belongs
        to the parent zone (RFC 4035 2.4).
        """
        self._zone = None
        zone = upstream.last
        at: i64 = _QNAME
        count: i64
        if upstream.apart:
            root = end - zone.size
            fits = message[root:end] == zone.signer
            if not fits:
                for other in upstream.zones.values():
                    root = end - other.size
                    if message[root:end] == other.signer:
                        zone = other
                        fits = True
                        break
            while at < root:
                count = message[at]
                at += count + 1
            if fits and at == root and (at > _QNAME or asked != _IN_DS):
                upstream.last = zone
                self._zone = zone
                return at
        name = _expand(message, _QNAME, end)
        size: i64 = len(name)
        at = 0
        while at < size:
            found = upstream.zones.get(name[at:])
            if found is not None and (at > 0 or asked != _IN_DS):
                upstream.last = found
                self._zone = found
                return at + _QNAME if size == end - _QNAME else -1
            count = name[at]
            at += count + 1
        return -1

    def _weigh(
        self,
        message: bytes,
        zone: Zone,
        now: i64,
        skew: i64,
        at: i64,
        answers: i64,
        left: i64,
    ) -> i64:
        """The result of a response by dates; its records begin at `at`, and were read before.

        The four steps are the classifier's: the records, the chain of aliases from the question
        (`aliases`), the kind of response (`response_kind`), and the RRsets that are used
        (`used_records`).
        """
        size: i64 = len(message)
        self._failed = []
        name = _expand(message, _QNAME, size)
        rdtype = _number(message, skip(message, _QNAME, size)) >> 16
        held: dict[tuple[bytes, int], RRset] = {}
        answer: list[RRset] = []
        authority: list[RRset] = []
        signatures: list[tuple[RRset, i64, i64, i64]] = []
        for index in range(left):
            section: i64 = 1 if index < answers else 2
            owner = at
            at = skip(message, at, size)
            kind = _number(message, at)
            start = at + 10
            at = start + (_number(message, at + 6) & 0xFFFF)
            if kind & 0xFFFF != 1:
                continue
            kind >>= 16
            if kind == _SIG:
                first: i64 = message[start]
                second: i64 = message[start + 1]
                rrset = _held(held, _expand(message, owner, size), first << 8 | second)
                signatures.append((rrset, start, at, section))
                if rdtype != _SIG:
                    continue
            rrset = _held(held, _expand(message, owner, size), kind)
            rrset.sections |= section
            if index < answers:
                if kind == rdtype or rdtype == _ANY or kind == _CNAME or kind == _DNAME:
                    rrset.start = start
                    rrset.end = at
                    if not rrset.answer:
                        rrset.answer = True
                        answer.append(rrset)
            elif not rrset.authority and kind in {_NS, _SOA, _DS, _NSEC, _NSEC3}:
                rrset.authority = True
                authority.append(rrset)
        for rrset, start, end, section in signatures:
            if rrset.sections & section:  # in the section of its RRset (RFC 4035 3.1.1)
                _sign(rrset, message, start, end, zone.signer, now, skew)
        code: i64 = message[3]
        code &= 15
        dnames = [rrset for rrset in answer if rrset.rdtype == _DNAME]
        if code == _YXDOMAIN and not dnames:
            return _NOTHING
        links: list[RRset] = []
        answered = _follow(message, zone.signer, name, rdtype, answer, dnames, links)
        authoritative = message[2] & 4 != 0
        soa = _first(authority, _SOA)
        servers = _first(authority, _NS)
        used = links
        if links or answered:
            needed = False
            if code == _NXDOMAIN and answered and links:  # the proof that the name does not exist
                needed = links[-1].rdtype != _CNAME and links[-1].rdtype != _DNAME
            if not authoritative or (not needed and _lower(links, held, name, zone.signer)):
                return _NOTHING
            if needed:
                used = used + _those(authority, _SOA, zone.signer)
            else:
                needed = any(rrset.wild for rrset in links)
        elif (
            code != _NXDOMAIN
            and soa is None
            and servers is not None
            and servers.owner != zone.signer
            and _within(servers.owner, zone.signer)
            and _within(name, servers.owner)
        ):
            if rdtype == _DS and servers.owner == name:
                return _NOTHING
            used = _those(authority, _DS, servers.owner)
            needed = not used
        else:
            if not authoritative or (soa is not None and soa.owner != zone.signer):
                return _NOTHING
            used = _those(authority, _SOA, zone.signer)
            needed = True
        if needed:
            used = used + [
                rrset
                for rrset in authority
                if rrset.rdtype in {_NSEC, _NSEC3} and _within(rrset.owner, zone.signer)
            ]
        word: i64 = _NOTHING
        for rrset in used:
            word = max(word, rrset.word)
            if rrset.word > _GOOD:
                self._failed.append(
                    Failed(
                        rrset.owner,
                        rrset.rdtype,
                        rrset.key_tag,
                        rrset.inception,
                        rrset.expiration,
                        rrset.word == _EXPIRED,
                    )
                )
        return word


def _names(message: bytes, at: i64, limit: i64, signer: bytes) -> bool:
    """Whether the signer's name here is this one. Raises as `skip`, and if it is compressed."""
    name = _expand(message, at, limit)
    if skip(message, at, limit) - at != len(name):
        raise MalformedError  # RFC 4034 3.1.7
    return name == signer


def _supported(message: bytes, start: i64) -> bool:
    """Whether a signature's algorithm is one that validators implement."""
    algorithm: i64 = message[start + 2]
    return algorithm <= 16 and ALGORITHMS >> algorithm & 1 == 1


def _held(held: dict[tuple[bytes, int], RRset], owner: bytes, rdtype: i64) -> RRset:
    """The RRset of this name and type; a new one if there is none yet."""
    rrset = held.get((owner, rdtype))
    if rrset is None:
        rrset = held[owner, rdtype] = RRset(owner, rdtype)
    return rrset


def _first(rrsets: list[RRset], rdtype: i64) -> RRset | None:
    for rrset in rrsets:
        if rrset.rdtype == rdtype:
            return rrset
    return None


def _those(rrsets: list[RRset], rdtype: i64, owner: bytes) -> list[RRset]:
    return [rrset for rrset in rrsets if rrset.rdtype == rdtype and rrset.owner == owner]


def _sign(
    rrset: RRset, message: bytes, start: i64, end: i64, zone: bytes, now: i64, skew: i64
) -> None:
    """Note a signature, whose RDATA is here, in its RRset."""
    signer = _expand(message, start + 18, end)
    rrset.signed = True
    if signer == zone or not _within(signer, zone):
        rrset.by_lower = False
    if signer != zone:
        return
    rrset.by_zone = True
    if not _supported(message, start):
        return
    expiration = _number(message, start + 8)
    inception = _number(message, start + 12)
    late: i64 = -_ahead(expiration, now)
    early: i64 = _ahead(inception, now)
    word: i64 = _GOOD
    if late > skew:
        word = _EXPIRED
    elif early > skew:
        word = _EARLY
    elif _ahead(expiration, inception) < 0:  # the end is before the beginning (RFC 4034 3.1.5)
        word = _EXPIRED
    away = max(late, early)
    if rrset.word != _NOTHING:
        if word > rrset.word or word == _GOOD == rrset.word:
            return
        if word == rrset.word and away >= rrset.away:
            return
    rrset.word = word
    rrset.away = away
    high: i64 = message[start + 16]
    low: i64 = message[start + 17]
    rrset.key_tag = high << 8 | low
    rrset.inception = now + early
    rrset.expiration = now - late
    rrset.labels = message[start + 3]


def _follow(
    message: bytes,
    zone: bytes,
    name: bytes,
    rdtype: i64,
    answer: list[RRset],
    dnames: list[RRset],
    links: list[RRset],
) -> bool:
    """Put the aliases from a name, and the answer, into `links`; whether there is an answer.

    It works as the classifier's `chain_of`, which has the reasons.
    """
    passed: set[bytes] = set()
    while name not in passed and len(links) < MOST_ALIASES:
        if passed and not _within(name, zone):
            break
        passed.add(name)
        wanted: list[RRset] = []
        alias: RRset | None = None
        for rrset in answer:
            if rrset.owner == name:
                if rrset.rdtype == _CNAME:
                    alias = rrset
                if rrset.rdtype == rdtype or (rdtype == _ANY and rrset.rdtype != _SIG):
                    wanted.append(rrset)
        target = _target(message, alias)
        for dname in dnames:
            if dname.owner != name and _within(name, dname.owner):
                made = _target(message, dname)
                if made:
                    made = name[: len(name) - len(dname.owner)] + made
                    if len(made) > _LONGEST:
                        made = b""
                if alias is None or target == made:
                    wanted = [dname if rrset is alias else rrset for rrset in wanted]
                    alias = dname
                    target = made
                break
        if wanted:
            if links and not all(rrset.by_zone for rrset in wanted):
                return False
            links += [rrset for rrset in wanted if rrset.rdtype != _SIG]
            if alias is not None and not any(rrset is alias for rrset in wanted):
                links.append(alias)
            return True
        if alias is None or (links and not alias.by_zone):
            break
        links.append(alias)
        if not target:
            break
        name = target
    return False


def _target(message: bytes, alias: RRset | None) -> bytes:
    """The target of a CNAME or DNAME, by its last record; empty if it can't be read."""
    if alias is None:
        return b""
    try:
        name = _expand(message, alias.start, alias.end)
        size = skip(message, alias.start, alias.end) - alias.start
    except (IndexError, MalformedError):
        return b""
    if alias.start + size != alias.end or (alias.rdtype == _DNAME and size != len(name)):
        return b""
    return name


def _lower(
    links: list[RRset], held: dict[tuple[bytes, int], RRset], name: bytes, zone: bytes
) -> bool:
    """Whether an answer may come from a zone below, which the same server holds too.

    It works as the classifier's `_foreign`.
    """
    if name == zone:
        return False
    if links and links[0].signed:
        return links[0].by_lower
    for rrset in held.values():
        above = rrset.owner != name and _within(name, rrset.owner)
        if above and rrset.rdtype == _DNAME and rrset.by_zone:
            return False
    return True


def _varint(chunk: bytes, at: i64) -> tuple[i64, i64]:
    """The lower 35 bits of a base-128 number of at most ten bytes, and the offset after it."""
    value: i64 = 0
    shift: i64 = 0
    while shift < 70:
        byte: i64 = chunk[at]
        at += 1
        if shift < 35:
            value |= (byte & 127) << shift
        elif byte & 127:
            value |= _STRANGE
        if byte < 128:
            return value, at
        shift += 7
    raise MalformedError


def _number(message: bytes, at: i64) -> i64:
    """The big-endian number in four bytes."""
    if _INTERPRETED:
        return int(_WORD(message, at)[0])
    first: i64 = message[at]
    second: i64 = message[at + 1]
    third: i64 = message[at + 2]
    fourth: i64 = message[at + 3]
    return first << 24 | second << 16 | third << 8 | fourth


def _little(chunk: bytes, at: i64) -> i64:
    """The little-endian number in four bytes, as in protobuf."""
    first: i64 = chunk[at]
    second: i64 = chunk[at + 1]
    third: i64 = chunk[at + 2]
    fourth: i64 = chunk[at + 3]
    return first | second << 8 | third << 16 | fourth << 24


def _ahead(date: i64, now: i64) -> i64:
    """How many seconds a date is after now (RFC 4034 3.1.5, RFC 1982 3.2)."""
    return ((date - now + _HALF) & _ALL) - _HALF


def skip(message: bytes, at: i64, limit: i64) -> i64:
    """The offset after a name. Raises MalformedError or IndexError if invalid (RFC 1035 4.1.4).

    No part of it may be at or after `limit`, and the target of a pointer must lie completely before
    everything that was read so far.
    """
    end: i64 = -1
    hops: i64 = 0
    lowest = at
    length: i64 = 1  # of the name, without the labels since the last pointer
    while True:
        count: i64 = message[at]
        if count == 0:
            if at >= limit or length + at - lowest > _LONGEST:
                raise MalformedError
            return at + 1 if end < 0 else end
        if count < 64:
            at += count + 1
        elif count > 191:
            if at + 2 > limit:
                raise MalformedError
            if end < 0:
                end = at + 2
            hops += 1
            if hops > MOST_POINTERS:
                raise MalformedError
            length += at - lowest
            low: i64 = message[at + 1]
            at = (count & 63) << 8 | low
            if at >= lowest:
                raise MalformedError
            limit = lowest
            lowest = at
        else:
            raise MalformedError


def _enclosed(name: bytes, zones: dict[bytes, Zone]) -> bool:
    """Whether one of the zones is above a name without pointers."""
    at: i64 = 0
    while name[at] != 0:
        count: i64 = name[at]
        at += count + 1
        if name[at:] in zones:
            return True
    return False


def _within(name: bytes, zone: bytes) -> bool:
    """Whether a name is the zone's apex or below it; both without pointers, in lower case."""
    at: i64 = 0
    size: i64 = len(name)
    apex = size - len(zone)
    while at < apex:
        count: i64 = name[at]
        at += count + 1
    return at == apex and name[at:] == zone


def _expand(message: bytes, at: i64, limit: i64) -> bytes:
    """A name without pointers, in lower case. Raises as `skip`."""
    skip(message, at, limit)
    labels = b""
    while True:
        count: i64 = message[at]
        if count == 0:
            return (labels + b"\0").lower()
        if count < 64:
            labels += message[at : at + count + 1]
            at += count + 1
        else:
            low: i64 = message[at + 1]
            at = (count & 63) << 8 | low
