"""`steering off` and `on`: the switch that works with the agent dead and its files broken."""

from __future__ import annotations

import argparse
import os
import sys

from steering.author import author
from steering.excuse import FAILED, FINE, NOT_PERMITTED


def off(options: argparse.Namespace) -> int:
    """Throw the switch, then say how that went."""
    from steering.act.off import switch_off
    from steering.places import claim, places

    # The switch must not hang on a configuration that still parses: where it does not, the
    # two directories are taken from it as they can be, and the claim from the lease. Nothing
    # that may fail, be it a word on a closed terminal, comes before it is thrown.
    where = places(options.config)
    result = switch_off(
        state=where.state,
        runtime=where.runtime,
        reason=options.reason,
        by=author(),
        configured=lambda: claim(options.config),
    )
    for trouble in (where.trouble, *map(str, result.troubles)):
        _complain(trouble)
    if result.gone and result.engaged:
        lasting = "" if result.lasting else ", but only until this host restarts"
        print(f"off: everything taken back in {result.seconds:.2f} s{lasting}")
        return FINE
    return NOT_PERMITTED if os.geteuid() else FAILED


def on(options: argparse.Namespace) -> int:
    """End `off`."""
    from steering.act.off import OffSwitch
    from steering.places import places

    where = places(options.config)
    _complain(where.trouble)
    switch = OffSwitch(state=where.state, runtime=where.runtime)
    was = switch.engaged()
    switch.release()
    print("on again" if was else "was on already")
    return FINE


def _complain(trouble: str) -> None:
    if trouble:
        print(f"steering: {trouble}", file=sys.stderr)
