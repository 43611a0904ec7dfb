"""The hot path: from a chunk of Frame Streams to counts, without an object for each message.

One pass a frame: its length, the protobuf fields that are needed (dnstap.proto), then the
records of the DNS message inside. Only answers of upstreams of interest get that far. Where
the type and class of a signature stand in the bytes for the last time, there can be none
behind; so the walk ends there, before the glue.

Exact: names are followed as a resolver would (RFC 1035 4.1.4, pointers only to before), so
bytes in a TXT record that look like a signature are none, and a message that goes wrong
anywhere in what was read counts for nothing but `malformed`.

Plain Python that mypyc also compiles, to the same results. Hence the 64-bit integers in the
annotations, and bytes read one by one. Where that is slow without a compiler, a shortcut
stands beside it, for the same result.
Left to others: control frames (``stream``), sockets (``reader``), the tally (``handover``).
"""

from __future__ import annotations

import math
import random
import re
import struct
from typing import TYPE_CHECKING, Final

from steering.dnstap.tally import CANDIDATES, MESSAGES, NAMES

if TYPE_CHECKING:
    from mypy_extensions import i64

FRAME_LIMIT: Final = 1 << 18
"""Bytes of a frame's payload: two DNS messages of 64 KiB, and as much again for the rest."""

_TOLD: Final = 256  # names remembered as told before, of each (address, zone)
_FEW: Final = 4  # zones that are compared one by one
_NEVER: Final = 1 << 62
_STRANGE: Final = 1 << 40  # added to a number whose upper bits were cut off
_RRSIG: Final = b"\0\x2e\0\1"  # type 46 (RFC 4034 3), class IN
_IN_RRSIG: Final = 0x002E0001
_IN_SOA: Final = 0x00060001
_HALF: Final = 0x80000000
_ALL: Final = 0xFFFFFFFF
_POINTER: Final = 0xC000
_QNAME: Final = 12  # where the question's name stands in nearly every message
_LONGEST: Final = 255  # octets of a name (RFC 1035 2.3.4)

_RESOLVER_QUERY: Final = 3
_RESOLVER_RESPONSE: Final = 4
_FORWARDER_QUERY: Final = 7
_FORWARDER_RESPONSE: Final = 8

_INTERPRETED: Final = __file__.endswith(".py")
_WORD: Final = struct.Struct("!I").unpack_from
_COUNTS: Final = struct.Struct("!4H").unpack_from
_DATES: Final = struct.Struct("!II").unpack_from
_FIXED: Final = struct.Struct("!I4xH").unpack_from  # type and class, RDLENGTH
_POINTED: Final = struct.Struct("!HI4xH").unpack_from  # the same behind a pointer
_NUMBER: Final = rb"[\x80-\xff]{0,4}+[\x00-\x7f]"
# How all resolvers begin Dnstap.message, its length up to 16,383: kind, family, protocol, both
# addresses, ports, the time of the query. And how they end that of a response. What may be left
# out is one of two branches: `re` tries those twice as fast as a repetition of none or one.
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
    """The bytes are not what they should be."""


class Failed:
    """One RRset out of its dates: of all its signatures by the zone the least bad one."""

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
    """What was counted of one zone at one address since the last tally."""

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
        # Of the message being read:
        self.stamp: i64 = 0
        self.soonest: i64 = 0

    def note(self, failed: Failed) -> bool:
        """Keep a failing RRset, if there is room; whether it is a new one."""
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
        """Count from nothing, but remember which names were told."""
        for key in self.fresh:
            self.told[key] = None
        while len(self.told) > _TOLD:
            del self.told[next(iter(self.told))]
        self.fresh, self.again = {}, {}
        self.good = self.expired = self.early = 0
        self.expires, self.serial = _NEVER, -1


