"""From the settings of a resolver to how it is given a copy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from steering.act.resolvers.by_include import ByInclude
from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Driver, Kind
from steering.act.resolvers.include import holds_comment
from steering.config.resolvers import (
    BindControl,
    CommandSection,
    Control,
    PowerDnsControl,
    UnboundControl,
)
from steering.config.rootzone import Publish
from steering.model import Seconds
from steering.resolver_drivers import driver_of
from steering.rootzone.keep import ROOT
from steering.rootzone.publish import Target

_CHECK: Final[Seconds] = 60.0
"""For a checker, which reads the whole zone."""

_UNBOUND: Final = """\
server:
\tdirectory: ""
\tchroot: ""
\tusername: ""
\tpidfile: ""
\tuse-syslog: no
auth-zone:
\tname: "{zone}"
\tzonefile: "{file}"
"""


def target_of(name: str, settings: Publish) -> Target:
    """How one resolver is given the copy. Nothing is run or read yet."""
    control = settings.control
    driver = driver_of(control)
    return Target(
        name=name,
        kind=driver.kind,
        file=settings.file,
        is_out=lambda: _is_out(control, driver),
        check=_checker(control),
        reload=_reload(control, driver),
        address=settings.address,
    )


async def _is_out(control: Control, driver: Driver) -> bool | None:
    """Whether its copy is out of the way: by its own word, and by the file where it has none.

    With Knot the file counts before its word: to reload brings the text of the file back.
    """
    said = await driver.is_out(ROOT)
    if control.include is None or (said is False and driver.kind is not Kind.KNOT):
        return said
    return True if await holds_comment(control.include, control.time_limit) else said


def _checker(control: Control) -> Callable[[Path], tuple[Command, str]] | None:
    """The resolver's own checker for a file."""
    if isinstance(control, UnboundControl):
        program = Command(argv=control.check[:1], limit=_CHECK)
        return lambda file: (program, _UNBOUND.format(zone=ROOT, file=file))
    if isinstance(control, BindControl):
        return lambda file: (_named_checkzone(file), "")
    return None  # they have none


def _named_checkzone(file: Path) -> Command:
    # Without `-i none` it asks servers for each name outside the zone, for minutes.
    argv = ("named-checkzone", "-i", "none", "-k", "ignore", ROOT, str(file))
    return Command(argv=argv, limit=_CHECK)


def _reload(control: Control, driver: Driver) -> Callable[[], Awaitable[object]] | None:
    if isinstance(control, UnboundControl):
        return _command(control, *control.control, "auth_zone_reload", ROOT).run
    if isinstance(control, BindControl):
        return _command(control, *control.control, "reload", ROOT).run
    if isinstance(control, PowerDnsControl):
        return _command(control, *control.control, "reload-lua-config").run
    if control.include is None:
        return None  # prefill reads the file when its interval is over

    assert isinstance(driver, ByInclude)

    async def configure_again() -> None:
        # Not `put_back`: what is taken out between the look at that and this stays out.
        await driver.load(ROOT)

    return configure_again


def _command(control: CommandSection, *argv: str) -> Command:
    return Command(argv=argv, limit=control.time_limit, user=control.user)
