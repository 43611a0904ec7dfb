"""When no detour can help, or the fault is ours, nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stage import EXPIRED, Kernel, Stage, on_stage

import steering
from steering.lab.servers.zone import Fault, FaultKind
from steering.model import LOCAL

pytestmark = pytest.mark.lab

LIBFAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def test_bad_everywhere_moves_nothing_and_says_so() -> None:
    with on_stage() as stage:
        kernel = Kernel(stage)
        stage.scene.serve(Fault(kind=FaultKind.BAD_SIGNATURE))
        stage.await_alarm("everywhere")
        stage.steady({}, questions=90)
        assert kernel.steers() == []
        assert stage.status()["clock"] == "ok"
        assert {a["steered_to"] for a in stage.status()["addresses"]} == {None}
        stage.scene.serve()
        stage.await_alarm("everywhere", there=False)
        stage.await_health("healthy")
        assert kernel.steers() == []
        stage.clients_fine()


def test_expired_everywhere_looks_like_our_own_clock_and_moves_nothing() -> None:
    with on_stage() as stage:
        kernel = Kernel(stage)
        stage.scene.serve(EXPIRED)
        stage.await_alarm("clock")
        stage.steady({}, questions=90)
        assert kernel.steers() == []
        stage.scene.serve()
        stage.await_alarm("clock", there=False)
        stage.await_health("healthy")
        assert kernel.steers() == []


@pytest.mark.skipif(not Path(LIBFAKETIME).exists(), reason="needs faketime")
@pytest.mark.parametrize("shift", ["+14d", "-14d"])
def test_our_own_clock_two_weeks_off_moves_nothing(shift: str, tmp_path: Path) -> None:
    # Where it leaves the monotonic clock alone, libfaketime 0.9.10 breaks clock_nanosleep with
    # an absolute time (EINVAL), which is how Python sleeps.
    (tmp_path / "sitecustomize.py").write_text(
        "import select, time\ntime.sleep = lambda s: select.select([], [], [], s)\n"
    )
    root = Path(steering.__file__).parents[1]
    # Preloaded by hand: `faketime` itself stays between us and the agent as its parent.
    prefix = [
        "env",
        f"LD_PRELOAD={LIBFAKETIME}",
        f"FAKETIME={shift}",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        f"PYTHONPATH={tmp_path}:{root}",
    ]
    with on_stage(agent=False) as stage:
        kernel = Kernel(stage)
        stage.scene.start_agent(prefix=prefix)
        stage.await_alarm("clock")
        assert stage.status()["clock"] == "suspect"
        stage.steady({}, questions=90)
        assert kernel.steers() == []
        assert "clock" in stage.alarms()
        assert {a["rule"] for a in stage.status()["addresses"]} == {"clock"}
        stage.clients_fine()

        stage.scene.stop_agent()
        stage.scene.start_agent()  # the clock is mended
        stage.await_health("healthy")
        assert stage.status()["clock"] == "ok"
        assert kernel.steers() == []


def _link_down(stage: Stage) -> None:
    stage.scene.world.link_down(LOCAL)


def _cut(stage: Stage) -> None:
    stage.scene.world.cut(LOCAL)


def _blackhole(stage: Stage) -> None:
    stage.scene.world.blackhole(LOCAL)


def _up(stage: Stage) -> None:
    stage.scene.world.link_up(LOCAL)


def _forward(stage: Stage) -> None:
    stage.scene.world.unblackhole(LOCAL)


Act = Callable[[Stage], None]


@pytest.mark.parametrize(
    ("lose", "mend"),
    [
        pytest.param(_link_down, _up, id="link-down"),
        pytest.param(_cut, _up, id="carrier-lost"),
        pytest.param(_blackhole, _forward, id="nothing-behind-the-gateway"),
    ],
)
def test_our_own_uplink_down_moves_nothing(lose: Act, mend: Act) -> None:
    with on_stage() as stage:
        kernel = Kernel(stage)
        lose(stage)
        stage.until(lambda: "healthy" not in stage.healths(LOCAL), 20, every=0.05)
        stage.steady({}, questions=30)
        assert not stage.about("confirmed")
        mend(stage)
        stage.await_health("healthy")
        assert kernel.steers() == []
        stage.clients_fine()

        stage.scene.serve(EXPIRED, paths=[LOCAL])  # and it is awake
        stage.await_routes(stage.through("pao"))
