"""The version in force: what its start does, and that a bad version never replaces it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from simulation import CONFIG, policy

from steering import from_config
from steering.agent import runtime as runtime_module
from steering.agent.components import Components, Lasting
from steering.agent.inputs import Inputs, Received
from steering.agent.reload import Ended, Version
from steering.agent.restart_state import RestartState
from steering.agent.runtime import Runtime
from steering.agent.tasks import Tasks
from steering.config import fingerprint, load
from steering.engine import engine
from steering.errors import CannotRunError
from steering.model import Event, Family
from steering.report.metrics import Meters


class FakeComponents:
    """Components with actuators, that touch nothing."""

    claim = None
    actuators = SimpleNamespace(removal_pending=False, former_steers=dict)
    kernel_paths = SimpleNamespace(past_steers=frozenset)
    sources = SimpleNamespace(named={})
    forwarding = None
    notices = leftovers = ()

    def __init__(self, version: Version, _lasting: Lasting, was: Components | None = None) -> None:
        del was
        self.setup, self.index = version.setup, version.index
        self.allowed = from_config.addresses_of(version.setup)

    def adopt(self) -> None: ...


NO_NEWS = Received(rounds=(), heard=(), passed=(), installed={})


class Nothing:
    """Inputs that never have any."""

    def use(self, components: Components, tasks: Tasks) -> None: ...

    def gather(self) -> Received:
        return NO_NEWS

    def installed(self) -> Mapping[str, str]:
        return {}


@pytest.fixture
def version(tmp_path: Path) -> Version:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "gtld.yaml").write_text(policy())
    config = tmp_path / "steering.yaml"
    config.write_text(f"{CONFIG}runtime: {tmp_path}\nstate: {tmp_path}\njournal: off\n")
    return Version.of(load(config), fingerprint(config))


Make = Callable[[Callable[[], None]], Runtime]
"""A runtime with this for its turn."""


@pytest.fixture
def made(version: Version, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(runtime_module, "Components", FakeComponents)
    monkeypatch.setattr(Runtime, "_start_tasks", lambda _runtime, _was: None)
    config = version.setup.config
    switch = SimpleNamespace(engaged=lambda: False)
    lasting = SimpleNamespace(switch=switch, state_off=lambda: False)

    def make(turn: Callable[[], None]) -> Runtime:
        return Runtime(
            version,
            cast("Lasting", lasting),
            restart_state=RestartState(config.state),
            inputs=cast("Inputs", Nothing()),
            meters=Meters(),
            log_event=lambda _event: None,
            turn=turn,
        )

    return make


def test_the_file_in_force_of_an_earlier_version_is_removed(tmp_path: Path, made: Make) -> None:
    left = tmp_path / "in-force"
    left.write_text("of before")
    made(lambda: None).start(cast("Tasks", None))
    assert not left.exists(), "an agent of version 0.1.0 would begin with it"
    made(lambda: None).start(cast("Tasks", None))


def test_steers_that_the_files_have_no_place_for_are_released_before_the_first_turn(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    installed = {"192.5.0.30": "pao", "203.0.113.9": "fra"}
    former = {"192.5.0.30": "pao", "192.5.1.30": "fra"}
    monkeypatch.setattr(Nothing, "installed", lambda _self: installed)
    actuators = SimpleNamespace(removal_pending=False, former_steers=lambda: former)
    monkeypatch.setattr(FakeComponents, "actuators", actuators)
    runtime = made(lambda: told.append(Event(event="turn", because="")))
    runtime.log_event = told.append
    runtime.start(cast("Tasks", None))
    assert [(e.event, e.address, e.was, e.now) for e in told] == [
        ("released", "192.5.1.30", "fra", "local"),
        ("released", "203.0.113.9", "fra", "local"),
        ("turn", None, None, None),
    ]
    assert "another table or next hop" in told[0].because
    assert "no policy names this address" in told[1].because


def test_probe_routes_of_a_former_claim_are_not_adopted_as_steers(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    actuators = SimpleNamespace(removal_pending=False, former_steers=dict, table_was_a_site=True)
    paths = SimpleNamespace(past_steers=frozenset, routes=lambda: {"192.5.0.30": "pao"})
    monkeypatch.setattr(FakeComponents, "actuators", actuators)
    monkeypatch.setattr(FakeComponents, "kernel_paths", paths)
    monkeypatch.setattr(FakeComponents, "claim", object())
    runtime = made(lambda: None)
    runtime.start(cast("Tasks", None))
    assert runtime.facts().installed == {}
    actuators.table_was_a_site = False
    assert runtime.facts().installed == {"192.5.0.30": "pao"}


def test_after_a_lost_lease_the_state_is_blank_and_an_event_says_so(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    dropped: list[bool] = []
    runtime = made(lambda: None)
    runtime.start(cast("Tasks", None))
    runtime.log_event = told.append
    plan = dict.fromkeys(runtime.state.index.settings, "pao")
    runtime.state = replace(runtime.state, started=True, plan=plan)
    assert runtime.steers
    monkeypatch.setattr(Nothing, "drop", lambda _self: dropped.append(True), raising=False)
    actuators = SimpleNamespace(
        removal_pending=False, lost_lease=lambda: "no turn for longer than the lease"
    )
    monkeypatch.setattr(FakeComponents, "actuators", actuators)
    runtime.handle_lost_lease()
    assert not runtime.state.started
    assert not runtime.steers
    assert dropped, "answers to earlier probes are not counted"
    assert [event.event for event in told] == ["lease_lost"]
    assert "no turn for longer" in told[0].because


def test_a_version_that_cannot_be_applied_leaves_the_one_in_force(
    made: Make, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise CannotRunError(1, "the port is taken")

    runtime = made(lambda: None)
    runtime.start(cast("Tasks", None))
    monkeypatch.setattr(Runtime, "_change", refused)
    with pytest.raises(CannotRunError, match="the port is taken"):
        runtime.apply(replace(version, fingerprint=()), rebuild=True)
    assert runtime.version is version


FAULTS = [ValueError("priority: 32765"), OverflowError(), KeyError("pao"), MemoryError()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("stage", ["built", "a first turn"])
def test_any_error_with_a_version_refuses_it_and_the_one_before_goes_on(
    made: Make, version: Version, monkeypatch: pytest.MonkeyPatch, stage: str, fault: Exception
) -> None:
    def raises(*_: object, **__: object) -> None:
        raise fault

    turns: list[Version] = []
    runtime = made(lambda: turns.append(runtime.version))
    runtime.start(cast("Tasks", None))
    components, state = runtime.components, runtime.state
    if stage == "built":
        monkeypatch.setattr(runtime_module, "Components", raises)
    else:
        monkeypatch.setattr(engine, "turn", raises)
    later = replace(version, fingerprint=())
    with pytest.raises(CannotRunError, match=type(fault).__name__) as refused:
        runtime.apply(later, rebuild=True)
    assert refused.value.__cause__ is fault
    assert runtime.version is version
    assert (runtime.components, runtime.state) == (components, state)
    assert turns == [version], "that of the start: there was no turn with the other one"


def test_files_that_nothing_can_be_built_from_are_refused_at_a_start_as_well(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: object, **__: object) -> None:
        raise ValueError("priority: 32765")

    monkeypatch.setattr(runtime_module, "Components", raises)
    with pytest.raises(CannotRunError, match="failed: ValueError: priority: 32765"):
        made(lambda: None)


def test_overrides_that_raise_in_the_engine_are_refused_as_well(
    made: Make, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: object, **__: object) -> None:
        raise IndexError("out of bounds")

    runtime = made(lambda: None)
    runtime.start(cast("Tasks", None))
    monkeypatch.setattr(engine, "turn", raises)
    with pytest.raises(CannotRunError, match="a first turn failed: IndexError: out of bounds"):
        runtime.apply(replace(version, fingerprint=()), rebuild=False)
    assert runtime.version is version


class RefersToItself:
    """As components do, by the callbacks that they give to their parts."""

    def __init__(self) -> None:
        self.itself = self


def test_what_a_reload_replaces_is_freed_although_it_refers_to_itself(
    version: Version, made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector seldom looks at everything by itself (`loop.COLLECTIONS`)."""
    runtime, old = made(lambda: None), RefersToItself()
    parts, seen = [old], weakref.ref(old)
    del old
    monkeypatch.setattr(runtime, "_change", lambda _: parts.clear())
    gc.disable()
    try:
        runtime.apply(version, rebuild=False)
        assert seen() is not None
        runtime.apply(version, rebuild=True)
        assert seen() is None
    finally:
        gc.enable()


