"""What the agent says of itself: at its start, at its end, and while it is switched off."""

from __future__ import annotations

from steering.act.off_switch import OffSwitch
from steering.agent.components import Components
from steering.format import counted, duration, timestamp
from steering.report.snapshot import Snapshot


def summary(components: Components) -> str:
    """What it measures, and what it acts by."""
    setup, layout, actuators = components.setup, components.layout, components.actuators
    config = setup.config
    by_kernel = "kernel routes" if config.acts else "rules for its own probes alone"
    ways = [by_kernel] if actuators and actuators.kernel.claim.sites else []
    ways += ["BGP"] if actuators and actuators.bgp.speaker else []
    if not config.compares:
        ways = ["measures only, compares no paths (`mode: rehearse` does)"]
    return (
        f"{config.site}, {config.mode}: {len(layout.targets)} addresses of "
        f"{len(setup.policies)} upstreams over {len(layout.paths)} paths, "
        f"{' and '.join(ways) or 'measures only'}"
    )


def stopped(components: Components, shown: Snapshot | None) -> str:
    """What it leaves behind, by what was shown last, and how that ends."""
    announced = shown.bgp.announced if shown and shown.bgp else {}
    left = len({**(shown.installed if shown else {}), **announced})
    if not (components.actuators and left):
        return "nothing is steered"
    return (
        f"{counted(left, 'detour')} stay for {duration(components.setup.config.lease)}, then the "
        "guard removes them; `steering off` removes them at once"
    )


def switched_off(switch: OffSwitch) -> str:
    """Who threw the switch, when and why."""
    record = switch.record()
    if record is None:
        return "switched off"
    return f"switched off by {record.by} at {timestamp(record.time)}: {record.reason or '-'}"
