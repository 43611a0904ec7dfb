"""The off switch: a file that outlasts the agent, and taking everything back at once.

The switch lies in two places. What is in the runtime directory is in force: it is in memory, so
neither a full disk nor one that hangs can keep it from being thrown. What is in the state
directory keeps it off over a restart of the host; a child writes it meanwhile, and whoever
switches waits for the disk only once nothing of ours is left. Nothing here needs a running
agent, a guard or a configuration that still parses: the second incident's kill switch failed
because it hung on what it was to stop.
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
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.kernel.state import KernelProblem
from steering.act.lease import Lease
from steering.model import Instant, Seconds, WallTime
from steering.system.child import Child, Tell
from steering.system.files import make_directory, read_regular, remove, write_atomically

if TYPE_CHECKING:
    from steering.act.kernel.acting_agents import ActingAgent

DISK: Seconds = 5.0
"""How long the disk may take: one that is busy takes seconds to sync, one that hangs for ever."""
_AT_MOST: Seconds = 0.8  # of the second that everything in memory may take
_LOOK_AGAIN: Seconds = 0.05
_CALM = 3  # so many looks in a row find nothing of ours: a racing agent's turn has ended
_LARGEST = 65536  # bytes of a switch: a reason is typed into one line of a shell


@dataclass(frozen=True, slots=True, kw_only=True)
class OffRecord:
    """Who switched off, when and why."""

    time: WallTime
    by: str
    reason: str


class OffSwitch:
    """The switch of one host. It is off while either of its two files is there."""

    def __init__(self, *, state: Path, runtime: Path) -> None:
        self._kept, self._in_force = state / "off", runtime / process.SWITCH
        self._places = (self._kept, self._in_force)

    def engage(self, reason: str, by: str) -> tuple[KernelProblem, ...]:
        """Switches off and waits for the disk. Returns the places where it could not be put.

        None is fine; one means off for now, but for the state directory not beyond a restart
        of the host; two means not off at all.
        """
        thrown = self.throw(reason, by)
        return tuple(trouble for trouble in (thrown.kept(), thrown.trouble) if trouble)

    def throw(self, reason: str, by: str) -> Thrown:
        """Switches off; the disk is still at it."""
        text = json.dumps({"time": time.time(), "by": by, "reason": reason})
        trouble = None
        try:
            self._in_force.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._in_force, text)
        except OSError as error:
            trouble = _trouble(self._in_force, _words(error))
        return Thrown(self._kept, text, trouble)

    def engaged(self) -> bool:
        """Whether it is off: one stat call. A switch that can't be looked at counts as off.

        In the runtime directory alone: the other one may hang with its disk. `agent.state_off`
        looks at that one, and throws this one where it finds it.
        """
        return process.switched_off(self._in_force.parent)

    def record(self) -> OffRecord | None:
        """What was said when it was switched off; None where nobody can tell. As `engaged`."""
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

        What is kept goes first, durably, and what is in force only then: whoever dies in between
        leaves it off. Raises OSError, and TimeoutError where the disk does not answer, when a
        file of the switch can't be removed: it is off still.
        """
        said, ended = Child(lambda tell: _removed(self._kept, tell)).result(time.monotonic() + DISK)
        if not ended:
            raise TimeoutError(f"{self._kept}: {_SILENT}")
        was = json.loads(said or b'[5, "could not be removed"]')
        if not isinstance(was, bool):
            raise OSError(*was, str(self._kept))
        try:
            self._in_force.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return was
        return True


class Thrown:
    """A switch that was just thrown."""

    def __init__(self, kept: Path, text: str, trouble: KernelProblem | None) -> None:
        self._kept = kept
        self.trouble = trouble
        """Why it is not in force now; None: it is."""
        self._until: Instant = time.monotonic() + DISK
        self._child = Child(lambda tell: _written(kept, text, tell))

    def kept(self) -> KernelProblem | None:
        """Waits for the disk; why it is not kept over a restart of the host, None if it is."""
        said, ended = self._child.result(self._until)
        if said == _DONE:
            return None
        return _trouble(self._kept, said.decode() or ("could not be written" if ended else _SILENT))


_DONE = b"done"
_SILENT = f"the file system does not answer within {DISK:.0f} s"


def _written(place: Path, text: str, tell: Tell) -> None:
    try:
        make_directory(place.parent)
        write_atomically(place, text, durable=True)
    except OSError as error:
        tell(_words(error).encode())
    else:
        tell(_DONE)


