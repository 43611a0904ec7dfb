"""When the way around is no way either: the next site, or home."""

from __future__ import annotations

import pytest
from stage import EXPIRED, Kernel, on_stage

from steering.model import LOCAL

pytestmark = pytest.mark.lab


def test_a_first_site_as_bad_as_home_is_passed_over() -> None:
    with on_stage() as stage:
        kernel = Kernel(stage)
        hops = set(stage.through("pao").values())
        stage.scene.serve(EXPIRED, paths=["pao", LOCAL])
        stage.await_routes(stage.through("fra"))
        assert not any(hop in line for line in kernel.steers() for hop in hops)
        stage.clients_fine()
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})


def test_a_site_that_turns_bad_after_the_move_is_left_for_the_next() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.clients_fine()
        kernel = Kernel(stage)
        stage.scene.serve(EXPIRED, paths=["pao"])
        stage.await_routes(stage.through("fra"))
        # Moved, not taken out and put in again: at no moment did an address go home.
        assert not any("Deleted" in line for line in kernel.steers()), kernel.steers()
        stage.clients_fine()
        stage.scene.serve(paths=["pao"])
        stage.steady(stage.through("fra"))  # no way back and forth while fra is good
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})


def test_both_sites_bad_after_the_move_leave_no_worse_way_than_home() -> None:
    """With every path bad what is, is kept: there is nothing better, and it says so."""
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.scene.serve(EXPIRED, paths=["fra"])
        stage.await_health("failing", path="fra")
        stage.scene.serve(EXPIRED, paths=["pao"])
        stage.await_health("failing", path="pao")
        stage.await_alarm("everywhere", "clock")
        stage.scene.serve(paths=["fra"])
        stage.await_routes(stage.through("fra"))
        stage.clients_fine()


@pytest.mark.parametrize("how", ["link_down", "cut"])
def test_a_site_whose_link_goes_down_after_the_move_is_left(how: str) -> None:
    with on_stage() as stage:
        world = stage.scene.world
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        stage.clients_fine()
        getattr(world, how)("pao")
        stage.await_routes(stage.through("fra"))
        stage.clients_fine()
        world.link_up("pao")
        stage.await_health("healthy", path="pao")
        stage.steady(stage.through("fra"))
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})
        stage.clients_fine()


def test_a_lost_site_with_no_other_leaves_everything_local_until_it_is_back() -> None:
    with on_stage(sites=("pao",)) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        stage.scene.world.link_down("pao")
        stage.await_routes({})
        stage.await_alarm("kernel", "unproven")
        stage.scene.world.link_up("pao")
        stage.await_routes(stage.through("pao"))
        stage.clients_fine()
