"""`steering off` and `on`: the switch that works with the agent dead and its files broken."""

from __future__ import annotations

import argparse
import os
import sys

from steering.cli.operator import author
from steering.errors import FAILED, FINE, NOT_PERMITTED
from steering.model import Seconds


def off(options: argparse.Namespace) -> int:
    """Throw the switch, then say how that went."""
    from steering.cli.off_paths import asked, claim

    answer = asked(options.config)  # it is read while the rest is loaded
    from steering.act.off_switch import switch_off

    # The switch must not hang on a configuration that still parses: where it does not, the
    # two directories are taken from it as they can be, and the claim from the lease. Nothing
    # that may fail, be it a word on a closed terminal, comes before it is thrown.
    where = answer()
    result = switch_off(
        state=where.state,
        runtime=where.runtime,
        reason=options.reason,
        by=author(),
        configured=lambda: claim(options.config) if where.read else None,
        taken_back=_taken_back,
    )
    for trouble in (where.trouble, *map(str, result.troubles)):
        _complain(trouble)
    for one in result.beside:
        _complain(
            f"{one} acts on table {one.table} by another configuration: it is not switched off"
        )
    if not result.engaged:
        _complain("not in force: an agent that runs may install routes again")
    if not result.lasting:
        now = "off now, but " if result.engaged else ""
        _complain(f"{now}not kept: a restart of this host ends it")
    if result.gone and result.engaged and result.lasting:
        print("kept over restarts, until steering on")
        return FINE
    return NOT_PERMITTED if os.geteuid() else FAILED


def _taken_back(seconds: Seconds) -> None:
    """What is in force is said at once: the disk may still be at it."""
    try:
        print(f"off: everything taken back in {seconds:.2f} s", flush=True)
    except OSError:  # nobody reads it; the exit code tells the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def on(options: argparse.Namespace) -> int:
    """End `off`."""
    from steering.act.off_switch import OffSwitch
    from steering.cli.off_paths import places

    where = places(options.config)
    _complain(where.trouble)
    try:
        was = OffSwitch(state=where.state, runtime=where.runtime).release()
    except OSError as error:
        _complain(f"still off: {error}")
        return NOT_PERMITTED if isinstance(error, PermissionError) else FAILED
    print("on again" if was else "was on already")
    return FINE


def _complain(trouble: str) -> None:
    if trouble:
        print(f"steering: {trouble}", file=sys.stderr)
