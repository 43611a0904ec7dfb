"""Makes a tally of the counter's counts, and resets the counts."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from steering.model import SHOWN_BY_A, Evidence, Failure, Instant, Outcome, Seconds
from steering.observe.dnstap.counter import Failed, FrameCounter, Upstream, Zone
from steering.observe.dnstap.redact import redacted
from steering.observe.dnstap.tally import (
    CANDIDATES,
    MESSAGE_BYTES,
    MESSAGES,
    NAME_BYTES,
    Frames,
    Interest,
    Notice,
    Reason,
    Sample,
    Signed,
    Tally,
    Traffic,
)
from steering.system.unreadable import Unread

_UNSEEN = 1 << 62
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 28: "AAAA", 43: "DS", 47: "NSEC"}
_TYPES |= {48: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM"}
_SPECIAL = frozenset(b'"().;\\@$')  # what dnspython escapes in a label, after RFC 1035 5.1


def upstreams(interest: Interest, known: Iterable[Upstream] = ()) -> dict[bytes, Upstream]:
    """What to count, by address in network form. Counts of addresses in `known` go on.

    Dates and the reader's time are whole seconds. The skew is rounded up, so that a date that
    counts as bad certainly is.
    """
    before = {upstream.address: upstream for upstream in known}
    made = {}
    for address, watched in interest.items():
        zones, skew = (
            [name_to_wire(zone) for zone in sorted(watched.zones)],
            math.ceil(watched.skew),
        )
        upstream = before.get(address) or Upstream(address, zones, skew)
        upstream.watch(zones, skew, watched.since)
        made[ipaddress.ip_address(address).packed] = upstream
    return made


def build_tally(
    counter: FrameCounter,
    *,
    began: Instant,
    ended: Instant,
    too_large: int = 0,
    writers: int = 0,
    longest_gap: Seconds = 0.0,
    notices: Sequence[Notice] = (),
    unnoticed: int = 0,
    unreadable: Sequence[Unread] = (),
) -> Tally:
    """The tally of everything counted since the last one; resets the counts."""
    frames = {
        Frames.OK: counter.ok,
        Frames.OTHER: counter.other,
        Frames.IGNORED: counter.ignored,
        Frames.MALFORMED: counter.malformed,
        Frames.TOO_LARGE: too_large,
    }
    known = list(counter.upstreams.values())
    busy = [upstream for upstream in known if upstream.queries + upstream.forwarded]
    busy += [u for u in known if u.responses and not u.queries + u.forwarded]
    tally = Tally(
        began=began,
        ended=ended,
        frames={result: count for result, count in frames.items() if count},
        lost=counter.lost,
        writers=writers,
        longest_gap=longest_gap,
        traffic=tuple(_traffic(upstream) for upstream in busy),
        signed=tuple(
            _signed(upstream.address, zone)
            for upstream in busy
            for zone in upstream.zones.values()
            if zone.good + zone.expired + zone.early or zone.serial >= 0
        ),
        samples=tuple(_within(MESSAGE_BYTES, _samples(busy, counter))),
        notices=tuple(notices),
        unnoticed=unnoticed,
        unreadable=tuple(unreadable),
    )
    counter.begin()
    for upstream in busy:
        upstream.begin()
    return tally


def reset(counter: FrameCounter) -> None:
    """Reset the counts without a tally."""
    counter.begin()
    for upstream in counter.upstreams.values():
        upstream.begin()


def _traffic(upstream: Upstream) -> Traffic:
    rcodes = {0: upstream.noerror, 3: upstream.nxdomain}
    rcodes |= {code: count for code, count in enumerate(upstream.rcodes) if count}
    return Traffic(
        address=upstream.address,
        since=upstream.since,
        queries=upstream.queries,
        forwarded=upstream.forwarded,
        responses=upstream.responses,
        bare=upstream.bare,
        truncated=upstream.truncated,
        malformed=upstream.malformed,
        rcodes={code: count for code, count in sorted(rcodes.items()) if count},
    )


def _signed(address: str, zone: Zone) -> Signed:
    return Signed(
        address=address,
        zone=name_to_text(zone.signer),
        good=zone.good,
        expired=zone.expired,
        not_yet_valid=zone.early,
        expires=int(zone.expires) if zone.expires < _UNSEEN else None,
        serial=zone.serial if zone.serial >= 0 else None,
        failing=tuple(_failing_within(NAME_BYTES, zone)),
    )


def _failing_within(limit: int, zone: Zone) -> Iterator[Failure]:
    """Failing RRsets, new ones first, as many as the limit of characters allows."""
    for failed in (*zone.fresh.values(), *zone.again.values()):
        failure = _failure(failed)
        if len(failure.name) <= limit:
            limit -= len(failure.name)
            yield failure


def _failure(failed: Failed) -> Failure:
    owner, rdtype = name_to_text(failed.owner), _TYPES.get(failed.rdtype, f"TYPE{failed.rdtype}")
    return Failure(
        name=owner,
        outcome=Outcome.EXPIRED if failed.late else Outcome.NOT_YET_VALID,
        evidence=Evidence(
            owner=owner,
            rdtype=rdtype,
            detail="signature expired" if failed.late else "signature not yet valid",
            key_tag=failed.key_tag,
            inception=failed.inception,
            expiration=failed.expiration,
        ),
        ask=owner if rdtype in SHOWN_BY_A else None,
    )


def _samples(busy: Sequence[Upstream], counter: FrameCounter) -> Iterator[Sample]:
    """Samples, the most useful first; within each reason the addresses take turns."""
    failing = {u.address: [*u.failing_new, *u.failing_old][:CANDIDATES] for u in busy}
    yield from _in_turn(Reason.FAILING, failing)
    yield from _in_turn(Reason.BARE, {u.address: u.bare_ones for u in busy})
    for upstream, message in counter.drawn:
        yield Sample(address=upstream.address, reason=Reason.RANDOM, message=message)


def _in_turn(reason: Reason, failed_rrsets: dict[str, list[bytes]]) -> Iterator[Sample]:
    given = 0
    for place in range(CANDIDATES):
        for address, messages in failed_rrsets.items():
            if place < len(messages) and given < MESSAGES:
                yield Sample(address=address, reason=reason, message=messages[place])
                given += 1


def _within(limit: int, samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples that fit, redacted. One with two reasons is given once, for the first."""
    seen: set[int] = set()
    for sample in samples:
        if id(sample.message) in seen:
            continue
        seen.add(id(sample.message))
        message = redacted(sample.message)
        if message is None:
            continue
        limit -= len(message)
        if limit < 0:
            return
        yield replace(sample, message=message)


def name_to_wire(name: str) -> bytes:
    """A policy's zone in wire form. Zone names have only letters, digits and hyphens."""
    labels = [label.encode("ascii") for label in name.lower().rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def name_to_text(wire: bytes) -> str:
    """A name without pointers in the text form of zone files (RFC 1035 5.1)."""
    labels, at = [], 0
    while length := wire[at]:
        labels.append("".join(map(_escaped, wire[at + 1 : at + 1 + length])))
        at += 1 + length
    return ".".join([*labels, ""]) if labels else "."


def _escaped(byte: int) -> str:
    if byte in _SPECIAL:
        return "\\" + chr(byte)
    return chr(byte) if 0x20 < byte < 0x7F else f"\\{byte:03d}"
