"""Which proven site is the best.

In this order: failing share, the policy's order, staying at the present site, spare capacity, RTT,
name. Measurements count in steps, so that noise does not change the order. Near the border of two
steps it still could, so RTT and capacity come after staying, and three rules keep the failing share
stable:

- An address that chooses anew uses the answers of its whole group, and one bad answer is ignored: a
  single lost packet is no share, and a group chooses alike.
- The site in use counts as worse only if it clearly is, by two standard deviations of the counts
  (`SURE`).
- It is left for another, by failing share or by order, only if that one gave so many good answers
  in a row (`LASTING`) as no site with a loss that matters does: between two sites with the same
  loss nothing moves back and forth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from steering.judge.known.ledger import PathRecord
from steering.model import Health, Seconds

RTT_STEP_FROM = 0.005
"""Round-trip times count in octaves from 5 ms."""
RTT_STEPS = 16
FAILING_STEPS = (0.01, 0.1)
"""Failing shares of a proven path at which it gets worse by one step."""
LONE = 1.0
"""So many bad answers are ignored."""
SURE = 2.0
"""Standard deviations by which the site in use is worse. The counts fade with time, which halves
their variance, so it is more than that."""
LASTING = 100
"""Good answers in a row for which a proven site in use is left: with a loss of 3 % one in twenty
sequences is that long, with 7 % one in 1,400, and for less a site is hardly ever left."""


Costs = Mapping[str, int]
"""Site -> what it costs an address: the least is the best; sites that are not proven are left out,
the others are in the order of the paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An address that may choose a site."""

    address: str
    group: str
    path: str
    """The present one."""
    proven: tuple[str, ...]
    """Sites proven good right now, in the order of the paths."""
    order: Mapping[str, int]
    """Site -> the policy's rank of it, from 0."""
    record: Callable[[str], PathRecord]
    """What is known of each path."""

    @property
    def stands(self) -> bool:
        """Whether the site in use is proven."""
        return self.path in self.proven


def costs(
    choices: Sequence[Choice], paths: Collection[str], busy: Collection[str] = ()
) -> dict[str, Costs]:
    """Address -> what each proven site costs it.

    Args:
        choices: the addresses, in the order of the policies.
        paths: all of them.
        busy: sites with more than half of their allowed load.
    """
    most = max((rank for one in choices for rank in one.order.values()), default=-1)
    place = {path: number for number, path in enumerate(sorted(paths))}
    steps = failing(choices)

    def cost(one: Choice, site: str) -> int:
        cost = one.order[site] * 2 + (site != one.path)
        cost += steps[one.address][site] * 2 * (most + 1)
        cost = cost * 2 + (site in busy)
        cost = cost * (RTT_STEPS + 1) + _rtt_step(one.record(site).rtt)
        return cost * len(place) + place[site]

    return {one.address: {site: cost(one, site) for site in one.proven} for one in choices}


def _rtt_step(rtt: Seconds | None) -> int:
    if rtt is None:
        return RTT_STEPS
    return min(max(0, math.frexp(rtt / RTT_STEP_FROM)[1]), RTT_STEPS)


def failing(choices: Sequence[Choice]) -> dict[str, dict[str, int]]:
    """Address -> proven site -> steps of the failing share, for `costs`."""
    steps: dict[str, dict[str, int]] = {}
    for members in by_group(choices).values():
        together: dict[str, int] = {}
        for site in {site for one in members for site in one.proven}:
            healthy = [
                record.recent
                for record in (one.record(site) for one in members)
                if record.health is Health.HEALTHY
            ]
            bad, answers = sum(each.bad for each in healthy), sum(each.all for each in healthy)
            together[site] = failing_steps(bad, answers)
        for one in members:
            mine = {site: surely_failing(one.record(site)) for site in one.proven}
            steps[one.address] = {
                site: step if site == one.path else max(step, together[site])
                for site, step in mine.items()
            }
    return steps


def by_group(choices: Sequence[Choice]) -> dict[str, list[Choice]]:
    """Group -> those of it."""
    groups: dict[str, list[Choice]] = {}
    for one in choices:
        groups.setdefault(one.group, []).append(one)
    return groups


def surely_failing(record: PathRecord) -> int:
    """How many of the steps a path's own failing share has passed for certain."""
    return failing_steps(record.recent.bad, record.recent.all, SURE)


def failing_steps(bad: float, answers: float, sure: float = 0.0) -> int:
    """How many of the steps the failing share has passed, given recent bad and all answers.

    `sure` is by how many standard deviations.
    """
    if bad <= LONE:
        return 0
    least = bad - LONE - sure * math.sqrt(bad)
    return sum(least > answers * share for share in FAILING_STEPS)


def lasting(choices: Sequence[Choice]) -> list[Choice]:
    """The same, with the sites to choose from: a proven site in use is left only for sites that
    have answered well for long, for at least half of its group.
    """
    well: dict[str, frozenset[str]] = {}
    for group, members in by_group([one for one in choices if one.stands]).items():
        well[group] = frozenset(
            site
            for site in {site for one in members for site in one.proven}
            if median(one.record(site).run for one in members) >= LASTING
        )

    def narrowed(one: Choice) -> Choice:
        sites = (site for site in one.proven if site == one.path or site in well[one.group])
        return replace(one, proven=tuple(sites))

    return [narrowed(one) if one.stands else one for one in choices]


def best(cost: Costs) -> str | None:
    """The site of the least cost, the first of equals; None where nothing is proven."""
    return min(cost, key=cost.__getitem__, default=None)
