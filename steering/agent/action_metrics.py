"""What became of a plan, counted: each action, how long it took, and how long detection took."""

from __future__ import annotations

from collections.abc import Sequence

from steering.agent.actuators import Acted
from steering.decide.state import State
from steering.model import Done, Instant, Refused
from steering.report.metrics import Meters


def count(meters: Meters, acted: Acted, state: State, now: Instant, *, by_kernel: bool) -> None:
    """Count what was done after the turn at `now` led to this world.

    `by_kernel`: this host's packets go by its own table, and not by what routers are told.
    """
    for actuator, results in (("kernel", acted.results), ("bgp", acted.told)):
        for result in results:
            became = "done" if isinstance(result, Done) else "refused"
            meters.actions.labels(actuator, result.action, became).inc()
    _time(meters, acted.results if by_kernel else acted.told, state, now)


def _time(meters: Meters, results: Sequence[Done | Refused], state: State, now: Instant) -> None:
    for result in results:
        if not isinstance(result, Done):
            continue
        meters.action_seconds.observe(result.seconds)
        row = state.layout.row.get(result.address)
        if result.action == "remove" or row is None:
            continue  # perhaps of an address that no policy names any more
        first = float(state.ledger.first_bad[row])
        proof = state.verifications.get(row)
        # A route that came back is no detection. NaN: none was bad.
        if proof is not None and not proof.proved and first <= now:
            meters.detection_seconds.observe(now - first)
