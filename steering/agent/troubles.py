"""The agent's own alarms: what is wrong with its means, as opposed to the upstreams."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from steering.agent.hands import Hands
from steering.agent.outfit import Outfit
from steering.decide.alarms import settle
from steering.decide.remedies import KEYS
from steering.model import Event, Family, Instant, WallTime
from steering.observe.keys import KeyStore
from steering.world import Alarm

_NAMED = 3
"""Things told of where there may be more."""
_ZONES = 8
"""Zones whose keys are told of."""


class Troubles:
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


def sources_trouble(outfit: Outfit) -> str:
    """What is not known of who sends from this host, or through it, where that matters."""
    forwarding = outfit.forwarding if outfit.hands is not None else None
    said = (outfit.sources.trouble, forwarding.trouble if forwarding is not None else "")
    return "; ".join(filter(None, said))


def keys_trouble(keys: KeyStore) -> str:
    """What is the matter with which zones' keys, since when, and what to do about it."""
    wrong = keys.wrong()
    said = [
        f"{one.zone}: {one.because.removesuffix('.')}, since "
        + time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one.since))
        for one in wrong[:_ZONES]
    ]
    if more := len(wrong) - len(said):
        said.append(f"and {more} more")
    remedies = dict.fromkeys(KEYS[one.lack] for one in wrong)
    return f"{'; '.join(said)}. To do: {'; '.join(remedies)}" if wrong else ""


def matters(
    outfit: Outfit, now: Instant, *, off: bool, steered: Collection[Family] = ()
) -> Mapping[str, str]:
    """What is the matter with what an agent acts, asks and listens with.

    An agent that is switched off has taken out the rules by which it asks: that is no matter.
    Neither is what lacks of a family that this host has no route for, and of which nothing is
    `steered`: where it had one, the alarm `self` says so, and that is the one word about it.
    """
    hands, ears = outfit.hands, outfit.ears
    absent = outfit.ways.routeless(now) - frozenset(steered)
    return {
        "kernel": "; ".join(_of_kernel(hands, absent)[:_NAMED]) if hands is not None else "",
        "bypassed": outfit.ways.bypassed,
        "unasked": "" if off else outfit.ways.unasked(now, absent),
        "bgp": "; ".join(hands.voice.troubles[:_NAMED]) if hands is not None else "",
        "keys": keys_trouble(outfit.keys),
        "dnstap": ears.troubles(now) if ears is not None else "",
    }


def _of_kernel(hands: Hands, absent: Collection[Family]) -> tuple[str, ...]:
    """All but what is about these families alone."""
    return tuple(t for t in hands.troubles if hands.of_family.get(t) not in absent)
