"""Knot Resolver: the module prefill, unloaded through the control sockets of its instances.

Measured with 5.6. The instance's configuration runs the dedicated Lua file by `dofile`. What
prefill has put into the cache stays there until `cache.clear()`. It remembers no failure that
lasts, so there is nothing to flush after a move.

A control socket takes lines of Lua. After `__binary` each answer is a length, four octets in
network order, and so much text. The text is what the line evaluates to, so each line is made to
evaluate to a word of ours, or to the error.
"""

from __future__ import annotations

import asyncio
import pwd
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from steering.act.resolvers.by_include import ByInclude
from steering.act.resolvers.driver import Kind, Moved, NotDoneError, Result, result
from steering.act.resolvers.include import Include
from steering.model import Seconds

MOST: Final = 65_536
"""Octets of an answer."""
ROOT: Final = "."
"""The one zone that prefill knows."""
_PROMPT: Final = b"> "
_DONE: Final = "'done'"
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred (unix(7))
_TRY: Final = (
    "(function() local ok, problem = pcall(function() {} end)"
    " return ok and 'done' or 'failed: ' .. tostring(problem) end)()"
)
_UNLOAD: Final = "if prefill then modules.unload('prefill') end cache.clear()"


class Knot(ByInclude):
    """Knot Resolver: all its instances."""

    kind = Kind.KNOT

    def __init__(
        self, sockets: Sequence[Path], *, user: str, limit: Seconds, include: Include | None = None
    ) -> None:
        """`user`: whom the instances run as; `limit`: for each of them."""
        super().__init__(include)
        self._sockets, self._user, self._limit = sockets, user, limit

    async def unload(self, zone: str) -> str:
        """Ends the module, and clears the cache, which has the copy's records."""
        _check_zone(zone)
        return await self._all(_UNLOAD)

    async def load(self, zone: str) -> str:
        """Runs the file. Where it fails, the module is ended again."""
        _check_zone(zone)
        assert self._include is not None
        try:
            return await self._all(f"dofile({_quoted(str(self._include.path))})")
        except NotDoneError as error:
            try:
                await self._all(_UNLOAD)
            except NotDoneError as left:
                raise NotDoneError(f"{error}; and it is not out again: {left}") from None
            raise

    async def is_out(self, zone: str) -> bool | None:
        """Whether no instance has the module."""
        out = True
        for path in self._sockets if zone == ROOT else ():
            try:
                out = await self._say(path, "tostring(prefill == nil)") == "'true'" and out
            except NotDoneError:
                return None
        return out

    async def reach(self) -> Result:
        """Asks all instances (`Driver`)."""
        return await result(self._all(""))

    def remembers(self, moved: Moved) -> bool:  # noqa: ARG002
        """It never does (`Driver`)."""
        return False

    async def flush(self, moved: Moved) -> Result:  # noqa: ARG002
        """There is nothing to do (`Driver`)."""
        return Result(done=True, said="nothing to flush", seconds=0.0)

    async def _all(self, statements: str) -> str:
        """Has every instance do it, also after one that does not. Raises NotDoneError."""
        problems = []
        for path in self._sockets:
            try:
                said = await self._say(path, _TRY.format(statements))
            except NotDoneError as error:
                problems.append(str(error))
            else:
                if said != _DONE:
                    problems.append(f"{path}: {said}")
        if problems:
            raise NotDoneError("; ".join(problems))
        return f"done by {', '.join(str(path) for path in self._sockets)}"

    async def _say(self, path: Path, line: str) -> str:
        """What an instance answers to a line of Lua. Raises NotDoneError."""
        try:
            async with asyncio.timeout(self._limit):
                return await self._asked(path, line)
        except TimeoutError:
            raise NotDoneError(f"{path}: no answer within {self._limit:g} s") from None
        except asyncio.IncompleteReadError:
            raise NotDoneError(f"{path}: closed without an answer") from None
        except OSError as error:
            raise NotDoneError(f"{path}: {error.strerror or error}") from None

    async def _asked(self, path: Path, line: str) -> str:
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            _check_owner(path, writer.get_extra_info("socket"), self._user)
            writer.write(f"__binary\n{line}\n".encode())
            if (found := await reader.readexactly(len(_PROMPT))) != _PROMPT:
                raise NotDoneError(f"{path}: no control socket of kresd: it begins with {found!r}")
            length = int.from_bytes(await reader.readexactly(4), "big")
            if length > MOST:
                raise NotDoneError(f"{path}: an answer of {length} bytes, wanted at most {MOST}")
            return (await reader.readexactly(length)).decode(errors="replace")
        finally:
            writer.transport.abort()


def _check_zone(zone: str) -> None:
    """Raises NotDoneError."""
    if zone != ROOT:
        raise NotDoneError(f"prefill is for the root zone alone, not for {zone}")


def _check_owner(path: Path, connected: socket.socket, user: str) -> None:
    """Raises NotDoneError where another user listens there: it would be told what to run.

    The kernel says who called listen(2) (SO_PEERCRED, unix(7)).
    """
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    try:
        wanted = pwd.getpwnam(user).pw_uid
    except KeyError:
        wanted = 0
    if uid not in {0, wanted}:
        raise NotDoneError(f"{path}: belongs to user {uid}, wanted {user} or root; not used")


def _quoted(text: str) -> str:
    """A string of Lua."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
