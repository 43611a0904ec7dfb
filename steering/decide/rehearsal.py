"""The facts of an agent that does not act, as they would be if its plan were carried out.

The engine is the same one and decides by the same rules. Two facts follow from what is installed,
and nothing is: so what would be installed is what the turn before wanted; and where a detour has to
prove itself by live questions, which all take the local path, the answers to the marked ones over
the site's path stand in for them. Those come from the same place, and bad ones undo what would be a
detour as bad live ones undo a real one. What can't be rehearsed: packets that take another way than
marked ones do, and what the resolvers themselves would be answered (`traffic_served`).

On the way home the live questions are real: the local path is where they go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steering.decide.state import State
from steering.model import Facts, Round


def rehearsed(state: State, facts: Facts) -> Facts:
    """The facts of this turn, had the plan of the turn before been carried out.

    What packets would go past does not count as installed where it is, so not where it would be.
    """
    wanted = {a: site for a, site in state.wanted().items() if a not in facts.bypassed}
    rounds = tuple(_stood_in(item, wanted) for item in facts.rounds)
    return replace(facts, installed=wanted, rounds=rounds)


def _stood_in(item: Round, wanted: Mapping[str, str]) -> Round:
    """The round with what came over the path of the would-be detour as its live answers."""
    site = wanted.get(item.address)
    if site is None:
        return item
    marked = [seen for seen in item.observations if not seen.live]
    over_it = [replace(seen, live=True) for seen in marked if seen.path == site]
    return replace(item, observations=(*marked, *over_it))
