"""What the tests of the kept copy share: a directory with a copy, and a resolver made of files."""

from __future__ import annotations

import asyncio
import random
import stat
from dataclasses import dataclass
from pathlib import Path

from transfers import serving
from wholezone import DAY, WholeZone

from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Kind
from steering.observe.zone.facts import Copy
from steering.rootzone.fetch import Outcome, fetch
from steering.rootzone.keep import Kept
from steering.rootzone.publish import Published, Target, publish

SERIAL = 2026120100


@dataclass
class Stage:
    """A directory, the zone's keys, and a resolver whose programs are scripts."""

    directory: Path
    made: WholeZone
    out: bool | None = False
    """Whether the resolver says that its copy is out of the way."""
    dying: bool = False
    """Whether this process dies when it asks that."""

    @property
    def kept(self) -> Kept:
        return Kept(self.directory / "rootzone")

    @property
    def file(self) -> Path:
        """The resolver's file."""
        return self.directory / "served.zone"

    @property
    def calls(self) -> list[str]:
        """What the resolver's programs were called for, in order, with the serial of its file."""
        log = self.directory / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def have(self, serial: int, *, life: float = 13 * DAY) -> Copy:
        """Fetches a copy with this serial, whose signatures live so long."""
        with serving(self.made.signed(serial, life=life)) as source, self.kept.locked():
            result = asyncio.run(fetch(self.kept, [source], self.made.anchors, self.made.now))
        assert result.outcome is Outcome.NEW, result
        assert result.copy is not None
        return result.copy

    def program(self, name: str, body: str = "exit 0") -> Command:
        """A program that notes its call and runs a line of shell."""
        script = self.directory / name
        served = f"$(head -c 400 {self.file} 2>/dev/null | grep -o '\"serial\": [0-9]*' | head -1)"
        script.write_text(f"#!/bin/sh\necho {name} {served} >>{self.directory}/calls\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return Command(argv=(str(script),), limit=10.0)

    def target(self, *, check: str = "exit 0", reload: str = "exit 0", port: int = 0) -> Target:
        """The resolver; `port` is where it is asked at 127.0.0.1, if anywhere."""
        checker = self.program("check", check)
        return Target(
            name="cache-1",
            kind=Kind.UNBOUND,
            file=self.file,
            is_out=self._is_out,
            check=lambda file: (Command(argv=(*checker.argv, str(file)), limit=10.0), ""),
            reload=self.program("reload", reload).run,
            address="127.0.0.1" if port else None,
            port=port or 53,
        )

    async def _is_out(self) -> bool | None:
        if self.dying:
            raise RuntimeError("the process dies here")
        return self.out

    def publish(self, copy: Copy, target: Target, *, later: float = 0.0) -> Published:
        with self.kept.locked():
            return asyncio.run(
                publish(
                    self.kept,
                    copy,
                    target,
                    self.made.anchors,
                    self.made.now + later,
                    rng=random.Random(1),
                )
            )
