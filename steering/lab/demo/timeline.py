"""The timeline of the demo as measured, beside that of July 2023 with operators acting by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steering.format import duration
from steering.model import Family, Seconds, WallTime

BY_HAND: Mapping[str, str] = {
    "suspected": "66 min (first alert)",
    "confirmed": "9 h 14 min (instance found)",
    "ipv4": "9 h 40 min",
    "ipv6": "9 h 56 min",
    "last_failure": "9 h 56 min",
    "rollback": "not before 45 h 13 min",
}
"""From the first validation error on 2023-07-08 21:10 UTC; the rollback had to wait until the
operator switched its router off on 07-10 18:23 (public incident reports)."""


@dataclass(slots=True, kw_only=True)
class Timeline:
    """Times in UNIX seconds, filled in as they are seen; None: not seen (yet)."""

    first_expired: WallTime | None = None
    suspected: WallTime | None = None
    confirmed: WallTime | None = None
    installed: dict[Family, WallTime] = field(default_factory=dict)
    """When the last route of the family was in the kernel, by the kernel's own messages."""
    last_failure: WallTime | None = None
    fixed: WallTime | None = None
    rolled_back: WallTime | None = None
    """When the last route was gone from the kernel."""
    asked: int = 0
    failed: int = 0
    servers: str = ""
    resolver: str = ""

    def after(self, instant: WallTime | None, since: WallTime | None = None) -> Seconds | None:
        """Seconds from the first expired signature, or from `since`, to a time."""
        start = self.first_expired if since is None else since
        return None if instant is None or start is None else round(instant - start, 3)

    def seconds(self) -> dict[str, object]:
        """The timeline for JSON: seconds from the first expired signature."""
        return {
            "suspected_s": self.after(self.suspected),
            "confirmed_s": self.after(self.confirmed),
            "installed_s": {str(f): self.after(self.installed.get(f)) for f in Family},
            "last_failed_client_answer_s": self.after(self.last_failure),
            "fix_s": self.after(self.fixed),
            "fix_to_rollback_s": self.after(self.rolled_back, self.fixed),
            "client_answers": {"all": self.asked, "failed": self.failed},
            "servers": self.servers,
            "resolver": self.resolver,
        }

    def write(self, path: Path) -> None:
        """Write it as JSON. Raises OSError."""
        path.write_text(json.dumps(self.seconds(), indent=2) + "\n")

    def rows(self) -> list[tuple[str, str, str]]:
        """(what, here, July 2023) for the closing table."""
        return [
            ("suspected", _span(self.after(self.suspected)), BY_HAND["suspected"]),
            (
                "confirmed: bad here, good there",
                _span(self.after(self.confirmed)),
                BY_HAND["confirmed"],
            ),
            ("IPv4 steered", self._family(Family.IPV4), BY_HAND["ipv4"]),
            ("IPv6 steered", self._family(Family.IPV6), BY_HAND["ipv6"]),
            (
                "last failed client answer",
                _span(self.after(self.last_failure)),
                BY_HAND["last_failure"],
            ),
            (
                "rolled back, after the fix",
                _span(self.after(self.rolled_back, self.fixed)),
                BY_HAND["rollback"],
            ),
        ]

    @property
    def complete(self) -> bool:
        """Whether the incident began, was steered around in both families, and ended."""
        return None not in (self.suspected, self.confirmed, self.fixed, self.rolled_back) and set(
            self.installed
        ) == set(Family)

    def _family(self, family: Family) -> str:
        return _span(self.after(self.installed.get(family)))


def _span(seconds: Seconds | None) -> str:
    return "not seen" if seconds is None else duration(seconds)


def route_times(lines: Iterable[str], table: str) -> dict[str, WallTime]:
    """Address -> time of the kernel's message about its route, from `ip -ts monitor route`.

    Of several messages about one address the first counts; deletions are ignored.
    """
    from datetime import UTC, datetime

    found: dict[str, WallTime] = {}
    for line in lines:
        stamp, _, rest = line.partition("] ")
        words = rest.split()
        if not stamp.startswith("[") or not words or words[0] == "Deleted":
            continue
        if f"table {table} " not in f"{rest} ":
            continue
        time_ = datetime.fromisoformat(stamp[1:]).replace(tzinfo=UTC).timestamp()
        found.setdefault(words[0], time_)
    return found
