"""What became of a plan is counted: how long after the first bad answer a route was there."""

from __future__ import annotations

from pathlib import Path

from simulation import Ask, Simulation, policy, setup

from steering.act.kernel.diff import ChangeKind
from steering.agent.action_metrics import count
from steering.agent.actuators import Acted
from steering.model import Done, Outcome, Refused
from steering.report.metrics import Meters


def test_detection_took_from_the_first_bad_answer_to_the_route(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return Outcome.EXPIRED if ask.local and ask.now > 1020 else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=1)), answer)
    sim.until(lambda: bool(sim.installed), 60)
    ((address, site), *_) = sim.installed.items()
    done = Done(action=ChangeKind.ADD, address=address, site=site, seconds=0.01)
    meters = Meters()
    count(meters, Acted(by_kernel=(done,)), sim.state, sim.now, by_kernel=True)
    (metric,) = meters.detection_seconds.collect()
    told = {sample.name.rsplit("_", 1)[1]: sample.value for sample in metric.samples}
    assert told["count"] == 1
    assert 0 < told["sum"] <= sim.now - 1020


def test_each_action_is_counted_by_who_did_it_and_what_became_of_it(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, policy(letters=1)), lambda _: Outcome.SECURE)
    address = sim.addresses()[0]
    done = Done(action=ChangeKind.ADD, address=address, site="pao", seconds=0.01)
    refused = Refused(action=ChangeKind.ADD, address=address, site="pao", because="no route")
    gone = Done(action=ChangeKind.REMOVE, address=address, site=None, seconds=0.02)
    meters = Meters()
    acted = Acted(by_kernel=(done, done, refused), by_bgp=(gone,))
    count(meters, acted, sim.state, sim.now, by_kernel=True)
    (metric,) = meters.actions.collect()
    counted = {
        tuple(sample.labels.values()): sample.value
        for sample in metric.samples
        if sample.value and sample.name.endswith("_total")
    }
    assert counted == {
        ("kernel", "add", "done"): 2,
        ("kernel", "add", "refused"): 1,
        ("bgp", "remove", "done"): 1,
    }
