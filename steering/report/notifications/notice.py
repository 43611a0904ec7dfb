"""A notice: one thing that somebody should hear of, when it begins, changes and ends."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from steering.config.notify import About
from steering.format import duration, timestamp
from steering.model import WallTime

NAMED = 50
"""Addresses that one notice lists; it has the number of all."""


class Stage(enum.StrEnum):
    """Where the thing is that a notice is about."""

    BEGAN = "began"
    CHANGED = "changed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell. A later notice of the same `about` and `name` replaces an earlier one."""

    about: About
    name: str
    """Of the alarm, or of the upstream."""
    stage: Stage
    since: WallTime
    ended: WallTime | None = None
    title: str
    """One line."""
    text: str
    """Details, in one line."""
    addresses: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[About, str]:
        """What it is about: of two notices with the same key only the later one counts."""
        return self.about, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who tells: the same in all notices of an agent."""

    site: str
    host: str
    mode: str
    version: str


def body(notice: Notice, sender: Sender) -> dict[str, object]:
    """A notice as plain data, for a webhook or a program.

    `text` alone is a whole message: chats that take JSON with a `text` (Slack, Mattermost,
    Rocket.Chat) show that and ignore the rest.
    """
    lasted = () if notice.ended is None else (f"lasted {duration(notice.ended - notice.since)}",)
    values: dict[str, object] = {
        "text": f"[{sender.site}] {notice.title}\n{notice.text}".rstrip(),
        "about": str(notice.about),
        "name": notice.name,
        "stage": str(notice.stage),
        "since": timestamp(notice.since),
        "ended": None if notice.ended is None else timestamp(notice.ended),
        "title": notice.title,
        "because": "; ".join(filter(None, (notice.text, *lasted))),
        "addresses": list(notice.addresses[:NAMED]),
        "number": len(notice.addresses),
        "sites": list(notice.sites),
        "site": sender.site,
        "host": sender.host,
        "mode": sender.mode,
        "version": sender.version,
    }
    return values
