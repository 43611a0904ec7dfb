"""What is built from a version of the files gives back what it holds; what writes is guarded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from etc import place
from fakes import FakeActuator
from simulation import CONFIG, policy

from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.off_switch import OffSwitch
from steering.agent import components as components_module
from steering.agent.components import Components, Lasting
from steering.agent.reload import Version
from steering.config import Config, Mode, fingerprint, load
from steering.observe.strays import Strays


@pytest.fixture
def version(tmp_path: Path) -> Version:
    text = f"{CONFIG}runtime: {tmp_path}\nstate: {tmp_path}\njournal: off\n"
    config = place(tmp_path, text, gtld=policy())
    return Version.of(load(config), fingerprint(config))


@pytest.fixture
def lasting(tmp_path: Path) -> Lasting:
    return Lasting(
        switch=OffSwitch(state=tmp_path, runtime=tmp_path),
        state_off=lambda: False,
        deliver=lambda _: None,
        strays=Strays(),
    )


def observing(version: Version) -> Version:
    config = version.setup.config.model_copy(update={"mode": Mode.OBSERVE})
    return replace(version, setup=replace(version.setup, config=config))


def opened() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_components_that_only_read_close_what_they_read_by(
    version: Version, lasting: Lasting
) -> None:
    Components(observing(version), lasting).close()  # what is kept open for good is open now
    before = opened()
    components = Components(observing(version), lasting)
    assert components.actuators is None
    assert opened() > before
    components.close()
    assert opened() <= before


class FakeActuators:
    """Actuators that touch nothing."""

    notices = former_claims = ()
    adopted: list[bool]

    def __init__(
        self, _config: Config, claim: Claim, _switch: OffSwitch, _allowed: frozenset[str]
    ) -> None:
        self.kernel = FakeActuator(claim)

    def adopt(self, *, starting: bool = True) -> tuple[KernelProblem, ...]:
        self.adopted.append(starting)
        return ()

    def wait(self) -> None: ...

    def close(self) -> None: ...


def test_an_agent_that_acts_from_a_reload_on_has_a_guard_before_it_is_in_force(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components_module, "Actuators", FakeActuators)
    monkeypatch.setattr(components_module, "preflight", lambda *_, **__: ())
    monkeypatch.setattr(components_module, "_leases_in_force", lambda *_: ())
    monkeypatch.setattr(FakeActuators, "adopted", [], raising=False)
    watching = Components(observing(version), lasting)
    acting = Components(version, lasting, watching)
    assert FakeActuators.adopted == [False]
    begun = Components(version, lasting)
    assert FakeActuators.adopted == [False], (
        "at the start it takes over later, when everything is built"
    )
    begun.adopt()
    assert FakeActuators.adopted == [False, True]
    for components in (begun, acting, watching):
        components.close()
