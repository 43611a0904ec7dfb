"""The facts of an agent that does not act, as if its plan had been carried out.

The engine and its rules are the same. Two facts depend on installed routes, of which there are
none. So the plan of the turn before counts as installed. And where a detour would be verified by
live questions, which here all take the local path, answers to marked questions over the site's path
replace them: they come from the same server, and bad ones undo the detour as bad live ones would.
Two things can't be rehearsed: packets that take another path than marked ones, and the answers that
the resolvers would get (`traffic_served`).

For a return to the local path the live questions are real, since they take that path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steering.decide.state import State
from steering.facts import Facts
from steering.model import Round


def rehearsed(state: State, facts: Facts) -> Facts:
    """The facts of this turn, as if the plan of the turn before had been carried out.

    A steer that packets would bypass does not count as installed, as in an agent that acts.
    """
    wanted = {a: site for a, site in state.plan.items() if a not in facts.bypassed}
    rounds = tuple(_with_live(item, wanted) for item in facts.rounds)
    return replace(facts, installed=wanted, rounds=rounds)


def _with_live(item: Round, wanted: Mapping[str, str]) -> Round:
    """The round, with the answers over the path of the detour as its live answers."""
    site = wanted.get(item.address)
    if site is None:
        return item
    marked = [seen for seen in item.observations if not seen.live]
    over_it = [replace(seen, live=True) for seen in marked if seen.path == site]
    return replace(item, observations=(*marked, *over_it))
