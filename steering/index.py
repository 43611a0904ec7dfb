"""What is measured: every address of every policy, over every path, and what its policy wants.

The first path is always the local one. Everything known of an address is kept by its name, and of
a path by the pair of names; only the order in which they are looked at comes from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from steering.config import Budget, Counted, Policy, Serial, Setup, Together
from steering.model import LOCAL, Family, Seconds, Target, Verdict

_K = TypeVar("_K")
Key = tuple[str, str]
"""(address, path)."""

CLASSES: tuple[Verdict, ...] = (Verdict.BOGUS, Verdict.TIMEOUT, Verdict.ERROR)
"""The classes of failure with buckets of their own, in their fixed order."""

SAMPLE = 96
"""Addresses that can be probed fast beside those in question."""
LEAST = 3
"""Addresses of one operator and family that are enough to judge it."""

FRESH_ROUNDS = 3
"""After this many slow rounds without an answer that counts, the state is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settings:
    """One address, and what its policy and the configuration want for it."""

    target: Target
    number: int
    """Its place in the order of the policies, from 0."""
    policy: Policy
    operator: str
    """Policies that name the same operator count as one."""
    group: str
    """The addresses that move together, by `steer.together`, have the same."""
    sampled: bool
    """It is one of those by which the operators are judged when all are probed at once
    (`common_cause`): as many of each operator and family as possible."""
    order: Mapping[str, int]
    """Site -> the policy's rank of it, from 0; sites that are not to be used are left out."""
    hops: frozenset[str]
    """Sites with a next hop of the address's family, used by the policy or not."""
    acts_on: frozenset[Verdict]
    """The classes of failure that the policy counts as a breach."""
    acts_on_stale: bool
    at_most: int
    """Addresses of the upstream that may be steered at once."""
    estimate: float | None
    """Queries per second by the policy's estimate, its total spread evenly; None: none."""

    @property
    def address(self) -> str:
        """The address itself."""
        return self.target.address

    @property
    def upstream(self) -> str:
        """The upstream it belongs to."""
        return self.target.upstream

    @property
    def family(self) -> Family:
        """Its family."""
        return self.target.family

    @property
    def epoch(self) -> bool:
        """Whether serials are UNIX seconds."""
        return self.policy.serial is Serial.EPOCH


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """All addresses and paths by name, with the policies' settings for each."""

    site: str
    acts: bool
    """Decisions are carried out. If not, they are reported as what would be done."""
    compares: bool
    """The sites are probed as well. If not, only the local path is measured."""
    policies: tuple[Policy, ...]
    paths: tuple[str, ...]
    interval: Seconds
    fast_interval: Seconds
    timeout: Seconds
    budget: Budget
    settings: Mapping[str, Settings]
    """By address, in the order of the policies."""
    capacity: Mapping[str, float]
    """Site -> queries per second that may be sent to it; infinite where no limit is set."""

    @classmethod
    def of(cls, setup: Setup) -> Index:
        """The index of a configuration with its policies."""
        config, policies = setup.config, setup.policies
        targets = [(policy, target) for policy in policies for target in policy.targets]
        sampled = _sample([(_operator(policy), target) for policy, target in targets])
        return cls(
            site=config.site,
            acts=config.acts,
            compares=config.compares,
            policies=policies,
            paths=(LOCAL, *config.sites),
            interval=config.observe.probe.interval,
            fast_interval=config.observe.probe.fast_interval,
            timeout=config.observe.probe.timeout,
            budget=config.budget,
            capacity={name: site.capacity or math.inf for name, site in config.sites.items()},
            settings={
                target.address: _settings(
                    setup, policy, target, number, len(targets), sampled=target.address in sampled
                )
                for number, (policy, target) in enumerate(targets)
            },
        )

    @property
    def sites(self) -> tuple[str, ...]:
        """The remote paths."""
        return self.paths[1:]

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """All addresses, in order."""
        return tuple(each.target for each in self.settings.values())

    @cached_property
    def path_number(self) -> Mapping[str, int]:
        """Path -> its place in the order of the paths."""
        return {path: number for number, path in enumerate(self.paths)}

    @cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """Group -> its addresses, in order."""
        return _gathered((each.group, each.address) for each in self.settings.values())

    @cached_property
    def upstreams(self) -> Mapping[str, tuple[str, ...]]:
        """Upstream -> its addresses, in order."""
        return _gathered((each.upstream, each.address) for each in self.settings.values())

    @cached_property
    def operators(self) -> Mapping[str, tuple[str, ...]]:
        """Operator -> its addresses, in the order of the policies."""
        return _gathered((each.operator, each.address) for each in self.settings.values())

    @cached_property
    def families(self) -> Mapping[Family, tuple[str, ...]]:
        """Family -> its addresses, in order; each family has an entry."""
        found = _gathered((each.family, each.address) for each in self.settings.values())
        return {family: found.get(family, ()) for family in Family}

    @cached_property
    def sampled(self) -> tuple[str, ...]:
        """The addresses of the sample, in order."""
        return tuple(address for address, each in self.settings.items() if each.sampled)

    @cached_property
    def sample(self) -> Mapping[tuple[str, Family], int]:
        """(operator, family) -> how many of its addresses are in the sample."""
        found: dict[tuple[str, Family], int] = {}
        for each in self.settings.values():
            if each.sampled:
                key = each.operator, each.family
                found[key] = found.get(key, 0) + 1
        return found

    @cached_property
    def fresh(self) -> Seconds:
        """How long an answer counts as current."""
        return FRESH_ROUNDS * self.interval + self.timeout

    def in_order(self, addresses: Iterable[str]) -> list[str]:
        """These addresses, without those of no policy, in the order of the policies."""
        settings = self.settings
        return sorted({a for a in addresses if a in settings}, key=lambda a: settings[a].number)

    def knows(self, address: str, path: str) -> bool:
        """Whether a policy has the address, and the configuration the path."""
        return address in self.settings and path in self.path_number


