"""Unbound: an auth-zone, and the bogus answers and silent servers that it remembers.

Measured with 1.17.1. A reload of a configuration that does not parse ends the process, so it is
checked before each. A reload keeps the cache, and what was validated from the copy stays in it:
`flush_bogus` does not remove what failed because of the copy, `flush_zone` does (its issue 292).
`val-bogus-ttl` is 60 s; a server that was silent may be left out for days (its issue 1461).
"""

from __future__ import annotations

import re

from steering.act.resolvers.by_include import ByInclude
from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Kind, Moved, NotDoneError, Result, result
from steering.act.resolvers.include import Include


class Unbound(ByInclude):
    """Unbound, by `unbound-control`."""

    kind = Kind.UNBOUND

    def __init__(self, control: Command, check: Command, include: Include | None = None) -> None:
        super().__init__(include)
        self._control, self._check = control, check

    async def unload(self, zone: str) -> str:
        """Reloads, and flushes what came from the copy."""
        await self._reload()
        return await self._control.run("flush_zone", zone)

    async def load(self, zone: str) -> str:
        """Reloads, after `unbound-checkconf` has parsed the zone's file."""
        said = await self._reload()
        if zone not in (zones := await self._auth_zones()):
            raise NotDoneError(f"{zone} is not among its auth-zones: {', '.join(zones) or 'none'}")
        return said

    async def is_out(self, zone: str) -> bool | None:
        """Whether it lists no such auth-zone."""
        try:
            return zone not in await self._auth_zones()
        except NotDoneError:
            return None

    async def reach(self) -> Result:
        """Asks for its status (`Driver`)."""
        return await result(self._control.run("status"))

    def remembers(self, moved: Moved) -> bool:
        """Where anything was bogus, or silent (`Driver`)."""
        return moved.bogus or bool(moved.silent)

    async def flush(self, moved: Moved) -> Result:
        """Forgets bogus answers, of all zones, and that these addresses were silent (`Driver`)."""
        return await result(self._flush(moved))

    async def _flush(self, moved: Moved) -> str:
        said = []
        if moved.bogus:
            said.append("flush_bogus: " + await self._control.run("flush_bogus"))
        for address in moved.silent:
            await self._control.run("flush_infra", address)
        if moved.silent:
            said.append(f"flush_infra: {', '.join(moved.silent)}")
        return "; ".join(said)

    async def serial(self, zone: str) -> int | None:
        """Serial of its auth-zone; None: it has none, or does not say."""
        try:
            lines = (await self._control.run("list_auth_zones")).splitlines()
        except NotDoneError:
            return None
        found = (re.match(r"(\S+)\t\s*serial (\d+)", line) for line in lines)
        return next((int(one[2]) for one in found if one and one[1] == zone), None)

    async def _auth_zones(self) -> tuple[str, ...]:
        lines = (await self._control.run("list_auth_zones")).splitlines()
        return tuple(line.split("\t")[0] for line in lines)

    async def _reload(self) -> str:
        await self._check.run()
        try:
            return await self._control.run("reload_keep_cache")
        except NotDoneError as error:
            if "unknown command" not in str(error):
                raise
            return await self._control.run("reload")  # before 1.17
