"""What an agent consists of while it runs: tasks, the first of which that fails ends them all,
and descriptors that wake it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Tasks by what they do, each of which can give way to another one."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._heard: list[int] = []
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def put(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        """Have this done from now on, instead of what went by the name before."""
        self.end(name)
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)

    def end(self, name: str) -> None:
        """Have it done no longer."""
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()

    def hear(self, descriptor: int, news: Callable[[], None]) -> None:
        """Call this whenever there is something to read."""
        asyncio.get_running_loop().add_reader(descriptor, news)
        self._heard.append(descriptor)

    def stop_reading(self) -> None:
        """Hear of no descriptor any more. To be called while they are still open."""
        while self._heard:
            asyncio.get_running_loop().remove_reader(self._heard.pop())

    async def work(self) -> None:
        """Until one of them returns; raises what one of them raised. Then none goes on."""
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
