"""The agent's own copy of the root: rounds on the SOA's refresh, and what they are told by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rootcopy import SERIAL, Stage
from transfers import serving
from wholezone import DAY, WholeZone

from steering.act.resolvers.command import Command
from steering.agent import rootzone as agent_rootzone
from steering.agent.rootzone import KeptRoot
from steering.agent.runtime import Runtime
from steering.config import Mode
from steering.config.rootzone import RootZone
from steering.lab.waiting import async_until
from steering.model import Event, Health
from steering.observe.zone.facts import Source
from steering.report.metrics import Meters
from steering.rootzone.publish import Target


@dataclass
class Around:
    """An agent's surroundings, as far as the task looks at them."""

    stage: Stage
    monkeypatch: pytest.MonkeyPatch
    events: list[Event] = field(default_factory=list)
    mode: Mode = Mode.ENFORCE
    off: bool = False
    alarms: dict[str, object] = field(default_factory=dict)
    settings: RootZone | None = field(
        default_factory=lambda: RootZone.model_validate(
            {
                "sources": ["127.0.0.1"],
                "publish": {"cache-1": {"unbound": {}, "file": "/nowhere"}},
            }
        )
    )
    target: Target | None = None

    def __post_init__(self) -> None:
        self.target = self.target or self.stage.target()
        self.monkeypatch.setattr(agent_rootzone, "target_of", lambda *_: self.target)
        self.monkeypatch.setattr(
            agent_rootzone, "directory_of", lambda _: self.stage.kept.directory
        )
        self.made = KeptRoot(cast("Runtime", self), self.events.append, Meters())

    @property
    def version(self) -> Any:  # noqa: ANN401
        config = SimpleNamespace(rootzone=self.settings, state=Path("/nowhere"), mode=self.mode)
        return SimpleNamespace(
            setup=SimpleNamespace(config=config),
            key_sources=SimpleNamespace(anchors=self.stage.made.anchors),
        )

    @property
    def state(self) -> Any:  # noqa: ANN401
        return SimpleNamespace(
            off=self.off, alarms=self.alarms, plan={}, index=SimpleNamespace(settings={})
        )

    @property
    def components(self) -> Any:  # noqa: ANN401
        return SimpleNamespace(claim=None)

    def round(self, source: Source) -> float:
        """One round with this source; the pause until the next."""
        self.monkeypatch.setattr(
            agent_rootzone, "Source", lambda address: replace(source, address=address)
        )
        assert self.settings is not None
        self.made._settings = self.settings
        return asyncio.run(self.made._round(self.settings))

    @property
    def told(self) -> list[str]:
        return [event.event for event in self.events]

    def problem(self) -> str:
        return self.made.problem(time.monotonic())


@pytest.fixture(scope="module")
def made() -> WholeZone:
    return WholeZone(now=time.time())


