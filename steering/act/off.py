"""The off switch: a file that outlasts the agent, and taking everything back at once.

The switch lies in two places, the state directory (it lasts over a restart of the host) and
the runtime directory (in memory, so a full or broken disk can't keep it from being thrown).
Either one switches off. Nothing here needs a running agent, a guard or a configuration that
still parses: the second incident's kill switch failed because it hung on what it was to stop.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from steering.act.bgp import process
from steering.act.claim import Claim
from steering.act.kernel import KernelActuator
from steering.act.lease import Lease
from steering.act.reader import Trouble
from steering.model import Seconds, WallTime
from steering.system.files import write_atomically

_AT_MOST: Seconds = 0.8  # of the second that everything may take
_LOOK_AGAIN: Seconds = 0.05
_CALM = 3  # so many looks in a row find nothing of ours: a racing agent's turn has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class OffRecord:
    """Who switched off, when and why."""

    time: WallTime
    by: str
    reason: str


class OffSwitch:
    """The switch of one host. It is off while either of its two files is there."""

    def __init__(self, *, state: Path, runtime: Path) -> None:
        self._places = (state / "off", runtime / process.SWITCH)

    def engage(self, reason: str, by: str) -> tuple[Trouble, ...]:
        """Switches off. Returns the places where the switch could not be put.

        None is fine; one means off for now, but for the state directory not beyond a restart
        of the host; two means not off at all.
        """
        text = json.dumps({"time": time.time(), "by": by, "reason": reason})
        troubles: list[Trouble] = []
        for place in self._places:
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(place, text)
            except OSError as error:
                troubles.append(Trouble(what=f"off switch {place}", because=_words(error)))
        return tuple(troubles)

    def engaged(self) -> bool:
        """Whether it is off: two stat calls. A switch that can't be looked at counts as off."""
        return any(map(_may_exist, self._places))

    def record(self) -> OffRecord | None:
        """What was said when it was switched off; None where nobody can tell."""
        for place in self._places:
            try:
                value = json.loads(place.read_bytes())
                return OffRecord(
                    time=float(value["time"]), by=str(value["by"]), reason=str(value["reason"])
                )
            except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
                continue
        return None

    def release(self) -> None:
        """Switches on. Raises OSError when a file of the switch can't be removed."""
        for place in self._places:
            place.unlink(missing_ok=True)


def _may_exist(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchedOff:
    """What came of switching off."""

    engaged: bool
    """The agent, if one runs, will install nothing any more."""
    lasting: bool
    """It stays off when the host restarts."""
    gone: bool
    """Nothing of ours is in the kernel, and no BGP speaker of ours runs."""
    troubles: tuple[Trouble, ...]
    seconds: Seconds


def switch_off(
    *,
    state: Path,
    runtime: Path,
    reason: str,
    by: str,
    configured: Callable[[], Claim | None] = lambda: None,
    actuator: Callable[[Claim], KernelActuator] = KernelActuator,
) -> SwitchedOff:
    """Throws the switch, takes back all that the lease's claims own.

    `configured` is asked for another claim once the switch is thrown, and only where the lease
    names none: it may take its time, or fail, and the switch holds.

    Looks again until it has stayed away for a moment, since an agent may be in the middle of
    a turn that began before the switch. Takes at most a second beside what `configured` takes.
    Raises nothing of its own: what did not work is in the troubles.
    """
    started = time.monotonic()
    switch = OffSwitch(state=state, runtime=runtime)
    unplaced = switch.engage(reason, by)
    troubles = list(unplaced)
    _end_speaker(runtime)
    claims: list[Claim] = []
    lease = None
    try:
        lease = Lease(runtime).read()
    except OSError as error:
        troubles.append(Trouble(what=f"lease in {runtime}", because=_words(error)))
    else:
        if lease is not None:
            claims += lease.claims
    names_none = lease is None or lease.claim is None
    if names_none and (named := configured()) is not None and named not in claims:
        claims.append(named)
    until = time.monotonic() + _AT_MOST
    if not claims:
        troubles.append(
            Trouble(what="routes and rules", because="neither lease nor configuration says which")
        )
    left = tuple(trouble for claim in claims for trouble in _take_back(claim, actuator, until))
    left = _end_speaker(runtime) + left  # one that a racing agent's last turn was starting
    return SwitchedOff(
        engaged=len(unplaced) < 2,
        lasting=os.path.isfile(state / "off"),  # noqa: PTH113 (this one never raises)
        gone=bool(claims) and not left,
        troubles=(*troubles, *left),
        seconds=time.monotonic() - started,
    )


def _end_speaker(runtime: Path) -> tuple[Trouble, ...]:
    try:
        process.end(runtime)
    except OSError as error:
        return (Trouble(what="BGP speaker", because=_words(error)),)
    return ()


def _take_back(
    claim: Claim, actuator: Callable[[Claim], KernelActuator], until: Seconds
) -> tuple[Trouble, ...]:
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
        return (Trouble(what="routes and rules", because=_words(error)),)


def _words(error: OSError) -> str:
    return error.strerror or str(error)
