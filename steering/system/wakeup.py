"""Waits for a moment or for a ring, whichever comes first, at the price of one timer."""

from __future__ import annotations

import asyncio
import math

from steering.model import Seconds


class Wakeup:
    """One waiter's bell. Rings while nobody waits are kept, as one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._rung = False

    def ring(self) -> None:
        """Ends the present wait, or the next one at once."""
        self._rung = True
        self._event.set()

    def clear(self) -> None:
        """Forgets the rings so far."""
        self._rung = False
        self._event.clear()

    async def wait(self, longest: Seconds) -> bool:
        """Whether it was rung within so many seconds (infinity: waits until it is).

        Can be cancelled at any moment. Not so `asyncio.wait_for`, which up to Python 3.11
        swallows a cancellation that comes together with what it waits for.
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
