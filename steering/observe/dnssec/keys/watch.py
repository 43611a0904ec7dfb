"""When a zone is due for a refresh of its keys, and what failed the last time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dns.name

from steering.model import Instant, Seconds, WallTime
from steering.observe.dnssec.keys.chain import Lack, Unobtainable
from steering.system.unreadable import printable

_RETRY_WITHOUT: Final = 30.0  # the longest back-off while there is no set
_RETRY_WITH: Final = 300.0
_LONGEST_TEXT: Final = 600


@dataclass(slots=True)
class Watch:
    """When a policy's zone is due for a refresh, and what failed the last time."""

    zone: dns.name.Name
    due: Instant
    tried: Instant = -math.inf
    failures: int = 0
    trouble: str = ""
    lack: Lack = Lack.CHAIN
    since: WallTime = 0.0

    def fail(self, lack: Lack, trouble: str, wall: WallTime) -> None:
        """Note a failure; `since` stays the time of the first one."""
        if not self.trouble:
            self.since = wall
        self.lack, self.trouble = lack, printable(trouble, _LONGEST_TEXT)

    def give_up(self, lack: Lack, trouble: str, wall: WallTime) -> None:
        """Note a failure that no refresh could end."""
        self.due = math.inf
        self.fail(lack, trouble, wall)

    def failed(self, errors: Sequence[Unobtainable], wall: WallTime, *, held: bool) -> Seconds:
        """Note that no source was enough. Returns the pause, longer if a set is held already."""
        self.failures += 1
        lacks = {error.lack for error in errors}
        lacks = lacks - {Lack.UNREACHABLE} or lacks
        lack = lacks.pop() if len(lacks) == 1 else Lack.SOURCES
        self.fail(lack, "; ".join(dict.fromkeys(map(str, errors))), wall)
        most = _RETRY_WITH if held else _RETRY_WITHOUT
        return min(2.0 ** min(self.failures - 1, 16), most)

    def succeeded(self) -> None:
        """Note that the chain was complete."""
        self.failures, self.trouble = 0, ""

    def copy_from(self, known: Watch) -> None:
        """Take over another store's state, unless either is never due."""
        if math.inf not in (known.due, self.due):
            self.due, self.trouble = max(known.due, self.due), known.trouble
            self.lack, self.since = known.lack, known.since
            self.tried, self.failures = known.tried, known.failures
