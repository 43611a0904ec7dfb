"""The copy itself: by the address of the server that holds it, and by its file."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from steering.copies import FileShown, Shown
from steering.model import Instant, Seconds, WallTime
from steering.observe.copies.ask import Answer, ask
from steering.observe.dnssec.anchors import Anchor, Anchors
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.zone.child import examine
from steering.observe.zone.facts import Failed, Fault, ZoneFacts
from steering.system.side_thread import aside

ALGORITHMS: Final = frozenset({5, 7, 8, 10, 13, 14, 15, 16})
"""What the four resolvers of Debian 12 validate (RFC 8624 3.1)."""
AGAIN: Final[Seconds] = 600.0
"""After so long a refused file is verified again: this host's clock may have been why."""
STAT_WITHIN: Final[Seconds] = 5.0


async def by_address(address: str, zone: str, *, port: int = 53) -> Shown | str:
    """What the server at an address holds; or why nothing is seen.

    It is first asked without recursion: with AA the answer is from what it holds. A resolver that
    refuses that, or has nothing, is asked as its clients ask, with CD, so that dates are seen
    however old they are. Never is a verdict of its own believed: BIND answers AD with signatures
    that have ended.
    """
    held = await ask(address, zone, "SOA", zone, recursive=False, checked=False, port=port)
    if isinstance(held, Answer) and held.authoritative and held.serial is not None:
        return _shown(held, held.serial)
    answer = await ask(address, zone, "SOA", zone, checked=False, port=port)
    if isinstance(answer, str):
        return f"{address}: {answer}"
    if answer.serial is None:
        return f"{address} answers {answer.rcode} without a SOA of {zone}"
    left = held.left if isinstance(held, Answer) else None
    return _shown(answer, answer.serial, left)


async def mirrored(address: str, zone: str, *, port: int = 53) -> int | None:
    """Serial of the mirror that BIND has at this address; None: it shows none.

    Without recursion it answers from the mirror, without AA, and with EDNS EXPIRE, which no cache
    has.
    """
    answer = await ask(address, zone, "SOA", zone, recursive=False, checked=False, port=port)
    return answer.serial if isinstance(answer, Answer) and answer.left is not None else None


def _shown(answer: Answer, serial: int, left: Seconds | None = None) -> Shown:
    return Shown(
        serial=serial,
        expires=answer.expires,
        expire=answer.expire,
        left=answer.left if answer.left is not None else left,
        authoritative=answer.authoritative,
    )


class CopyFile:
    """The file of a copy, verified by a child process whenever it changes."""

    def __init__(self, file: Path, zone: str) -> None:
        self._file, self._zone = file, zone
        self._seen: tuple[int, int, int] | None = None
        self._known: FileShown | None = None
        self._at: Instant = 0.0
        """When it was verified."""
        self._waiting = False
        """The file system has not answered yet."""
        self.trouble = ""
        """Why nothing is known of it; empty: something is."""

    async def look(self, keys: KeyStore, wall: WallTime) -> FileShown | None:
        """What it amounts to; None: nothing is known of it, for a reason of this host."""
        if self._waiting:
            return None
        try:
            async with asyncio.timeout(STAT_WITHIN):
                seen = await aside(self._stat)
        except TimeoutError:
            self.trouble = f"{self._file}: its file system does not answer"
            return None
        except OSError as error:
            self._seen, self.trouble = None, ""
            self._known = FileShown(refused=f"{self._file}: {error.strerror or error}")
            return self._known
        refused = self._known is not None and bool(self._known.refused)
        if seen == self._seen and not (refused and time.monotonic() - self._at > AGAIN):
            return self._known
        anchors = anchors_for(self._zone, keys)
        if self._zone not in anchors:
            self.trouble = f"{self._file}: no keys of {self._zone} to verify it with"
            return None
        # The root has had ZONEMD since 2023 (RFC 8976); other zones may have none.
        facts = await examine(
            self._file, self._zone, anchors, wall, digest_required=self._zone == "."
        )
        if isinstance(facts, Failed) and facts.fault is Fault.HOST:
            self.trouble = f"{self._file}: {facts.because}"
            return None
        self._seen, self._at, self.trouble = seen, time.monotonic(), ""
        self._known = _file_shown(facts)
        return self._known

    def _stat(self) -> tuple[int, int, int]:
        self._waiting = True
        try:
            found = self._file.stat()
        finally:
            self._waiting = False
        return found.st_mtime_ns, found.st_size, found.st_ino


def _file_shown(facts: ZoneFacts | Failed) -> FileShown:
    if isinstance(facts, Failed):
        return FileShown(refused=facts.because)
    shown = Shown(serial=facts.serial, expires=facts.expires, expire=facts.expire)
    unknown = [f"algorithm {number}" for number in facts.algorithms if number not in ALGORITHMS]
    return FileShown(
        shown=shown,
        refused="; ".join(facts.problems[:2]),
        foreign=(*facts.unknown_types[:8], *unknown[:8]),
    )


def anchors_for(zone: str, keys: KeyStore) -> Anchors:
    """The zone's own anchor: a configured one, else made of the keys that the chain has proven."""
    if zone in keys.anchors:
        return keys.anchors
    held = keys.keys_for(zone)
    if held is None or not held.trusted:
        return {}
    return {zone: Anchor(zone=zone, dnskey=held.trusted)}
