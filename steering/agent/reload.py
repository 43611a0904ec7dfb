"""Changes of the files while the agent runs: applied whole or not at all.

The fingerprint of the files is checked twice a second. When it differs from the last one that was
handled, and two checks in a row agree, the files are read anew. Faulty files, and files that this
host can't run with, change nothing. Files that would end most of the steers in force, perhaps by
mistake, wait for `steering reload` (`approval`) as long as they would do so. An agent that starts
takes the files as they are.

A user who may write one of the files may do so all the time. So files that keep changing are read
after a while all the same, and applied if a second reading finds the same content. A thread checks
and reads, one at a time, and the loop never waits for it: a file system may hang.
"""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from steering import from_config
from steering.agent import approval
from steering.agent.approval import Held
from steering.config import ConfigError, Fingerprint, Setup, fingerprint, load
from steering.config.problems import printable
from steering.config.validate import Validation
from steering.config_diff import file_changes, override_changes
from steering.errors import CannotRunError
from steering.from_config import KeySources
from steering.index import Index
from steering.model import Event, Instant, Seconds
from steering.observe.dnssec.anchors import AnchorError
from steering.report.metrics import Meters
from steering.system.side_thread import aside
from steering.system.unreadable import HERE, Where
from steering.system.wakeup import Wakeup

T = TypeVar("T")