class Recorded:
    """Tasks that run nothing."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, name: str, work: str) -> None:
        self.calls.append(f"{name}: {work}")

    def stop(self, name: str) -> None:
        self.calls.append(f"no {name}")

    def stop_reading(self) -> None:
        self.calls.append("stop reading")


def part(name: str) -> SimpleNamespace:
    return SimpleNamespace(run=lambda: name)


def parts(dnstap: str = "", forwarding: str = "", keys: object = None) -> Components:
    made = SimpleNamespace(
        prober=part("prober"),
        sources=part("sources"),
        keys=keys or part("keys"),
        forwarding=part(forwarding) if forwarding else None,
        dnstap=SimpleNamespace(verifier=part(dnstap)) if dnstap else None,
    )
    return cast("Components", made)


ALWAYS = ["probes: prober", "sources: sources"]


def test_each_task_runs_while_its_component_is_there_and_a_shared_one_goes_on(
    version: Version,
) -> None:
    keys = part("keys")

    def started(now: Components, was: Components | None) -> list[str]:
        runtime, tasks = Runtime.__new__(Runtime), Recorded()
        runtime.components, runtime.tasks = now, cast("Tasks", tasks)
        runtime._start_tasks(was)
        assert tasks.calls[:2] == ALWAYS
        return tasks.calls[2:]

    every = parts("verifier", "forwarding", keys)
    without = parts(keys=keys)
    verify = "verify traffic: verifier"
    assert started(every, None) == ["forwarding: forwarding", "keys: keys", verify]
    assert started(without, None) == ["no forwarding", "keys: keys", "no verify traffic"]
    assert started(every, without) == ["forwarding: forwarding", verify]
    assert started(every, every) == ["forwarding: forwarding"], "these go on"
    assert started(without, every) == ["no forwarding", "no verify traffic"]
    assert started(parts(), without) == ["no forwarding", "keys: keys", "no verify traffic"]


@pytest.fixture
def changing(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> tuple[Runtime, list[str], list[Event], list[object]]:
    """A runtime that began; the order of what a change does, its events, what it drops."""
    order: list[str] = []
    told: list[Event] = []
    dropped: list[object] = []
    paths = SimpleNamespace(past_steers=frozenset)
    monkeypatch.setattr(FakeComponents, "kernel_paths", paths)
    monkeypatch.setattr(
        FakeComponents, "take_over", lambda *_: order.append("take over"), raising=False
    )
    monkeypatch.setattr(Nothing, "use", lambda *_: order.append("use"))
    monkeypatch.setattr(Nothing, "drop", lambda _self, gone: dropped.append(gone), raising=False)
    monkeypatch.setattr(Runtime, "_start_tasks", lambda *_: order.append("tasks"))
    runtime = made(lambda: order.append("turn"))
    tasks = Recorded()
    tasks.calls = order
    runtime.start(cast("Tasks", tasks))
    assert order == ["use", "turn", "tasks"], "rules of the paths come before the first probe"
    runtime.log_event = told.append
    order.clear()
    return runtime, order, told, dropped


def other(version: Version, tmp_path: Path, config: str = CONFIG, **policies: str) -> Version:
    """The files of a host, changed."""
    for old in (tmp_path / "policies").iterdir():
        old.unlink()
    for name, text in policies.items():
        (tmp_path / "policies" / f"{name}.yaml").write_text(text)
    file = version.setup.config
    text = f"{config}runtime: {file.runtime}\nstate: {file.state}\njournal: off\n"
    (tmp_path / "steering.yaml").write_text(text)
    return Version.of(load(tmp_path / "steering.yaml"), fingerprint(tmp_path / "steering.yaml"))


def test_a_change_takes_over_before_the_next_turn_and_tells_of_what_ends_by_it(
    changing: tuple[Runtime, list[str], list[Event], list[object]],
    version: Version,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime, order, told, dropped = changing
    forgotten: list[tuple[frozenset[str], tuple[str, ...]]] = []
    monkeypatch.setattr(
        Meters,
        "forget",
        lambda _self, gone, paths: forgotten.append((frozenset(gone), tuple(sorted(paths)))),
    )
    monkeypatch.setattr(FakeComponents, "notices", ("two tables",))
    monkeypatch.setattr(FakeComponents, "leftovers", ("route 192.0.2.1",))
    gone, *_ = runtime.state.index.settings
    runtime.state = replace(runtime.state, started=True, plan={gone: "pao"})
    before = runtime.version
    new = other(version, tmp_path, "\n".join(_without_pao()) + "\n", root=policy("root", net=6))
    runtime.apply(new, rebuild=True)
    assert order == ["stop reading", "take over", "use", "tasks", "turn"]
    assert [(e.event, e.address) for e in told] == [
        ("released", gone),
        ("notice", None),
        ("leftover", None),
    ]
    assert (told[1].because, told[2].because) == ("two tables", "route 192.0.2.1")
    assert runtime.version is new
    assert runtime.version is not before
    assert runtime.state.index is new.index
    assert runtime.components.index is new.index
    assert forgotten == [
        (frozenset({"gtld"}), ("fra", "local", "pao")),
        (frozenset({"gtld"}), ("pao",)),
    ]
    assert not dropped, "what is asked over the other paths counts"


def _without_pao() -> list[str]:
    return [line for line in CONFIG.splitlines() if "pao:" not in line]


def test_answers_by_marks_or_next_hops_of_before_are_dropped_with_a_change(
    changing: tuple[Runtime, list[str], list[Event], list[object]],
    version: Version,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime, _, _, dropped = changing
    runtime.apply(
        other(version, tmp_path, CONFIG.replace("10.255.1.2", "10.255.1.9"), gtld=policy()),
        rebuild=True,
    )
    assert dropped == [frozenset({"pao"})]
    paths = SimpleNamespace(past_steers=frozenset)
    monkeypatch.setattr(FakeComponents, "kernel_paths", paths)
    runtime.components.kernel_paths = cast("Any", SimpleNamespace(past_steers=frozenset))
    runtime.apply(
        other(version, tmp_path, CONFIG.replace("10.255.1.2", "10.255.1.9"), gtld=policy()),
        rebuild=True,
    )
    assert dropped == [frozenset({"pao"}), frozenset()], "other marks, the same next hops"


def test_the_directories_of_a_running_agent_stay(
    changing: tuple[Runtime, list[str], list[Event], list[object]], version: Version
) -> None:
    runtime, order, _, _ = changing
    config = version.setup.config
    for key in ("state", "runtime"):
        moved = config.model_copy(update={key: Path("/elsewhere")})
        new = replace(version, setup=replace(version.setup, config=moved))
        with pytest.raises(CannotRunError, match=f"{key}: can't be changed") as refused:
            runtime.apply(new, rebuild=True)
        assert refused.value.code == 2
        assert runtime.version is version
    assert not order


def test_a_change_of_overrides_alone_takes_a_turn_and_nothing_else(
    changing: tuple[Runtime, list[str], list[Event], list[object]], version: Version
) -> None:
    runtime, order, _, _ = changing
    runtime.apply(replace(version, fingerprint=()), rebuild=False)
    assert order == ["turn"]


def test_what_a_version_would_end_is_what_both_decide_apart_from_it(
    made: Make, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = made(lambda: None)
    runtime.start(cast("Tasks", None))
    addresses = tuple(runtime.state.index.settings)
    monkeypatch.setattr(Nothing, "installed", lambda _self: dict.fromkeys(addresses, "pao"))
    both = {"gtld": policy(letters=3), "root": policy("root", net=6)}
    assert runtime.ended_by(other(version, tmp_path, **both)) == Ended(gone=(), of=len(addresses))
    fewer = runtime.ended_by(other(version, tmp_path, gtld=policy(letters=1)))
    assert fewer == Ended(gone=tuple(sorted(addresses[2:])), of=len(addresses))
    assert len(addresses) == 6


def test_without_actuators_nothing_is_lost_with_a_lease(made: Make) -> None:
    runtime = made(lambda: None)
    runtime.start(cast("Tasks", None))
    state = runtime.state
    runtime.components.actuators = None
    runtime.handle_lost_lease()
    assert runtime.state is state
    runtime.components.actuators = cast("Any", SimpleNamespace(lost_lease=lambda: None))
    runtime.handle_lost_lease()
    assert runtime.state is state


def test_what_a_lost_lease_left_is_not_adopted_and_either_switch_is_enough(made: Make) -> None:
    runtime = made(lambda: None)
    runtime.start(cast("Tasks", None))
    components = cast("Any", runtime.components)
    in_use: Any = {Family.IPV4: ("192.0.2.7",)}
    components.forwarding = SimpleNamespace(in_use=in_use)
    assert not runtime.facts().off
    assert runtime.facts().forwarded == in_use
    lasting = cast("Any", runtime._lasting)
    for switch, in_state in ((True, False), (False, True), (True, True)):
        lasting.switch.engaged, lasting.state_off = lambda s=switch: s, lambda s=in_state: s
        assert runtime.facts().off
    inputs = cast("Any", runtime._inputs)
    inputs.gather = lambda: replace(NO_NEWS, installed={"192.5.0.30": "pao"})
    assert runtime.facts().installed == {"192.5.0.30": "pao"}
    components.actuators = SimpleNamespace(removal_pending=True)
    assert runtime.facts().installed == {}
    runtime.state = replace(runtime.state, started=True)
    assert runtime.facts().memory is None
