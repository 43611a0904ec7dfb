"""What in a resolver's own configuration makes its copy of a zone dangerous, for `steering check`.

Each resolver has a module that reads its files as they are, includes followed, and names the
settings by which a copy could go on serving old data, or fail every name when it expires. Nothing
is asked of the running resolver, and nothing is changed. What a file does not show (a script, the
command line) is not guessed. The reasons are in docs/copies.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from steering.config.resolvers import (
    BindControl,
    Control,
    KnotControl,
    PowerDnsControl,
    UnboundControl,
)
from steering.resolver_settings import bind, knot, powerdns, unbound
from steering.resolver_settings.dangers import Danger, Findings

_READERS: Mapping[type[Control], Callable[[Path, str, Findings], None]] = {
    UnboundControl: unbound.look,
    BindControl: bind.look,
    PowerDnsControl: powerdns.look,
    KnotControl: knot.look,
}


def dangers(
    kind: type[Control], settings: Path, zone: str, *, renewed: Collection[Path] = ()
) -> tuple[Danger, ...]:
    """The dangers of one resolver's copy of a zone, by file and line.

    A file that can't be read or understood is one of them.

    Args:
        kind: which resolver it is.
        settings: its main configuration file.
        zone: the zone's name, absolute and in lower case.
        renewed: files of zones that something else renews.
    """
    findings = Findings(renewed=frozenset(renewed))
    _READERS[kind](settings, zone, findings)
    return findings.sorted()
