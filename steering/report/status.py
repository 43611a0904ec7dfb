"""`/api/v1/status` and `explain` as plain data, out of a snapshot."""

from __future__ import annotations

import math

import numpy as np

from steering import __version__
from steering.decide.because import because
from steering.decide.board import look
from steering.decide.rules import BY_NUMBER, RULES
from steering.judge.ledger import reason
from steering.model import OUTCOMES, Health
from steering.report.events import timestamp
from steering.report.snapshot import Snapshot

Json = dict[str, object]


def status(snapshot: Snapshot) -> Json:
    """The status of the contract (docs: HTTP API)."""
    world = snapshot.world
    return {
        "site": world.layout.site,
        "mode": snapshot.mode,
        "off": world.off,
        "clock": "suspect" if "clock" in world.alarms else "ok",
        "version": __version__,
        "time": timestamp(world.wall),
        "addresses": _Table(snapshot).addresses(),
        "overrides": [],
        "alarms": [
            {"name": name, "since": timestamp(alarm.since), "because": alarm.because}
            for name, alarm in sorted(snapshot.alarms.items())
        ],
    }


def explain(snapshot: Snapshot, address: str) -> Json | None:
    """Every rule for one address, in order, and the evidence; None: not one of ours."""
    world = snapshot.world
    row = world.layout.row.get(address)
    if row is None:
        return None
    board = look(world, world.now, off=world.off)
    deciding = int(world.rule[row])
    return {
        **_Table(snapshot).address(row),
        "rules": [
            {
                "number": rule.number,
                "name": rule.name,
                "when": rule.when,
                "answer": rule.answer.value,
                "applies": bool(rule.applies(board)[row]),
                "decides": rule.number == deciding,
            }
            for rule in RULES
        ],
        "evidence": {
            path: {
                "health": Health(int(world.ledger.health[row, p])).word,
                "because": reason(world.ledger, world.layout, row, p, world.now),
            }
            for p, path in enumerate(world.layout.paths)
        },
        "time": timestamp(world.wall),
    }


class _Table:
    """The numbers of all addresses, worked out once for one answer."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot, self.world = snapshot, snapshot.world
        world = self.world
        self.share = world.ledger.share(world.now)
        self.lag = world.ledger.copies.lag(world.layout, world.now)
        self.life = world.ledger.copies.life(world.wall)
        self.heard_share = world.ledger.hearsay.share(world.now)
        self.heard_life = world.ledger.hearsay.life(world.wall)

    def addresses(self) -> list[Json]:
        return [self.address(a) for a in range(len(self.world.layout.targets))]

    def address(self, a: int) -> Json:
        world = self.world
        target = world.layout.targets[a]
        plan = int(world.plan[a])
        rule = BY_NUMBER.get(int(world.rule[a]))
        return {
            "upstream": target.upstream,
            "nameserver": target.nameserver,
            "address": target.address,
            "family": str(target.family),
            "paths": {path: self.path(a, p) for p, path in enumerate(world.layout.paths)},
            "steered_to": world.layout.paths[plan] if plan else None,
            "installed": {"kernel": self.snapshot.installed.get(target.address), "bgp": None},
            "since": timestamp(float(world.since[a])),
            "rule": rule.name if rule else None,
            "because": because(world, a),
        }

    def path(self, a: int, p: int) -> Json:
        ledger = self.world.ledger
        counts = ledger.counts[:, a, p]
        instance = ledger.instances.get((a, p))
        return {
            "health": Health(int(ledger.health[a, p])).word,
            "failure_rate": _number(self.share[a, p], 6),
            "samples": int(counts.sum()),
            "serial_lag_s": _number(self.lag[a, p], 3),
            "signature_remaining_s": _number(self.life[a, p], 0),
            "rtt_ms": _number(ledger.rtt[a, p] * 1000, 3),
            "nsid": instance.name if instance else None,
            "outcomes": {
                str(OUTCOMES[i]): int(counts[i]) for i in (int(j) for j in np.flatnonzero(counts))
            },
            **({} if np.isnan(ledger.hearsay.at[a, p]) else {"heard": self.heard(a, p)}),
        }

    def heard(self, a: int, p: int) -> Json:
        """What the resolvers' traffic shows."""
        counts = self.world.ledger.hearsay.counts[:, a, p]
        return {
            "failure_rate": _number(self.heard_share[a, p], 6),
            "samples": int(counts.sum()),
            "signature_remaining_s": _number(self.heard_life[a, p], 0),
            "outcomes": {str(OUTCOMES[i]): int(counts[i]) for i in np.flatnonzero(counts).tolist()},
        }


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
