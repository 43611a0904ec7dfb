"""What became of a plan, counted: each action, how long it took, and how long detection took."""

from __future__ import annotations

from collections.abc import Sequence

from steering.agent.hands import Acted
from steering.model import Done, Instant, Refused
from steering.report.metrics import Meters
from steering.world import World


def count(meters: Meters, acted: Acted, world: World, now: Instant, *, by_kernel: bool) -> None:
    """Count what was done after the turn at `now` led to this world.

    `by_kernel`: this host's packets go by its own table, and not by what routers are told.
    """
    for actuator, results in (("kernel", acted.results), ("bgp", acted.told)):
        for result in results:
            became = "done" if isinstance(result, Done) else "refused"
            meters.actions.labels(actuator, result.action, became).inc()
    _time(meters, acted.results if by_kernel else acted.told, world, now)


def _time(meters: Meters, results: Sequence[Done | Refused], world: World, now: Instant) -> None:
    for result in results:
        if not isinstance(result, Done):
            continue
        meters.action_seconds.observe(result.seconds)
        row = world.layout.row.get(result.address)
        if result.action == "remove" or row is None:
            continue  # perhaps of an address that no policy names any more
        first = float(world.ledger.first_bad[row])
        proof = world.proofs.get(row)
        # A route that came back is no detection. NaN: none was bad.
        if proof is not None and not proof.proved and first <= now:
            meters.detection_seconds.observe(now - first)
