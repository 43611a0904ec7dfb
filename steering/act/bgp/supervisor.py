"""A speaker that lives: started, watched, ended when it hangs or is another than is wanted.

Called each turn, it does what is due and never waits for a process: a kill takes a moment, and
longer where the kernel has hold of the killed, so an end that isn't there yet is looked for at
the next turn. Until then nothing else is started and no link is let in.
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

CONNECTED_WITHIN: Seconds = 5.0
"""ExaBGP whose helper can't be run stays alive and does nothing; one that died is replaced."""
BACK_OFF: tuple[Seconds, Seconds] = (0.5, 30.0)
ENDED_WITHIN: Seconds = 0.05
"""What a turn waits at most for a killed speaker to be gone; most are within 10 ms."""
_LOOK: Seconds = 0.002
_CALM: Seconds = 60.0
"""A speaker that lived so long is started anew at once when it dies."""
_DYING: Seconds = 0.5
"""For one that takes longer to die somebody should look."""


class Supervisor:
    """The one speaker of a runtime directory."""

    def __init__(
        self, terms: BgpSettings, runtime: Path, *, lease: Seconds, may_speak: Callable[[], bool]
    ) -> None:
        self.terms = terms
        self.talk = Link(terms.peers, welcome=self._is_ours, may_speak=may_speak)
        self.home: Prerequisites | None = None
        """As it was when somebody last looked."""
        self.starts = 0
        self.why = ""
        """Why the last speaker ended, until another one is met."""
        self._runtime, self._lease = runtime, lease
        self._may_speak = may_speak
        self._fingerprint: str | None = None
        """Of the configuration that is wanted; None: it can't be had on this host."""
        self._children = set[int]()
        """Ours whose end nobody took note of yet. The last one may not hold the lock yet."""
        self._lives = False
        """Whether one was started or found, and its end is not told yet."""
        self._foreign = False
        """Whether the last one was another version: nobody follows it until something changes."""
        self._doomed: str | None = None
        """Why it is being ended, until it is gone."""
        self._doomed_at: Instant = 0.0
        self._started: Instant = float("-inf")
        self._pause: Seconds = 0.0
        self._news: list[Event] = []
        self._words = SpeakerLog(runtime / process.FOLDER)
        self._words.skip()

    @property
    def known(self) -> bool:
        """Whether it is known what is announced: the speaker said so, or none runs."""
        if self.talk.sync.ready:
            return True
        try:
            return process.running(self._runtime) is None
        except OSError:
            return False

    def settled(self, now: Instant) -> bool:
        """Whether it had the time to get its sessions up."""
        return now - self._started > CONNECTED_WITHIN

    def news(self) -> list[Event]:
        """Starts and ends since the last call."""
        told, self._news = self._news, []
        return told

    def adopt(self) -> None:
        """Goes on with a speaker of the same configuration; ends any other.

        Raises OSError when one that is not to go on can't be ended.
        """
        found = process.running(self._runtime)
        if found is None:
            return
        self._look_around()
        if found != self._fingerprint:
            self._end("a speaker was found that is configured otherwise")
            return
        now = time.monotonic()
        self._await_bridge(now)
        self._lives, self._started = True, now
        self._words.skip()

    def meet(self, within: Seconds) -> None:
        """Waits until it is known what an adopted speaker announces; ends one that won't say.

        For an agent that has nothing else to do yet, and a third of the lease at most, since it
        can't be renewed meanwhile. Raises OSError as `adopt` does.
        """
        until = time.monotonic() + min(within, self._lease / 3)
        while self._lives and not self.talk.sync.ready:
            if (left := until - time.monotonic()) <= 0:
                self._end("a speaker was found that does not answer")
                return
            self.talk.wait(min(left, 0.05))
            self.talk.pump()

    def change(self, terms: BgpSettings, lease: Seconds) -> None:
        """Goes by other terms: `keep_up` goes on with what runs, or ends it."""
        self.terms, self._lease, self._pause, self._foreign = terms, lease, 0.0, False
        self._look_around()

    def end(self) -> bool:
        """Ends it at once; whether one ran. Raises OSError where it would not go.

        One that has just been started holds no lock yet, and would come up after all.
        """
        self._reap()
        young = bool(self._children)
        for child in self._children:  # not reaped, so the number is still its own
            os.kill(child, signal.SIGKILL)
        ran = process.end(self._runtime, ENDED_WITHIN) or young
        self._doomed, self._foreign = None, False
        until = time.monotonic() + ENDED_WITHIN
        while self._children and time.monotonic() < until:
            time.sleep(_LOOK)
            self._reap()
        if ran:
            self._lose("taken back")
            self._started = float("-inf")
        return ran

    def keep_up(self, now: Instant, routes: Table) -> None:
        """Sees to it that one speaker runs, answers, and hears that we are here.

        `routes` are what another one is to begin with. Raises OSError where one that is of no
        use won't go.
        """
        self._reap()
        if said := self._words.new(now):
            self._news.append(Event(event="bgp_speaker", because=said, now="says"))
        self._foreign |= self.talk.sync.phase is Phase.USELESS
        if because := self._doomed or self._useless(now):
            self._end(because)
        if self._doomed is not None:
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
        """Why the speaker that runs is not to go on; empty if it is, or none runs."""
        found = process.running(self._runtime)
        if found is None:
            return ""
        if self.talk.sync.phase is Phase.USELESS:
            # It holds what it was started with, and can be told to withdraw nothing of it.
            version = self.talk.sync.version
            known = KNOWN[:-1]
            return (
                f"this is ExaBGP {version}, wanted {known}: other versions have another interface"
            )
        if self.talk.linked and found != self._fingerprint:
            return "it is configured otherwise than is wanted"
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
            self.why = f"it can't be started: {error}"
            return
        self._children.add(child)
        self.starts += 1
        self._lives = True
        self._news.append(
            Event(event="bgp_speaker", because=self.why or "there was none", now="started")
        )

    def _end(self, because: str) -> None:
        if self._doomed is None:
            self._doomed, self._doomed_at = because, time.monotonic()
        try:
            process.end(self._runtime, ENDED_WITHIN)
        except TimeoutError:
            if time.monotonic() - self._doomed_at > _DYING:
                raise
            return
        self._lose(self._doomed)
        self._doomed = None

    def _lose(self, because: str) -> None:
        self.talk.hang_up(f"there is no speaker: {because}")
        if self._lives:
            self._news.append(Event(event="bgp_speaker", because=because, now="ended"))
        self._lives, self.why = False, because

    def _reap(self) -> None:
        """Takes note of the end of speakers that we started, so that no zombie stays."""
        self._children = {pid for pid in self._children if not _is_over(pid)}

    def _look_around(self) -> Prerequisites:
        home = self.home = look_around(self.terms, self._runtime, self._lease)
        self._fingerprint = home.fingerprint if home.usable else None
        return home

    def _await_bridge(self, now: Instant) -> None:
        place = self._runtime / process.FOLDER / SOCKET
        self.talk.await_bridge(place, self.terms.user, now)

    def _is_ours(self, pid: int) -> bool:
        return (
            self._doomed is None
            and process.running(self._runtime) == self._fingerprint
            and process.is_helper(self._runtime, pid)
        )

    def _last_words(self) -> str:
        said = last(self._runtime / process.FOLDER)
        return f": {said}" if said else ""


def _is_over(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True