class Upstream:
    """What was counted of one address of interest since the last tally."""

    def __init__(self, address: str, signers: list[bytes], skew: int) -> None:
        self.address = address
        self.skew: i64 = skew
        self.since: i64 = 0
        self.zones: dict[bytes, Zone] = {}
        self.watch(signers, skew)
        self.begin()

    def watch(self, signers: list[bytes], skew: int, since: int = 0) -> None:
        """Which zones are of interest from now on; counts of those that were go on.

        Counts since another instant begin anew: they are of one path.
        """
        self.skew = skew
        if since != self.since:
            self.since = since
            if since:
                self.begin()
        self.zones = {signer: self.zones.get(signer) or Zone(signer) for signer in signers}
        self.few: list[Zone] = list(self.zones.values())[:_FEW]
        self.last = self.few[0] if self.few else Zone(b"\xff")  # no name

    def begin(self) -> None:
        """Count from nothing."""
        for zone in self.zones.values():
            zone.begin()
        self.queries: i64 = 0
        self.forwarded: i64 = 0
        self.responses: i64 = 0
        self.noerror: i64 = 0
        self.nxdomain: i64 = 0
        self.rcodes: list[int] = [0] * 16  # all but those two
        self.bare: i64 = 0
        self.truncated: i64 = 0
        self.malformed: i64 = 0
        self.failing_new: list[bytes] = []
        self.failing_old: list[bytes] = []
        self.bare_ones: list[bytes] = []


