"""A restart does not approve changed files: within a lease the version in force goes on."""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from simulation import CONFIG, policy

from steering.act.lease import Lease
from steering.agent import in_force
from steering.agent.from_config import NOTHING
from steering.agent.reload import Version
from steering.config import fingerprint, load
from steering.config.diff import file_changes, override_changes

OVERRIDES = """\
overrides:
  - {name: x, match: {family: ipv6}, action: steer, to: pao, until: never, reason: r, by: noc}
  - name: y
    match: {nameserver: a.gtld.example.}
    action: freeze
    until: 2026-11-24T06:00:00Z
    reason: r
    by: noc
"""
MORE = """\
trust_anchors: root.key
journal: {max_age: 2d, max_size: 64MB}
budget: {moves_per_minute: 4}
act:
  kernel: {table: 6353}
  bgp:
    local_as: 64500
    router_id: 192.0.2.1
    neighbors: [{address: 192.0.2.9, peer_as: 64500}]
"""
ANCHOR = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "root.key").write_text(ANCHOR)
    (tmp_path / "policies" / "gtld.yaml").write_text(policy())
    (tmp_path / "policies" / "overrides.yaml").write_text(OVERRIDES)
    file = tmp_path / "steering.yaml"
    file.write_text(f"{CONFIG}{MORE}runtime: {tmp_path}\nstate: {tmp_path}\n")
    return file


def version(config: Path) -> Version:
    return Version.of(load(config), fingerprint(config))


def leased(runtime: Path, seconds: float = 60.0) -> None:
    Lease(runtime).renew(NOTHING, seconds)


def change(config: Path) -> Version:
    (config.parent / "policies" / "gtld.yaml").write_text(policy(letters=1))
    return version(config)


def test_within_a_lease_what_was_in_force_goes_on_to_the_last_key(config: Path) -> None:
    was = version(config)
    in_force.save(config.parent, was)
    leased(config.parent)
    found = in_force.load(change(config))
    assert found.fingerprint == was.fingerprint
    assert not file_changes(found.setup, was.setup)
    assert not override_changes(found.setup, was.setup)
    assert len(found.setup.overrides) == 2
    assert found.key_sources == was.key_sources
    assert found.layout.paths == was.layout.paths
    assert found.layout.targets == was.layout.targets
    assert found.delegations == was.delegations


def test_with_the_same_files_they_are_what_counts(config: Path) -> None:
    in_force.save(config.parent, version(config))
    leased(config.parent)
    files = version(config)
    assert in_force.load(files) is files


def test_without_a_lease_or_beyond_it_the_files_count(config: Path) -> None:
    in_force.save(config.parent, version(config))
    files = change(config)
    assert in_force.load(files) is files
    leased(config.parent, -1.0)
    assert in_force.load(files) is files


def test_a_removed_version_is_gone(config: Path) -> None:
    in_force.save(config.parent, version(config))
    leased(config.parent)
    in_force.remove(config.parent)
    in_force.remove(config.parent)
    files = change(config)
    assert in_force.load(files) is files


def test_another_place_for_the_state_takes_a_restart_and_gets_it(config: Path) -> None:
    in_force.save(config.parent, version(config))
    leased(config.parent)
    config.write_text(config.read_text().replace("state: ", "state: /elsewhere"))
    files = version(config)
    assert in_force.load(files) is files


def test_what_cannot_be_written_harms_nothing(config: Path) -> None:
    in_force.save(config.parent / "nowhere", version(config))


def test_what_cannot_be_written_leaves_no_older_version(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    in_force.save(config.parent, version(config))
    leased(config.parent)
    taken = change(config)
    monkeypatch.setattr(in_force, "write_atomically", full)
    in_force.save(config.parent, taken)
    assert in_force.load(taken) is taken
    (config.parent / "policies" / "gtld.yaml").write_text(policy(letters=3))
    files = version(config)
    assert in_force.load(files) is files, "an older version does not come back with a restart"


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"fingerprint": [], "setup": "{}", "overrides": []}',
    ],
)
def test_a_damaged_file_is_no_version(config: Path, damage: bytes) -> None:
    leased(config.parent)
    (config.parent / "in-force").write_bytes(damage)
    files = change(config)
    assert in_force.load(files) is files


@pytest.mark.parametrize(
    ("seen", "until"), [(math.inf, None), (math.nan, None), (1, 10**400)], ids=["inf", "nan", "int"]
)
def test_an_impossible_number_is_no_version(config: Path, seen: float, until: int | None) -> None:
    in_force.save(config.parent, version(config))
    leased(config.parent)
    file = config.parent / "in-force"
    written = json.loads(file.read_bytes())
    written["overrides"][1]["until"] = until
    written["fingerprint"][0][1] = seen
    file.write_text(json.dumps(written))
    files = change(config)
    assert in_force.load(files) is files


@pytest.mark.parametrize("key", ["fingerprint", "setup", "overrides"])
def test_what_another_program_left_is_no_version(config: Path, key: str) -> None:
    in_force.save(config.parent, version(config))
    leased(config.parent)
    file = config.parent / "in-force"
    written = json.loads(file.read_bytes())
    file.write_text(json.dumps(written | {key: [["more"]] if key != "setup" else '{"a": 1}'}))
    files = change(config)
    assert in_force.load(files) is files
    file.write_text(json.dumps(written))
    assert in_force.load(files) is not files, "it was the damage"


def test_anchors_that_are_faulty_now_are_no_reason_to_stop(config: Path) -> None:
    in_force.save(config.parent, version(config))
    leased(config.parent)
    files = replace(change(config), fingerprint=())
    (config.parent / "root.key").write_text("rubbish\n")
    assert in_force.load(files) is files


def test_what_another_user_may_have_written_is_no_version(config: Path) -> None:
    in_force.save(config.parent, version(config))
    leased(config.parent)
    file, files = config.parent / "in-force", change(config)
    file.chmod(0o620)
    assert in_force.load(files) is files
    file.chmod(0o600)
    assert in_force.load(files) is not files
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
        assert in_force.load(files) is files
