"""An agent by its unit file: what it may do, what it gives away, and what its speaker has left."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from stage import EXPIRED, Stage, ours
from test_stories_bgp import ALONE, BGP, NEIGHBOUR, await_told, behind_a_router, routes, through
from test_stories_dnstap import UNBOUND, await_traffic

from steering.act.bgp import process
from steering.act.guard import LOCK
from steering.lab.sandbox import find, poll
from steering.model import LOCAL

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = {
    "CAP_CHOWN": 0,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_ADMIN": 12,
}


def test_with_the_capabilities_of_the_unit_and_its_drop_in_all_works_and_nothing_more_is_there(
    tmp_path: Path,
) -> None:
    if find("setpriv") is None:
        pytest.skip("setpriv is not installed")
    (tmp_path / "secret").write_text("correct-horse\n")
    (tmp_path / "secret").chmod(0o600)
    neighbour = NEIGHBOUR.replace("}", f", password_file: {tmp_path}/secret}}")
    bgp = BGP.replace(NEIGHBOUR, neighbour)
    settings = replace(ALONE, more=f"act: {{bgp: {bgp}}}", lease="5s", dnstap=True)
    bounding, ambient = capabilities()
    powers = [
        *("setpriv", "--no-new-privs"),
        *("--bounding-set", laid_down(bounding)),
        *("--inh-caps", laid_down(ambient)),
        *("--ambient-caps", laid_down(ambient)),
    ]
    with behind_a_router(
        settings, agent=False, password="correct-horse", resolver=UNBOUND
    ) as stage:
        run = stage.scene.world.work / "run"
        status = Path(f"/proc/{stage.scene.start_agent(prefix=powers).pid}/status")
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        await_traffic(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        await_told(stage, through(stage, "pao"))
        stage.clients_fine()
        assert not {"bgp", "kernel", "dnstap"} & stage.alarms()

        speaker = int((run / process.LOCK).read_text().split()[0])
        [helper] = stage.sh(f"cat /proc/{speaker}/task/{speaker}/children").split()
        guard = int((run / LOCK).read_text())
        for ours_is in (status_of(stage, guard), as_values(status.read_text())):
            assert ours_is["NoNewPrivs"] == "1"
            for kind in ("CapEff", "CapPrm", "CapBnd"):
                assert ours_is[kind] == bits(bounding), kind
            assert ours_is["CapAmb"] == bits(ambient)
        nobody = str(pwd.getpwnam("nobody").pw_uid)
        for told in (status_of(stage, speaker), status_of(stage, int(helper))):
            assert set(told["Uid"].split()) == {nobody}
            assert told["Groups"] == ""
            assert told["NoNewPrivs"] == "1"
            for kind in ("CapEff", "CapPrm", "CapAmb"):
                assert told[kind] == bits(()), kind

        stage.kill_agent()
        assert poll(lambda: routes(stage) == {} and not ours(stage), timeout=15.0)
        assert process.running(run) is None


def capabilities() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that systemd leaves the agent with, and those of them that its children inherit."""
    unit = (ROOT / "systemd/steering.service").read_text()
    page = (ROOT / "docs/bgp.md").read_text()
    [drop_in] = re.findall(r"(?ms)^```ini\n(\[Service\].*?)^```", page)
    bounding = re.findall(r"(?m)^CapabilityBoundingSet=(.*)$", unit + drop_in)
    ambient = re.findall(r"(?m)^AmbientCapabilities=(.*)$", unit + drop_in)
    return tuple(" ".join(bounding).split()), tuple(" ".join(ambient).split())


def laid_down(but: Iterable[str]) -> str:
    """All but these, as setpriv takes it."""
    return ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in but)])


def bits(names: Iterable[str]) -> str:
    """As /proc shows capabilities (proc_pid_status(5))."""
    return f"{sum(1 << NUMBERS[name] for name in names):016x}"


def status_of(stage: Stage, pid: int) -> dict[str, str]:
    """What the kernel says of a process of the stage."""
    return as_values(stage.sh(f"cat /proc/{pid}/status"))


def as_values(text: str) -> dict[str, str]:
    parts = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in parts}