class Walker:
    """Counts what is in chunks of frames."""

    def __init__(self, upstreams: dict[bytes, Upstream], seed: int) -> None:
        """`upstreams` by address in network form. `seed` decides which messages are drawn."""
        self.upstreams = upstreams
        self.broken_run: i64 = 0
        """Malformed frames since the last well-formed one."""
        self.failed_at: i64 = -1
        """Where the frame begins over which `walk` raised what it should not."""
        self._random = random.Random(seed)
        self._stamp: i64 = 0
        # The last writer's name and version, which stand before Dnstap.message, and what follows.
        self._usual = re.compile(_OPENING, re.DOTALL).match
        self._named: i64 = 0
        # Of the message being read:
        self._touched: list[Zone] = []
        self._bad = False
        self._seen_signature = False
        self.begin()

    def begin(self) -> None:
        """Count frames from nothing, and begin a new even sample of all responses."""
        self.ok: i64 = 0
        self.other: i64 = 0
        self.ignored: i64 = 0
        self.malformed: i64 = 0
        self.lost: i64 = 0
        self.drawn: list[tuple[Upstream, bytes]] = []
        self._wait: i64 = 0
        self._weight = 1.0

    def walk(self, chunk: bytes, start: i64, now: i64) -> i64:
        """Count all whole frames from `start` on, at `now` in UNIX seconds.

        Returns where it stopped: at a control frame, at one that is too long, or at one that
        is not all there yet.
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
        """As `walk`, but only counts the frames, as lost."""
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
        """One Dnstap message (dnstap.proto): what is in it, and to whom it belongs."""
        at = start
        stop = end  # of the message being read: Dnstap, or the Message in it
        inside = False
        outer: i64 = 0
        kind: i64 = 0
        who = b""
        message: bytes | None = None
        asked = False
        answered = False
        seconds: i64 = 0  # when it was asked
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
            elif key == 0x72:  # Dnstap.message; one of several is merged into those before
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
        """As `_frame` for a frame in the usual order; False, and nothing done, for another."""
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
        if known is not None and known.since:  # lately moved: few are, so it is read for those
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
        """To whom a frame's message belongs, and what to do with it.

        `seconds` and nanoseconds (`moment`) of UNIX time: when it was asked, where that matters.
        """
        if kind == _RESOLVER_RESPONSE or kind == _FORWARDER_RESPONSE:
            if unanswered:  # PowerDNS's notice of a domain not seen before
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
            return  # asked over another path, or nobody knows when
        if kind == _RESOLVER_QUERY:
            upstream.queries += 1
        elif kind == _FORWARDER_QUERY:
            upstream.forwarded += 1
        elif message is not None:
            self._response(message, upstream, now)

    def _response(self, message: bytes, upstream: Upstream, now: i64) -> None:
        """One response, all or nothing."""
        upstream.responses += 1
        self._wait -= 1
        if self._wait < 0:
            self._draw(message, upstream)
        touched: list[Zone] = []
        self._touched = touched
        self._bad = False
        self._seen_signature = False
        try:
            self._records(message, upstream, now, None)
        except (IndexError, struct.error, MalformedError):
            upstream.malformed += 1
            return
        code: i64 = message[3]
        code &= 15
        if code == 0:
            upstream.noerror += 1
        elif code == 3:
            upstream.nxdomain += 1
        else:
            upstream.rcodes[code] += 1
        if message[2] & 2:
            upstream.truncated += 1
        elif not self._seen_signature and (code == 0 or code == 3):
            upstream.bare += 1
            if len(upstream.bare_ones) < CANDIDATES:
                upstream.bare_ones.append(message)
        for zone in touched:
            zone.good += 1
            if now + zone.soonest < zone.expires:
                zone.expires = now + zone.soonest
        if self._bad:
            self._failing(message, upstream, now)

    def _draw(self, message: bytes, upstream: Upstream) -> None:
        """Algorithm L (Li 1994): an even sample, with a random number for few messages only."""
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

    def _records(
        self,
        message: bytes,
        upstream: Upstream,
        now: i64,
        found: list[tuple[int, int, int]] | None,
    ) -> None:
        """Walk the records until the last signature. An SOA record behind it is not seen.

        With a list, the place of each signature's owner name, of its RDATA and of their end
        goes there besides.
        """
        if len(message) < _QNAME or message[2] & 0xF8 != 0x80:  # no response to a query
            raise MalformedError
        last: i64 = message.rfind(_RRSIG)
        if last < 0:
            return
        size: i64 = len(message)
        questions: i64
        left: i64
        if _INTERPRETED:
            questions, answers, authority, additional = _COUNTS(message, 4)
            left = answers + authority + additional
        else:
            questions = _number(message, 4) >> 16
            left = (_number(message, 4) & 0xFFFF) + (_number(message, 8) >> 16)
            left += _number(message, 8) & 0xFFFF
        # Names followed before are not followed again: by the two bytes of a pointer to them, or
        # of one behind a label that was no shorter.
        known: i64 = _POINTER + _QNAME if questions > 0 else 0
        recent: i64 = 0
        tail: i64 = 0
        longest: i64 = 0
        at: i64 = _QNAME
        while questions > 0:
            at = skip(message, at, size) + 4
            questions -= 1
        if at > size:
            raise MalformedError
        skew = upstream.skew
        past = now - _HALF
        future = now + _HALF
        serials: list[tuple[Zone, int]] | None = None
        self._stamp += 1
        near = upstream.last
        signer = near.signer
        extent = near.size
        soonest: i64 = _NEVER  # of the signatures by the zone that is near
        to: i64
        kind: i64
        length: i64
        expiration: i64
        inception: i64
        for _ in range(left):
            if at >= last:
                break
            owner = at
            count: i64 = message[at]
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
            else:
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
                else:
                    at = skip(message, owner, size)
                    if _INTERPRETED:
                        kind, length = _FIXED(message, at)
                    else:
                        kind = _number(message, at)
                        length = _number(message, at + 6) & 0xFFFF
                    start = at + 10
            at = start + length
            if at > size:
                raise MalformedError
            if kind == _IN_RRSIG:
                self._seen_signature = True
                zone: Zone | None = near
                name = start + 18
                if message[name : name + extent] != signer or name + extent > at:
                    zone = self._zone_at(upstream, message, name, at, True)  # RFC 4034 3.1.7
                    if zone is not None and zone is not near:
                        self._touch(near, soonest)
                        near, signer, extent, soonest = zone, zone.signer, zone.size, _NEVER
                if zone is not None:
                    if found is not None:
                        found.append((owner, start, at))
                    if _INTERPRETED:
                        expiration, inception = _DATES(message, start + 8)
                    else:
                        expiration = _number(message, start + 8)
                        inception = _number(message, start + 12)
                    if past < inception <= now <= expiration < future:
                        remaining = expiration - now  # no date is half a cycle away
                    else:
                        remaining = _ahead(expiration, now)
                        if remaining < -skew or _ahead(inception, now) > skew:
                            self._bad = True
                    if remaining < soonest:
                        soonest = remaining
            elif kind == _IN_SOA:
                names = skip(message, skip(message, start, at), at)
                if names + 20 != at:
                    raise MalformedError
                to = to & 0x3FFF if message[owner] > 191 else owner
                zone = near
                if message[to : to + extent] != signer:
                    zone = self._zone_at(upstream, message, to, size, False)
                    if zone is not None and zone is not near:  # whose signature is next
                        self._touch(near, soonest)
                        near, signer, extent, soonest = zone, zone.signer, zone.size, _NEVER
                if zone is not None:
                    if serials is None:
                        serials = []
                    serials.append((zone, _number(message, names)))
        self._touch(near, soonest)
        upstream.last = near
        if serials is not None:
            for zone, serial in serials:
                zone.serial = serial

    def _touch(self, zone: Zone, soonest: i64) -> None:
        """A message's signatures by a zone, if it has any; this is the first to run out."""
        if soonest == _NEVER:
            return
        if zone.stamp != self._stamp:
            zone.stamp = self._stamp
            zone.soonest = soonest
            self._touched.append(zone)
        elif soonest < zone.soonest:
            zone.soonest = soonest

    def _zone_at(
        self, upstream: Upstream, message: bytes, at: i64, limit: i64, plain: bool
    ) -> Zone | None:
        """Which of an upstream's zones has the name that stands here, if `plain` uncompressed.

        Raises as `skip`.
        """
        for zone in upstream.few:
            if message[at : at + zone.size] == zone.signer and at + zone.size <= limit:
                return zone
        name = _expand(message, at, limit)
        if plain and skip(message, at, limit) - at != len(name):
            raise MalformedError
        return upstream.zones.get(name)

    def _failing(self, message: bytes, upstream: Upstream, now: i64) -> None:
        """Which RRsets have no signature within its dates; count the answer by the worst."""
        places: list[tuple[int, int, int]] = []
        self._records(message, upstream, now, places)
        rrsets: dict[tuple[bytes, bytes, int], Failed | None] = {}
        nearest: dict[tuple[bytes, bytes, int], int] = {}
        for owner, start, end in places:
            rdtype = message[start] << 8 | message[start + 1]
            signer = _expand(message, start + 18, end)
            key = (signer, _expand(message, owner, len(message)), rdtype)
            if not _within(key[1], signer):
                continue  # no record of the zone, whoever is named as its signer (RFC 4035 5.3.1)
            late: i64 = -_ahead(_number(message, start + 8), now)
            early: i64 = _ahead(_number(message, start + 12), now)
            away = max(late, early)
            if key in nearest and nearest[key] <= away:
                continue
            nearest[key] = away
            rrsets[key] = None
            if away > upstream.skew:
                rrsets[key] = Failed(
                    key[1],
                    rdtype,
                    message[start + 16] << 8 | message[start + 17],
                    now + early,
                    now - late,
                    late > upstream.skew,
                )
        new = False
        worst: dict[bytes, bool] = {}
        for key, failed in rrsets.items():
            if failed is not None:
                signer = key[0]
                new = upstream.zones[signer].note(failed) or new
                worst[signer] = worst.get(signer, False) or failed.late
        for signer, expired in worst.items():
            zone = upstream.zones[signer]
            zone.good -= 1
            if expired:
                zone.expired += 1
            else:
                zone.early += 1
        if worst:
            kept = upstream.failing_new if new else upstream.failing_old
            if len(kept) < CANDIDATES:
                kept.append(message)


