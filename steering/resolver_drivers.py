"""From the settings of a resolver to the driver that reaches it."""

from __future__ import annotations

from pathlib import Path

from steering.act.resolvers.bind import Bind
from steering.act.resolvers.command import Command
from steering.act.resolvers.driver import Driver
from steering.act.resolvers.include import Include
from steering.act.resolvers.knot import Knot
from steering.act.resolvers.powerdns import PowerDns
from steering.act.resolvers.unbound import Unbound
from steering.config.resolvers import (
    Argv,
    BindControl,
    CommandSection,
    Control,
    Flush,
    KnotControl,
    UnboundControl,
)
from steering.model import Seconds


def driver_of(settings: Control) -> Driver:
    """The driver of one resolver. Nothing is run, read or connected yet."""
    include, limit = settings.include, settings.time_limit
    if isinstance(settings, UnboundControl):
        control, check = _command(settings, settings.control), _command(settings, settings.check)
        return Unbound(control, check, _include(include, "#", limit))
    if isinstance(settings, BindControl):
        control, check = _command(settings, settings.control), _command(settings, settings.check)
        return Bind(control, check, _include(include, "//", limit))
    file = _include(include, "--", limit)
    if isinstance(settings, KnotControl):
        return Knot(settings.sockets, user=settings.user, limit=limit, include=file)
    return PowerDns(_command(settings, settings.control), file)


def flushing(settings: Flush | None) -> tuple[Driver, ...]:
    """The drivers of the resolvers that are flushed."""
    if settings is None:
        return ()
    each = (settings.unbound, settings.bind, settings.pdns_recursor)
    return tuple(driver_of(one) for one in each if one is not None)


def _command(settings: CommandSection, argv: Argv) -> Command:
    return Command(argv=argv, limit=settings.time_limit, user=settings.user)


def _include(path: Path | None, comment: str, limit: Seconds) -> Include | None:
    return None if path is None else Include(path, comment=comment, limit=limit)
