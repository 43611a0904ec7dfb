"""One resolver's copy of a zone: from what was seen of it to its health, and what limits it. Pure.

A copy is *proven new* at a look where it shows the serial that the zone's own servers show. From
then on its age is counted, by the monotonic clock. It may be used for SOA expire after that (RFC
1035 3.3.13; draft-wkumari-dnsop-localroot-bcp), and until `margin` before the first of its
signatures ends.

Whatever depends on a date is compared with the servers' own signatures: where those look as old,
this host's clock is wrong, or all sources are stale alike, and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from steering.copies import Asked, FileShown, Look, Real, Shown, Way
from steering.format import duration
from steering.judge.known.health import Signal, advance
from steering.judge.known.zone_copies import newer
from steering.model import Health, Instant, Seconds, WallTime

BAD_LOOKS = 3
"""Looks in a row at which names fail before the copy, or what is before it, is held to be why."""
UNSEEN_LOOKS = 5
"""Looks in a row without any result after which nothing is known of the copy any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The policy's limits, and how often it looks."""

    margin: Seconds
    max_age: Seconds | None
    interval: Seconds
    refresh: Seconds | None = None
    """How often the resolver fetches its copy; None: by the SOA's refresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What is known of one resolver's copy."""

    health: Health = Health.UNKNOWN
    because: str = "not looked at yet"
    proven: Instant | None = None
    """When it was last proven new; None: never."""
    watched: Instant = 0.0
    """Since when it is watched."""
    behind: Instant | None = None
    """Since when the servers have a newer one; None: they have not."""
    expire: Seconds | None = None
    """SOA expire, as last seen."""
    shown: Shown | None = None
    """What it last showed."""
    file: FileShown | None = None
    bad_looks: int = 0
    unseen_looks: int = 0
    bad: tuple[Asked, ...] = ()
    """What failed at the last look; empty where the resolver itself answers well."""
    before: tuple[Asked, ...] = ()
    """What failed at forwarders and nodes before the resolver while it answers well itself."""
    before_looks: int = 0
    out: str = ""
    """Why it should be taken out; empty: it may stay."""
    left: Seconds | None = None
    """Until it should be taken out; None: not known."""
    new_at: Instant | None = None
    """When what it last showed was surely the newest; None: not known."""
    renewed: bool = False
    """What it last showed was new within the time in which the resolver renews it."""

    def age(self, now: Instant) -> Seconds:
        """Since it was last proven new, or since it is watched if it never was."""
        return now - (self.watched if self.proven is None else self.proven)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When it is looked at, and whether the copy is taken out then."""

    now: Instant
    wall: WallTime
    out: bool = False
    """What the resolver answers is then not from the copy."""


def judge(copy: Copy, look: Look, real: Real, limits: Limits, at: Moment) -> Copy:
    """The copy after one look."""
    seen = _seen(look, out=at.out)
    copy = replace(
        copy,
        file=look.file or copy.file,
        shown=seen or copy.shown,
        unseen_looks=0 if seen is not None or look.asked else copy.unseen_looks + 1,
    )
    if seen is not None:
        copy = replace(copy, expire=seen.expire or copy.expire)
        if real.serial is not None:
            proven, new_at = copy.proven, copy.new_at
            copy = _compared(copy, seen.serial, real, at.now)
            if look.trouble:  # a silent source renews no lease, whatever serial is still shown
                copy = replace(copy, proven=proven, new_at=new_at)
    one = _Judging(copy, look, real, limits, at)
    copy = replace(copy, renewed=one.renewed)
    copy = replace(copy, **_Judging(copy, look, real, limits, at).failing())
    one = _Judging(copy, look, real, limits, at)
    out, left = one.limit()
    copy = replace(copy, out=out, left=left)
    signal, why = _Judging(copy, look, real, limits, at).signal()
    return replace(copy, health=advance(copy.health, signal), because=why or copy.because)


def served(asked: Sequence[Asked]) -> int | None:
    """The newest serial that a resolver itself answers with, not what is before it; None: none."""
    newest: int | None = None
    for one in asked:
        if one.serial is not None and not one.behind:
            newest = one.serial if newest is None or newer(one.serial, newest) else newest
    return newest


def taken(file: FileShown, look: Look) -> bool:
    """Whether the resolver answers with the serial of the file."""
    address = look.address.serial if look.address is not None else None
    return file.shown is not None and file.shown.serial in (look.own, address, served(look.asked))


def some(asked: Sequence[Asked]) -> str:
    """The first questions of several, and how many there are."""
    more = f" and {len(asked) - 2} more" if len(asked) > 2 else ""
    return ", ".join(map(str, asked[:2])) + more


def _seen(look: Look, *, out: bool) -> Shown | None:
    """What the copy shows. While it is out its resolver answers from the zone's own servers, and
    only a server of its own or the file shows the copy.

    What the resolver itself has may be older than its source: then the dates are those of its
    answers. Those may be from a cache, and so older still, by a day at most.
    """
    source = look.file.shown if look.file is not None else None
    if look.address is not None and (look.address.authoritative or not out):
        source = look.address
    if out or look.own is None or (source is not None and source.serial == look.own):
        return source
    ends = [one.expires for one in look.asked if one.expires is not None and not one.behind]
    expires = min(ends, default=None)
    if source is None:
        return Shown(serial=look.own, expires=expires)
    return replace(source, serial=look.own, expires=expires, left=None)


def _compared(copy: Copy, serial: int, real: Real, now: Instant) -> Copy:
    """Compares serials (RFC 1982). One that is ahead is not behind, and proves nothing; of two
    that are 2^31 apart neither is newer, so one that differs so is no copy of this zone.

    One that is behind was new until the next was seen: a zone may change faster than it is copied.
    """
    if serial == real.serial:
        return replace(copy, proven=now, new_at=now, behind=None)
    if real.serial is not None and newer(serial, real.serial):
        return replace(copy, new_at=None, behind=None)
    new, overtaken = _overtaken(serial, real.history)
    proven = max((at for at in (copy.proven, new) if at is not None), default=None)
    since = overtaken if new is not None else copy.behind
    return replace(copy, proven=proven, new_at=new, behind=now if since is None else since)


def _overtaken(
    serial: int, history: Sequence[tuple[int, Instant]]
) -> tuple[Instant | None, Instant | None]:
    """When a serial was surely the newest for the last time, and since when a newer one is known.

    None where that was before the history begins.
    """
    earlier: tuple[int, Instant] | None = None
    for known, at in history:
        if newer(known, serial):
            if earlier is None:
                return None, at
            return (at if earlier[0] == serial else earlier[1]), at
        earlier = known, at
    return None, None


class _Judging:
    """One look at one copy, with the life of its signatures beside that of the servers' own."""

    def __init__(self, copy: Copy, look: Look, real: Real, limits: Limits, at: Moment) -> None:
        self.copy, self.look, self.real, self.limits, self.at = copy, look, real, limits, at
        ends = copy.shown.expires if copy.shown is not None else None, real.expires
        self.life, self.real_life = (None if end is None else end - at.wall for end in ends)

    @property
    def short(self) -> bool:
        """The first of the copy's signatures ends within `margin`."""
        return self.life is not None and self.life < self.limits.margin

    @property
    def fresh_elsewhere(self) -> bool:
        """The servers' own signatures live so much longer that the copy is stale, not the clock
        wrong: a wrong clock makes all of them look short. A copy that is as new as theirs has the
        same signatures, whatever was asked for.
        """
        if self.copy.renewed:
            return False
        if self.life is None or self.real_life is None or self.real.doubt:
            return False
        margin = self.limits.margin
        return self.real_life >= 2 * margin or self.life <= 0 < self.real_life - margin

    @property
    def overdue(self) -> bool:
        """The resolver should have taken the newer one: it asks for one once every refresh, and the
        looks are `interval` apart.
        """
        since = self.copy.behind
        return since is not None and self.at.now - since > self.between

    @property
    def renewed(self) -> bool:
        """What it last showed was new within the time in which the resolver renews it."""
        new_at = self.copy.new_at
        return new_at is not None and self.at.now - new_at <= self.between

    @property
    def between(self) -> Seconds:
        """The longest time from one look of the resolver at its source to our look after it."""
        return (self.limits.refresh or self.real.refresh) + self.limits.interval

    @property
    def lease(self) -> Seconds | None:
        """How long the copy may be used after it was last proven new; None: not known.

        A resolver counts SOA expire from its own look at its source, and fails its clients then if
        it falls back to nothing. That look may have been so much earlier than ours.
        """
        expire = self.copy.expire or self.real.expire
        lease = None if expire is None else max(expire - self.between, expire / 2)
        return min(filter(None, (lease, self.limits.max_age)), default=None)

    def failing(self) -> dict[str, Any]:
        """Which names fail because of the copy, or before it, and for how many looks.

        What is before the resolver may fail by itself: it counts where the resolver fails too.
        """
        none: tuple[Asked, ...] = ()
        if self.at.out:
            return {"bad": none, "bad_looks": 0, "before": none, "before_looks": 0}
        if not self.look.asked:
            return {}
        every = tuple(one for one in self.look.asked if one.way.bad and self._counts(one))
        itself = any(not one.behind for one in every)
        bad, before = (every, none) if itself else (none, every)
        return {
            "bad": bad,
            "bad_looks": self.copy.bad_looks + 1 if bad else 0,
            "before": before,
            "before_looks": self.copy.before_looks + 1 if before else 0,
        }

    def _counts(self, one: Asked) -> bool:
        """Whether an answer that failed may be the fault of the copy.

        A copy that lags within its refresh, and a cache, rightly deny a name that is newer than
        what they have.
        """
        if one.way is Way.EXPIRED:
            return self.fresh_elsewhere
        if one.way is not Way.DENIED or self.overdue:
            return True
        real = self.real.serial
        old = one.denied is not None and real is not None and newer(real, one.denied)
        return self.copy.behind is None and not old

    def limit(self) -> tuple[str, Seconds | None]:
        """Why the copy should be out, and how long it may stay."""
        copy, limits, reasons = self.copy, self.limits, list[str]()
        age, lefts = copy.age(self.at.now), list[Seconds]()
        if (longest := self.lease) is not None:
            lefts.append(longest - age)
            if age >= longest and self._overtaken():
                was = "was last proven new" if copy.proven is not None else "was never proven new,"
                reasons.append(f"{was} {duration(age)} ago, allowed are {duration(longest)}")
        if self.life is not None:
            lefts.append(self.life - limits.margin)
            if self.short and self.fresh_elsewhere:
                reasons.append(self._ends())
        if copy.shown is not None and (left := copy.shown.left) is not None:
            lefts.append(left)
            if left <= self._dropping and copy.behind is not None:
                reasons.append(f"its server drops it in {duration(left)} (EDNS EXPIRE)")
        if copy.bad_looks >= BAD_LOOKS:
            reasons.append(f"names fail: {some(copy.bad)}")
        return "; ".join(reasons), min(lefts, default=None)

    @property
    def _dropping(self) -> Seconds:
        """What is left of SOA expire where the server will soon drop a copy: two looks, or less
        where it is renewed in that time.
        """
        expire = self.copy.expire or self.real.expire
        two = 2 * self.limits.interval
        return two if expire is None else min(two, expire / 4)

    def _overtaken(self) -> bool:
        """The servers have something newer than a copy that is too old: by serial, for longer than
        it takes to be copied, or by signatures where the copy's serial is ahead of theirs.

        An age counted over a restart of the host is by its clock, which may be wrong; this is not.
        """
        if self.overdue:
            return True
        if self.copy.behind is not None or self.life is None or self.real_life is None:
            return False
        return self.real_life - self.life > self.limits.margin

    def signal(self) -> tuple[Signal, str]:
        """The evidence of this look, and what it is."""
        copy = self.copy
        if copy.out:
            return Signal.CONFIRMED, copy.out
        if copy.bad:
            return Signal.FULL, f"names fail: {some(copy.bad)}"
        if late := self._late():
            return Signal.LATE, late
        if copy.unseen_looks >= UNSEEN_LOOKS:
            return Signal.UNSEEN, self.look.trouble or "nothing is seen of it"
        if copy.shown is None or copy.unseen_looks:
            return Signal.NOTHING, self.look.trouble
        if self.real.serial is None:
            return Signal.NOTHING, "the zone's servers show no serial to compare with"
        if copy.renewed:
            of = "as" if copy.behind is None else "lately that of"
            return Signal.MENDED, f"has serial {copy.shown.serial}, {of} the zone's servers"
        return Signal.NOTHING, self.look.trouble

    def _late(self) -> str:
        """Why the copy is stale; empty: it is not."""
        file, shown = self.copy.file, self.copy.shown
        if file is not None and file.refused:
            return f"its file is refused: {file.refused}"
        unknown = self.look.own is None and served(self.look.asked) is None
        if (
            file is not None
            and file.foreign
            and not taken(file, self.look)
            and (
                unknown or self.overdue  # it may take it yet, at its next refresh
            )
        ):
            types = ", ".join(file.foreign)
            return f"its file has what the resolver may not understand: {types}"
        if self.short:
            alike = "" if self.fresh_elsewhere else ", and the zone's servers show none that is new"
            return self._ends() + alike
        if self.overdue and shown is not None and self.copy.behind is not None:
            within = duration(self.at.now - self.copy.behind)
            return f"has serial {shown.serial} and did not take {self.real.serial} within {within}"
        return ""

    def _ends(self) -> str:
        life = self.life or 0.0
        if life > 0:
            return f"its first signature ends in {duration(life)}"
        return f"its first signature ended {duration(-life)} ago"
