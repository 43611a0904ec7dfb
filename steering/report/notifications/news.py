"""What has begun, changed or ended since the last turn, from the alarms and the plan. Pure.

What comes and goes all the time is told once: a thing has ended when it has been absent for QUIET.
A change of a move is told when it has settled, and at most once in CHANGES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from steering.config.notify import About
from steering.decide.state import Alarm
from steering.format import counted, duration
from steering.model import Instant, Seconds, WallTime
from steering.report.notifications.notice import Notice, Stage

QUIET: Seconds = 30.0
"""What is absent for so long has ended; if it comes back earlier, it went on."""
SETTLED: Seconds = 5.0
"""A move is told when nothing was added to it for so long, or after as long a time in all..."""
LONGEST: Seconds = 15.0
"""...as this: an operator who waits for word of the first address has waited long enough."""
CHANGES: Seconds = 60.0
"""Between two notices of one move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lasting:
    """One thing that lasts now, or did until QUIET ago."""

    notice: Notice
    """As it is, whether it was told or not."""
    told: Notice | None = None
    """As it was told last."""
    told_at: Instant = float("-inf")
    first_at: Instant
    changed_at: Instant
    seen_at: Instant
    seen_wall: WallTime
    ever: frozenset[str] = frozenset()
    """All addresses that it was about at some time."""
    ever_sites: frozenset[str] = frozenset()


class News:
    """Remembers what lasts and what of it was told."""

    def __init__(self) -> None:
        self._lasting: dict[tuple[About, str], _Lasting] = {}

    def of(
        self, present: Iterable[Notice], now: Instant, wall: WallTime, over: Mapping[str, str]
    ) -> Iterator[Notice]:
        """The notices to send after this turn.

        Args:
            present: all that lasts now (`alarms`, `moves`), as if it had just begun.
            now: the instant.
            wall: the time.
            over: alarm -> why it is no longer told although it lasts (it is acknowledged).
        """
        for notice in present:
            self._note(notice, now, wall)
        for key, one in list(self._lasting.items()):
            seen_by = over.get(one.notice.name, "") if one.notice.about is About.ALARM else ""
            if now - one.seen_at >= QUIET or seen_by:
                del self._lasting[key]
                if one.told is not None:
                    yield from _ended(one, seen_by)
            elif one.seen_at == now and (stage := _due(one, now)) is not None:
                told = replace(one.notice, stage=stage)
                self._lasting[key] = replace(one, told=told, told_at=now)
                yield told

    def lasting(self) -> tuple[Notice, ...]:
        """All that was told and has not ended, as it was told last."""
        return tuple(one.told for one in self._lasting.values() if one.told is not None)

    def _note(self, notice: Notice, now: Instant, wall: WallTime) -> None:
        was = self._lasting.get(notice.key)
        if was is None:
            was = _Lasting(notice=notice, first_at=now, changed_at=now, seen_at=now, seen_wall=wall)
        same = (was.notice.addresses, was.notice.sites) == (notice.addresses, notice.sites)
        known = same and was.seen_at < now
        self._lasting[notice.key] = replace(
            was,
            notice=replace(notice, since=was.notice.since),
            changed_at=was.changed_at if same else now,
            seen_at=now,
            seen_wall=wall,
            ever=was.ever if known else was.ever.union(notice.addresses),
            ever_sites=was.ever_sites if known else was.ever_sites.union(notice.sites),
        )


def _due(one: _Lasting, now: Instant) -> Stage | None:
    """Whether it is to be told now, and as what."""
    notice, told = one.notice, one.told
    if told is not None:
        if notice.about is not About.MOVE:
            return None  # the numbers in an alarm's text change all the time
        if (notice.addresses, notice.sites) == (told.addresses, told.sites):
            return None
    elif notice.about is not About.MOVE:
        return Stage.BEGAN
    since = one.first_at if told is None else one.told_at + CHANGES
    if now < since:
        return None
    if now - one.changed_at < SETTLED and now - since < LONGEST:
        return None
    return Stage.BEGAN if told is None else Stage.CHANGED


def _ended(one: _Lasting, why: str) -> Iterator[Notice]:
    notice = one.notice
    ended = replace(notice, stage=Stage.ENDED, ended=one.seen_wall)
    lasted = duration(one.seen_wall - notice.since)
    if notice.about is About.MOVE:
        home = f"{notice.name}: all addresses are on the local path again"
        yield replace(ended, title=home, text="", addresses=(), sites=())
        told = (
            f"{counted(len(one.ever), 'address')} left the local path for"
            f" {', '.join(sorted(one.ever_sites))}, and are back after {lasted}"
        )
        yield replace(
            ended,
            about=About.INCIDENT,
            title=f"{notice.name}: incident ended after {lasted}",
            text=told,
            addresses=tuple(sorted(one.ever)),
            sites=tuple(sorted(one.ever_sites)),
        )
    else:
        yield replace(ended, title=f"alarm {notice.name}: {why or 'no longer so'}")


def alarms(raised: Mapping[str, Alarm]) -> Iterator[Notice]:
    """A notice for each alarm that follows from no other one."""
    for name, alarm in raised.items():
        if alarm.cause is None:
            yield Notice(
                about=About.ALARM,
                name=name,
                stage=Stage.BEGAN,
                since=alarm.since,
                title=f"alarm {name}",
                text=alarm.because,
                addresses=alarm.about,
            )


def moves(
    plan: Mapping[str, str],
    upstreams: Mapping[str, str],
    since: Mapping[str, WallTime],
    why: Callable[[str], str],
    *,
    acts: bool,
) -> Iterator[Notice]:
    """A notice for each upstream with addresses away from the local path.

    Args:
        plan: address -> site, of the addresses that are steered, or would be.
        upstreams: address -> its upstream.
        since: address -> time of its latest move.
        why: the rule that decided for an address, and its reason.
        acts: whether the plan is carried out.
    """
    by: dict[str, list[str]] = {}
    for address in plan:
        by.setdefault(upstreams[address], []).append(address)
    for upstream, addresses in by.items():
        addresses.sort()
        sites = tuple(sorted({plan[address] for address in addresses}))
        number = counted(len(addresses), "address")
        verb = "go" if acts else "would go"
        yield Notice(
            about=About.MOVE,
            name=upstream,
            stage=Stage.BEGAN,
            since=min(since[address] for address in addresses),
            title=f"{upstream}: {number} {verb} through {', '.join(sites)}",
            text=f"{addresses[0]}: {why(addresses[0])}",
            addresses=tuple(addresses),
            sites=sites,
        )
