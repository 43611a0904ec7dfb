"""Keeps one speaker running: starts it, watches it, ends it when it hangs or is not the wanted one.

It is called each turn, does what is due, and never waits long for a process. A killed process may
take a moment to end, longer if the kernel is busy with it: then its end is checked again at the
next turn. Until then no other one is started and no link is accepted.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from steering.act.bgp import process
from steering.act.bgp.link import Link
from steering.act.bgp.prerequisites import SOCKET, Prerequisites, look_around
from steering.act.bgp.render import environment
from steering.act.bgp.settings import BgpSettings, Table
from steering.act.bgp.speaker_log import SpeakerLog, last
from steering.act.bgp.sync import KNOWN, Phase
from steering.model import Event, Instant, Seconds
from steering.system.processes import has_ended

CONNECTED_WITHIN: Seconds = 5.0
"""Time limit for the helper: if it can't run, ExaBGP stays alive and does nothing."""
BACK_OFF: tuple[Seconds, Seconds] = (0.5, 30.0)
ENDED_WITHIN: Seconds = 0.05
"""How long a turn waits at most for a killed speaker to end; most end within 10 ms."""
_LOOK: Seconds = 0.002
_CALM: Seconds = 60.0
"""A speaker that ran this long and then ends is restarted without a pause."""
_DYING: Seconds = 0.5
"""If a killed speaker takes longer to end, an error is raised."""


