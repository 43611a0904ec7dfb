"""What is built from a version of the files gives back what it holds; what writes is guarded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from claims import CLAIM
from etc import place
from fakes import FakeActuator
from simulation import CONFIG, policy

from steering import from_config
from steering.act.bgp import process as speaker
from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.lease import Lease
from steering.act.off_switch import OffSwitch
from steering.act.preflight import Blame, Finding
from steering.agent import components as components_module
from steering.agent.components import Components, Lasting
from steering.agent.reload import Version
from steering.config import Config, Mode, fingerprint, load
from steering.errors import CannotRunError
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


def with_dnstap(version: Version, *places: object) -> Version:
    """Of an agent that reads from these sockets."""
    config = version.setup.config
    observe = config.observe.model_copy(update={"dnstap": list(places)})
    changed = config.model_copy(update={"observe": observe, "mode": Mode.OBSERVE})
    return replace(version, setup=replace(version.setup, config=changed))


class FakeSource:
    """A reader of dnstap that listens nowhere."""

    def __init__(
        self, _index: object, places: object, verifier: object, was: object = None
    ) -> None:
        self.places, self.verifier, self.was = places, verifier, was
        self.calls: list[object] = []

    def watch(self, index: object) -> None:
        self.calls.append(index)

    def take_over(self, was: FakeSource) -> None:
        self.calls.append(was)

    def close(self) -> None:
        self.calls.append("closed")


def test_the_sockets_of_resolvers_go_on_while_their_places_stay(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(components_module, "DnstapSource", FakeSource)
    monkeypatch.setattr(from_config, "dnstap_places", lambda config: tuple(config.observe.dnstap))
    here, there = with_dnstap(version, "a"), with_dnstap(version, "b")
    first = Components(here, lasting)
    source = cast("FakeSource", first.dnstap)
    assert source.was is None
    same = Components(here, lasting, first)
    assert cast("object", same.dnstap) is source
    assert same.kernel_paths is first.kernel_paths
    assert same.reader is first.reader
    same.take_over(first)
    assert source.calls == [same.index], "and watches the addresses of the new files"
    moved = Components(there, lasting, same)
    other = cast("FakeSource", moved.dnstap)
    assert other.was is source
    assert other.verifier is source.verifier
    moved.take_over(same)
    assert other.calls == [source]
    without = Components(observing(version), lasting, moved)
    assert without.dnstap is None
    without.take_over(moved)
    assert other.calls == [source, "closed"]
    without.close()
    first.close()
    assert source.calls[-1] == "closed"


Fault = tuple[Exception, int, str]


@pytest.mark.parametrize(
    "fault",
    [
        (PermissionError(13, "Permission denied", "/run/tap"), 3, "/run/tap: Permission denied"),
        (OSError(98, "Address in use"), 1, "observe.dnstap: Address in use"),
        (LookupError("there is no group dns"), 2, "dnstap_group: there is no group dns"),
    ],
)
def test_a_socket_that_cannot_be_had_is_a_fault_of_its_setting_and_leaves_nothing_open(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    error, code, text = fault

    def refuses(*_: object) -> None:
        raise error

    monkeypatch.setattr(components_module, "DnstapSource", refuses)
    monkeypatch.setattr(from_config, "dnstap_places", lambda _: ("a",))
    before = opened()
    with pytest.raises(CannotRunError, match=text) as refused:
        Components(observing(version), lasting)
    assert refused.value.code == code
    assert opened() == before


def test_what_was_opened_is_closed_if_building_the_rest_fails(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    Components(observing(version), lasting).close()

    def refuses(*_: object, **__: object) -> None:
        raise ValueError("no prober")

    monkeypatch.setattr(components_module, "Prober", refuses)
    before = opened()
    with pytest.raises(ValueError, match="no prober"):
        Components(observing(version), lasting)
    assert opened() <= before


def test_known_keys_stay_while_their_sources_do(version: Version, lasting: Lasting) -> None:
    first = Components(observing(version), lasting)
    same = Components(observing(version), lasting, first)
    assert same.keys is first.keys
    assert same.signatures is first.signatures
    sources = replace(version.key_sources, resolvers=("192.0.2.7",))
    other = Components(replace(observing(version), key_sources=sources), lasting, first)
    assert other.keys is not first.keys
    first.close()


def test_a_kernel_that_cannot_be_read_is_a_fault_of_the_host(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(components_module, "KernelReader", refuses)
    with pytest.raises(CannotRunError, match=r"act.kernel: .*Too many open files") as refused:
        Components(observing(version), lasting)
    assert refused.value.code == 1


def test_the_gravest_problem_of_this_host_decides_the_status_and_notices_are_kept(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components_module, "Actuators", FakeActuators)
    monkeypatch.setattr(components_module, "_leases_in_force", lambda *_: ())
    found = [
        Finding(kind=Blame.NOTICE, message="table: a notice"),
        Finding(kind=Blame.FAILED, message="kernel: no IPv6"),
        Finding(kind=Blame.NOT_PERMITTED, message="routes: not permitted"),
    ]
    monkeypatch.setattr(components_module, "preflight", lambda *_, **__: tuple(found))
    with pytest.raises(CannotRunError) as refused:
        Components(version, lasting)
    assert refused.value.code == int(Blame.NOT_PERMITTED)
    assert len(refused.value.reasons) == 2
    del found[1:]
    made = Components(version, lasting)
    assert made.notices == (str(found[0]),)
    made.close()


def test_an_agent_that_measures_alone_ends_a_speaker_whose_agent_is_gone(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended: list[Path] = []
    speaks = [True]

    def end(runtime: Path) -> bool:
        ended.append(runtime)
        return speaks[0]

    monkeypatch.setattr(speaker, "end", end)
    config = version.setup.config.model_copy(update={"mode": Mode.OBSERVE})
    made = Components(replace(version, setup=replace(version.setup, config=config)), lasting)
    made.adopt()
    assert not ended, "one that only watches leaves everything alone"
    lease = Lease(tmp_path)
    made._end_speaker(tmp_path)
    assert not ended, "there was no agent"
    lease.renew(CLAIM, 60.0)
    made._end_speaker(tmp_path)
    assert not ended, "its agent runs: it is this process"
    state = lease.read()
    assert state is not None
    monkeypatch.setattr(Lease, "read", lambda _lease: replace(state, pid=2**22 + 1))
    made._end_speaker(tmp_path)
    assert ended == [tmp_path]
    assert len(made.notices) == 1
    speaks[0] = False
    made._end_speaker(tmp_path)
    assert len(made.notices) == 1, "there was none"

    def refuses(_lease: Lease) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Lease, "read", refuses)
    made._end_speaker(tmp_path)
    assert [problem.what for problem in made.leftovers] == ["BGP speaker"]
    made.close()


def test_an_agent_that_rehearses_begins_by_ending_what_still_announces(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_config, "acting_claim_of", lambda _: None)
    config = version.setup.config.model_copy(update={"mode": Mode.REHEARSE})
    made = Components(replace(version, setup=replace(version.setup, config=config)), lasting)
    asked: list[Path] = []
    monkeypatch.setattr(made, "_end_speaker", asked.append)
    made.adopt()
    assert asked == [config.runtime]
    made.close()


def test_what_acted_before_gives_everything_back_when_only_watching_follows(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components_module, "Actuators", FakeActuators)
    monkeypatch.setattr(components_module, "preflight", lambda *_, **__: ())
    monkeypatch.setattr(components_module, "_leases_in_force", lambda *_: ())
    monkeypatch.setattr(FakeActuators, "adopted", [], raising=False)
    calls: list[str] = []
    left = (KernelProblem(what="route", because="it came back"),)

    def shut_down(_self: FakeActuators) -> tuple[KernelProblem, ...]:
        calls.append("shut down")
        return left

    monkeypatch.setattr(FakeActuators, "shut_down", shut_down, raising=False)
    monkeypatch.setattr(
        FakeActuators, "reconfigure", lambda *_: calls.append("reconfigure"), raising=False
    )
    acting = Components(version, lasting)
    again = Components(version, lasting, acting)
    assert again.actuators is acting.actuators
    assert again.kernel_paths is acting.kernel_paths
    again.take_over(acting)
    assert calls == ["reconfigure"]
    watching = Components(observing(version), lasting, again)
    watching.take_over(again)
    assert calls == ["reconfigure", "shut down"]
    assert watching.leftovers == left
    watching.close()


def test_a_reader_that_is_not_used_any_more_is_closed(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components_module, "Actuators", FakeActuators)
    monkeypatch.setattr(components_module, "preflight", lambda *_, **__: ())
    monkeypatch.setattr(FakeActuators, "adopted", [], raising=False)
    monkeypatch.setattr(FakeActuators, "reconfigure", lambda *_: None, raising=False)
    closed: list[bool] = []
    watching = Components(observing(version), lasting)
    assert watching.reader is not None
    real = watching.reader.close

    def close() -> None:
        closed.append(True)
        real()

    monkeypatch.setattr(watching.reader, "close", close)
    same = Components(observing(version), lasting, watching)
    same.take_over(watching)
    assert not closed, "it is shared"
    acting = Components(version, lasting, same)
    acting.take_over(same)
    assert closed == [True]
    acting.close()


def test_leases_that_cannot_be_read_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuses(*_: object) -> None:
        raise OSError

    assert components_module._leases_in_force(tmp_path, CLAIM) == ()
    Lease(tmp_path).renew(CLAIM, 60.0)
    (one,) = components_module._leases_in_force(tmp_path, CLAIM)
    assert one.claim == CLAIM
    monkeypatch.setattr(components_module, "found", refuses)
    assert components_module._leases_in_force(tmp_path, CLAIM) == ()


@pytest.mark.parametrize("where", ["__init__", "adopt"])
def test_without_sockets_a_lease_or_a_guard_an_agent_does_not_start(
    version: Version, lasting: Lasting, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(components_module, "Actuators", FakeActuators)
    monkeypatch.setattr(components_module, "preflight", lambda *_, **__: ())
    monkeypatch.setattr(components_module, "_leases_in_force", lambda *_: ())
    monkeypatch.setattr(FakeActuators, where, refuses)
    with pytest.raises(CannotRunError, match="No space left on device") as refused:
        Components(version, lasting).adopt()
    assert refused.value.code == 1
    assert ("nothing new is installed" in str(refused.value)) == (where == "adopt")
    assert ("act.kernel" in str(refused.value)) == (where == "__init__")