@pytest.fixture
def around(made: WholeZone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Around:
    return Around(Stage(tmp_path, made), monkeypatch)


def test_a_new_copy_is_kept_published_and_told_and_the_refresh_is_the_pause(around: Around) -> None:
    with serving(around.stage.made.signed(SERIAL)) as source:
        assert around.round(source) == 1800
        assert around.told == ["rootzone_renewed", "rootzone_published"]
        assert around.stage.calls[-1].startswith("reload")
        calls = len(around.stage.calls)
        assert around.round(source) == 1800
    assert len(around.stage.calls) == calls  # it has the copy: nothing is done again
    assert around.told == ["rootzone_renewed", "rootzone_published"]
    assert around.problem() == ""


@pytest.mark.parametrize("how", ["observe", "rehearse", "off", "clock"])
def test_nothing_is_published_where_the_agent_may_not_act(how: str, around: Around) -> None:
    around.off = how == "off"
    around.alarms = {"clock": object()} if how == "clock" else {}
    around.mode = Mode(how) if how in {"observe", "rehearse"} else Mode.ENFORCE
    with serving(around.stage.made.signed(SERIAL)) as source:
        around.round(source)
        assert around.told == ["rootzone_renewed"]
        assert around.stage.calls == []
        assert not around.stage.file.exists()
        around.off, around.alarms, around.mode = False, {}, Mode.ENFORCE
        around.round(source)
    assert around.told == ["rootzone_renewed", "rootzone_published"]


@pytest.mark.parametrize(("moment", "placed"), [("check", False), ("is_out", True)])
def test_switched_off_while_it_is_published_nothing_is_reloaded(
    moment: str, placed: bool, around: Around
) -> None:
    target = around.stage.target()

    def off(*_: object) -> None:
        around.off = True

    async def is_out() -> bool | None:
        off()
        return None

    def check(file: Path) -> tuple[Command, str]:
        off()
        assert target.check is not None
        return target.check(file)

    changed = {"is_out": is_out} if moment == "is_out" else {"check": check}
    around.target = replace(target, **changed)
    with serving(around.stage.made.signed(SERIAL)) as source:
        around.round(source)
        assert around.stage.file.exists() is placed
        assert not any(call.startswith("reload") for call in around.stage.calls)
        around.off, around.target = False, target
        around.round(source)
    assert around.stage.calls[-1].startswith("reload")
    assert around.problem() == ""


def test_switched_off_after_one_resolver_the_next_gets_nothing(around: Around) -> None:
    assert around.settings is not None
    one = around.settings.publish["cache-1"]
    around.settings = around.settings.model_copy(update={"publish": {"a": one, "b": one}})
    asked: list[str] = []

    def target_of(name: str, _: object) -> Target:
        asked.append(name)
        around.off = True
        assert around.target is not None
        return around.target

    around.monkeypatch.setattr(agent_rootzone, "target_of", target_of)
    with serving(around.stage.made.signed(SERIAL)) as source:
        around.round(source)
    assert asked == ["a"]


def test_a_copy_that_is_refused_is_an_alarm_at_once_and_changes_nothing(around: Around) -> None:
    with serving(around.stage.made.signed(SERIAL)) as source:
        around.round(source)
    before = around.stage.file.read_bytes()
    with serving(WholeZone(now=around.stage.made.now).signed(SERIAL + 1)) as liar:
        assert around.round(liar) == 900  # the SOA's retry
        around.round(liar)
    assert around.told[2:] == ["rootzone_not_renewed"]
    assert "refused" in around.problem()
    assert "best before in 7 d" in around.problem() or "in 6 d" in around.problem()
    assert around.stage.file.read_bytes() == before


def test_one_silence_is_no_alarm_and_two_are(around: Around) -> None:
    with serving(around.stage.made.signed(SERIAL)) as source:
        around.round(source)
    around.round(source)
    assert around.problem() == ""
    around.round(source)
    assert "silent" in around.problem()
    with serving(around.stage.made.signed(SERIAL)) as back:
        around.round(back)
    assert around.problem() == ""


def test_a_resolver_that_does_not_take_it_is_an_alarm_and_is_tried_again(around: Around) -> None:
    around.target = around.stage.target(check="exit 1")
    with serving(around.stage.made.signed(SERIAL)) as source:
        around.round(source)
        assert around.told == ["rootzone_renewed", "rootzone_not_published"]
        assert "cache-1 does not have it: refused" in around.problem()
        around.round(source)
        assert around.told == ["rootzone_renewed", "rootzone_not_published"]
        around.target = around.stage.target()
        around.round(source)
    assert around.told[-1] == "rootzone_published"
    assert around.problem() == ""


def test_a_spoiled_copy_is_fetched_again(around: Around) -> None:
    around.mode = Mode.OBSERVE
    with serving(around.stage.made.signed(SERIAL)) as source:
        around.round(source)
        file = around.stage.kept.file
        file.write_bytes(file.read_bytes()[:3000])
        around.mode = Mode.ENFORCE
        around.round(source)
        assert "spoiled" in around.problem()
        around.round(source)
    assert around.problem() == ""
    assert around.stage.file.exists()


def test_a_disk_that_can_not_be_written_is_an_alarm(around: Around) -> None:
    around.stage.kept.directory.parent.joinpath("rootzone").write_text("a file in its place")
    with serving(around.stage.made.signed(SERIAL)) as source:
        around.round(source)
    assert "rootzone" in around.problem()


def test_a_command_by_hand_meanwhile_is_waited_for(around: Around) -> None:
    with serving(around.stage.made.signed(SERIAL)) as source:
        with around.stage.kept.locked():
            assert around.round(source) == agent_rootzone.BUSY
            assert around.problem() == ""
            around.round(source)
            assert "another process" in around.problem()
        around.round(source)
    assert around.problem() == ""
    assert around.told == ["rootzone_renewed", "rootzone_published"]


def test_a_round_that_never_ends_is_an_alarm(around: Around) -> None:
    around.made._settings = around.settings
    around.made._began = time.monotonic() - 2 * agent_rootzone.STALLED
    assert "does not end" in around.problem()


def test_the_task_begins_with_the_setting_and_ends_with_it(around: Around) -> None:
    settings, around.settings = around.settings, None
    rounds: list[RootZone] = []

    async def count(settings: RootZone) -> float:
        rounds.append(settings)
        return 3600.0

    around.monkeypatch.setattr(around.made, "_round", count)
    around.monkeypatch.setattr(agent_rootzone, "LOOK", 0.01)

    async def story() -> None:
        task = asyncio.create_task(around.made.run())
        await asyncio.sleep(0)
        assert rounds == []
        around.settings = settings
        await async_until(lambda: len(rounds), 5.0, wanted=1)
        assert settings is not None
        around.settings = settings.model_copy(update={"interval": 77.0})
        await async_until(lambda: len(rounds), 5.0, wanted=2)  # changed files: at once
        around.settings = None
        await async_until(lambda: around.made._settings, 5.0, wanted=None)
        task.cancel()

    asyncio.run(story())
    assert around.problem() == ""


def test_a_bad_local_path_is_left_for_a_healthy_site(around: Around) -> None:
    paths = {"local": Health.FAILING, "pao": Health.HEALTHY, "fra": Health.STALE}
    state = SimpleNamespace(
        plan={},
        index=SimpleNamespace(settings={"192.0.2.1": object()}, paths=tuple(paths)),
        ledger=SimpleNamespace(path=lambda _, path="local": SimpleNamespace(health=paths[path])),
    )
    runtime = SimpleNamespace(
        state=state,
        components=SimpleNamespace(claim=SimpleNamespace(mark_of=len)),
    )
    task = KeptRoot(cast("Runtime", runtime), around.events.append, Meters())
    ways: Callable[[str], list[Source]] = task._ways
    assert [way.path for way in ways("192.0.2.1")] == ["pao", ""]
    assert [way.path for way in ways("192.0.2.99")] == [""]  # of no policy: no path is known
    paths["local"] = Health.HEALTHY
    assert [way.path for way in ways("192.0.2.1")] == [""]
    paths["local"], state.plan = Health.FAILING, {"192.0.2.1": "pao"}
    assert [way.path for way in ways("192.0.2.1")] == [""]  # all traffic takes the detour


def test_metrics_say_how_rounds_ended(around: Around) -> None:
    with serving(around.stage.made.signed(SERIAL, life=2 * DAY)) as source:
        around.round(source)
    meters = around.made._meters
    value = meters.registry.get_sample_value
    assert value("steering_rootzone_rounds_total", {"outcome": "new"}) == 1
    copy = around.stage.kept.copy()
    assert copy is not None
    assert value("steering_rootzone_best_before_timestamp_seconds") == copy.best_before()
