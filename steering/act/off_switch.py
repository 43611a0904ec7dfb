"""The off switch: two files that prevent new routes, and the removal of everything at once.

The file in the runtime directory is in force. That directory is in memory, so a full or hanging
disk can't prevent the switch. The file in the state directory keeps steering off over a restart of
the host. A child process writes it at the same time; the caller waits for the disk only after
everything is removed. This needs no running agent, no guard and no valid configuration: in the
second incident the kill switch failed because it depended on what it was to stop.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steering.act.bgp import process
from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.removal import KernelRemover
from steering.act.lease import Lease
from steering.model import Instant, Seconds, WallTime
from steering.system.child import Child, Tell
from steering.system.files import make_directory, read_regular, remove, write_atomically

if TYPE_CHECKING:
    from steering.act.kernel.acting_agents import ActingAgent

DISK: Seconds = 5.0
"""Time limit for the disk: a busy one takes seconds to sync, a hanging one never ends."""
_TIME_LIMIT: Seconds = 0.8  # of the second that everything in memory may take
_CHECK_EVERY: Seconds = 0.05
_CLEAN_CHECKS = (
    3  # so many checks in a row find nothing of ours: a turn that raced with us has ended
)
_LARGEST = 65536  # bytes of a switch file: the reason is typed into one line of a shell


@dataclass(frozen=True, slots=True, kw_only=True)
class OffRecord:
    """Who switched off, when and why."""

    time: WallTime
    by: str
    reason: str


class OffSwitch:
    """The switch of one host. Steering is off while either of the two files exists."""

    def __init__(self, *, state: Path, runtime: Path) -> None:
        self._kept, self._in_force = state / "off", runtime / process.SWITCH
        self._places = (self._kept, self._in_force)

    def engage(self, reason: str, by: str) -> tuple[KernelProblem, ...]:
        """Switches off and waits for the disk. Returns the files that could not be written.

        No problem: off over restarts. One problem: if it is the file in the state directory, off
        only until a restart of the host. Two: not off.
        """
        thrown = self.throw(reason, by)
        return tuple(problem for problem in (thrown.kept(), thrown.problem) if problem)

    def throw(self, reason: str, by: str) -> Thrown:
        """Switches off, and starts to write the file on disk without waiting for it."""
        text = json.dumps({"time": time.time(), "by": by, "reason": reason})
        problem = None
        try:
            self._in_force.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._in_force, text)
        except OSError as error:
            problem = _problem(self._in_force, _text_of(error))
        return Thrown(self._kept, text, problem)

    def engaged(self) -> bool:
        """Whether steering is off: one stat call. A file that can't be checked counts as off.

        Only the runtime directory is checked: the disk of the other one may hang. `agent.state_off`
        checks that one, and sets this one when it finds it.
        """
        return process.switched_off(self._in_force.parent)

    def record(self) -> OffRecord | None:
        """Who switched off, when and why; None if that can't be read. Checks the same file as
        `engaged`.
        """
        for place in self._places[1:]:
            try:
                value = json.loads(read_regular(place, _LARGEST))
                return OffRecord(
                    time=float(value["time"]), by=str(value["by"]), reason=str(value["reason"])
                )
            except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
                continue
        return None

    def release(self) -> bool:
        """Switches on; whether it was off.

        The file in the state directory is removed first, durably, then the one in force: a process
        that dies in between leaves steering off. Raises OSError when a file can't be removed, and
        TimeoutError when the disk does not answer: steering is then still off.
        """
        result, ended = Child(lambda tell: _removed(self._kept, tell)).result(
            time.monotonic() + DISK
        )
        if not ended:
            raise TimeoutError(f"{self._kept}: {_NO_ANSWER}")
        was = json.loads(result or b'[5, "could not be removed"]')
        if not isinstance(was, bool):
            raise OSError(*was, str(self._kept))
        try:
            self._in_force.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return was
        return True


class Thrown:
    """A switch that was just set."""

    def __init__(self, kept: Path, text: str, problem: KernelProblem | None) -> None:
        self._kept = kept
        self.problem = problem
        """Why it is not in force; None: it is."""
        self._until: Instant = time.monotonic() + DISK
        self._child = Child(lambda tell: _written(kept, text, tell))

    def kept(self) -> KernelProblem | None:
        """Waits for the disk; why steering does not stay off over a restart, None if it does."""
        result, ended = self._child.result(self._until)
        if result == _DONE:
            return None
        return _problem(
            self._kept, result.decode() or ("could not be written" if ended else _NO_ANSWER)
        )


_DONE = b"done"
_NO_ANSWER = f"the file system does not answer within {DISK:.0f} s"


def _written(place: Path, text: str, tell: Tell) -> None:
    try:
        make_directory(place.parent)
        write_atomically(place, text, durable=True)
    except OSError as error:
        tell(_text_of(error).encode())
    else:
        tell(_DONE)


def _removed(place: Path, tell: Tell) -> None:
    try:
        result: object = remove(place)
    except OSError as error:
        result = (error.errno, _text_of(error))
    tell(json.dumps(result).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedOff:
    """The result of switching off."""

    engaged: bool
    """A running agent will install nothing any more."""
    lasting: bool
    """It stays off when the host restarts, also after a power cut."""
    gone: bool
    """Nothing of ours is in the kernel, our BGP speaker has ended, and no agent reinstalls it."""
    beside: tuple[ActingAgent, ...]
    """Agents of other configurations, which act on other tables and go on."""
    troubles: tuple[KernelProblem, ...]


def switch_off(
    *,
    state: Path,
    runtime: Path,
    reason: str,
    by: str,
    configured: Callable[[], Claim | None] = lambda: None,
    remover: Callable[[Claim], KernelRemover] = KernelRemover,
    taken_back: Callable[[Seconds], None] = lambda _seconds: None,
) -> SwitchedOff:
    """Sets the switch, removes everything that the lease's claims own, and waits for the disk.

    `configured` is called for another claim after the switch is set, and only if the lease names
    none: it may be slow or fail, the switch holds. `taken_back` is called, with the seconds that it
    took, when nothing of ours is left and the switch is in force.

    The removal is checked several times, since an agent may be in the middle of a turn that began
    before the switch. This takes at most a second, plus the time of `configured` and of the disk.
    Raises nothing of its own: what failed is in `troubles`.
    """
    started = time.monotonic()
    thrown = OffSwitch(state=state, runtime=runtime).throw(reason, by)
    troubles = [thrown.problem] if thrown.problem else []
    claims: list[Claim] = []
    lease = None
    try:
        lease = Lease(runtime).read()
    except OSError as error:
        troubles.append(KernelProblem(what=f"lease in {runtime}", because=_text_of(error)))
    else:
        if lease is not None:
            claims += lease.claims
    left = _take_back(claims, runtime, remover)
    names_none = lease is None or lease.claim is None
    if names_none and (named := configured()) is not None and named not in claims:
        claims.append(named)
        left = _take_back(claims, runtime, remover)
    if not claims:
        troubles.append(
            KernelProblem(
                what="routes and rules", because="neither lease nor configuration says which"
            )
        )
    tables = {table for claim in claims for table in claim.tables}
    acting = _elsewhere(runtime)
    left += tuple(_reinstalls(one) for one in acting if one.table in tables)
    gone = bool(claims) and not left
    if gone and not thrown.problem:
        taken_back(time.monotonic() - started)
    unkept = thrown.kept()
    return SwitchedOff(
        engaged=not thrown.problem,
        lasting=not unkept,
        gone=gone,
        beside=tuple(one for one in acting if one.table not in tables),
        troubles=(*troubles, *left, *([unkept] if unkept else ())),
    )


def _take_back(
    claims: list[Claim], runtime: Path, remover: Callable[[Claim], KernelRemover]
) -> tuple[KernelProblem, ...]:
    """Removes what the claims own, ends the speaker, and checks that neither comes back."""
    until = time.monotonic() + _TIME_LIMIT
    for claim in claims:  # at once: a speaker may take a while to end
        with contextlib.suppress(OSError), remover(claim) as kernel:
            kernel.withdraw()
    _end_speaker(runtime)
    left = tuple(problem for claim in claims for problem in _settle(claim, remover, until))
    return _end_speaker(runtime) + left  # again: a turn that raced with us may have started one


def _settle(
    claim: Claim, remover: Callable[[Claim], KernelRemover], until: Seconds
) -> tuple[KernelProblem, ...]:
    try:
        with remover(claim) as kernel:
            clean = 0
            left = kernel.withdraw()
            while clean < _CLEAN_CHECKS and time.monotonic() < until:
                time.sleep(_CHECK_EVERY)
                clean = 0 if kernel.remains() else clean + 1
                left = kernel.withdraw()
            return left
    except OSError as error:
        return (KernelProblem(what="routes and rules", because=_text_of(error)),)


def _end_speaker(runtime: Path) -> tuple[KernelProblem, ...]:
    try:
        process.end(runtime)
    except OSError as error:
        return (KernelProblem(what="BGP speaker", because=_text_of(error)),)
    return ()


def _elsewhere(runtime: Path) -> tuple[ActingAgent, ...]:
    from steering.act.kernel.acting_agents import (
        elsewhere,  # loaded when everything is removed
    )

    try:
        return elsewhere(runtime)
    except OSError:  # this kernel does not list sockets, so other agents can't be found
        return ()


def _reinstalls(one: ActingAgent) -> KernelProblem:
    return KernelProblem(
        what=f"table {one.table}",
        because=f"{one} acts on it by another configuration, and reinstalls what was removed: "
        "run `steering off --config` with that configuration, or end the process",
    )


def _problem(place: Path, because: str) -> KernelProblem:
    return KernelProblem(what=f"off switch {place}", because=because)


def _text_of(error: OSError) -> str:
    return error.strerror or str(error)
