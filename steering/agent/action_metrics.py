"""Metrics of carried-out plans: each action, how long it took, and how long detection took."""

from __future__ import annotations

from collections.abc import Sequence

from steering.agent.actuators import Acted
from steering.decide.state import State
from steering.model import Done, Instant, Refused
from steering.report.metrics import Meters


def count(meters: Meters, acted: Acted, state: State, now: Instant, *, by_kernel: bool) -> None:
    """Count what was done after the turn at `now`, which led to `state`.

    `by_kernel`: this host's packets go by its own table, and not by what is announced by BGP.
    """
    for actuator, results in (("kernel", acted.by_kernel), ("bgp", acted.by_bgp)):
        for result in results:
            outcome = "done" if isinstance(result, Done) else "refused"
            meters.actions.labels(actuator, result.action, outcome).inc()
    _time(meters, acted.by_kernel if by_kernel else acted.by_bgp, state, now)


def _time(meters: Meters, results: Sequence[Done | Refused], state: State, now: Instant) -> None:
    for result in results:
        if not isinstance(result, Done):
            continue
        meters.action_seconds.observe(result.seconds)
        if result.action == "remove" or result.address not in state.index.settings:
            continue  # perhaps of an address that no policy names any more
        first = state.ledger.address(result.address).first_bad
        verification = state.verifications.get(result.address)
        # A route that is installed again is no detection.
        if first is not None and verification is not None and not verification.proved:
            meters.detection_seconds.observe(now - first)
