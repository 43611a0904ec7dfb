"""Waiting for what has no event of its own: look again and again, for a limited time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from steering.model import Instant, Seconds

T = TypeVar("T")

TRUE: Final = object()
"""Whatever counts as true."""


def poll(look: Callable[[], T], *, timeout: Seconds, every: Seconds = 0.01) -> T:
    """Look until the result is true, for at most ``timeout`` seconds; returns the last result."""
    end = time.monotonic() + timeout
    while not (seen := look()) and time.monotonic() < end:
        time.sleep(every)
    return seen


def until(
    look: Callable[[], object],
    within: Seconds = 20.0,
    *,
    wanted: object = TRUE,
    every: Seconds = 0.005,
    meanwhile: Callable[[], object] = lambda: None,
    tell: object = "",
) -> Seconds:
    """Look until the result is true; the seconds that this took.

    Args:
        look: what is waited for.
        within: the limit. By default it waits for a busy machine.
        wanted: the result to wait for, in place of a true one.
        every: the pause after each look.
        meanwhile: what is done before each look.
        tell: what else the error says; it is called if it can be.

    Raises:
        AssertionError: it did not become so. It says what was waited for and the last result.
    """
    wait = _Wait(look, wanted, within, tell)
    meanwhile()
    while not wait.over():
        time.sleep(every)
        meanwhile()
    return wait.took


async def async_until(
    look: Callable[[], object],
    within: Seconds = 5.0,
    *,
    wanted: object = TRUE,
    every: Seconds = 0.005,
    tell: object = "",
) -> Seconds:
    """The same, while other tasks go on."""
    wait = _Wait(look, wanted, within, tell)
    while not wait.over():  # noqa: ASYNC110 - it has no event of its own
        await asyncio.sleep(every)
    return wait.took


@dataclass(frozen=True, slots=True)
class _Wait:
    look: Callable[[], object]
    wanted: object
    within: Seconds
    tell: object
    began: Instant = field(default_factory=time.monotonic)

    @property
    def took(self) -> Seconds:
        return time.monotonic() - self.began

    def over(self) -> bool:
        seen = self.look()
        if seen if self.wanted is TRUE else seen == self.wanted:
            return True
        if self.took < self.within:
            return False
        told = [f"not within {self.within:g} s: {_words(self.look)}", f"it was {seen!r}"]
        if self.wanted is not TRUE:
            told.append(f"wanted {self.wanted!r}")
        if more := self.tell() if callable(self.tell) else self.tell:
            told.append(str(more))
        raise AssertionError("; ".join(told))


def _words(look: Callable[[], object]) -> str:
    """Its name, or its source if it has none."""
    name = getattr(look, "__qualname__", repr(look))
    if not name.endswith("<lambda>"):
        return name
    try:
        return " ".join(inspect.getsource(look).split())
    except OSError:  # python -c
        return name
