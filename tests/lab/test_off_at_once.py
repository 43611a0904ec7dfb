"""`off` takes the routes back at once, whatever is wrong with the configuration or the disk.

From the start of the command to nothing of ours left in the kernel, 26 routes and the rules of two
sites. STEERING_ROUNDS says how often each (default 1); the medians are printed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from frozen import Folder, folder_that_freezes
from kernelhost import ADDRESSES, CLAIM, build_host
from stage import slack

from steering.act.kernel.actuator import KernelActuator
from steering.act.lease import Lease
from steering.act.off_switch import DISK
from steering.lab.waiting import until
from steering.model import Seconds

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.usefixtures("namespace")]

_ROUNDS = int(os.environ.get("STEERING_ROUNDS", "1"))
_AT_ONCE: Seconds = 0.5
_HERE = Path(__file__).parent

# The acting half of an agent that never stops to put its routes back while it is on.
_AGENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from kernelhost import ADDRESSES, CLAIM
from steering.act.kernel.actuator import KernelActuator
from steering.act.off_switch import OffSwitch
runtime, state = Path(sys.argv[1]), Path(sys.argv[3])
switch = OffSwitch(state=state, runtime=runtime)
plan = dict.fromkeys(sorted(ADDRESSES), "pao")
with KernelActuator(CLAIM, may_write=lambda: not switch.engaged()) as kernel:
    while True:
        kernel.prepare(ADDRESSES)
        kernel.apply(plan, ADDRESSES)
        time.sleep(0.05)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host with everything of ours in its kernel."""

    config: Path
    runtime: Path
    state: Path

    def install(self) -> None:
        with KernelActuator(CLAIM) as kernel:
            assert kernel.prepare(ADDRESSES) == ()
            kernel.apply(dict.fromkeys(sorted(ADDRESSES), "pao"), ADDRESSES)
            assert dict(kernel.installed()) == dict.fromkeys(ADDRESSES, "pao")

    def command(self, word: str) -> tuple[subprocess.Popen[str], Seconds]:
        """Starts it; and how long it took until nothing of ours was there."""
        command = [sys.executable, "-m", "steering", word, "--config", str(self.config)]
        started = time.monotonic()
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)

        def said() -> object:
            process.kill()
            return process.communicate()

        with KernelActuator(CLAIM) as kernel:
            until(lambda: word != "off" or not kernel.remains(), every=0.01, tell=said)
        return process, time.monotonic() - started


@pytest.fixture
def host(tmp_path: Path) -> Host:
    build_host()
    made = Host(config=tmp_path / "s.yaml", runtime=tmp_path / "run", state=tmp_path / "state")
    made.runtime.mkdir()
    Lease(made.runtime).renew(CLAIM, 3600)
    made.config.write_text("site: sin\nstate: state\nruntime: run\n")
    return made


def _all_there() -> bool:
    with KernelActuator(CLAIM) as kernel:
        return len(kernel.installed()) == len(ADDRESSES)


@contextmanager
def _agent(host: Host) -> Iterator[None]:
    words = [sys.executable, "-c", _AGENT, str(host.runtime), str(_HERE), str(host.state)]
    with subprocess.Popen(words) as process:
        try:
            yield
        finally:
            process.kill()


def _judge(what: str, figures: list[Seconds]) -> None:
    median = statistics.median(figures)
    print(f"{what}: median {median:.3f} s, most {max(figures):.3f} s of {len(figures)}")
    assert median <= _AT_ONCE + slack(), figures


@pytest.mark.parametrize("alive", [True, False], ids=["agent alive", "agent dead"])
@pytest.mark.parametrize("size", [100, 2, 0], ids=["100 MB", "2 MB", "usual"])
def test_off_is_at_once_whatever_the_size_of_the_configuration(
    host: Host, size: int, *, alive: bool
) -> None:
    line = b"  - {name: of-something, and: [some, more, values], which: nobody, asked: for}\n"
    with host.config.open("ab") as file:
        file.write(b"more:\n" + line * (size * 1_000_000 // len(line)))
    figures: list[Seconds] = []
    for _ in range(_ROUNDS):
        with _agent(host) if alive else ExitStack():
            if not alive:
                host.install()
            until(_all_there)
            process, seconds = host.command("off")
            said, complained = process.communicate(timeout=60)
            assert (process.returncode, complained) == (0, "")
            assert said.startswith("off: everything taken back in ")
            with KernelActuator(CLAIM) as kernel:
                assert not kernel.remains()
            figures.append(seconds)
            on, _ = host.command("on")
            assert on.communicate(timeout=60) == ("on again\n", "")
    _judge(f"{size} MB, agent {'alive' if alive else 'dead'}", figures)


@pytest.fixture
def hanging(host: Host) -> Iterator[Folder]:
    with folder_that_freezes(host.state) as folder:
        yield folder


@pytest.mark.parametrize("alive", [True, False], ids=["agent alive", "agent dead"])
def test_off_is_at_once_where_state_hangs_and_says_that_it_is_not_kept(
    host: Host, hanging: Folder, *, alive: bool
) -> None:
    figures: list[Seconds] = []
    for _ in range(_ROUNDS):
        with _agent(host) if alive else ExitStack():
            if not alive:
                host.install()
            until(_all_there)
            hanging.freeze()
            process, seconds = host.command("off")
            started = time.monotonic()
            said, complained = process.communicate(timeout=60)
            assert time.monotonic() - started < DISK + 10.0, "it ends"
            assert process.returncode == 1
            assert said.startswith("off: everything taken back in ")
            assert "kept" not in said
            assert f"{host.state}/off: the file system does not answer" in complained
            assert "off now, but not kept" in complained
            assert json.loads((host.runtime / "off").read_text())["by"]
            with KernelActuator(CLAIM) as kernel:
                assert not kernel.remains()
            figures.append(seconds)
            on, _ = host.command("on")
            assert "still off" in on.communicate(timeout=60)[1]
            assert on.returncode == 1
            assert (host.runtime / "off").exists()
            hanging.thaw()
            on, _ = host.command("on")
            assert on.communicate(timeout=60) == ("on again\n", "")
    _judge(f"state hangs, agent {'alive' if alive else 'dead'}", figures)


def test_off_is_at_once_where_the_configuration_hangs(host: Host) -> None:
    """The guard that runs says where the lease is."""
    figures: list[Seconds] = []
    words = [sys.executable, "-m", "steering.act.guard", str(host.runtime), str(host.state)]
    with folder_that_freezes(host.config.parent / "etc") as etc, subprocess.Popen(words) as guard:
        try:
            until((host.runtime / "guard.lock").exists)
            hung = Host(config=etc.path / "s.yaml", runtime=host.runtime, state=host.state)
            hung.config.write_text(f"state: {host.state}\nruntime: {host.runtime}\n")
            for _ in range(_ROUNDS):
                host.install()
                etc.freeze()
                process, seconds = hung.command("off")
                _, complained = process.communicate(timeout=60)
                assert "which is that of the guard that runs" in complained
                assert process.returncode == 0
                figures.append(seconds)
                etc.thaw()
                on, _ = hung.command("on")
                assert on.communicate(timeout=60) == ("on again\n", "")
        finally:
            guard.kill()
    _judge("configuration hangs", figures)
