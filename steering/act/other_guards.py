"""Guards of other runtime directories whose claims overlap this agent's.

After a change of `runtime` an agent finds neither its old lease nor its old guard in the new
directory. The old guard would remove everything of the old claim when the old lease ends. So the
agent looks for guards among the processes of this network namespace, goes on within the lease that
it finds, and ends the old guard once its own runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steering.act.bgp import process
from steering.act.kernel.claim import Claim
from steering.act.lease import Lease, LeaseState
from steering.model import Seconds
from steering.system.permissions import may_change_routes

_GUARD = b"steering.act.guard"
_NICELY: Seconds = 0.5
_AT_MOST: Seconds = 2.0
_LOOK: Seconds = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherGuard:
    """The guard of another directory, and the lease that it guards."""

    pid: int
    runtime: Path
    lease: LeaseState | None
    """None: it can't be read, so it is not known what it covers."""

    def __str__(self) -> str:
        return f"the guard of {self.runtime} (process {self.pid})"


def other_guards(runtime: Path, claim: Claim) -> tuple[OtherGuard, ...]:
    """All guards of other directories that cover, or may cover, part of this claim."""
    return tuple(found for found in _guards() if _other(found, runtime) and _covers(found, claim))


def leases_of(found: Sequence[OtherGuard]) -> tuple[LeaseState, ...]:
    """The leases of these guards that can be read."""
    return tuple(rival.lease for rival in found if rival.lease is not None)


def end(rival: OtherGuard) -> None:
    """Ends it, and the BGP speaker of its directory. Raises OSError if one does not end.

    Call this only when another guard runs and a lease that covers the same is written.
    """
    started = time.monotonic()
    while _is_guard(rival.pid):
        waited = time.monotonic() - started
        if waited > _AT_MOST:
            raise TimeoutError(f"{rival} does not end")
        with contextlib.suppress(ProcessLookupError):
            os.kill(rival.pid, signal.SIGTERM if waited < _NICELY else signal.SIGKILL)
        time.sleep(_LOOK)
    process.end(rival.runtime)


def _guards() -> Iterator[OtherGuard]:
    here = Path("/proc/self/ns/net").stat()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if _GUARD not in words or not os.path.samestat(here, (folder / "ns/net").stat()):
                continue
            pid, uid = int(folder.name), folder.stat().st_uid
            named = [word for word in words[words.index(_GUARD) + 1 :] if word.startswith(b"/")]
            # Any user can give a process this command line. Only one that may change routes counts.
            if named and (uid in {0, os.geteuid()} or may_change_routes(pid, uid=uid)):
                runtime = Path(os.fsdecode(named[0]))
                yield OtherGuard(pid=pid, runtime=runtime, lease=_lease(runtime))


def _lease(runtime: Path) -> LeaseState | None:
    with contextlib.suppress(OSError):
        return Lease(runtime).read()
    return None


def _other(rival: OtherGuard, runtime: Path) -> bool:
    try:
        return not rival.runtime.samefile(runtime)
    except OSError:
        return rival.runtime.absolute() != runtime.absolute()


def _covers(rival: OtherGuard, claim: Claim) -> bool:
    if rival.lease is None or rival.lease.claim is None:
        return True
    return any(_overlap(covered, claim) for covered in rival.lease.claims)


def _overlap(one: Claim, other: Claim) -> bool:
    return one.protocol == other.protocol and not (
        frozenset(one.tables).isdisjoint(other.tables)
        and frozenset(one.preferences).isdisjoint(other.preferences)
    )


def _is_guard(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return _GUARD in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False
