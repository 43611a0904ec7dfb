"""What is in force is left for a successor when the files are dealt with, and at no other time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from simulation import CONFIG, policy

from steering import engine
from steering.agent import regime as regimes
from steering.agent.crew import Crew
from steering.agent.notebook import Notebook
from steering.agent.outfit import Lasting, Outfit
from steering.agent.parts import CannotRun
from steering.agent.regime import Regime
from steering.agent.reload import Version
from steering.agent.senses import Senses
from steering.config import fingerprint, load
from steering.model import Event
from steering.report.metrics import Meters


class Clothes:
    """An outfit with hands, that touches nothing."""

    claim = None
    hands = SimpleNamespace(owes=False)
    ways = SimpleNamespace(past=frozenset)
    sources = SimpleNamespace(named={})
    forwarding = None
    notices = left = ()

    def __init__(self, version: Version, _lasting: Lasting, was: Outfit | None = None) -> None:
        del was
        self.setup, self.layout = version.setup, version.layout

    def adopt(self) -> None: ...


class Nothing:
    """Senses that sense nothing."""

    def wear(self, outfit: Outfit, crew: Crew) -> None: ...

    def installed(self) -> Mapping[str, str]:
        return {}


@pytest.fixture
def version(tmp_path: Path) -> Version:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "gtld.yaml").write_text(policy())
    config = tmp_path / "steering.yaml"
    config.write_text(f"{CONFIG}runtime: {tmp_path}\nstate: {tmp_path}\njournal: off\n")
    return Version.of(load(config), fingerprint(config))


Make = Callable[[Callable[[], None]], Regime]
"""A regime with this for its turn."""


@pytest.fixture
def made(version: Version, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(regimes, "Outfit", Clothes)
    monkeypatch.setattr(Regime, "_set_going", lambda _regime, _was: None)
    config = version.setup.config
    switch = SimpleNamespace(engaged=lambda: False)
    lasting = SimpleNamespace(switch=switch, kept_off=lambda: False)

    def make(turn: Callable[[], None]) -> Regime:
        return Regime(
            version,
            cast("Lasting", lasting),
            notebook=Notebook(config.state),
            senses=cast("Senses", Nothing()),
            meters=Meters(),
            tell=lambda _event: None,
            turn=turn,
        )

    return make


def test_the_first_turn_alone_leaves_nothing_to_go_on_with(tmp_path: Path, made: Make) -> None:
    left = tmp_path / "in-force"
    left.write_text("of before")
    regime = made(lambda: None)
    regime.start(cast("Crew", None))
    assert not left.exists(), "who dies now is followed by one that goes by the files"
    regime.stand()
    assert left.exists()


def test_it_is_left_once_and_not_at_every_look(tmp_path: Path, made: Make) -> None:
    left = tmp_path / "in-force"
    regime = made(lambda: None)
    regime.start(cast("Crew", None))
    regime.stand()
    left.unlink()
    regime.stand()
    assert not left.exists()


def test_an_older_version_is_spent_before_another_one_is_taken(
    tmp_path: Path, made: Make, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "in-force"
    there: list[bool] = []
    regime = made(lambda: there.append(left.exists()))
    regime.start(cast("Crew", None))
    regime.stand()
    monkeypatch.setattr(Regime, "_change", lambda *_: there.append(left.exists()))
    regime.take(version, anew=True)
    assert there == [False, False, False], "who dies of it is not followed by what it replaced"
    regime.stand()
    assert left.exists()


def test_after_a_lost_lease_all_begins_from_nothing_and_that_is_told(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    dropped: list[bool] = []
    regime = made(lambda: None)
    regime.start(cast("Crew", None))
    regime.tell = told.append
    regime.world = replace(regime.world, started=True, plan=regime.world.plan + 1)
    monkeypatch.setattr(Nothing, "drop", lambda _self: dropped.append(True), raising=False)
    hands = SimpleNamespace(owes=False, lost_lease=lambda: "no turn for longer than the lease")
    monkeypatch.setattr(Clothes, "hands", hands)
    regime.mind_lost_lease()
    assert not regime.world.started
    assert not regime.steers
    assert dropped, "what was asked before is not counted"
    assert [event.event for event in told] == ["lease_lost"]
    assert "no turn for longer" in told[0].because


def test_a_version_that_cannot_be_taken_leaves_what_is_in_force(
    tmp_path: Path, made: Make, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise CannotRun(1, "the port is taken")

    regime = made(lambda: None)
    regime.start(cast("Crew", None))
    regime.stand()
    monkeypatch.setattr(Regime, "_change", refused)
    with pytest.raises(CannotRun, match="the port is taken"):
        regime.take(version, anew=True)
    regime.stand()
    assert (tmp_path / "in-force").exists()


FAULTS = [ValueError("priority: 32765"), OverflowError(), KeyError("pao"), MemoryError()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("stage", ["built", "thought through"])
def test_whatever_goes_wrong_with_a_version_it_is_refused_and_the_one_before_goes_on(
    made: Make, version: Version, monkeypatch: pytest.MonkeyPatch, stage: str, fault: Exception
) -> None:
    def stumbles(*_: object, **__: object) -> None:
        raise fault

    turns: list[Version] = []
    regime = made(lambda: turns.append(regime.version))
    regime.start(cast("Crew", None))
    outfit, world = regime.outfit, regime.world
    if stage == "built":
        monkeypatch.setattr(regimes, "Outfit", stumbles)
    else:
        monkeypatch.setattr(engine, "turn", stumbles)
    later = replace(version, fingerprint=())
    with pytest.raises(CannotRun, match=type(fault).__name__) as refused:
        regime.take(later, anew=True)
    assert refused.value.__cause__ is fault
    assert regime.version is version
    assert (regime.outfit, regime.world) == (outfit, world)
    assert turns == [version], "of the start: there was no turn by the other one"


def test_overrides_that_the_engine_stumbles_over_are_refused_as_well(
    made: Make, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbles(*_: object, **__: object) -> None:
        raise IndexError("out of bounds")

    regime = made(lambda: None)
    regime.start(cast("Crew", None))
    monkeypatch.setattr(engine, "turn", stumbles)
    with pytest.raises(CannotRun, match="can't be thought through: IndexError: out of bounds"):
        regime.take(replace(version, fingerprint=()), anew=False)
    assert regime.version is version