def _removed(place: Path, tell: Tell) -> None:
    try:
        said: object = remove(place)
    except OSError as error:
        said = (error.errno, _words(error))
    tell(json.dumps(said).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedOff:
    """What came of switching off."""

    engaged: bool
    """The agent, if one runs, will install nothing any more."""
    lasting: bool
    """It stays off when the host restarts, be it by a power cut."""
    gone: bool
    """Nothing of ours is in the kernel, no BGP speaker of ours runs, and nobody puts it back."""
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
    actuator: Callable[[Claim], KernelActuator] = KernelActuator,
    taken_back: Callable[[Seconds], None] = lambda _seconds: None,
) -> SwitchedOff:
    """Throws the switch, takes back all that the lease's claims own, and waits for the disk.

    `configured` is asked for another claim once the switch is thrown, and only where the lease
    names none: it may take its time, or fail, and the switch holds. `taken_back` is told, in
    seconds, when nothing of ours is left and the switch is in force.

    Looks again until it has stayed away for a moment, since an agent may be in the middle of
    a turn that began before the switch. Takes at most a second beside what `configured` takes
    and the disk. Raises nothing of its own: what did not work is in the troubles.
    """
    started = time.monotonic()
    thrown = OffSwitch(state=state, runtime=runtime).throw(reason, by)
    troubles = [thrown.trouble] if thrown.trouble else []
    claims: list[Claim] = []
    lease = None
    try:
        lease = Lease(runtime).read()
    except OSError as error:
        troubles.append(KernelProblem(what=f"lease in {runtime}", because=_words(error)))
    else:
        if lease is not None:
            claims += lease.claims
    left = _take_back(claims, runtime, actuator)
    names_none = lease is None or lease.claim is None
    if names_none and (named := configured()) is not None and named not in claims:
        claims.append(named)
        left = _take_back(claims, runtime, actuator)
    if not claims:
        troubles.append(
            KernelProblem(
                what="routes and rules", because="neither lease nor configuration says which"
            )
        )
    tables = {table for claim in claims for table in claim.tables}
    acting = _elsewhere(runtime)
    left += tuple(_puts_back(one) for one in acting if one.table in tables)
    gone = bool(claims) and not left
    if gone and not thrown.trouble:
        taken_back(time.monotonic() - started)
    unkept = thrown.kept()
    return SwitchedOff(
        engaged=not thrown.trouble,
        lasting=not unkept,
        gone=gone,
        beside=tuple(one for one in acting if one.table not in tables),
        troubles=(*troubles, *left, *([unkept] if unkept else ())),
    )


def _take_back(
    claims: list[Claim], runtime: Path, actuator: Callable[[Claim], KernelActuator]
) -> tuple[KernelProblem, ...]:
    """Takes out what the claims own, ends the speaker, and looks whether both last."""
    until = time.monotonic() + _AT_MOST
    for claim in claims:  # at once: a speaker may take its time to end
        with contextlib.suppress(OSError), actuator(claim) as kernel:
            kernel.withdraw()
    _end_speaker(runtime)
    left = tuple(trouble for claim in claims for trouble in _settle(claim, actuator, until))
    return _end_speaker(runtime) + left  # one that a racing agent's last turn was starting


def _settle(
    claim: Claim, actuator: Callable[[Claim], KernelActuator], until: Seconds
) -> tuple[KernelProblem, ...]:
    try:
        with actuator(claim) as kernel:
            calm = 0
            left = kernel.withdraw()
            while calm < _CALM and time.monotonic() < until:
                time.sleep(_LOOK_AGAIN)
                calm = 0 if kernel.remains() else calm + 1
                left = kernel.withdraw()
            return left
    except OSError as error:
        return (KernelProblem(what="routes and rules", because=_words(error)),)


def _end_speaker(runtime: Path) -> tuple[KernelProblem, ...]:
    try:
        process.end(runtime)
    except OSError as error:
        return (KernelProblem(what="BGP speaker", because=_words(error)),)
    return ()


def _elsewhere(runtime: Path) -> tuple[ActingAgent, ...]:
    from steering.act.kernel.acting_agents import (
        elsewhere,  # loaded when everything is out
    )

    try:
        return elsewhere(runtime)
    except OSError:  # this kernel does not list sockets: nobody can tell
        return ()


def _puts_back(one: ActingAgent) -> KernelProblem:
    return KernelProblem(
        what=f"table {one.table}",
        because=f"{one} acts on it by another configuration, and puts back what was taken out: "
        "`steering off --config` with that one's file, or end it",
    )


def _trouble(place: Path, because: str) -> KernelProblem:
    return KernelProblem(what=f"off switch {place}", because=because)


def _words(error: OSError) -> str:
    return error.strerror or str(error)