def _gathered(pairs: Iterable[tuple[_K, str]]) -> Mapping[_K, tuple[str, ...]]:
    found: dict[_K, list[str]] = {}
    for key, address in pairs:
        found.setdefault(key, []).append(address)
    return {key: tuple(addresses) for key, addresses in found.items()}


def _operator(policy: Policy) -> str:
    return policy.operator.name if policy.operator else policy.upstream


def _settings(
    setup: Setup, policy: Policy, target: Target, number: int, addresses: int, *, sampled: bool
) -> Settings:
    sites = setup.config.sites
    hops = [name for name, site in sites.items() if target.family in site.next_hop]
    wanted, total = policy.steer.to, policy.steer.queries_per_second
    return Settings(
        target=target,
        number=number,
        policy=policy,
        operator=_operator(policy),
        group=" ".join(
            {
                Together.ADDRESS: (policy.upstream, target.nameserver, target.address),
                Together.NAMESERVER: (policy.upstream, target.nameserver),
                Together.UPSTREAM: (policy.upstream,),
            }[policy.steer.together]
        ),
        sampled=sampled,
        order={
            site: wanted.index(site) if wanted else 0
            for site in hops
            if not wanted or site in wanted
        },
        hops=frozenset(hops),
        acts_on=frozenset(v for v in CLASSES if Counted(v.value) in policy.breach.on),
        acts_on_stale=Counted.STALE in policy.breach.on,
        at_most=policy.steer.at_most or addresses,
        estimate=None if total is None else total / len(policy.targets),
    )


def _sample(targets: list[tuple[str, Target]]) -> frozenset[str]:
    """Addresses evenly spread over each operator and family, and over the operators."""
    families = tuple(Family)
    operators = list(dict.fromkeys(operator for operator, _ in targets))
    most = SAMPLE // (LEAST * len(families))
    asked = [operators[i] for i in _spread(len(operators), most)]
    each = max(LEAST, SAMPLE // (len(families) * max(1, len(asked))))
    sample: set[str] = set()
    for operator in asked:
        for family in families:
            mine = [t.address for by, t in targets if (by, t.family) == (operator, family)]
            sample.update(mine[i] for i in _spread(len(mine), each))
    return frozenset(sample)


def _spread(number: int, most: int) -> list[int]:
    """At most `most` of the numbers below `number`, evenly spread, the first and the last among
    them.
    """
    if number <= 1 or most <= 1:
        return list(range(min(number, most)))
    some = min(number, most)
    return sorted({round(i * ((number - 1) / (some - 1))) for i in range(some)})
