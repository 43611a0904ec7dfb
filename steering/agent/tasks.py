"""The asyncio tasks and watched descriptors of a running agent.

The first task that ends or fails ends them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Tasks by name. A task can be replaced by another of the same name."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._descriptors: list[int] = []
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Start a task, in place of the one of this name."""
        self.stop(name)
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)

    def stop(self, name: str) -> None:
        """Cancel the task of this name, if there is one."""
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()

    def on_readable(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call this whenever the descriptor has something to read."""
        asyncio.get_running_loop().add_reader(descriptor, call)
        self._descriptors.append(descriptor)

    def stop_reading(self) -> None:
        """Watch no descriptor any more. To be called while they are still open."""
        while self._descriptors:
            asyncio.get_running_loop().remove_reader(self._descriptors.pop())

    async def run(self) -> None:
        """Wait until one task ends, then cancel all. Raises what that one raised."""
        try:
            await self._over
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[object]) -> None:
        if self._over.done() or task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._over.set_exception(error)
        else:
            self._over.set_result(None)
