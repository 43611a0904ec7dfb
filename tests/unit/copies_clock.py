"""Resolvers with a copy of the root on a long clock: a world in which nothing is real but time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from steering.copies import Asked, FileShown, Look, Real, Shown, Way
from steering.decide.copies import decide
from steering.decide.copy_course import (
    Act,
    Course,
    Leave,
    One,
    Order,
    Phase,
    Remedy,
    carried_out,
)
from steering.judge.copies import Copy, Limits, Moment, judge
from steering.model import Event, Seconds

HOUR, DAY = 3600.0, 86400.0
EPOCH = 1_695_254_400.0
"""21 September 2023, 00:00 UTC: the root gains a type that a loader does not know."""
FIRST = 2023092100
LIFE = 13 * DAY + HOUR
EXPIRE, REFRESH = 7 * DAY, 1800.0
EVERY = 12 * HOUR
"""The root is published twice a day."""


def published(at: Seconds) -> int:
    """Serial of the zone that was published last, at seconds since the beginning."""
    number = int(at // EVERY)
    return FIRST + 100 * (number // 2) + number % 2


@dataclass(kw_only=True)
class Resolver:
    """One resolver, as it really is."""

    takes: Callable[[Seconds], bool] = lambda _at: True
    """Whether it takes a new copy that it is offered then."""
    obeys: frozenset[Remedy] = frozenset({Remedy.DRIVER, Remedy.COMMAND})
    hangs: frozenset[Remedy] = frozenset()
    remedies: tuple[Remedy, ...] = (Remedy.DRIVER, Remedy.COMMAND)
    has_file: bool = False
    """A file is renewed beside it, whatever it loads."""
    works_without: bool = True
    returns: bool = True
    """It can be put back."""
    at: Seconds = 0.0
    """When its copy was published."""
    out: bool = False
    undone: list[tuple[Remedy, ...]] = field(default_factory=list)
    forwarder: Way | None = None
    """What a forwarder before it answers with; None: there is none."""
    says: bool = False
    """It says whether it is out."""
    configured: bool = True
    """Its configuration has the copy."""
    denies: bool = False
    """A name that the zone has is denied from the version that it has."""

    def serial(self, now: Seconds, lag: Seconds) -> int:
        return published(max(0.0, now - lag)) if self.out else published(self.at)


@dataclass(kw_only=True)
class World:
    """A site with some resolvers, its agent, and the zone's own servers."""

    resolvers: dict[str, Resolver]
    real_at: Callable[[Seconds], Seconds] = lambda at: at
    """When the copy of the zone's own servers was published."""
    answers: Callable[[Seconds], bool] = lambda _at: True
    clock: Callable[[Seconds], Seconds] = lambda _at: 0.0
    """By how much the host's clock is wrong."""
    limits: Limits = field(default_factory=lambda: Limits(margin=DAY, max_age=None, interval=60.0))
    leave: Leave = field(default_factory=lambda: Leave(acts=True, off=False))
    now: Seconds = 0.0
    copies: dict[str, Copy] = field(default_factory=dict)
    courses: dict[str, Course] = field(default_factory=dict)
    events: list[tuple[Seconds, Event]] = field(default_factory=list)
    orders: list[tuple[Seconds, Order]] = field(default_factory=list)
    failures: list[tuple[Seconds, str]] = field(default_factory=list)
    """Client answers that failed: when, and at which resolver."""

    def run(self, until: Seconds, step: Seconds = 600.0) -> World:
        """Look again and again until then; every second while something is on its way."""
        while self.now < until:
            moving = any(course.phase.moving for course in self.courses.values())
            self.now += 1.0 if moving else step
            self.turn()
        return self

    def turn(self) -> None:
        """One look at all of them, and what follows."""
        wall = EPOCH + self.now + self.clock(self.now)
        real = self._real(wall)
        ones = {}
        for name, it in self.resolvers.items():
            self._renew(it)
            look = self._look(name, it)
            course = self.courses.get(name, Course())
            copy = self.copies.get(name, Copy(watched=self.now))
            moment = Moment(now=self.now, wall=wall, out=course.out)
            self.copies[name] = copy = judge(copy, look, real, self.limits, moment)
            ones[name] = One(
                copy=copy,
                look=look,
                course=course,
                remedies=it.remedies,
                is_out=it.out if it.says else None,
                configured=it.configured,
            )
        courses, order, events = decide("root", ones, real, self.leave, self.now)
        self.courses = dict(courses)
        self.events += [(self.now, event) for event in events]
        if order is not None:
            self.orders.append((self.now, order))
            self._obey(order)

    def named(self, event: str) -> list[tuple[Seconds, Event]]:
        """The events of this name."""
        return [(at, one) for at, one in self.events if one.event == event]

    def _real(self, wall: Seconds) -> Real:
        shown = self.real_at(self.now)
        expires = EPOCH + shown + LIFE
        good = self.answers(self.now) and expires > wall > EPOCH + shown - HOUR
        dated = self.answers(self.now) and not good
        return Real(
            serial=published(shown) if good else None,
            expires=expires if good else None,
            refresh=REFRESH,
            answers=good,
            doubt="the clock, or all of them" if dated else "",
        )

    def _renew(self, it: Resolver) -> None:
        offered = self.real_at(self.now)
        if not it.out and it.takes(self.now) and published(offered) != published(it.at):
            it.at = offered

    def _shown(self, at: Seconds) -> Shown:
        begun = at // EVERY * EVERY
        return Shown(serial=published(at), expires=EPOCH + begun + LIFE, expire=EXPIRE)

    def _look(self, name: str, it: Resolver) -> Look:
        truly = EPOCH + self.now
        copy = self._shown(it.at)
        fails = copy.expires is not None and copy.expires < truly
        if it.out:
            fails = not it.works_without or not self.answers(self.now)
        if fails:
            self.failures.append((self.now, name))
        way = Way.SERVFAIL if fails else Way.GOOD
        serial = published(self.real_at(self.now)) if it.out else copy.serial
        asked = Asked(resolver=name, name=".", rdtype="SOA", way=way, serial=serial)
        file = FileShown(shown=self._shown(self.real_at(self.now))) if it.has_file else None
        address = self._shown(self.real_at(self.now)) if it.out else copy
        every = [asked]
        if it.forwarder is not None:
            every.append(replace(asked, resolver="forwarder", behind=True, way=it.forwarder))
        if it.denies:
            denied = replace(asked, name="new.", rdtype="DS", serial=None, denied=serial)
            every.append(replace(denied, way=Way.DENIED))
        return Look(address=address, file=file, asked=tuple(every))

    def _obey(self, order: Order) -> None:
        it = self.resolvers[order.resolver]
        hung = bool(set(order.remedies) & it.hangs)
        hung |= order.act is Act.PUT_BACK and not it.returns
        if not hung and set(order.remedies) & it.obeys:
            it.out = order.act is Act.TAKE_OUT
            if order.act is Act.PUT_BACK:
                it.undone.append(order.remedies)
                it.at = self.real_at(self.now) if it.takes(self.now) else it.at
        course = self.courses[order.resolver]
        said = "no answer within 5 s" if hung else "ok"
        self.courses[order.resolver] = carried_out(
            course, order, self.now, done=not hung, said=said
        )

    def restart(self, forgets: bool = False) -> None:
        """The agent ends and another begins: what it does not keep is lost."""
        for name, copy in self.copies.items():
            self.copies[name] = replace(copy, bad_looks=0, unseen_looks=0, shown=None, bad=())
        for name, course in self.courses.items():
            if course.phase is Phase.LEAVING and forgets:
                self.courses[name] = replace(course, since=float("-inf"))
