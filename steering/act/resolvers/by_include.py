"""Taking a copy out by the file that configures it, and the resolver's own command.

First the file, then the command: a resolver that restarts between the two is in the state that was
wanted. Where the copy can't be put back it stays out, on the disk too.
"""

from __future__ import annotations

import abc
import asyncio

from steering.act.resolvers.driver import NotDoneError, Result, result
from steering.act.resolvers.include import Include


class ByInclude(abc.ABC):
    """What the four drivers have in common. One call at a time."""

    def __init__(self, include: Include | None) -> None:
        self._include = include
        self._one = asyncio.Lock()

    async def take_out(self, zone: str) -> Result:
        """Has it no longer answer from its copy of the zone (`Driver`)."""
        async with self._one:
            return await result(self._take_out(zone))

    async def put_back(self, zone: str) -> Result:
        """Has it answer from its copy again (`Driver`)."""
        async with self._one:
            return await result(self._put_back(zone))

    @abc.abstractmethod
    async def unload(self, zone: str) -> str:
        """Has it read its configuration, now without the copy. Raises NotDoneError."""

    @abc.abstractmethod
    async def load(self, zone: str) -> str:
        """Has it read its configuration, now with the copy. Raises NotDoneError."""

    async def _take_out(self, zone: str) -> str:
        await self._file().take_out()
        return await self.unload(zone)

    async def _put_back(self, zone: str) -> str:
        file = self._file()
        await file.put_back()
        try:
            said = await self.load(zone)
        except NotDoneError as error:
            try:
                await file.take_out()
            except NotDoneError as left:
                raise NotDoneError(f"{error}; and it is not out again: {left}") from None
            raise
        await file.forget()
        return said

    def _file(self) -> Include:
        if self._include is None:
            raise NotDoneError("no `include` is configured, the file that holds the copy")
        return self._include
