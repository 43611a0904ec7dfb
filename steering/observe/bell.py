"""Waits for a moment or for a ring, whichever comes first, at the price of one timer."""

from __future__ import annotations

import asyncio
import math

from steering.model import Seconds


class Bell:
    """One waiter's bell. Rings while nobody waits are kept, as one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Ends the present wait, or the next one at once."""
        self._event.set()

    async def wait(self, longest: Seconds) -> None:
        """Returns when rung, at the latest after so many seconds (infinity: never)."""
        timer = None
        if math.isfinite(longest):
            timer = asyncio.get_running_loop().call_later(max(longest, 0.0), self._event.set)
        try:
            await self._event.wait()
        finally:
            if timer is not None:
                timer.cancel()
            self._event.clear()
