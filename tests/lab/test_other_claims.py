"""Another claim is taken up message by message, and the process may die after any of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest
from kernelhost import CLAIM, Monitor, build_host, ip, ours

from steering.act.guard import Watch
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.kernel.netlink import KernelRefusal, KernelRequest
from steering.act.lease import Lease
from steering.act.off_switch import OffSwitch
from steering.agent import actuators as actuators_module
from steering.agent.actuators import Actuators
from steering.config import Config, check
from steering.config.yaml_file import parse
from steering.lab.network.links import run
from steering.model import Family

pytestmark = pytest.mark.lab

PLAN = {"192.0.2.1": "pao", "2001:db8::1": "pao"}
WATCHED = frozenset((*PLAN, "192.0.2.2"))
HOPS = CLAIM.next_hops
OTHERS = {
    "table": replace(CLAIM, table=6353),
    "priority": replace(CLAIM, priority=6353),
    "next priority": replace(CLAIM, priority=5354),
    "mark": replace(CLAIM, mark=0x50),
    "mark of version 0.1.0": replace(CLAIM, mark=0x5353, mask=2**32 - 1),
    "all": replace(CLAIM, table=5354, priority=5352, mark=0x41),
    "order": replace(CLAIM, sites=("fra", "pao")),
    "one site less": replace(CLAIM, sites=("pao",), next_hops={"pao": HOPS["pao"]}),
    "one site more": replace(
        CLAIM,
        sites=(*CLAIM.sites, "lax"),
        next_hops={**HOPS, "lax": {Family.IPV4: "10.255.1.9"}},
    ),
    "no transit": replace(CLAIM, transit_interfaces=()),
}


class Killed(Exception):  # noqa: N818
    """What a kill -9 is to the process that it ends."""


class FakeGuard:
    """A guard that is there. What it would do is tried apart from it."""

    def __init__(self, **_where: object) -> None: ...

    def ensure(self) -> bool:
        return True

    def present(self) -> bool:
        return True

    def replace(self) -> None: ...

    def close(self) -> None: ...


class Fate:
    """Lets so many messages through to the kernel, of whichever actuator, and then kills."""

    def __init__(self) -> None:
        self.lives: int | None = None

    def send(
        self, kernel: KernelActuator, orders: Sequence[KernelRequest]
    ) -> tuple[KernelRefusal | None, ...]:
        if self.lives is None:
            return kernel._writing.carry_out(orders)
        said = kernel._writing.carry_out(orders[: self.lives])
        if len(orders) > self.lives:
            raise Killed
        self.lives -= len(orders)
        return said


def _sent(
    kernel: KernelActuator, fate: Fate, orders: Sequence[KernelRequest]
) -> tuple[KernelRefusal | None, ...]:
    return fate.send(kernel, orders)


@pytest.fixture
def fate(monkeypatch: pytest.MonkeyPatch) -> Fate:
    made = Fate()
    monkeypatch.setattr(KernelActuator, "_send", partialmethod(_sent, made))
    monkeypatch.setattr(actuators_module, "GuardClient", FakeGuard)
    return made


@pytest.fixture
def config(namespace: None, tmp_path: Path) -> Iterator[Config]:
    build_host()
    text = "{site: sin, sites: {pao: {next_hop: {ipv4: 10.255.1.2}}}}\n"
    made = check(Config, parse(text, tmp_path / "steering.yaml"))
    yield made.model_copy(update={"runtime": tmp_path, "state": tmp_path, "lease": 60.0})
    assert ours() == []


def switch_of(config: Config) -> OffSwitch:
    return OffSwitch(state=config.state, runtime=config.runtime)


def served(config: Config) -> Actuators:
    """Actuators that have installed the plan."""
    actuators = Actuators(config, CLAIM, switch_of(config), WATCHED)
    actuators.adopt()
    turn(actuators)
    return actuators


def turn(actuators: Actuators) -> None:
    actuators.changed = True
    actuators.act(PLAN, off=False, moved=False)


def takes_the_detour() -> bool:
    """Whether packets of this host to the steered addresses leave through pao."""
    hops = {"192.0.2.1": "10.255.1.2", "2001:db8::1": "fd00:ff:1::2"}
    return all(ip(f"route get {a}")[0]["gateway"] == hop for a, hop in hops.items())


def take_back(config: Config) -> None:
    """What the guard does when nobody renews the lease."""
    switch = switch_of(config)
    switch.engage("the end of a test", "nobody")
    Watch(runtime=config.runtime).look()
    switch.release()


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_dying_after_any_message_keeps_the_detour_and_leaves_nothing_to_nobody(
    config: Config, fate: Fate, other: Claim
) -> None:
    for lives in range(200):
        actuators = served(config)
        actuators.reconfigure(config, actuators.actuator_for(other), WATCHED)
        fate.lives, killed = lives, False
        try:
            for _ in range(3):
                turn(actuators)
        except Killed:
            killed = True
        fate.lives = None
        assert takes_the_detour(), f"after {lives} messages"
        actuators.close()  # as the kernel does for the dead
        if lives % 2:
            successor = Actuators(config, other, switch_of(config), WATCHED)
            successor.adopt()
            assert takes_the_detour()
            turn(successor)
            turn(successor)
            assert takes_the_detour()
            assert successor.former_claims == ()
            successor.close()
        take_back(config)
        assert ours() == [], f"after {lives} messages"
        if not killed:
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize(
    "name",
    ["order", "one site less", "one site more", "no transit", "mark", "mark of version 0.1.0"],
)
def test_where_both_claims_want_the_same_route_it_is_not_touched(
    config: Config, fate: Fate, name: str
) -> None:
    actuators = served(config)
    with Monitor() as monitor:
        actuators.reconfigure(config, actuators.actuator_for(OTHERS[name]), WATCHED)
        for _ in range(3):
            turn(actuators)
        monitor.catch_up()
        steers = [line for line in monitor.heard() if " table 5353 " in line and "via" in line]
    assert actuators.former_claims == ()
    assert not [line for line in steers if any(f"{a} " in line for a in PLAN)]
    assert not actuators.problems or name == "one site more"  # lax is on no link of ours
    actuators.close()
    take_back(config)


def test_a_lease_that_cannot_be_written_takes_up_no_other_claim(
    config: Config, fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    actuators = served(config)
    before = run("ip -d route show table all proto 53")
    actuators.reconfigure(config, actuators.actuator_for(OTHERS["table"]), WATCHED)

    def full(*_: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Lease, "renew", full)
    turn(actuators)
    assert run("ip -d route show table all proto 53") == before
    assert "No space left" in actuators.problems[0]
    monkeypatch.undo()
    monkeypatch.setattr(actuators_module, "GuardClient", FakeGuard)
    turn(actuators)
    turn(actuators)
    assert actuators.former_claims == ()
    assert takes_the_detour()
    actuators.close()
    take_back(config)
