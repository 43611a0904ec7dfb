"""One who waits for a moment or for a ring: nothing is missed, and he can be sent home."""

from __future__ import annotations

import asyncio
import math

from steering.system.wakeup import Wakeup


def test_a_ring_and_a_moment_are_told_apart() -> None:
    async def story() -> None:
        bell = Wakeup()
        assert not await bell.wait(0.001)
        bell.ring()
        assert await bell.wait(math.inf)
        assert not await bell.wait(0.001), "one ring wakes once"

    asyncio.run(story())


def test_rings_while_nobody_waits_are_kept_until_they_are_hushed() -> None:
    async def story() -> None:
        bell = Wakeup()
        bell.ring()
        bell.ring()
        assert await bell.wait(math.inf)
        bell.ring()
        bell.clear()
        assert not await bell.wait(0.001)

    asyncio.run(story())


def test_who_waits_can_be_ended_in_the_very_moment_of_a_ring() -> None:
    """An agent that was told to stop then went on for ever."""

    async def story() -> None:
        bell = Wakeup()

        async def turns() -> None:
            while True:
                await bell.wait(1.0)

        for pauses in range(4):  # between the ring and the end
            task = asyncio.create_task(turns())
            await asyncio.sleep(0)
            bell.ring()
            for _ in range(pauses):
                await asyncio.sleep(0)
            task.cancel()
            _, pending = await asyncio.wait([task], timeout=5.0)
            task.cancel()
            assert not pending, f"{pauses} steps of the loop after the ring"

    asyncio.run(story())
