"""Files that change while the agent runs: read when they lie still, taken whole or not at all.

Twice a second their fingerprint is looked at. When it differs from what was dealt with and is the
same at the next look, they are read, from nothing but themselves. What is faulty, or can't be had
on this host, changes nothing. What would end most of the steers in force, and may be a slip, waits
for a word (`approval`) for as long as that is what it would do.

Who may write one of the files may do so all the time. So files that never lie still are read after
a while all the same, and taken if they say the same when they are read again. Looking and reading
are done by a thread, one at a time, which the loop never waits for: a file system may hang.
"""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from steering.agent import approval, from_config
from steering.agent.approval import Held
from steering.agent.from_config import CannotRunError, KeySources
from steering.config import ConfigError, Fingerprint, Setup, fingerprint, load
from steering.config.diff import file_changes, override_changes
from steering.config.problems import printable
from steering.config.validate import Validation
from steering.layout import Layout
from steering.model import Event, Instant, Seconds
from steering.observe.dnssec.anchors import AnchorError
from steering.report.metrics import Meters
from steering.system.side_thread import aside
from steering.system.unreadable import HERE, Where
from steering.system.wakeup import Wakeup

T = TypeVar("T")

LOOK: Seconds = 0.5
"""Two looks have to agree, so a change is taken up within a second."""
PACE = 10
"""A look at many files takes long, and the next one waits so many times as long."""
RESTLESS: Seconds = 5.0
"""Files that lie still at no two looks are read all the same after this time."""
PATIENCE: Seconds = 10.0
"""What takes longer than this is an alarm."""
_NAMED = 6
"""Addresses named where more may be meant."""
_LONGEST = 500
"""Letters of one difference, or of one problem, in an event."""
_TOLD = 12
"""Differences told in one event; more are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The files as they were read at one time, and what follows from them alone."""

    fingerprint: Fingerprint
    setup: Setup
    layout: Layout
    chain: KeySources
    delegations: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, setup: Setup, seen: Fingerprint) -> Version:
        """Files that were read. Raises AnchorError for rubbish among the anchors."""
        return cls(
            fingerprint=seen,
            setup=setup,
            layout=Layout.of(setup),
            chain=from_config.chain_of(setup),
            delegations=from_config.delegations_of(setup),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Steers that would not be there any more."""

    gone: tuple[str, ...]
    of: int
    """Steers in force."""

    @property
    def most(self) -> bool:
        """Whether that is more than half of them."""
        return 2 * len(self.gone) > self.of

    @property
    def told(self) -> str:
        """What would go, and how to have it so."""
        some = ", ".join(self.gone[:_NAMED]) + (", ..." if len(self.gone) > _NAMED else "")
        return (
            f"would end {len(self.gone)} of {self.of} steers at once ({some}); "
            "`steering reload` shows what is different, and lets it pass"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldVersion:
    """A version that was read beside the one in force."""

    version: Version
    told: tuple[str, ...]
    """What is different."""
    anew: bool
    """There is more to it than other overrides."""
    doubtful: bool
    """What it ends may be a slip: an override that came, or one that went, is a word already;
    several that are gone at once may be a directory that is not mounted."""


class Taker(Protocol):
    """Who goes by the files."""

    @property
    def version(self) -> Version:
        """What is in force."""

    @property
    def steers(self) -> Collection[str]:
        """The addresses that are steered."""

    def ended_by(self, version: Version) -> Ended:
        """What of the steers in force another version would end at once. Raises CannotRunError."""

    def take(self, version: Version, *, anew: bool) -> None:
        """Go by another version; `anew`: there is more to it than other overrides.

        Raises CannotRunError where that can't be, and then nothing has changed.
        """

    def stand(self) -> None:
        """The files are dealt with: what is in force now may outlive a restart."""

    def tell(self, event: Event) -> None:
        """Something for the log."""


class Reload:
    """Looks at the files, and has them taken."""

    def __init__(self, path: Path, taker: Taker, meters: Meters) -> None:
        self.rejected = ""
        """What is wrong with the files; empty if nothing is."""
        self.held = ""
        """What they would end; empty if nothing is held."""
        self._path, self._taker, self._meters = path, taker, meters
        self._runtime = taker.version.setup.config.runtime
        self._dealt = self._seen = taker.version.fingerprint
        self._waits: HeldVersion | None = None
        """What is held."""
        self._steers: Collection[str] = ()
        """What was steered when that was looked at."""
        self._asked = False
        self._busy: Instant | None = None
        """Since when a thread is at the files; None: none is."""
        self._stirred: Instant | None = None
        """Since when the files are others than those that were dealt with; None: they are not."""
        self._moving = ""
        """Which file was another at the latest look than at the one before."""
        self._rest_until: Instant = float("-inf")
        """After a long reading there is as long a rest: it takes half of the interpreter's time."""
        self._bell = Wakeup()
        approval.settle(self._runtime, self._dealt)
        meters.reload_ok.set(1)

    def look_now(self) -> None:
        """Read the files at once, changed or not: somebody says that they are as they shall be."""
        self._asked = True
        self._bell.ring()

    def trouble(self, now: Instant) -> str:
        """What is wrong with the files, or with reading them; empty if nothing is."""
        if self._busy is not None and now - self._busy > PATIENCE:
            return (
                f"the files have not been read for {now - self._busy:.0f} s: the file system of"
                f" {printable(str(self._path))}, or of what it names, does not answer, or they are"
                " very long; the last good version stays in force"
            )
        if self._stirred is not None and now - self._stirred > RESTLESS + PATIENCE and self._moving:
            return (
                f"the files have not been the same twice for {now - self._stirred:.0f} s"
                f" ({printable(self._moving)}): the last good version stays in force"
            )
        return self.rejected

    async def run(self) -> None:
        """Looks until cancelled."""
        looked: Seconds = 0.0
        while True:
            await self._bell.wait(max(LOOK, PACE * looked))
            asked, self._asked = self._asked, False
            looked = await self.look(asked=asked)

    async def look(self, *, asked: bool = False) -> Seconds:
        """One look, and what follows from it; how long the look alone took."""
        started = time.monotonic()
        seen = await self._aside(functools.partial(fingerprint, self._path))
        now = time.monotonic()
        before, self._seen = self._seen, seen
        if not asked and seen == self._dealt:
            self._stirred, self._moving = None, ""
            self._think_again()
            self._taker.stand()
            return now - started
        if self._stirred is None:
            self._stirred = now
        self._moving = "" if seen == before else _another(before, seen)
        said = asked or approval.whole(self._runtime, seen)
        restless = now - self._stirred > RESTLESS
        if said or (now >= self._rest_until and (seen == before or restless)):
            read = await self._aside(
                functools.partial(_read, self._path, seen, self._taker.version)
            )
            read_at = time.monotonic()
            self._rest_until = read_at + (read_at - now) - RESTLESS
            again = await self._aside(functools.partial(fingerprint, self._path))
            # Changed while they were read, they were perhaps read in two halves.
            if again == seen or (restless and await self._aside(read.says_the_same)):
                self._dealt, self._stirred, self._moving = seen, None, ""
                self._deal(read.result)
                self._taker.stand()
        return now - started

    async def _aside(self, work: Callable[[], T]) -> T:
        self._busy = time.monotonic()
        try:
            return await aside(work)
        finally:
            self._busy = None

    def _deal(self, read: HeldVersion | tuple[str, ...]) -> None:
        if not isinstance(read, HeldVersion):
            self._reject(read)
        elif not read.told:
            self._settle("loaded")
        else:
            self._weigh(read)

    def _weigh(self, news: HeldVersion) -> None:
        """Take a version, hold it or reject it."""
        try:
            if news.doubtful and not self._may_pass(news.version) and self._hold(news):
                return
            self._taker.take(news.version, anew=news.anew)
        except CannotRunError as error:
            self._reject(error.reasons)
            return
        self._settle("loaded")
        self._taker.tell(Event(event="config_loaded", because=_shortened(news.told)))

    def _reject(self, problems: tuple[str, ...]) -> None:
        self._settle("rejected")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self.rejected = f"{_cut(problems[0])}{more}; the last good version stays in force"
        self._taker.tell(Event(event="config_rejected", because=_shortened(problems)))

    def _hold(self, news: HeldVersion) -> bool:
        """Whether it would end most of the steers in force, and so waits from now on."""
        ended = self._taker.ended_by(news.version)
        if not ended.most:
            return False
        known = self._waits is news
        if not known:
            self._settle("held")
        self.held = ended.told
        self._waits, self._steers = news, frozenset(self._taker.steers)
        name = approval.version_of(news.version.fingerprint)
        try:
            approval.hold(self._runtime, Held(version=name, because=ended.told, changes=news.told))
        except OSError as error:
            self.held += f" (but it can't be written down: {error})"
        if not known:
            self._taker.tell(Event(event="config_held", because=self.held))
        return True

    def _think_again(self) -> None:
        """What is held may pass when somebody says so, or when it would not end the steers."""
        if self._waits is None:
            return
        others = self._steers != frozenset(self._taker.steers)
        if others or self._may_pass(self._waits.version):
            self._weigh(self._waits)

    def _may_pass(self, version: Version) -> bool:
        return approval.accepted(self._runtime, version.fingerprint)

    def _settle(self, result: str) -> None:
        """The files were dealt with, and what was said of those before is over."""
        self.rejected = self.held = ""
        self._waits = None
        approval.settle(self._runtime, self._dealt)
        self._meters.reloads.labels(result).inc()
        self._meters.reload_ok.set(result == "loaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What came of reading the files."""

    result: HeldVersion | tuple[str, ...]
    """What they say, or what is wrong with them."""
    reading: Validation

    def says_the_same(self) -> bool:
        """Whether each file, read once more, holds what it held then."""
        return self.reading.unchanged()


def _read(path: Path, seen: Fingerprint, was: Version) -> _Read:
    # Collecting the garbage among a million values of a parser takes a second, in which no other
    # thread runs. There is none: what is parsed is a tree, and goes with its last user.
    collects = gc.isenabled()
    gc.disable()
    try:
        reading = Validation()
        return _Read(result=_said(path, reading, seen, was), reading=reading)
    finally:
        if collects:
            gc.enable()


def _said(
    path: Path, reading: Validation, seen: Fingerprint, was: Version
) -> HeldVersion | tuple[str, ...]:
    try:
        return _news(Version.of(load(path, reading=reading), seen), was)
    except ConfigError as error:
        return tuple(map(str, error.problems))
    except AnchorError as error:
        return (str(error),)
    except Exception as error:  # noqa: BLE001 - anybody's text, and nothing has been changed yet
        HERE.met(Where.FILE, error, str(path).encode())
        return (f"{path} can't be taken in: {type(error).__name__}: {error}",)


def _another(before: Fingerprint, seen: Fingerprint) -> str:
    """The path of a file that is not as it was; of a directory, where no file in it is another."""
    return max((path for path, *_ in set(before) ^ set(seen)), default="")


def _news(now: Version, was: Version) -> HeldVersion:
    files = file_changes(was.setup, now.setup)
    if now.chain.anchors != was.chain.anchors and not any("trust_anchors" in one for one in files):
        files = (*files, "trust_anchors: the records in the file are others now")
    gone = {o.name for o in was.setup.overrides} - {o.name for o in now.setup.overrides}
    return HeldVersion(
        version=now,
        told=(*files, *override_changes(was.setup, now.setup)),
        anew=bool(files),
        doubtful=bool(files) or len(gone) > 1,
    )


def _shortened(told: tuple[str, ...]) -> str:
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return "; ".join(_cut(one) for one in told[:_TOLD]) + more


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
