"""Waits for a time or for a call of `ring`, whichever comes first, with one timer."""

from __future__ import annotations

import asyncio
import math

from steering.model import Seconds


class Wakeup:
    """For one waiter. Calls of `ring` while it does not wait end its next wait, as one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._rung = False

    def ring(self) -> None:
        """Ends the present wait, or the next one as soon as it begins."""
        self._rung = True
        self._event.set()

    def clear(self) -> None:
        """Forgets earlier calls of `ring`."""
        self._rung = False
        self._event.clear()

    async def wait(self, longest: Seconds) -> bool:
        """Whether `ring` was called within so many seconds (infinity: waits until it is).

        Can be cancelled at any moment. Not so `asyncio.wait_for` up to Python 3.11: it swallows a
        cancellation that comes together with what it waits for.
        """
        timer = None
        if math.isfinite(longest):
            timer = asyncio.get_running_loop().call_later(max(longest, 0.0), self._event.set)
        try:
            await self._event.wait()
            return self._rung
        finally:
            if timer is not None:
                timer.cancel()
            self.clear()
