"""Where the off switch looks, and whom it asks what is ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import policy
from test_act_diff import CLAIM

from steering.act.lease import Lease
from steering.places import places

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
    assert (found.claim, found.trouble) == (None, "")
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
    claim = places(config).claim
    assert claim is not None
    assert claim.sites == ("pao",)