CHECK_EVERY: Seconds = 0.5
"""Two checks have to agree, so a change is applied within a second."""
PAUSE_FACTOR = 10
"""After a check the next one waits this many times as long: many files take long to check."""
UNSTABLE: Seconds = 5.0
"""Files that no two checks in a row find alike are read all the same after this time."""
ALARM_AFTER: Seconds = 10.0
"""What takes longer than this raises an alarm."""
_MOST_ADDRESSES = 6
"""Addresses that a text names."""
_LONGEST = 500
"""Characters of one difference, or of one problem, in an event."""
_MOST_TEXTS = 12
"""Differences or problems listed in one event; more are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The files as they were read at one time, and what follows from them alone."""

    fingerprint: Fingerprint
    setup: Setup
    index: Index
    key_sources: KeySources
    delegations: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, setup: Setup, seen: Fingerprint) -> Version:
        """Files that were read. Raises AnchorError for faulty trust anchors."""
        return cls(
            fingerprint=seen,
            setup=setup,
            index=Index.of(setup),
            key_sources=from_config.key_sources_of(setup),
            delegations=from_config.delegations_of(setup),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Steers that a version would end."""

    gone: tuple[str, ...]
    of: int
    """Steers in force."""

    @property
    def most(self) -> bool:
        """Whether that is more than half of them."""
        return 2 * len(self.gone) > self.of

    @property
    def text(self) -> str:
        """Which steers would end, and how to approve that."""
        more = ", ..." if len(self.gone) > _MOST_ADDRESSES else ""
        some = ", ".join(self.gone[:_MOST_ADDRESSES]) + more
        return (
            f"would end {len(self.gone)} of {self.of} steers at once ({some}); "
            "`steering reload` shows what is different, and approves it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A version that was read while another is in force."""

    version: Version
    differences: tuple[str, ...]
    rebuild: bool
    """More has changed than overrides."""
    may_be_mistake: bool
    """It may end steers by mistake. Added overrides, or one that was removed, are an order of the
    operator; several that are gone at once may be a directory that is not mounted."""


class Applier(Protocol):
    """Puts versions in force (`runtime.Runtime`)."""

    @property
    def version(self) -> Version:
        """The version in force."""

    @property
    def steers(self) -> Collection[str]:
        """The addresses that are steered."""

    def ended_by(self, version: Version) -> Ended:
        """Which steers in force another version would end at once. Raises CannotRunError."""

    def apply(self, version: Version, *, rebuild: bool) -> None:
        """Put another version in force; `rebuild`: more has changed than overrides.

        Raises CannotRunError where that is not possible, and then nothing has changed.
        """

    def log_event(self, event: Event) -> None:
        """Write one event to the log."""


class Reload:
    """Checks the files, and has their changes applied."""

    def __init__(self, path: Path, applier: Applier, meters: Meters) -> None:
        self.rejected = ""
        """What is wrong with the files; empty if nothing is."""
        self.held = ""
        """Which steers they would end; empty if nothing is held."""
        self._path, self._applier, self._meters = path, applier, meters
        self._runtime = applier.version.setup.config.runtime
        self._handled = self._seen = applier.version.fingerprint
        """Fingerprints of the files that were handled last, and that were seen last."""
        self._held_version: NewVersion | None = None
        self._held_steers: Collection[str] = ()
        """What was steered when that version was held."""
        self._asked = False
        self._busy: Instant | None = None
        """Since when a thread reads the files; None: none does."""
        self._changed_since: Instant | None = None
        """Since when the files differ from those that were handled; None: they do not."""
        self._changing_file = ""
        """A file that the last check found changed since the one before."""
        self._pause_until: Instant = float("-inf")
        """After a long reading comes as long a pause: reading takes half of the CPU time."""
        self._wakeup = Wakeup()
        approval.clear(self._runtime, self._handled)
        meters.reload_ok.set(1)

    def check_now(self) -> None:
        """Read the files at once, changed or not: the operator says that they are complete."""
        self._asked = True
        self._wakeup.ring()

    def problem(self, now: Instant) -> str:
        """What is wrong with the files, or with reading them; empty if nothing is."""
        if self._busy is not None and now - self._busy > ALARM_AFTER:
            return (
                f"the files have not been read for {now - self._busy:.0f} s: the file system of"
                f" {printable(str(self._path))}, or of a file it names, does not answer, or they"
                " are very long; the last good version stays in force"
            )
        since = self._changed_since
        if since is not None and now - since > UNSTABLE + ALARM_AFTER and self._changing_file:
            return (
                f"the files have kept changing for {now - since:.0f} s"
                f" ({printable(self._changing_file)}): the last good version stays in force"
            )
        return self.rejected

    async def run(self) -> None:
        """Checks until cancelled."""
        took: Seconds = 0.0
        while True:
            await self._wakeup.wait(max(CHECK_EVERY, PAUSE_FACTOR * took))
            asked, self._asked = self._asked, False
            took = await self.check(asked=asked)

    async def check(self, *, asked: bool = False) -> Seconds:
        """One check, and what follows from it. Returns how long the check alone took."""
        started = time.monotonic()
        seen = await self._in_thread(functools.partial(fingerprint, self._path))
        now = time.monotonic()
        before, self._seen = self._seen, seen
        if not asked and seen == self._handled:
            self._changed_since, self._changing_file = None, ""
            self._retry_held()
            return now - started
        if self._changed_since is None:
            self._changed_since = now
        self._changing_file = "" if seen == before else _changed_file(before, seen)
        complete = asked or approval.whole(self._runtime, seen)
        unstable = now - self._changed_since > UNSTABLE
        if complete or (now >= self._pause_until and (seen == before or unstable)):
            read = await self._in_thread(
                functools.partial(_read, self._path, seen, self._applier.version)
            )
            read_at = time.monotonic()
            self._pause_until = read_at + (read_at - now) - UNSTABLE
            again = await self._in_thread(functools.partial(fingerprint, self._path))
            # If they changed while they were read, parts of two versions were perhaps read.
            if again == seen or (unstable and await self._in_thread(read.same_again)):
                self._handled, self._changed_since, self._changing_file = seen, None, ""
                self._handle(read.result)
        return now - started

    async def _in_thread(self, work: Callable[[], T]) -> T:
        self._busy = time.monotonic()
        try:
            return await aside(work)
        finally:
            self._busy = None

    def _handle(self, read: NewVersion | tuple[str, ...]) -> None:
        """Handle the files as read: a version, or what is wrong with them."""
        if not isinstance(read, NewVersion):
            self._reject(read)
        elif not read.differences:
            self._finish("loaded")
        else:
            self._apply_or_hold(read)

    def _apply_or_hold(self, new: NewVersion) -> None:
        """Apply a version, hold it or reject it."""
        try:
            if new.may_be_mistake and not self._approved(new.version) and self._hold(new):
                return
            self._applier.apply(new.version, rebuild=new.rebuild)
        except CannotRunError as error:
            self._reject(error.reasons)
            return
        self._finish("loaded")
        self._applier.log_event(Event(event="config_loaded", because=_joined(new.differences)))

    def _reject(self, problems: tuple[str, ...]) -> None:
        self._finish("rejected")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        self.rejected = f"{_cut(problems[0])}{more}; the last good version stays in force"
        self._applier.log_event(Event(event="config_rejected", because=_joined(problems)))

    def _hold(self, new: NewVersion) -> bool:
        """Hold a version that would end most of the steers. Returns whether it would."""
        ended = self._applier.ended_by(new.version)
        if not ended.most:
            return False
        known = self._held_version is new
        if not known:
            self._finish("held")
        self.held = ended.text
        self._held_version, self._held_steers = new, frozenset(self._applier.steers)
        name = approval.version_of(new.version.fingerprint)
        held = Held(version=name, because=ended.text, changes=new.differences)
        try:
            approval.hold(self._runtime, held)
        except OSError as error:
            self.held += f" (but that can't be written for `steering reload`: {error})"
        if not known:
            self._applier.log_event(Event(event="config_held", because=self.held))
        return True

    def _retry_held(self) -> None:
        """Apply a held version once it is approved, or would end few of the steers."""
        if self._held_version is None:
            return
        changed = self._held_steers != frozenset(self._applier.steers)
        if changed or self._approved(self._held_version.version):
            self._apply_or_hold(self._held_version)

    def _approved(self, version: Version) -> bool:
        return approval.accepted(self._runtime, version.fingerprint)

    def _finish(self, result: str) -> None:
        """Note the result for these files, and clear what was noted for those before."""
        self.rejected = self.held = ""
        self._held_version = None
        approval.clear(self._runtime, self._handled)
        self._meters.reloads.labels(result).inc()
        self._meters.reload_ok.set(result == "loaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The result of reading the files."""

    result: NewVersion | tuple[str, ...]
    """The version, or what is wrong with the files."""
    reading: Validation

    def same_again(self) -> bool:
        """Whether each file, read once more, has the same content."""
        return self.reading.unchanged()


def _read(path: Path, seen: Fingerprint, was: Version) -> _Read:
    # Garbage collection among a million values of a parser takes a second, in which no other
    # thread runs. It would find nothing: the values form a tree, freed by reference counts.
    collects = gc.isenabled()
    gc.disable()
    try:
        reading = Validation()
        return _Read(result=_version_read(path, reading, seen, was), reading=reading)
    finally:
        if collects:
            gc.enable()


def _version_read(
    path: Path, reading: Validation, seen: Fingerprint, was: Version
) -> NewVersion | tuple[str, ...]:
    try:
        return _compared(Version.of(load(path, reading=reading), seen), was)
    except ConfigError as error:
        return tuple(map(str, error.problems))
    except AnchorError as error:
        return (str(error),)
    except Exception as error:  # noqa: BLE001 - arbitrary text, and nothing has been changed yet
        HERE.met(Where.FILE, error, str(path).encode())
        return (f"{path} can't be read: {type(error).__name__}: {error}",)


def _changed_file(before: Fingerprint, seen: Fingerprint) -> str:
    """The path of a changed file, or of a directory of which only the list of files changed."""
    return max((path for path, *_ in set(before) ^ set(seen)), default="")


def _compared(now: Version, was: Version) -> NewVersion:
    files, anchors = file_changes(was.setup, now.setup), now.key_sources.anchors
    if anchors != was.key_sources.anchors and not any("trust_anchors" in one for one in files):
        files = (*files, "trust_anchors: the records in the file have changed")
    gone = {o.name for o in was.setup.overrides} - {o.name for o in now.setup.overrides}
    return NewVersion(
        version=now,
        differences=(*files, *override_changes(was.setup, now.setup)),
        rebuild=bool(files),
        may_be_mistake=bool(files) or len(gone) > 1,
    )


def _joined(texts: tuple[str, ...]) -> str:
    more = f"; and {len(texts) - _MOST_TEXTS} more" if len(texts) > _MOST_TEXTS else ""
    return "; ".join(_cut(one) for one in texts[:_MOST_TEXTS]) + more


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
