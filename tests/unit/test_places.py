"""Where the off switch looks, and whom it asks what is ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from simulation import policy
from test_act_diff import CLAIM

from steering.act.claim import Claim
from steering.act.lease import Lease
from steering.act.off import OffSwitch, switch_off
from steering.places import RUNTIME, STATE, claim, places

CONFIG = """\
site: sin
state: state
runtime: run
sites: {pao: {next_hop: {ipv4: 10.255.1.2}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "gtld.yaml").write_text(policy())
    file = tmp_path / "steering.yaml"
    file.write_text(CONFIG)
    return file


def test_a_lease_that_names_its_claim_needs_no_configuration(config: Path) -> None:
    Lease(config.parent / "run").renew(CLAIM, 60)
    config.write_text(CONFIG + "nonsense: 1\n")
    found = places(config)
    assert found.trouble == ""
    assert (found.state, found.runtime) == (config.parent / "state", config.parent / "run")


@pytest.mark.parametrize("damage", ["none", "torn", "unreadable"])
def test_without_a_usable_lease_the_configuration_says_what_is_ours(
    config: Path, damage: str
) -> None:
    lease = config.parent / "run" / "lease"
    if damage == "torn":
        lease.write_text("{")
    elif damage == "unreadable":
        lease.mkdir()
    asked: list[Claim | None] = []

    def configured() -> Claim | None:
        asked.append(claim(config))
        return None

    found = places(config)
    switch_off(
        state=found.state, runtime=found.runtime, reason="r", by="noc", configured=configured
    )
    assert [c.sites for c in asked if c] == [("pao",)]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"x: [1",
        b"x: " + b"[" * 1200,
        b"x: \xff",
        b"- x",
        b"\tx: 1",
        b'x: "\\UFFFFFFFF"',
        b"x: \x07",
    ],
)
def test_the_directories_are_found_in_a_file_that_is_broken_elsewhere(
    config: Path, rubbish: bytes
) -> None:
    config.write_bytes(rubbish + b"\nstate: 'a b'  # here\nruntime: /x/run\n  state: no\n")
    found = places(config)
    assert (found.state, found.runtime) == (config.parent / "a b", Path("/x/run"))
    assert str(config) in found.trouble
    assert claim(config) is None


@pytest.mark.parametrize("name", ["[a]", '"\\0"', '"\\ud800"', "", "{a: 1}"])
def test_a_directory_that_has_no_usable_name_costs_only_itself(config: Path, name: str) -> None:
    config.write_text(f"state: {name}\nruntime: run\n")
    found = places(config)
    assert (found.state, found.runtime) == (STATE, config.parent / "run")
    assert found.trouble


@pytest.mark.parametrize("kind", ["none", "directory", "pipe"])
def test_what_is_no_file_leaves_the_usual_places(config: Path, kind: str) -> None:
    config.unlink()
    if kind == "directory":
        config.mkdir()
    elif kind == "pipe":
        os.mkfifo(config)
    assert (places(config).state, places(config).runtime) == (STATE, RUNTIME)


def test_the_switch_is_thrown_before_the_configuration_is_asked(config: Path) -> None:
    found = places(config)
    switch = OffSwitch(state=found.state, runtime=found.runtime)

    def dies() -> None:
        assert switch.engaged()
        raise RuntimeError("a fault in the configuration's code")

    with pytest.raises(RuntimeError):
        switch_off(state=found.state, runtime=found.runtime, reason="r", by="noc", configured=dies)
    assert switch.engaged()


def test_any_fault_in_reading_the_configuration_is_no_claim(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(_path: Path) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr("steering.config.load", faulty)
    assert claim(config) is None
