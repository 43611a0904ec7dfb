"""How long what we installed may stay: a file that the agent renews and the guard reads.

The deadline is on CLOCK_BOOTTIME, which no one can set and which runs on through suspend,
so setting the host's clock neither ends a lease early nor makes it last. The boot id voids
a lease from before a restart of the host, when the kernel has forgotten our routes too.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steering.act.claim import Claim, ClaimError
from steering.model import Seconds
from steering.system.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """A lease as the file has it."""

    claim: Claim | None
    """None: the file is damaged, so nobody knows what it allowed."""
    boot: str
    deadline: Seconds  # on CLOCK_BOOTTIME
    pid: int
    former: tuple[Claim, ...] = ()
    """What was claimed before, and may still have something in the kernel."""

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Everything that is to go when the lease is over."""
        return (*self.former, *([self.claim] if self.claim else []))

    def expired(self, now: Seconds, boot: str) -> bool:
        """Whether it is over. `now` is on CLOCK_BOOTTIME, `boot` the present boot's id."""
        return self.claim is None or self.boot != boot or now >= self.deadline


_DAMAGED = LeaseState(claim=None, boot="", deadline=0.0, pid=0)


def boot_time() -> Seconds:
    """Seconds since the host started, time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Lease:
    """The lease file of one runtime directory."""

    def __init__(self, runtime: Path) -> None:
        self.path = runtime / "lease"
        self._boot = boot_id()

    def renew(
        self,
        claim: Claim,
        seconds: Seconds,
        *,
        former: Sequence[Claim] = (),
        until: Seconds = math.inf,
    ) -> Seconds:
        """Lets what these claims own stay for so many seconds from now; the deadline.

        That is `until`, on CLOCK_BOOTTIME as well, where it comes first. Raises OSError when the
        file can't be written; the old lease then runs on to its end.
        """
        deadline = min(boot_time() + seconds, until)
        value = {
            "claim": claim.to_json(),
            "boot": self._boot,
            "deadline": deadline,
            "pid": os.getpid(),
            "former": [before.to_json() for before in former],
        }
        write_atomically(self.path, json.dumps(value))
        return deadline

    def deadline(self) -> Seconds | None:
        """When the lease in force ends, on CLOCK_BOOTTIME; None: none is. Raises as `read`."""
        state = self.read()
        if state is None or state.expired(boot_time(), self._boot):
            return None
        return state.deadline

    def read(self) -> LeaseState | None:
        """The lease, None where there is none. A damaged one reads as expired.

        Raises OSError only when the file is there and can't be read.
        """
        try:
            text = self.path.read_bytes().decode()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError:
            return _DAMAGED
        try:
            value = json.loads(text)
            if not math.isfinite(value["deadline"]):  # JSON as Python reads it has these
                return _DAMAGED
            return LeaseState(
                claim=Claim.from_json(value["claim"]),
                boot=str(value["boot"]),
                deadline=float(value["deadline"]),
                pid=int(value["pid"]),
                former=tuple(map(Claim.from_json, value.get("former", ()))),
            )
        except (ClaimError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            return _DAMAGED

    def expired(self, now: Seconds | None = None) -> bool:
        """Whether no lease is in force at `now` on CLOCK_BOOTTIME (default: this moment)."""
        state = self.read()
        return state is None or state.expired(boot_time() if now is None else now, self._boot)
