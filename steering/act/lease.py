"""The lease: a file that says how long installed routes may stay. The agent renews it, the guard
reads it.

The deadline is on CLOCK_BOOTTIME, which can't be set and runs on through suspend. So setting the
host's clock neither shortens nor extends a lease. The boot id makes a lease from before a restart
of the host invalid; the kernel has lost the routes by then too.

The leased claims change seldom; then a new file replaces the old one. The deadline is renewed in
place, in `slots`: that needs no new descriptor, no disk space and no directory entry.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from steering import bounds
from steering.act import slots
from steering.act.kernel.claim import Claim, ClaimError
from steering.act.slots import Slots
from steering.model import Seconds
from steering.system.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """The content of a lease file."""

    claim: Claim | None
    """None: the file is damaged, so it is not known what it allowed."""
    boot: str
    deadline: Seconds  # on CLOCK_BOOTTIME
    pid: int
    former: tuple[Claim, ...] = ()
    """Earlier claims, which may still own something in the kernel."""

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims whose routes and rules are removed when the lease ends."""
        return (*self.former, *([self.claim] if self.claim else []))

    def expired(self, now: Seconds, boot: str) -> bool:
        """Whether it has ended. `now` is on CLOCK_BOOTTIME, `boot` is the id of this boot."""
        return self.claim is None or self.boot != boot or now >= self.deadline


_READINGS = 3
"""A reader reads again if both slots were renewed while it read."""
_DAMAGED = LeaseState(claim=None, boot="", deadline=0.0, pid=0)


def boot_time() -> Seconds:
    """Seconds since the host started, time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Lease:
    """The lease file of one runtime directory. One thread at a time may renew it."""

    def __init__(self, runtime: Path) -> None:
        self.path = runtime / "lease"
        self._boot = boot_id()
        self._file: int | None = None
        self._leased: tuple[Claim, ...] = ()
        self._slots: Slots | None = None

    def renew(
        self,
        claim: Claim,
        seconds: Seconds,
        *,
        former: Sequence[Claim] = (),
        until: Seconds = math.inf,
    ) -> Seconds:
        """Extends the lease of these claims to so many seconds from now; the deadline.

        `until`, also on CLOCK_BOOTTIME, limits the deadline. If the file or its directory was
        removed, it is made again. Raises OSError when the file can't be written; the old lease
        then runs to its end.
        """
        deadline = min(boot_time() + seconds, until)
        if self._slots is not None and self._leased == (claim, *former) and self._in_place():
            self._slots.write(deadline)
        else:
            self._put(claim, former, deadline)
        return deadline

    def close(self) -> None:
        """Closes the file. The lease runs to its end."""
        if self._file is not None:
            os.close(self._file)
        self._file = self._slots = None

    def _in_place(self) -> bool:
        """Whether the open file is still the one at `path`, which readers open."""
        assert self._file is not None
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            return False

    def _put(self, claim: Claim, former: Sequence[Claim], deadline: Seconds) -> None:
        value = {
            "claim": _without_mask(claim),
            "boot": self._boot,
            "deadline": deadline,  # for version 0.1.0, which has no slots
            "pid": os.getpid(),
            "former": [_without_mask(before) for before in former],
            "masks": [each.mask for each in (claim, *former)],
        }
        head = f'{json.dumps(value)[:-1]}, "{_SLOTS}": "'
        self.close()
        write_atomically(self.path, f'{head}{slots.fresh(deadline).decode("ascii")}"}}\n')
        self._file = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        self._slots, self._leased = Slots(self._file, len(head)), (claim, *former)

    def read(self) -> LeaseState | None:
        """The lease; None if there is no file. A damaged one reads as expired.

        Raises OSError only when the file exists and can't be read.
        """
        state = None
        for _ in range(_READINGS):
            try:
                state = _state(self.path.read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                return None
            if state is not _DAMAGED:
                break
        return state

    def expired(self, now: Seconds | None = None) -> bool:
        """Whether no lease is in force at `now` on CLOCK_BOOTTIME (default: this moment)."""
        state = self.read()
        return state is None or state.expired(boot_time() if now is None else now, self._boot)


def leased(runtime: Path) -> bool:
    """Whether a lease is in force in this directory; one that can't be read is none."""
    try:
        return not Lease(runtime).expired()
    except OSError:
        return False


_SLOTS = "renewed"


def _without_mask(claim: Claim) -> str:
    """The claim in the format of version 0.1.0, which takes any other text for a damaged lease.

    A guard of that version runs until one of this version has replaced it, and would remove
    everything. It needs no mask: it finds its rules by preference and protocol.
    """
    return replace(claim, mask=bounds.U32).to_json()


def _claims(value: Mapping[str, object]) -> list[Claim]:
    """The claim, then the former ones, with their masks; those of version 0.1.0 have all bits."""
    former = value.get("former", ())
    texts = [value["claim"], *(former if isinstance(former, list) else ())]
    masks = value.get("masks", [bounds.U32] * len(texts))
    if not isinstance(masks, list) or not all(type(mask) is int for mask in masks):
        raise TypeError("masks: wanted a list of integers")
    return [
        replace(Claim.from_json(text), mask=mask) for text, mask in zip(texts, masks, strict=True)
    ]


def _state(data: bytes) -> LeaseState:
    try:
        value = json.loads(data.decode())
        deadline: float | None = value["deadline"]
        if _SLOTS in value:
            deadline = slots.read(value[_SLOTS].encode())
        if deadline is None or not math.isfinite(deadline):  # Python's JSON has NaN and Infinity
            return _DAMAGED
        claim, *former = _claims(value)
        return LeaseState(
            claim=claim,
            boot=str(value["boot"]),
            deadline=float(deadline),
            pid=int(value["pid"]),
            former=tuple(former),
        )
    except (
        ClaimError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
    ):
        return _DAMAGED
