"""The agent's own alarms: what is wrong with its means, as opposed to the upstreams."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from steering.agent.actuators import Actuators
from steering.agent.components import Components
from steering.decide.alarms import settle
from steering.decide.remedies import KEYS
from steering.decide.state import Alarm
from steering.format import whole_second
from steering.model import Event, Family, Instant, WallTime
from steering.observe.dnssec.key_store import KeyStore

_NAMED = 3
"""Things told of where there may be more."""
_ZONES = 8
"""Zones whose keys are told of."""


class OwnAlarms:
    """What is the matter now, by name, and since when."""

    def __init__(self) -> None:
        self.alarms: Mapping[str, Alarm] = {}

    def settle(
        self, now: Mapping[str, str], wall: WallTime, others: Collection[str] = ()
    ) -> tuple[Event, ...]:
        """Take over what is the matter (name to text); which alarms that raises and clears.

        An empty text is nothing the matter. `others`: the engine's alarms, which may be a cause.
        """
        there = {name: text for name, text in now.items() if text}
        self.alarms, events = settle(self.alarms, there, wall, others)
        return events


def sources_trouble(components: Components) -> str:
    """What is not known of who sends from this host, or through it, where that matters."""
    forwarding = components.forwarding if components.actuators is not None else None
    said = (components.sources.trouble, forwarding.trouble if forwarding is not None else "")
    return "; ".join(filter(None, said))


def keys_trouble(keys: KeyStore) -> str:
    """What is the matter with which zones' keys, since when, and what to do about it."""
    wrong = keys.wrong()
    said = [
        f"{one.zone}: {one.because.removesuffix('.')}, since " + whole_second(one.since)
        for one in wrong[:_ZONES]
    ]
    if more := len(wrong) - len(said):
        said.append(f"and {more} more")
    remedies = dict.fromkeys(KEYS[one.lack] for one in wrong)
    return f"{'; '.join(said)}. To do: {'; '.join(remedies)}" if wrong else ""


def matters(
    components: Components, now: Instant, *, off: bool, steered: Collection[Family] = ()
) -> Mapping[str, str]:
    """What is the matter with what an agent acts, asks and listens with.

    An agent that is switched off has taken out the rules by which it asks: that is no matter.
    Neither is what lacks of a family that this host has no route for, and of which nothing is
    `steered`: where it had one, the alarm `self` says so, and that is the one word about it.
    """
    actuators, dnstap = components.actuators, components.dnstap
    absent = components.ways.routeless(now) - frozenset(steered)
    return {
        "kernel": "; ".join(_of_kernel(actuators, absent)[:_NAMED])
        if actuators is not None
        else "",
        "bypassed": components.ways.bypassed,
        "unasked": "" if off else components.ways.unasked(now, absent),
        "bgp": "; ".join(actuators.bgp.troubles[:_NAMED]) if actuators is not None else "",
        "keys": keys_trouble(components.keys),
        "dnstap": dnstap.troubles(now) if dnstap is not None else "",
    }


def _of_kernel(actuators: Actuators, absent: Collection[Family]) -> tuple[str, ...]:
    """All but what is about these families alone."""
    return tuple(t for t in actuators.troubles if actuators.of_family.get(t) not in absent)
