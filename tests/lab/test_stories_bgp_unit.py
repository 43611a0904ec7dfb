"""An agent by its unit file: what it may do, what it gives away, and what its speaker has left."""

from __future__ import annotations

import pwd
import re
import subprocess
import sys
from collections.abc import Iterable
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path

import pytest
from routed import ALONE, BGP, NEIGHBOUR, await_told, behind_a_router, routes, through
from stage import EXPIRED, Stage, ours
from tapping import UNBOUND, await_traffic

from steering.act.bgp import process
from steering.act.guard import LOCK
from steering.lab.network.sandbox import find
from steering.model import LOCAL

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "systemd/steering.service"
NUMBERS = {
    "CAP_CHOWN": 0,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_ADMIN": 12,
}

# Lets the system calls on standard input be and no others, has no memory become executable, and
# becomes the program: SystemCallFilter= and MemoryDenyWriteExecute=, by the same library.
CONFINED = """
import ctypes, os, sys
seccomp, libc = ctypes.CDLL("libseccomp.so.2"), ctypes.CDLL(None)
seccomp.seccomp_init.restype = ctypes.c_void_p
rules = ctypes.c_void_p(seccomp.seccomp_init(0x00050000 | 1))  # SCMP_ACT_ERRNO(EPERM)
allow = 0x7FFF0000  # SCMP_ACT_ALLOW
for name in sys.argv[1].split(","):
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:
        assert seccomp.seccomp_rule_add(rules, allow, number, 0) == 0, name
assert seccomp.seccomp_load(rules) == 0
assert libc.prctl(65, 1, 0, 0, 0) == 0  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
os.execvp(sys.argv[2], sys.argv[2:])
"""


def test_with_the_capabilities_of_the_unit_and_its_drop_in_all_works_and_nothing_more_is_there(
    tmp_path: Path,
) -> None:
    for program in ("setpriv", "systemd-analyze"):
        if find(program) is None:
            pytest.skip(f"{program} is not installed")
    if find_library("seccomp") is None:
        pytest.skip("libseccomp is not installed")
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
        *(sys.executable, "-c", CONFINED, ",".join(system_calls())),
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
            assert ours_is["Seccomp"] == "2", "a filter is in force"
            for kind in ("CapEff", "CapPrm", "CapBnd"):
                assert ours_is[kind] == bits(bounding), kind
            assert ours_is["CapAmb"] == bits(ambient)
        nobody = str(pwd.getpwnam("nobody").pw_uid)
        for told in (status_of(stage, speaker), status_of(stage, int(helper))):
            assert set(told["Uid"].split()) == {nobody}
            assert told["Groups"] == ""
            assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
            for kind in ("CapEff", "CapPrm", "CapAmb"):
                assert told[kind] == bits(()), kind

        stage.kill_agent()
        stage.until(lambda: routes(stage) == {} and not ours(stage), 15.0)
        assert process.running(run) is None


def system_calls() -> list[str]:
    """Those that the unit's filter lets be, by systemd's own list."""
    [wanted] = re.findall(r"(?m)^SystemCallFilter=(.*)$", UNIT.read_text())
    calls, sets = list[str](), [wanted]
    while sets:
        shown = subprocess.run(
            ["systemd-analyze", "syscall-filter", sets.pop()], capture_output=True, text=True
        )
        words = [line.strip() for line in shown.stdout.splitlines()[1:]]
        sets += [word for word in words if word.startswith("@")]
        calls += [word for word in words if word[:1] not in {"", "#", "@"}]
    assert {"read", "setuid", "kill"} <= set(calls), calls
    return calls


def capabilities() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that systemd leaves the agent with, and those of them that its children inherit."""
    unit = UNIT.read_text()
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
