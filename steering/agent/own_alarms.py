"""What the agent reports about itself: its own alarms, and its events at the start and the end.

Alarms about upstreams are made in `decide.messages.alarms`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from steering.act.off_switch import OffSwitch
from steering.agent.actuators import Actuators
from steering.agent.components import Components
from steering.decide.messages.alarms import settle
from steering.decide.state import Alarm
from steering.format import counted, duration, timestamp, whole_second
from steering.model import Event, Family, Instant, WallTime
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.remedies import KEYS
from steering.report.snapshot import Snapshot

_MOST = 3
"""Problems that one alarm names."""
_MOST_ZONES = 8
"""Zones that the alarm `keys` names."""


class OwnAlarms:
    """The agent's own alarms now, by name, with their start."""

    def __init__(self) -> None:
        self.alarms: Mapping[str, Alarm] = {}

    def update(
        self, problems: Mapping[str, str], wall: WallTime, others: Collection[str] = ()
    ) -> tuple[Event, ...]:
        """Take the problems of now (alarm name -> text). Returns the events of raised and cleared.

        An empty text is no problem. `others`: names of the engine's alarms, which may be a cause.
        """
        present = {name: text for name, text in problems.items() if text}
        self.alarms, events = settle(self.alarms, present, wall, others)
        return events


def sources_problem(components: Components) -> str:
    """What is not known about the addresses that send from or through this host."""
    forwarding = components.forwarding if components.actuators is not None else None
    texts = (components.sources.trouble, forwarding.trouble if forwarding is not None else "")
    return "; ".join(filter(None, texts))


def keys_problem(keys: KeyStore) -> str:
    """Which zones' keys have a problem, since when, and what to do about it."""
    wrong = keys.wrong()
    texts = [
        f"{one.zone}: {one.because.removesuffix('.')}, since " + whole_second(one.since)
        for one in wrong[:_MOST_ZONES]
    ]
    if more := len(wrong) - len(texts):
        texts.append(f"and {more} more")
    remedies = dict.fromkeys(KEYS[one.lack] for one in wrong)
    return f"{'; '.join(texts)}. To do: {'; '.join(remedies)}" if wrong else ""


def component_problems(
    components: Components, now: Instant, *, off: bool, steered: Collection[Family] = ()
) -> Mapping[str, str]:
    """What is wrong with kernel, BGP, keys and dnstap: alarm name -> text.

    An agent that is switched off has removed the rules of its probes: that is no problem. Nor is
    what is missing for a family that this host has no route for and that is not `steered`. If the
    host had a route for that family, the alarm `self` reports it, and no other alarm does.
    """
    actuators, dnstap = components.actuators, components.dnstap
    absent = components.kernel_paths.routeless(now) - frozenset(steered)
    return {
        "kernel": "; ".join(_kernel_problems(actuators, absent)[:_MOST])
        if actuators is not None
        else "",
        "bypassed": components.kernel_paths.bypassed,
        "unasked": "" if off else components.kernel_paths.unasked(now, absent),
        "bgp": "; ".join(actuators.bgp.problems[:_MOST]) if actuators is not None else "",
        "keys": keys_problem(components.keys),
        "dnstap": dnstap.problem(now) if dnstap is not None else "",
    }


def _kernel_problems(actuators: Actuators, absent: Collection[Family]) -> tuple[str, ...]:
    """All problems but those about these families alone."""
    return tuple(p for p in actuators.problems if actuators.problem_family.get(p) not in absent)


def summary(components: Components) -> str:
    """What the agent measures, and how it carries out plans."""
    setup, index, actuators = components.setup, components.index, components.actuators
    config = setup.config
    by_kernel = "kernel routes" if config.acts else "rules for its own probes only"
    means = [by_kernel] if actuators and actuators.kernel.claim.sites else []
    means += ["BGP"] if actuators and actuators.bgp.speaker else []
    if not config.compares:
        means = ["measures only: compares no paths (`mode: rehearse` does)"]
    return (
        f"{config.site}, {config.mode}: {len(index.targets)} addresses of "
        f"{len(setup.policies)} upstreams over {len(index.paths)} paths, "
        f"{' and '.join(means) or 'measures only'}"
    )


def stopped(components: Components, last: Snapshot | None) -> str:
    """Which detours the agent leaves installed, by its last snapshot, and when they end."""
    announced = last.bgp.announced if last and last.bgp else {}
    left = len({**(last.installed if last else {}), **announced})
    if not (components.actuators and left):
        return "nothing is steered"
    return (
        f"{counted(left, 'detour')} stay for {duration(components.setup.config.lease)}, then the "
        "guard removes them; `steering off` removes them at once"
    )


def switched_off(switch: OffSwitch) -> str:
    """Who used the off switch, when and why."""
    record = switch.record()
    if record is None:
        return "switched off"
    return f"switched off by {record.by} at {timestamp(record.time)}: {record.reason or '-'}"
