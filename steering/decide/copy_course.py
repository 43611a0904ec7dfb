"""How far a copy is on its way out or back, and what may be ordered about it: values. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from steering.copies import Look
from steering.judge.copies import Copy
from steering.model import NEVER, Instant, Seconds

SETTLE: Seconds = 10.0
"""How long the clients' answers may take to show that a remedy helped, or a return."""
AGAIN: Seconds = 60.0
"""The pause after all remedies were tried in vain; doubled each time, up to LONGEST."""
LONGEST: Seconds = 6 * 3600.0
RETURN_AGAIN: Seconds = 3600.0
"""The pause after a return that did not work; doubled each time, up to a week: the resolver may
answer from the old copy meanwhile."""
RETURN_LONGEST: Seconds = 7 * 86_400.0


class Remedy(enum.StrEnum):
    """What takes a copy out, in the order in which it is tried."""

    DRIVER = "driver"
    """The resolver's own means."""
    COMMAND = "command"
    """The operator's command."""


class Phase(enum.StrEnum):
    """Where a copy is."""

    IN = "in"
    LEAVING = "leaving"
    STUCK = "stuck"
    """All remedies were tried and the clients do not see that it is out; to be tried again."""
    OUT = "out"
    RETURNING = "returning"
    UNDOING = "undoing"
    """Put back because clients are served worse without it."""

    @property
    def moving(self) -> bool:
        """Whether it is between in and out, and others wait for it."""
        return self in (Phase.LEAVING, Phase.RETURNING)


class Act(enum.StrEnum):
    """What is ordered."""

    TAKE_OUT = "take_out"
    PUT_BACK = "put_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One thing to do now. Each may be repeated."""

    resolver: str
    act: Act
    remedies: tuple[Remedy, ...]
    """Taken out by this one; put back by undoing these, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far one copy is on its way out or back."""

    phase: Phase = Phase.IN
    used: tuple[Remedy, ...] = ()
    """The remedies that were ordered since it was in use; a return undoes all of them."""
    tried: tuple[Remedy, ...] = ()
    """Those of them that were ordered in this round, in order."""
    serial: int | None = None
    """The copy's when it was taken out."""
    since: Instant = NEVER
    """When the phase began, or its latest order was carried out; `NEVER`: it was not."""
    failed_before: frozenset[str] = frozenset()
    """Addresses at which clients' answers failed before it was taken out."""
    refused: str = ""
    """Why the latest order could not be carried out; empty: it was."""
    trouble: str = ""
    """What did not help, or could not be done; empty: nothing."""
    held: str = ""
    """Why it is not taken out or put back though it should be; empty: nothing holds it."""
    vain: int = 0
    """Times in a row that all remedies were in vain."""
    returns: int = 0
    """Returns in a row that did not work."""
    untaken: int | None = None
    """Serial of the file that the resolver did not take: a return waits for another one."""
    not_before: Instant = NEVER
    """Until then nothing is tried again."""

    @property
    def out(self) -> bool:
        """Whether the resolver is to answer from the zone's own servers, so that what it shows is
        no evidence of a new copy.
        """
        return self.phase in (Phase.LEAVING, Phase.STUCK, Phase.OUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class One:
    """One resolver's copy, all that the decision needs."""

    copy: Copy
    look: Look
    course: Course
    remedies: tuple[Remedy, ...]
    is_out: bool | None = None
    """By the resolver's own word; None: not known."""
    configured: bool = True
    """False: `include` holds our comment in place of the copy, for sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Whether the agent may act."""

    acts: bool
    """False in `observe` and `rehearse`."""
    off: bool
    """Switched off."""
    elsewhere: bool = False
    """A copy of another zone is on its way out or back."""

    def forbids(self) -> str:
        """Why nothing is done now; empty: it may be."""
        if self.off:
            return "switched off"
        return "" if self.acts else "`mode` is not enforce"


def carried_out(course: Course, order: Order, now: Instant, *, done: bool, said: str) -> Course:
    """The course after an order was carried out, or could not be."""
    refused = "" if done else f"{' and '.join(order.remedies)}: {said or 'failed'}"
    if course.phase is Phase.RETURNING and not done:
        return later(replace(course, phase=Phase.OUT, since=now, trouble=refused), now)
    if course.phase is Phase.UNDOING and not done:
        return paused(replace(course, refused=refused), now)
    # What was refused may have been done in part. The clients are asked once, without a wait.
    return replace(course, since=now if done else now - SETTLE, refused=refused)


def paused(course: Course, now: Instant) -> Course:
    """After all remedies were tried in vain."""
    pause = min(AGAIN * 2**course.vain, LONGEST)
    return replace(course, not_before=now + pause, vain=min(course.vain + 1, 16))


def later(course: Course, now: Instant) -> Course:
    """After a return that did not work."""
    pause = min(RETURN_AGAIN * 2**course.returns, RETURN_LONGEST)
    return replace(course, not_before=now + pause, returns=min(course.returns + 1, 16))
