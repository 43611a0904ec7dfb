"""Sends notices to one receiver, in a thread of its own: nobody waits for it.

What waits is bounded: of all notices about the same thing only the latest counts, and beyond MOST
things the oldest is dropped. A receiver that fails is tried again after 1 s, 2 s, ... up to five
minutes, for as long as the agent runs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from steering.config.notify import About
from steering.format import counted, duration
from steering.model import Instant, Seconds
from steering.report.notifications.notice import Notice, Sender, Stage

MOST: Final = 256
"""Things that may wait to be told."""
FIRST_PAUSE: Final[Seconds] = 1.0
LONGEST_PAUSE: Final[Seconds] = 300.0
_ALARM_AFTER: Final[Seconds] = 60.0
"""A receiver that restarts is back by then."""


class NotSentError(Exception):
    """A receiver did not take a notice. The text says why, in one line."""


class Means(Protocol):
    """How a receiver is reached."""

    @property
    def sender(self) -> Sender:
        """Who tells."""

    @property
    def resend(self) -> Seconds | None:
        """How often all that lasts is sent again; None: each notice is sent once."""

    def send(self, notices: Sequence[Notice]) -> str:
        """Send these. May take a while, but returns by itself. Raises NotSentError.

        Returns what is wrong although they were taken, as one of several servers that is down.
        """


@dataclass(slots=True)
class Counts:
    """What became of notices."""

    sent: int = 0
    failed: int = 0
    """Attempts that were refused or got no answer."""
    dropped: int = 0
    """Notices that were never sent, since too many waited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    since: Instant
    because: str


class Receiver:
    """One receiver: a queue, and the thread that empties it."""

    def __init__(
        self, name: str, means: Means, about: frozenset[About], clock: Callable[[], Instant]
    ) -> None:
        self.name, self.counts = name, Counts()
        self._means, self._about, self._clock = means, about, clock
        self._waiting: OrderedDict[tuple[About, str], Notice] = OrderedDict()
        self._lasting: dict[tuple[About, str], Notice] = {}
        self._trouble: _Trouble | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, notices: Sequence[Notice]) -> None:
        """Has these sent. Never blocks. To be called now and then without any as well."""
        wanted = [notice for notice in notices if notice.about in self._about]
        with self._changed:
            for notice in wanted:
                self._take(notice)
            self._changed.notify_all()
        if self._waiting and not self.running:
            self._start()

    def _start(self) -> None:
        """Start the thread; where there is none to be had, the next `put` tries again."""
        name = f"notify {self.name}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._failed(str(error))
        else:
            self._thread = thread

    def successor(self, new: Receiver, lasting: Sequence[Notice]) -> None:
        """Hand over to a receiver that takes the place of this one, and close this one.

        It gets what waits here; one that wants all that lasts gets that too.
        """
        with self._changed:
            waiting = tuple(self._waiting.values())
        self.close()
        new.put((*(lasting if new.resends else ()), *waiting))

    @property
    def resends(self) -> bool:
        """Whether all that lasts is sent again and again."""
        return self._means.resend is not None

    def problem(self) -> str:
        """Why notices wait, where it has failed for a minute; empty: nothing is wrong."""
        trouble, waiting = self._trouble, len(self._waiting)
        if trouble is None or (failing := self._clock() - trouble.since) < _ALARM_AFTER:
            return ""
        dropped = f", {self.counts.dropped} were dropped" if self.counts.dropped else ""
        return (
            f"{self.name}: {trouble.because}, for {duration(failing)};"
            f" {counted(waiting, 'notice')} wait{dropped}"
        )

    @property
    def running(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Send nothing more. A notice that is under way is left to itself."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, seconds: Seconds) -> bool:
        """Waits until nothing waits to be sent, at most so long; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, max(0.0, seconds))

    def _take(self, notice: Notice) -> None:
        key = notice.key
        earlier = self._waiting.pop(key, None)
        if notice.stage is Stage.ENDED:
            self._lasting.pop(key, None)
        else:
            self._lasting[key] = notice
            if earlier is not None and earlier.stage is Stage.BEGAN:
                notice = replace(notice, stage=Stage.BEGAN)  # nobody has heard yet that it began
        self._waiting[key] = notice
        if len(self._waiting) > MOST:
            self._waiting.popitem(last=False)
            self.counts.dropped += 1

    def _failed(self, because: str) -> None:
        now = self._clock()
        since = now if self._trouble is None else self._trouble.since
        self._trouble = _Trouble(since=since, because=because)

    def _run(self) -> None:
        longest = min(LONGEST_PAUSE, self._means.resend or LONGEST_PAUSE)
        pause = FIRST_PAUSE
        while (batch := self._next()) is not None:
            try:
                wrong = self._means.send(batch)
            except (NotSentError, OSError, ValueError, RuntimeError) as error:
                self._failed(str(error) or type(error).__name__)
                self.counts.failed += 1
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, pause)
                pause = min(2 * pause, longest)
                continue
            pause = FIRST_PAUSE
            if wrong:
                self._failed(wrong)
            else:
                self._trouble = None
            self.counts.sent += len(batch)
            with self._changed:
                for notice in batch:
                    if self._waiting.get(notice.key) is notice:
                        del self._waiting[notice.key]
                self._changed.notify_all()

    def _next(self) -> tuple[Notice, ...] | None:
        """What is to be sent next, when there is something; None: the receiver is closed."""
        resend = self._means.resend
        with self._changed:
            timeout = resend if resend is not None and self._lasting else None
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout)
            if self._closed:
                return None
            if resend is not None:  # such a receiver wants all at once, and often
                return tuple({**self._lasting, **self._waiting}.values())
            return (next(iter(self._waiting.values())),)
