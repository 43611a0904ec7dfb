"""BIND: a mirror zone, and a key set that it remembers as bogus.

Measured with 9.18. A mirror answers with AD however old its signatures are, and is gone as soon as
the configuration has no such zone. BIND asks again for whatever was bogus, but for the keys of a
zone: those it remembers for 27.6 s.
"""

from __future__ import annotations

from steering.act.resolvers.by_include import ByInclude
from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Fault, Kind, Moved, NotDoneError, Result, result
from steering.act.resolvers.include import Include


class Bind(ByInclude):
    """BIND, by `rndc`."""

    kind = Kind.BIND

    def __init__(self, control: Command, check: Command, include: Include | None = None) -> None:
        super().__init__(include)
        self._control, self._check = control, check

    async def unload(self, zone: str) -> str:
        """Has it read its configuration, which has no such zone now."""
        return await self._reconfigure(zone)

    async def load(self, zone: str) -> str:
        """Has it read its configuration. It transfers the zone, or reads its file."""
        return await self._reconfigure(zone)

    async def is_out(self, zone: str) -> bool | None:
        """Whether it has no such zone, or has not loaded it: then it asks the real servers."""
        try:
            await self._control.run("zonestatus", zone)
        except NotDoneError as error:
            gone = any(text in str(error) for text in ("not found", "no matching zone"))
            return True if gone or "not loaded" in str(error) else None
        return False

    async def reach(self) -> Result:
        """Asks for its status (`Driver`)."""
        return await result(self._control.run("status"))

    def remembers(self, moved: Moved) -> bool:
        """Only where keys were bogus (`Driver`)."""
        return Fault.KEYS in moved.faults

    async def flush(self, moved: Moved) -> Result:
        """Forgets all below these zones (`Driver`)."""
        return await result(self._flush(moved))

    async def _flush(self, moved: Moved) -> str:
        for zone in moved.zones:
            await self._control.run("flushtree", zone)
        return f"flushtree: {', '.join(moved.zones)}"

    async def _reconfigure(self, zone: str) -> str:
        await self._check.run()
        said = await self._control.run("reconfig")
        return said.strip() or f"rndc reconfig, for {zone}"
