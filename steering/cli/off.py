"""`steering off` and `on`: they work without an agent, and with faulty files."""

from __future__ import annotations

import argparse
import os
import sys

from steering.cli.operator import author
from steering.errors import FAILED, FINE, NOT_PERMITTED
from steering.model import Seconds


def off(options: argparse.Namespace) -> int:
    """Set the switch, then print what was done."""
    from steering.cli.off_paths import asked, claim

    answer = asked(options.config)  # it is read while the rest is loaded
    from steering.act.off_switch import switch_off

    # The switch must work with a faulty configuration: the two directories are then read from it as
    # far as possible, and the claim from the lease. Nothing that may fail, such as printing to a
    # closed terminal, comes before the switch is set.
    where = answer()
    result = switch_off(
        state=where.state,
        runtime=where.runtime,
        reason=options.reason,
        by=author(),
        configured=lambda: claim(options.config) if where.read else None,
        taken_back=_print_removed,
    )
    for problem in (where.trouble, *map(str, result.troubles)):
        _complain(problem)
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


def _print_removed(seconds: Seconds) -> None:
    """Print it at once: writing to the disk may take longer."""
    try:
        print(f"off: everything taken back in {seconds:.2f} s", flush=True)
    except OSError:  # no reader; the exit code is enough
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


def _complain(problem: str) -> None:
    if problem:
        print(f"steering: {problem}", file=sys.stderr)