class Supervisor:
    """The one speaker of a runtime directory."""

    def __init__(
        self, terms: BgpSettings, runtime: Path, *, lease: Seconds, may_speak: Callable[[], bool]
    ) -> None:
        self.terms = terms
        self.talk = Link(terms.peers, welcome=self._is_ours, may_speak=may_speak)
        self.home: Prerequisites | None = None
        """As they were at the last check."""
        self.starts = 0
        self.why = ""
        """Why the last speaker ended, until another one is connected."""
        self._runtime, self._lease = runtime, lease
        self._may_speak = may_speak
        self._fingerprint: str | None = None
        """Of the wanted configuration; None: this host can't run it."""
        self._children = set[int]()
        """Processes started here and not reaped yet. The newest may not hold the lock yet."""
        self._lives = False
        """Whether one was started or found, and its end is not reported yet."""
        self._foreign = False
        """Whether the last one was another version: none is started until the settings change."""
        self._terminating: str | None = None
        """Why it is being ended, until it has ended."""
        self._terminating_since: Instant = 0.0
        self._started: Instant = float("-inf")
        self._pause: Seconds = 0.0
        self._news: list[Event] = []
        self._words = SpeakerLog(runtime / process.FOLDER)
        self._words.skip()

    @property
    def known(self) -> bool:
        """Whether it is known what is announced: the speaker reported it, or none runs."""
        if self.talk.sync.ready:
            return True
        try:
            return process.running(self._runtime) is None
        except OSError:
            return False

    def settled(self, now: Instant) -> bool:
        """Whether it had enough time to establish its sessions."""
        return now - self._started > CONNECTED_WITHIN

    def news(self) -> list[Event]:
        """Events since the last call: starts, ends, and messages of the speaker."""
        told, self._news = self._news, []
        return told

    def adopt(self) -> None:
        """Goes on with a running speaker of the same configuration; ends any other.

        Raises OSError when the other one can't be ended.
        """
        found = process.running(self._runtime)
        if found is None:
            return
        self._look_around()
        if found != self._fingerprint:
            self._end("the running speaker has another configuration")
            return
        now = time.monotonic()
        self._await_bridge(now)
        self._lives, self._started = True, now
        self._words.skip()

    def meet(self, within: Seconds) -> None:
        """Waits until it is known what an adopted speaker announces; ends one that does not answer.

        Only for the start of the agent, and for a third of the lease at most, since the lease can't
        be renewed meanwhile. Raises OSError as `adopt` does.
        """
        until = time.monotonic() + min(within, self._lease / 3)
        while self._lives and not self.talk.sync.ready:
            if (left := until - time.monotonic()) <= 0:
                self._end("the running speaker does not answer")
                return
            self.talk.wait(min(left, 0.05))
            self.talk.pump()

    def change(self, terms: BgpSettings, lease: Seconds) -> None:
        """Takes new settings: `keep_up` then keeps the running speaker, or replaces it."""
        self.terms, self._lease, self._pause, self._foreign = terms, lease, 0.0, False
        self._look_around()

    def end(self) -> bool:
        """Ends it at once; whether one ran. Raises OSError if it does not end.

        A speaker that has just been started may not hold the lock yet, so children are killed too.
        """
        self._reap()
        young = bool(self._children)
        for child in self._children:  # not reaped, so the number is still its own
            os.kill(child, signal.SIGKILL)
        ran = process.end(self._runtime, ENDED_WITHIN) or young
        self._terminating, self._foreign = None, False
        until = time.monotonic() + ENDED_WITHIN
        while self._children and time.monotonic() < until:
            time.sleep(_LOOK)
            self._reap()
        if ran:
            self._lose("all routes were withdrawn")
            self._started = float("-inf")
        return ran

    def keep_up(self, now: Instant, routes: Table) -> None:
        """Makes sure that one speaker runs and answers, and sends it the heartbeat.

        `routes` are those that a new one starts with. Raises OSError if one that must end does not.
        """
        self._reap()
        if said := self._words.new(now):
            self._news.append(Event(event="bgp_speaker", because=said, now="says"))
        self._foreign |= self.talk.sync.phase is Phase.USELESS
        if because := self._terminating or self._useless(now):
            self._end(because)
        if self._terminating is not None:
            return
        if process.running(self._runtime) is None:
            if not self._children or self.settled(now):
                self._start(now, routes)
        elif self.talk.linked:
            self.why = ""
            self.talk.beat()
            if now - self._started > _CALM:
                self._pause = 0.0

    def _useless(self, now: Instant) -> str:
        """Why the running speaker must end; empty if it may go on, or none runs."""
        found = process.running(self._runtime)
        if found is None:
            return ""
        if self.talk.sync.phase is Phase.USELESS:
            # It announces what it was started with, and no command of ours could withdraw that.
            version = self.talk.sync.version
            return f"this is ExaBGP {version}, wanted {KNOWN[:-1]}: others have another interface"
        if self.talk.linked and found != self._fingerprint:
            return "its configuration is not the wanted one"
        waited = not self.talk.linked and now - self.talk.apart_since > CONNECTED_WITHIN
        if not waited and not self.talk.sync.silent(now):
            return ""
        never = "" if self.talk.met else "its helper did not connect: "
        return f"{never}it did not answer{self._last_words()}"

    def _start(self, now: Instant, routes: Table) -> None:
        if self._foreign or now - self._started < self._pause or not self._may_speak():
            return
        home = self._look_around()
        if not home.usable:
            return
        if self._lives:
            self._lose("it was ended" if self.talk.met else f"it has ended{self._last_words()}")
        self._pause = min(max(BACK_OFF[0], 2 * self._pause), BACK_OFF[1])
        self._started = now
        try:
            home.write_files(self._runtime, routes)
            self._words.skip()
            self._await_bridge(now)
            child = process.start(
                self._runtime, home.fingerprint, home.command, environment(home.terms)
            )
        except OSError as error:
            self.why = f"can't start it: {error}"
            return
        self._children.add(child)
        self.starts += 1
        self._lives = True
        self._news.append(
            Event(event="bgp_speaker", because=self.why or "no speaker was running", now="started")
        )

    def _end(self, because: str) -> None:
        if self._terminating is None:
            self._terminating, self._terminating_since = because, time.monotonic()
        try:
            process.end(self._runtime, ENDED_WITHIN)
        except TimeoutError:
            if time.monotonic() - self._terminating_since > _DYING:
                raise
            return
        self._lose(self._terminating)
        self._terminating = None

    def _lose(self, because: str) -> None:
        self.talk.hang_up(f"there is no speaker: {because}")
        if self._lives:
            self._news.append(Event(event="bgp_speaker", because=because, now="ended"))
        self._lives, self.why = False, because

    def _reap(self) -> None:
        """Reaps ended speakers that this process started."""
        self._children = {pid for pid in self._children if not has_ended(pid)}

    def _look_around(self) -> Prerequisites:
        home = self.home = look_around(self.terms, self._runtime, self._lease)
        self._fingerprint = home.fingerprint if home.usable else None
        return home

    def _await_bridge(self, now: Instant) -> None:
        place = self._runtime / process.FOLDER / SOCKET
        self.talk.await_bridge(place, self.terms.user, now)

    def _is_ours(self, pid: int) -> bool:
        return (
            self._terminating is None
            and process.running(self._runtime) == self._fingerprint
            and process.is_helper(self._runtime, pid)
        )

    def _last_words(self) -> str:
        said = last(self._runtime / process.FOLDER)
        return f": {said}" if said else ""
