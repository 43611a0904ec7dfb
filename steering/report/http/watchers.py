"""Who is told of changes as they come: server-sent events, written once for all of them.

Each gets all there is first and then what changed. Compressed, a message is a run of deflate blocks
that refer to nothing before them, so the same octets go to everybody.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import Final

from steering.model import Instant, Seconds
from steering.report.http.connection import Connection, Phase
from steering.report.http.ipc import Answer

EVERY: Final[Seconds] = 1.0
"""Least time between two messages."""
ALIVE: Final[Seconds] = 15.0
"""A comment at least so often shows both ends that the other is there."""

Cells = dict[str, list[str]]


@dataclass(slots=True)
class Watchers:
    """The latest state, and the messages about it."""

    number: int = -1
    """The turn that was shown last."""
    _due: Instant = float("-inf")
    _alive_at: Instant = float("-inf")
    _structure: str = ""
    _cells: Cells = field(default_factory=dict)

    def wants(self, number: int, now: Instant) -> bool:
        """Whether the state after this turn is wanted now."""
        return number != self.number and now >= self._due

    def asked(self, now: Instant) -> None:
        """It was asked for."""
        self._due = now + EVERY

    def tell(self, answer: Answer, number: int, clients: list[Connection], now: Instant) -> None:
        """Push what changed to those who know the rest, and all to the others.

        Who has not taken an earlier message yet is told all when it has.
        """
        self.number = number
        live = json.loads(answer.body)
        structure, cells = live["structure"], live["cells"]
        changed = {key: cell for key, cell in cells.items() if self._cells.get(key) != cell}
        news = bool(changed) or structure != self._structure
        self._structure, self._cells = structure, cells
        change = _Message({"structure": structure, "cells": changed})
        whole = _Message({"structure": structure, "cells": cells})
        for client in clients:
            if client.sending:
                client.behind = client.behind or news
            elif client.behind:
                client.push(whole.octets(gzip=client.gzip))
                client.behind = False
            elif news:
                client.push(change.octets(gzip=client.gzip))
        if news:
            self._alive_at = now

    def keep_alive(self, clients: list[Connection], now: Instant) -> bool:
        """Push a comment where nothing was told for long; whether that was so."""
        if now - self._alive_at < ALIVE:
            return False
        self._alive_at = now
        comment = _Message(None)
        for client in clients:
            if not client.sending:
                client.push(comment.octets(gzip=client.gzip))
        return True


class _Message:
    """One message, written when it is first needed."""

    def __init__(self, data: dict[str, object] | None) -> None:
        self._data = data
        self._written: dict[bool, bytes] = {}

    def octets(self, *, gzip: bool) -> bytes:
        """As server-sent events have it."""
        if gzip not in self._written:
            text = b":\n\n" if self._data is None else b"data: %s\n\n" % _json(self._data)
            self._written[gzip] = _deflated(text) if gzip else text
        return self._written[gzip]


def _json(data: dict[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _deflated(text: bytes) -> bytes:
    made = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return made.compress(text) + made.flush(zlib.Z_FULL_FLUSH)


def watching(clients: list[Connection]) -> list[Connection]:
    """Those of the clients that are told of changes."""
    return [client for client in clients if client.phase is Phase.STREAM]
