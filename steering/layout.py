"""The index of all that is measured: every address of every policy, over every path.

judge and decide work on arrays of shape (addresses, paths). Only this module assigns rows to
addresses and columns to paths. Path 0 is always the local one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steering.config import Budget, Counted, Policy, Serial, Setup, Together
from steering.judge.buckets import scale_for
from steering.model import LOCAL, Family, Seconds, Target, Verdict

CLASSES: tuple[Verdict, ...] = (Verdict.BOGUS, Verdict.TIMEOUT, Verdict.ERROR)
"""The classes of failure with buckets of their own, in array order."""

NORMAL: tuple[float, ...] = (1e-4, 0.03, 0.03)
"""The tolerated share of each class. Packets get lost; signatures do not fail by themselves."""

FAMILIES = (0, 1)
"""IPv4 and IPv6, as numbered in `Layout.family_of`."""

SAMPLE = 96
"""Addresses that can be probed fast beside those in question."""
LEAST = 3
"""Addresses of one operator and family that are enough to judge it."""

FRESH_ROUNDS = 3
"""After this many slow rounds without an answer that counts, the state is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Rows, columns, and the policies' settings for each."""

    site: str
    acts: bool
    """Decisions are carried out. If not, they are reported as what would be done."""
    compares: bool
    """The sites are probed as well. If not, only the local path is measured."""
    targets: tuple[Target, ...]
    policies: tuple[Policy, ...]
    paths: tuple[str, ...]
    interval: Seconds
    fast_interval: Seconds
    timeout: Seconds
    row: Mapping[str, int]
    """Address -> row."""
    column: Mapping[str, int]
    """Path -> column."""
    upstream_of: NDArray[np.int64]
    """(A,) index into `policies`."""
    operator_of: NDArray[np.int64]
    """(A,) number of the operator: policies that name the same one count as one."""
    operators: int
    sample: NDArray[np.bool_]
    """(A,) the addresses by which the operators are judged when all are probed at once
    (`common_cause`): as many of each operator and family as possible."""
    family_of: NDArray[np.int64]
    """(A,) 0: IPv4, 1: IPv6."""
    group_of: NDArray[np.int64]
    """(A,) which addresses move together, by `steer.together`."""
    order: NDArray[np.int64]
    """(A, P) the policy's rank of a site for this address, from 0; -1: not to be used."""
    hop: NDArray[np.bool_]
    """(A, P) whether a site has a next hop of the address's family, used by the policy or not."""
    acts_on: NDArray[np.bool_]
    """(3, A) whether the policy counts this class as a breach."""
    acts_on_stale: NDArray[np.bool_]
    """(A,)"""
    base_scale: NDArray[np.int64]
    """(3, A) scale of the buckets from the policy and the class alone."""
    epoch: NDArray[np.bool_]
    """(A,) whether serials are UNIX seconds."""
    lag_limit: NDArray[np.float64]
    """(A,) the policy's limit of serial lag in seconds; NaN: derived from the other paths."""
    life_limit: NDArray[np.float64]
    """(A,) the policy's least remaining signature lifetime in seconds; NaN likewise."""
    at_most: NDArray[np.int64]
    """(A,) addresses of the upstream that may be steered at once."""
    budget: Budget
    capacity: NDArray[np.float64]
    """(P,) queries per second that may be sent to a site; infinite where no limit is set."""
    estimate: NDArray[np.float64]
    """(A,) queries per second by the policy's estimate, its total spread evenly; NaN: none."""
    gradual: NDArray[np.bool_]
    """(A,) whether one address returns before the others of its group."""
    clean: NDArray[np.int64]
    """(A,) clean answers before traffic returns."""
    moves_per_day: NDArray[np.int64]
    """(A,) moves of one address, to a site and back, that are allowed in a day."""

    @classmethod
    def of(cls, setup: Setup) -> Layout:
        """The layout of a configuration with its policies."""
        config, policies = setup.config, setup.policies
        paths = (LOCAL, *config.sites)
        targets: list[Target] = []
        upstream_of: list[int] = []
        groups: dict[tuple[str, ...], int] = {}
        group_of: list[int] = []
        for u, policy in enumerate(policies):
            for nameserver, addresses in policy.nameservers.items():
                for address in addresses:
                    targets.append(
                        Target(
                            upstream=policy.upstream,
                            nameserver=nameserver,
                            address=address,
                            family=Family.of(address),
                        )
                    )
                    upstream_of.append(u)
                    key = {
                        Together.ADDRESS: (policy.upstream, nameserver, address),
                        Together.NAMESERVER: (policy.upstream, nameserver),
                        Together.UPSTREAM: (policy.upstream,),
                    }[policy.steer.together]
                    group_of.append(groups.setdefault(key, len(groups)))
        order = np.full((len(targets), len(paths)), -1, dtype=np.int64)
        hop = np.zeros(order.shape, dtype=np.bool_)
        for a, u in enumerate(upstream_of):
            wanted = policies[u].steer.to
            for p, site in enumerate(paths[1:], start=1):
                if targets[a].family not in config.sites[site].next_hop:
                    continue
                hop[a, p] = True
                if not wanted:
                    order[a, p] = 0
                elif site in wanted:
                    order[a, p] = wanted.index(site)
        names = [p.operator.name if p.operator else p.upstream for p in policies]
        operators = list(dict.fromkeys(names))
        acting = [
            [Counted(verdict.value) in policies[u].breach.on for u in upstream_of]
            for verdict in CLASSES
        ]
        operator_of = np.array([operators.index(names[u]) for u in upstream_of], dtype=np.int64)
        family_of = np.array([t.family is Family.IPV6 for t in targets], dtype=np.int64)
        return cls(
            site=config.site,
            acts=config.acts,
            compares=config.compares,
            targets=tuple(targets),
            policies=policies,
            paths=paths,
            interval=config.observe.probe.interval,
            fast_interval=config.observe.probe.fast_interval,
            timeout=config.observe.probe.timeout,
            row={t.address: a for a, t in enumerate(targets)},
            column={path: p for p, path in enumerate(paths)},
            upstream_of=np.array(upstream_of, dtype=np.int64),
            operator_of=operator_of,
            operators=len(operators),
            sample=_sample(operator_of, family_of, len(operators)),
            family_of=family_of,
            group_of=np.array(group_of, dtype=np.int64),
            order=order,
            hop=hop,
            acts_on=np.array(acting, dtype=np.bool_),
            acts_on_stale=np.array(
                [Counted.STALE in policies[u].breach.on for u in upstream_of], dtype=np.bool_
            ),
            base_scale=np.array(
                [
                    [scale_for(normal, policies[u].breach.failure_rate) for u in upstream_of]
                    for normal in NORMAL
                ],
                dtype=np.int64,
            ),
            epoch=np.array(
                [policies[u].serial is Serial.EPOCH for u in upstream_of], dtype=np.bool_
            ),
            lag_limit=_or_nan(policies[u].breach.stale.serial_lag for u in upstream_of),
            life_limit=_or_nan(policies[u].breach.stale.signature_remaining for u in upstream_of),
            at_most=np.array(
                [policies[u].steer.at_most or len(targets) for u in upstream_of], dtype=np.int64
            ),
            budget=config.budget,
            capacity=np.array(
                [np.inf, *(site.capacity or np.inf for site in config.sites.values())]
            ),
            estimate=_or_nan(_estimate(policies[u]) for u in upstream_of),
            gradual=np.array([policies[u].recover.gradual for u in upstream_of], dtype=np.bool_),
            clean=np.array([policies[u].recover.clean for u in upstream_of], dtype=np.int64),
            moves_per_day=np.array(
                [policies[u].recover.moves_per_day for u in upstream_of], dtype=np.int64
            ),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(addresses, paths)."""
        return len(self.targets), len(self.paths)

    @property
    def fresh(self) -> Seconds:
        """How long an answer counts as current."""
        return FRESH_ROUNDS * self.interval + self.timeout

    def policy(self, a: int) -> Policy:
        """The policy of the address in row `a`."""
        return self.policies[int(self.upstream_of[a])]

    def zone(self, a: int, name: str) -> int | None:
        """The index of a zone in the policy of row `a`; None: the policy does not have it."""
        zones = self.policy(a).zones
        return zones.index(name) if name in zones else None


def _sample(
    operator_of: NDArray[np.int64], family_of: NDArray[np.int64], operators: int
) -> NDArray[np.bool_]:
    """(A,) addresses evenly spread over each operator and family, and over the operators."""
    sample = np.zeros(len(operator_of), dtype=np.bool_)
    most = SAMPLE // (LEAST * len(FAMILIES))
    asked = np.unique(np.linspace(0, operators - 1, min(operators, most)).round().astype(int))
    each = max(LEAST, SAMPLE // (len(FAMILIES) * max(1, len(asked))))
    for operator in asked.tolist():
        for family in FAMILIES:
            rows = np.flatnonzero((operator_of == operator) & (family_of == family))
            if rows.size:
                spread = np.linspace(0, rows.size - 1, min(rows.size, each)).round().astype(int)
                sample[rows[spread]] = True
    return sample


def _estimate(policy: Policy) -> float | None:
    total = policy.steer.queries_per_second
    return None if total is None else total / len(policy.targets)


def _or_nan(limits: Iterable[Seconds | None]) -> NDArray[np.float64]:
    return np.array([np.nan if limit is None else limit for limit in limits], dtype=np.float64)
