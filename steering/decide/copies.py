"""What is done about the copies of one zone: taken out, checked, the next remedy, put back. Pure.

A copy goes through phases: in use, leaving (a remedy was ordered, and the clients are asked whether
it helped), out, returning. Nothing is believed because it was ordered. One copy at a time leaves or
returns, so that a site never loses two resolvers to one mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steering.copies import Asked, Real, Way
from steering.decide.copy_course import (
    SETTLE,
    Act,
    Course,
    Leave,
    One,
    Order,
    Phase,
    Remedy,
    later,
    paused,
)
from steering.judge.copies import served, some, taken
from steering.model import NEVER, Event, Health, Instant, Seconds

CACHED: Seconds = 86_400.0
"""How long caches before the resolver may go on showing an old serial (the root's TTLs)."""

_NOT_OUT = "the resolver has the copy, though its configuration has none"


def decide(
    zone_copy: str, ones: Mapping[str, One], real: Real, leave: Leave, now: Instant
) -> tuple[Mapping[str, Course], Order | None, tuple[Event, ...]]:
    """The courses after a look at all copies of one zone, what to do now, and the events."""
    courses = {name: one.course for name, one in ones.items()}
    order: Order | None = None
    events: list[Event] = []
    moving = [name for name, course in courses.items() if course.phase.moving]
    # What has begun is finished before anything else begins.
    for name in (*moving, *(name for name in ones if name not in moving)):
        busy = leave.elsewhere or order is not None or any(other != name for other in moving)
        step = _Step(zone_copy, name, ones[name], _World(real, leave, now, busy=busy))
        courses[name], mine = step.next()
        events += step.events
        order = order or mine
    return courses, order, tuple(events)


class _World:
    """What is the same for all copies in one decision."""

    def __init__(self, real: Real, leave: Leave, now: Instant, *, busy: bool) -> None:
        self.real, self.leave, self.now, self.busy = real, leave, now, busy


class _Step:
    """One decision about one copy."""

    def __init__(self, zone_copy: str, name: str, one: One, world: _World) -> None:
        self.more = {"copy": zone_copy, "resolver": name}
        self.name, self.one, self.course = name, one, one.course
        self.real, self.leave, self.now, self.busy = world.real, world.leave, world.now, world.busy
        self.bad = [asked for asked in one.look.asked if asked.way is not Way.GOOD]
        self.events: list[Event] = []

    def next(self) -> tuple[Course, Order | None]:
        """The course from here, and what to do."""
        steps = {
            Phase.IN: self._in,
            Phase.LEAVING: self._leaving,
            Phase.STUCK: self._stuck,
            Phase.OUT: self._out,
            Phase.RETURNING: self._returning,
            Phase.UNDOING: self._undoing,
        }
        course, order = steps[self.course.phase]()
        forbidden = self.leave.forbids()
        if order is not None and forbidden:  # what an agent began that ended before it was done
            return replace(self.course, held=f"it stays as it is: {forbidden}"), None
        return course, order

    # --- on the way out ---------------------------------------------------------------------------

    def _in(self) -> tuple[Course, Order | None]:
        copy, course = self.one.copy, self.course
        if not copy.out:
            if copy.health is Health.HEALTHY:
                course = replace(course, trouble="", vain=0)
            return replace(course, held=""), None
        if held := self._stays():
            if held != course.held:
                self.add_event(
                    "copy_held" if self.leave.acts else "would_take_copy_out",
                    f"{copy.out}; {held}",
                )
            return replace(course, held=held), None
        shown = copy.shown.serial if copy.shown is not None else None
        before = frozenset(asked.resolver for asked in self.bad)
        course = replace(
            course,
            tried=(),
            serial=shown,
            failed_before=before,
            held="",
            untaken=self._untaken(),
        )
        return self._take_out(course, self.one.remedies[0], copy.out)

    def _untaken(self) -> int | None:
        """The serial of a file that the resolver did not take."""
        file = self.one.copy.file
        if file is None or file.shown is None or taken(file, self.one.look):
            return None
        return file.shown.serial

    def _stays(self) -> str:
        """What speaks against taking it out now; empty: nothing."""
        if self.real.doubt:
            return f"it stays: {self.real.doubt}"
        if not self.real.answers:
            return "it stays: the zone's own servers do not answer well from here either"
        if forbidden := self.leave.forbids():
            return f"it stays: {forbidden}"
        if not self.one.remedies:
            return "it stays: neither `include` nor `command` is configured"
        if self.now < self.course.not_before:
            return "it stays for now: what was tried did not help"
        return "it stays for now: another copy is on its way out or back" if self.busy else ""

    def _take_out(self, course: Course, remedy: Remedy, why: str) -> tuple[Course, Order]:
        self.add_event("copy_taking_out", f"by its {remedy}: {why}")
        course = replace(
            course,
            phase=Phase.LEAVING,
            used=course.used if remedy in course.used else (*course.used, remedy),
            tried=(*course.tried, remedy),
            since=NEVER,
            refused="",
        )
        return course, Order(resolver=self.name, act=Act.TAKE_OUT, remedies=(remedy,))

    def _leaving(self) -> tuple[Course, Order | None]:
        course = self.course
        if course.since == NEVER:  # the agent ended before it was carried out
            last = course.tried[-1:]
            if not last or last[0] not in self.one.remedies:
                return replace(course, phase=Phase.IN), None
            return course, Order(resolver=self.name, act=Act.TAKE_OUT, remedies=last)
        wrong = self._still_in()
        if not wrong:
            self.add_event("copy_out", self.one.copy.because, now=str(Phase.OUT))
            trouble = course.trouble or course.refused
            out = replace(course, phase=Phase.OUT, since=self.now, trouble=trouble, vain=0)
            return out, None
        if self.now - course.since < SETTLE:
            return course, None
        remedy = course.tried[-1]
        because = f"{course.refused}; {wrong}" if course.refused else f"{remedy}: {wrong}"
        self.add_event("copy_remains", because)
        course = replace(course, trouble=because)
        worse = {asked.resolver for asked in self.bad} - course.failed_before
        if worse and not course.refused:
            return replace(course, phase=Phase.UNDOING, since=NEVER), self._put_back()
        left = [each for each in self.one.remedies if each not in course.tried]
        if left and not self.leave.forbids():
            return self._take_out(course, left[0], because)
        return paused(replace(course, phase=Phase.STUCK, since=self.now), self.now), None

    def _stuck(self) -> tuple[Course, Order | None]:
        """What was done is kept: it is undone when a new copy is proven, or tried again."""
        course = self.course
        if not self._still_in():
            self.add_event("copy_out", self.one.copy.because, now=str(Phase.OUT))
            return replace(course, phase=Phase.OUT, since=self.now, vain=0, held=""), None
        if self._renewed():
            if self.busy or self.leave.forbids():
                return course, None
            self.add_event("copy_returning", self.one.copy.because)
            return replace(course, phase=Phase.RETURNING, since=NEVER), self._put_back()
        if held := self._stays():
            return replace(course, held=held), None
        return self._take_out(replace(course, tried=()), self.one.remedies[0], course.trouble)

    def _still_in(self) -> str:
        """What shows that the copy is in use, or that it is no better without it; empty: nothing.

        What stands before the resolver has caches, so that an old serial there shows nothing; a
        failing answer does.
        """
        asked, old = self.one.look.asked, self.course.serial
        if self.one.is_out is False:
            return "the resolver says that it still has the copy"
        if not asked:
            return "its clients' addresses could not be asked"
        if self.bad:
            return f"clients' answers fail: {some(self.bad)}"
        now = served(asked)
        if now is None and not self.one.is_out:
            return "no answer shows a serial"
        if now == old and now != self.real.serial and old is not None:
            return f"it still answers with serial {old}"
        return ""

    # --- on the way back --------------------------------------------------------------------------

    def _out(self) -> tuple[Course, Order | None]:
        course, copy = self.course, self.one.copy
        if self.one.is_out is False and self.one.configured:
            self.add_event("copy_back", "by someone else", was="out", now="in")
            return Course(), None
        course = replace(course, held="")
        if self.one.is_out is False and not self._renewed():  # a return that failed took effect
            course = replace(course, since=self.now, trouble=_NOT_OUT)
            return paused(replace(course, phase=Phase.STUCK), self.now), None
        if self.bad:
            course = replace(course, trouble=f"it is out, and answers fail: {some(self.bad)}")
        elif cached := self._old_before_it():
            course = replace(course, trouble=f"it is out, and an old one shows: {some(cached)}")
        elif course.trouble.startswith("it is out, and"):
            course = replace(course, trouble="")
        file = copy.file
        if not self._renewed():
            return course, None
        if file is not None and file.shown is not None and file.shown.serial == course.untaken:
            return replace(course, held="it stays out: the resolver did not take this file"), None
        if held := self._stays_out():
            return replace(course, held=held), None
        self.add_event("copy_returning", copy.because)
        return replace(course, phase=Phase.RETURNING, since=NEVER), self._put_back()

    def _renewed(self) -> bool:
        """Whether a new copy is proven and verified."""
        copy, file = self.one.copy, self.one.copy.file
        if file is not None and (file.refused or file.foreign):
            return False
        return copy.renewed and copy.health is Health.HEALTHY

    def _old_before_it(self) -> list[Asked]:
        """Answers of forwarders and nodes with the old serial, for longer than caches hold it."""
        if self.now - self.course.since < CACHED or self.course.serial == self.real.serial:
            return []
        asked = self.one.look.asked
        return [one for one in asked if one.behind and one.serial == self.course.serial]

    def _stays_out(self) -> str:
        """What speaks against a return now; empty: nothing."""
        if self.real.doubt:
            return f"it stays out: {self.real.doubt}"
        if forbidden := self.leave.forbids():
            return f"it stays out: {forbidden}"
        if self.now < self.course.not_before:
            return "it stays out for now: the last return did not work"
        return "it stays out for now: another copy is on its way" if self.busy else ""

    def _put_back(self) -> Order:
        used = tuple(reversed(self.course.used)) or self.one.remedies[:1]
        return Order(resolver=self.name, act=Act.PUT_BACK, remedies=used)

    def _returning(self) -> tuple[Course, Order | None]:
        course = self.course
        if course.since == NEVER:
            return course, self._put_back()
        if not (wrong := self._not_back()):
            self.add_event("copy_back", self.one.copy.because, was="out", now="in")
            return Course(), None
        # While it was out its clients were served well, so that is not waited for.
        failing = any(asked.way.bad for asked in self._itself())
        if self.now - course.since < SETTLE and not failing:
            return course, None
        trouble = f"it was put back, and {wrong}"
        course = replace(course, trouble=trouble, tried=(), untaken=self._untaken())
        course = later(course, self.now)
        if self.leave.forbids() or not self.one.remedies:
            return replace(course, phase=Phase.IN), None
        return self._take_out(course, self.one.remedies[0], trouble)

    def _not_back(self) -> str:
        """What is wrong after a return; empty: nothing."""
        if wrong := self._itself():
            return f"clients' answers fail: {some(wrong)}"
        if not self.one.look.asked:
            return "its clients' addresses could not be asked"
        file = self.one.copy.file
        if file is not None and not taken(file, self.one.look):
            return "it does not answer from the new file"
        return "" if self.one.copy.renewed else "it does not show a new copy"

    def _itself(self) -> list[Asked]:
        """What fails at the resolver itself. Names are denied also from what is merely not new."""
        counted = self.one.copy.bad
        return [
            asked
            for asked in self.bad
            if not asked.behind and (asked.way is not Way.DENIED or asked in counted)
        ]

    def _undoing(self) -> tuple[Course, Order | None]:
        course = self.course
        if course.since == NEVER:
            again = course if self.now < course.not_before else paused(course, self.now)
            return again, None if again is course else self._put_back()
        self.add_event("copy_back", course.trouble, was="out", now="in")
        return paused(replace(course, phase=Phase.IN, used=(), tried=()), self.now), None

    def add_event(
        self, event: str, because: str, was: str | None = None, now: str | None = None
    ) -> None:
        told = Event(event=event, because=because, was=was, now=now, more=self.more)
        self.events.append(told)
