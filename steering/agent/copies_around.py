"""What the agent has in force, as the task that watches copies of zones needs it."""

from __future__ import annotations

from collections.abc import Sequence

from steering.agent.copies_zone import Around
from steering.agent.runtime import Runtime
from steering.config import Mode
from steering.decide.state import State
from steering.model import Seconds
from steering.observe.copies.servers import Proven

LATELY: Seconds = 300.0
"""How old the latest answer of a path may be whose serial counts."""


def around(runtime: Runtime) -> Around:
    """The files, keys and measurements of now."""
    state, components = runtime.state, runtime.components
    setup = runtime.version.setup
    return Around(
        setup=setup,
        keys=components.keys,
        signatures=components.signatures,
        acts=setup.config.mode is Mode.ENFORCE,
        off=state.off,
        doubt="this host's clock is in doubt" if "clock" in state.alarms else "",
        proven=lambda zone: proven(state, zone),
        servers=lambda zone: [
            settings.address
            for settings in state.index.settings.values()
            if zone in settings.policy.zones
        ],
    )


def proven(state: State, zone: str) -> Sequence[Proven]:
    """The serials of a zone that probes saw lately with good signatures, over every path."""
    ledger, found = state.ledger, dict[int, float | None]()
    for settings in state.index.settings.values():
        if zone not in settings.policy.zones:
            continue
        signed = {serial for serial, _ in ledger.zone(settings.upstream, zone).serials}
        for path in state.index.paths:
            record = ledger.path(settings.address, path)
            copy = record.copies.get(zone)
            if copy is None or copy.serial not in signed or state.now - record.answered > LATELY:
                continue
            life = copy.soonest.life(ledger.windows, state.wall)
            if copy.serial is not None:
                found[copy.serial] = None if life is None else state.wall + life
    return [Proven(serial=serial, expires=expires) for serial, expires in found.items()]