def _varint(chunk: bytes, at: i64) -> tuple[i64, i64]:
    """A base-128 number of at most ten bytes and where it ends; 35 bits of it."""
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
    """Four bytes."""
    if _INTERPRETED:
        return int(_WORD(message, at)[0])
    first: i64 = message[at]
    second: i64 = message[at + 1]
    third: i64 = message[at + 2]
    fourth: i64 = message[at + 3]
    return first << 24 | second << 16 | third << 8 | fourth


def _little(chunk: bytes, at: i64) -> i64:
    """Four bytes, the lowest first, as protobuf has them."""
    first: i64 = chunk[at]
    second: i64 = chunk[at + 1]
    third: i64 = chunk[at + 2]
    fourth: i64 = chunk[at + 3]
    return first | second << 8 | third << 16 | fourth << 24


def _ahead(date: i64, now: i64) -> i64:
    """By how many seconds a date lies ahead of now (RFC 4034 3.1.5, RFC 1982 3.2)."""
    return ((date - now + _HALF) & _ALL) - _HALF


def skip(message: bytes, at: i64, limit: i64) -> i64:
    """Where a name ends. Raises MalformedError or IndexError if it is none (RFC 1035 4.1.4).

    Nothing of it may lie at or behind `limit`, and what a pointer leads to lies wholly before
    all of it that was read so far.
    """
    end: i64 = -1
    lowest = at
    length: i64 = 1  # of the name, but for labels since the last pointer
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
            length += at - lowest
            low: i64 = message[at + 1]
            at = (count & 63) << 8 | low
            if at >= lowest:
                raise MalformedError
            limit = lowest
            lowest = at
        else:
            raise MalformedError


def _within(name: bytes, zone: bytes) -> bool:
    """Whether a name is the zone's apex or below it; both without pointers, in lower case."""
    at: i64 = 0
    size: i64 = len(name)
    while at < size:
        if name[at:] == zone:
            return True
        count: i64 = name[at]
        at += count + 1
    return False


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
