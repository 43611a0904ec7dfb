"""PowerDNS Recursor: zoneToCache in its Lua configuration, and the bogus answers that it keeps.

Measured with 4.8. The operator's Lua file runs the dedicated one by `dofile`. A Lua configuration
that does not run is refused and the one before stays in force, but at a start it is fatal. What
zoneToCache has put into the cache stays there until `wipe-cache`; so do bogus answers, for
`max-cache-bogus-ttl`, an hour. Whether there is a zone to be put into the cache is looked at once a
minute, so a copy that was put back is in use a minute later.
"""

from __future__ import annotations

from collections.abc import Collection

from steering.act.resolvers.by_include import ByInclude
from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Kind, Moved, Result, result
from steering.act.resolvers.include import Include


class PowerDns(ByInclude):
    """PowerDNS Recursor, by `rec_control`."""

    kind = Kind.POWERDNS

    def __init__(self, control: Command, include: Include | None = None) -> None:
        super().__init__(include)
        self._control = control

    async def unload(self, zone: str) -> str:
        """Reads the configuration without the copy, and wipes what came from it."""
        await self._control.run("reload-lua-config")
        return await self._wipe((zone,))

    async def load(self, zone: str) -> str:
        """Reads the configuration with the copy, which is then put into the cache."""
        return f"{await self._control.run('reload-lua-config')} for {zone}"

    async def is_out(self, zone: str) -> bool | None:  # noqa: ARG002
        """It does not say."""
        return None

    async def reach(self) -> Result:
        """Asks for its status (`Driver`)."""
        return await result(self._control.run("ping"))

    def remembers(self, moved: Moved) -> bool:
        """Where anything was bogus (`Driver`)."""
        return moved.bogus

    async def flush(self, moved: Moved) -> Result:
        """Forgets all at and below these zones (`Driver`)."""
        return await result(self._wipe(moved.zones))

    async def _wipe(self, zones: Collection[str]) -> str:
        return "wipe-cache: " + await self._control.run("wipe-cache", *(f"{z}$" for z in zones))
