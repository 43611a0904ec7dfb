"""A mapping of records while a turn writes to it: what is written to is copied first."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Edited(dict[K, V]):
    """The entries of a mapping that a turn has changed. The others are read from before it."""

    def __init__(self, was: object, blank: V) -> None:
        self.was: dict[K, V] = was  # type: ignore[assignment]  # a mapping, only read
        self._blank = blank

    def __missing__(self, key: K) -> V:
        return self.was.get(key, self._blank)

    def to_write(self, key: K) -> V:
        """The entry to write to: a copy, made at the first call."""
        made = self.get(key)
        if made is None:
            made = self[key] = _copy(self.was.get(key, self._blank))
        return made

    def merged(self) -> dict[K, V]:
        """The whole mapping after the turn; the one from before it, if nothing has changed."""
        return {**self.was, **self} if self else self.was


def _copy(record: V) -> V:
    """A shallow copy of a dataclass whose fields can be given in order."""
    kind = type(record)
    values = _VALUES.get(kind)
    if values is None:
        values = _VALUES[kind] = attrgetter(*kind.__match_args__)  # type: ignore[attr-defined]
    return kind(*values(record))


_VALUES: dict[type, Callable[[object], tuple[object, ...]]] = {}
