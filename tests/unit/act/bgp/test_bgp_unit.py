"""Under systemd the speaker needs what `docs/bgp.md` says it needs: no less, and nothing more."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
UNIT = ROOT / "systemd/steering.service"
DOCS = ROOT / "docs/bgp.md"
NEEDED = {"CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_KILL"}
ALL = {"CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", *NEEDED}


def drop_in() -> str:
    [text] = re.findall(r"(?ms)^```ini\n(\[Service\].*?)^```", DOCS.read_text())
    return str(text)


def test_the_drop_in_adds_four_capabilities_to_the_unit_s_one_and_a_fifth_to_listen() -> None:
    [four] = re.findall(r"(?m)^CapabilityBoundingSet=(.*)$", drop_in())
    assert set(four.split()) == NEEDED
    [fifth] = re.findall(r"(?m)^#CapabilityBoundingSet=(.*)$", drop_in())
    assert fifth == "CAP_NET_BIND_SERVICE"


def test_systemd_has_the_unit_and_the_drop_in_as_one(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / UNIT.name
    # It looks for the command, which need not be installed where this test runs.
    unit.write_text(UNIT.read_text().replace("=steering run", f"={sys.executable} run"))
    (tmp_path / f"{UNIT.name}.d").mkdir()
    (tmp_path / f"{UNIT.name}.d" / "bgp.conf").write_text(drop_in())
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (verified.returncode, str(tmp_path) in verified.stderr) == (0, False), verified.stderr
    looked = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--json=short", unit],
        capture_output=True,
        text=True,
    )
    if "unrecognized option" in looked.stderr:
        pytest.skip("needs systemd 250")
    open_to = {
        one["name"].removeprefix("CapabilityBoundingSet=~")
        for one in json.loads(looked.stdout)
        if one["name"].startswith("CapabilityBoundingSet") and not one["set"]
    }
    assert open_to == {
        "CAP_NET_ADMIN",
        "CAP_KILL",
        "CAP_SET(UID|GID|PCAP)",
        "CAP_(CHOWN|FSETID|SETFCAP)",
    }


LOOK = """
import sys
from dataclasses import replace
from pathlib import Path
from steering.act.bgp.prerequisites import look_around
from steering.act.bgp.settings import BgpSettings, Peer
terms = BgpSettings(
    local_as=64512, router_id="10.0.0.53", peers=(Peer(address="127.0.0.1", peer_as=1),),
    next_hops={}, listen=int(sys.argv[1]) or None, user="nobody",
)
home = look_around(terms, Path("/nowhere"), 60.0)
print(*(trouble for trouble in home.troubles if "the agent has not" in trouble))
"""


def looked_around_with(capabilities: Collection[str], *, listen: int = 0) -> str:
    """What is missed on this host by an agent with these capabilities and no others."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root has capabilities to lay down, and setpriv does it")
    few = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities)])
    laid_down = ["setpriv", "--no-new-privs", "--bounding-set", few]
    done = subprocess.run(
        [*laid_down, sys.executable, "-c", LOOK, str(listen)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    return done.stdout.strip()


def test_with_the_four_nothing_is_missed() -> None:
    assert looked_around_with({"CAP_NET_ADMIN", *NEEDED}) == ""


@pytest.mark.parametrize("gone", sorted(NEEDED))
def test_each_of_the_four_is_missed_before_anything_is_started(gone: str) -> None:
    said = looked_around_with(ALL - {gone})
    assert said.startswith(f"the agent has not {gone}:")


def test_a_port_below_1024_takes_the_fifth() -> None:
    most = ALL - {"CAP_NET_BIND_SERVICE"}
    assert "has not CAP_NET_BIND_SERVICE:" in looked_around_with(most, listen=179)
    assert looked_around_with(most, listen=1790) == ""
    assert looked_around_with(ALL, listen=179) == ""
