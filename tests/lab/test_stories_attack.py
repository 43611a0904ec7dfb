"""Strangers with every power they may have, at once: the agent turns, holds its lease, acts right.

An hour of it, with its figures, is `make bench BENCH=attack`; here is the first minute.
"""

from __future__ import annotations

import time

import pytest
from stage import EXPIRED, Stage, on_stage, slack
from tapping import UNBOUND, await_traffic

from steering.lab.attack import Attack, under_watch
from steering.lab.network.sandbox import find
from steering.lab.scene import Settings
from steering.model import LOCAL, Seconds

pytestmark = pytest.mark.lab

UNDER_ATTACK = Settings(
    interval="2s", fast_interval="200ms", hold="2s", clean=60, lease="20s", dnstap=True
)


def bear(stage: Stage, attack: Attack, span: Seconds) -> None:
    """Stay under attack for a time in which everybody lives and nobody moves."""
    until = time.monotonic() + span
    routes = stage.scene.routes()

    def still() -> bool:
        attack.check_running()
        assert stage.scene.routes() == routes, stage.story()
        return True

    while time.monotonic() < until:
        stage.asked_more(3, meanwhile=still)


@pytest.mark.skipif(find("unbound") is None, reason="unbound")
def test_a_minute_of_every_attack_makes_no_turn_late_and_no_move_wrong() -> None:
    with on_stage(UNDER_ATTACK, count=500, agent=False, resolver=UNBOUND) as stage:
        ill, fresh = stage.scene.zones(EXPIRED), stage.scene.zones()
        with under_watch(stage.scene) as attack:
            for path in stage.scene.world.paths:
                stage.await_health("healthy", path=path)
            await_traffic(stage)
            began = time.time()
            attack.begin()
            bear(stage, attack, 20.0)
            assert not stage.times("steered"), stage.story()
            stage.scene.authorities[LOCAL].serve(ill)
            stage.await_routes(stage.through("pao"))
            stage.scene.authorities[LOCAL].serve(fresh)
            stage.await_routes({})
            bear(stage, attack, 10.0)
            assert max(attack.turns.late(began, time.time())) <= 1.0 + slack()
            assert attack.remaining.least > 10.0
            assert attack.remaining.missing == 0
            assert not stage.times("lease_lost")
            assert stage.about("steered") == set(stage.addresses)
