"""The lease, the guard and the off switch against a real kernel and real kills."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kernelhost import (
    ADDRESSES,
    CLAIM,
    Monitor,
    build_host,
    everything,
    guards,
    ours,
    steers,
    through,
)

from steering.act.guard import LOCK
from steering.act.guard_client import SILENT, GuardClient, leftovers, start_guard
from steering.act.kernel.actuator import SWITCHED_OFF, KernelActuator
from steering.act.lease import Lease
from steering.act.off_switch import OffSwitch, switch_off
from steering.lab.network.links import run
from steering.lab.waiting import until
from steering.model import Refused

pytestmark = pytest.mark.lab

_HERE = Path(__file__).parent
ALL_PAO = dict.fromkeys(sorted(ADDRESSES), "pao")

# The acting half of an agent: adopts, then renews, mends and applies ten times a second.
_AGENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from kernelhost import ADDRESSES, CLAIM
from steering.act.kernel.actuator import KernelActuator
from steering.act.lease import Lease
from steering.act.off_switch import OffSwitch
from steering.act.guard_client import GuardClient, leftovers

runtime, state, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[4])
runtime.mkdir(exist_ok=True)
lease, guard = Lease(runtime), GuardClient(runtime=runtime)
switch = OffSwitch(state=state, runtime=runtime)
leftovers(lease, CLAIM)
guard.replace()
with KernelActuator(CLAIM, may_write=lambda: not switch.engaged()) as kernel:
    while True:
        guard.ensure()
        lease.renew(CLAIM, seconds)
        kernel.prepare(ADDRESSES)
        kernel.apply(dict.fromkeys(sorted(ADDRESSES), "pao"), ADDRESSES)
        print("turn", flush=True)
        time.sleep(0.1)
"""

_OLD_GUARD = """
import fcntl, os, sys, time
lock = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(lock, fcntl.LOCK_EX)
os.pwrite(lock, f"{os.getpid()}\\n".encode(), 0)
print("holds", flush=True)
time.sleep(60)
"""


def _defunct(pid: int) -> bool:
    """Whether only its end is still to be taken note of."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] == "Z"


@dataclass
class Host:
    """An agent and a guard on one host, and what can be done to them."""

    runtime: Path
    state: Path
    agents: list[subprocess.Popen[str]] = field(default_factory=list)

    def start_agent(self, lease: float = 2.0) -> subprocess.Popen[str]:
        agent = subprocess.Popen(
            [sys.executable, "-c", _AGENT, self.runtime, self.state, _HERE, str(lease)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.agents.append(agent)
        assert agent.stdout is not None
        assert agent.stdout.readline() == "turn\n"
        return agent

    def guard_pid(self) -> int | None:
        with closing(GuardClient(runtime=self.runtime)) as seen:
            if not seen.present():
                return None
        written = (self.runtime / LOCK).read_text(encoding="ascii").strip()
        return int(written) if written else None

    def guards(self) -> list[int]:
        return guards(self.runtime)

    def kill_guard(self) -> None:
        until(self.guard_pid)
        pid = self.guard_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.guard_pid() is None)

    def clean_up(self) -> None:
        for agent in self.agents:
            agent.send_signal(signal.SIGCONT)
            agent.kill()
            agent.communicate()
        for pid in self.guards():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.guards())
        while True:
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break


@pytest.fixture
def host(namespace: None, tmp_path: Path) -> Iterator[Host]:
    build_host()
    made = Host(runtime=tmp_path / "run", state=tmp_path / "state")
    made.runtime.mkdir()
    try:
        yield made
    finally:
        made.clean_up()


def installed_here() -> None:
    """Everything is in the kernel, and nobody renews anything."""
    with KernelActuator(CLAIM) as kernel:
        assert kernel.prepare(ADDRESSES) == ()
        kernel.apply(ALL_PAO, ADDRESSES)


def test_the_guard_acts_within_a_second_of_the_deadline(host: Host) -> None:
    before = everything()
    agent = host.start_agent(lease=2.0)
    assert steers() == through("pao")
    until(host.guard_pid)
    agent.kill()
    agent.wait()
    lasted = until(lambda: ours() == [])
    assert 1.5 <= lasted <= 3.0  # the lease was renewed at most 0.2 s before the kill
    assert everything() == before


def test_the_guard_holds_nothing_of_its_parent(host: Host) -> None:
    """`steering run 2>&1 | cat` ends with the agent, and not with the lease."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    agent = subprocess.Popen(
        [sys.executable, "-c", _AGENT, host.runtime, host.state, _HERE, "3600"],
        stdout=subprocess.DEVNULL,
        stderr=write,
        close_fds=False,
    )
    os.close(write)
    until(host.guard_pid)
    agent.kill()
    agent.wait()
    assert select.select([read], [], [], 3.0)[0], "somebody holds the pipe still"
    assert os.read(read, 4096) == b""
    os.close(read)
    assert host.guard_pid() is not None


def test_a_guard_that_is_started_without_stderr_keeps_its_lock(host: Host) -> None:
    """As by an agent that was itself: `steering run 2>&-`."""
    Lease(host.runtime).renew(CLAIM, 60)
    stderr = os.dup(2)
    os.close(2)
    try:
        pid = start_guard(runtime=host.runtime)
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    until(lambda: host.guard_pid() == pid)
    time.sleep(0.5)  # by then it has let go of what its parent had
    assert host.guard_pid() == pid


def test_a_hanging_agent_loses_its_routes_and_gets_them_back_when_it_wakes(host: Host) -> None:
    agent = host.start_agent(lease=1.0)
    until(host.guard_pid)
    agent.send_signal(signal.SIGSTOP)
    until(lambda: ours() == [], within=2.0)
    agent.send_signal(signal.SIGCONT)
    until(lambda: steers() == through("pao"))


def test_a_restart_within_the_lease_touches_no_route(host: Host) -> None:
    agent = host.start_agent(lease=30.0)
    with Monitor() as monitor:
        agent.kill()
        agent.wait()
        host.start_agent(lease=30.0)
        monitor.catch_up()
        heard = monitor.heard()
    assert not [line for line in heard if "535" in line]
    assert steers() == through("pao")


@pytest.mark.parametrize("order", ["agent first", "guard first"])
def test_after_both_were_killed_the_next_agent_cleans_up_first(host: Host, order: str) -> None:
    before = everything()
    agent = host.start_agent(lease=0.4)

    def kill_agent() -> None:
        agent.kill()
        agent.wait()

    def kill_guard() -> None:
        for pid in host.guards():
            os.kill(pid, signal.SIGKILL)

    for kill in (kill_agent, kill_guard) if order == "agent first" else (kill_guard, kill_agent):
        kill()
    kill_guard()  # the agent may have started another one in between
    until(lambda: not host.guards() or not host.guard_pid())
    lease = Lease(host.runtime)
    until(lease.expired)
    if ours():
        assert leftovers(lease, CLAIM) == ()
    assert everything() == before


def test_killed_at_any_moment_nothing_outlasts_the_lease(host: Host) -> None:
    before = everything()
    for kill in range(8):
        agent = host.start_agent(lease=0.6)
        until(host.guard_pid)
        paused = time.monotonic() + 0.013 * kill
        until(lambda paused=paused: time.monotonic() >= paused)  # type: ignore[misc]
        agent.kill()
        agent.wait()
        if kill % 2:
            until(lambda: ours() == [])
    until(lambda: ours() == [])
    assert everything() == before


def test_a_killed_guard_is_replaced_within_a_turn(host: Host) -> None:
    host.start_agent(lease=5.0)
    until(host.guard_pid)
    first = host.guard_pid()
    host.kill_guard()
    until(host.guard_pid)
    assert host.guard_pid() != first
    assert steers() == through("pao")


def test_a_new_guard_takes_over_from_the_old_one(host: Host) -> None:
    Lease(host.runtime).renew(CLAIM, 60)
    watchdog = GuardClient(runtime=host.runtime)
    assert not watchdog.ensure()
    until(host.guard_pid)
    old = host.guard_pid()
    assert watchdog.ensure()
    watchdog.replace()
    until(lambda: host.guard_pid() not in {None, old})
    until(lambda: len(host.guards()) == 1)
    assert watchdog.ensure()


def test_a_new_guard_takes_over_from_one_that_hangs(host: Host) -> None:
    Lease(host.runtime).renew(CLAIM, 60)
    old = start_guard(runtime=host.runtime)
    until(lambda: host.guard_pid() == old)
    os.kill(old, signal.SIGSTOP)
    new = start_guard(runtime=host.runtime, take_over=True)
    until(lambda: host.guard_pid() == new)


def test_a_guard_that_is_stopped_is_replaced_and_no_route_goes(host: Host) -> None:
    host.start_agent(lease=30.0)
    until(host.guard_pid)
    stopped = host.guard_pid()
    assert stopped is not None
    with Monitor() as monitor:
        os.kill(stopped, signal.SIGSTOP)
        replaced = until(lambda: host.guard_pid() not in {None, stopped}, within=15.0)
        until(lambda: not Path(f"/proc/{stopped}").exists() or _defunct(stopped))
        monitor.catch_up()
        assert not [line for line in monitor.heard() if "535" in line]
    print(f"replaced within {replaced:.1f} s")
    assert replaced >= SILENT / 2, "a guard that is only slow is not ended"
    until(lambda: host.guards() == [host.guard_pid()])
    assert steers() == through("pao")


def test_a_guard_that_is_stopped_is_no_guard_at_the_start_either(host: Host) -> None:
    Lease(host.runtime).renew(CLAIM, 60)
    old = start_guard(runtime=host.runtime)
    until(lambda: host.guard_pid() == old)
    os.kill(old, signal.SIGSTOP)
    watchdog = GuardClient(runtime=host.runtime)
    assert watchdog.ensure(), "for a while it may be slow"
    until(lambda: not watchdog.ensure(), within=SILENT + 5.0)
    until(watchdog.ensure, within=10.0)
    assert host.guard_pid() != old
    watchdog.close()


def test_a_guard_of_version_0_1_0_shows_nothing_and_is_replaced(host: Host) -> None:
    """It holds the lock, and its time never changes."""
    (host.runtime / LOCK).touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", _OLD_GUARD, host.runtime / LOCK, "steering.act.guard"],
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holds\n"
        watchdog = GuardClient(runtime=host.runtime)
        assert watchdog.present()
        until(lambda: not watchdog.ensure(), within=SILENT + 5.0)
        assert holder.wait(10.0) < 0
        until(watchdog.ensure, within=10.0)
    watchdog.close()


@pytest.mark.parametrize("lease", [1.0, 30.0])
def test_both_stopped_and_continued_go_on_as_before(host: Host, lease: float) -> None:
    agent = host.start_agent(lease=lease)
    until(host.guard_pid)
    guard = host.guard_pid()
    assert guard is not None
    with Monitor() as monitor:
        for pid in (agent.pid, guard):
            os.kill(pid, signal.SIGSTOP)
        slept = time.monotonic() + SILENT + 1.0
        until(lambda: time.monotonic() > slept, within=SILENT + 2.0)
        if lease < SILENT:
            os.kill(guard, signal.SIGCONT)
            until(lambda: ours() == [])
        for pid in (agent.pid, guard):
            os.kill(pid, signal.SIGCONT)
        until(lambda: steers() == through("pao"))
        monitor.catch_up()
        if lease > SILENT:
            assert not [line for line in monitor.heard() if "535" in line], "nothing was over"
    until(host.guard_pid)
    assert host.guard_pid() == guard, "no more silence counts than the agent was awake for"
    assert host.guards() == [guard]


def test_a_directory_that_is_emptied_has_a_lease_and_one_guard_again(host: Host) -> None:
    host.start_agent(lease=2.0)
    until(host.guard_pid)
    first = host.guard_pid()
    with Monitor() as monitor:
        for file in host.runtime.iterdir():
            file.unlink()
        until(lambda: not Lease(host.runtime).expired())
        until(lambda: host.guard_pid() not in {None, first})
        until(lambda: host.guards() == [host.guard_pid()])
        later = time.monotonic() + 2.5
        until(lambda: time.monotonic() > later)
        monitor.catch_up()
        assert not [line for line in monitor.heard() if "535" in line]


def test_two_guards_at_once_leave_one(host: Host) -> None:
    Lease(host.runtime).renew(CLAIM, 60)
    pids = [start_guard(runtime=host.runtime) for _ in range(3)]
    until(host.guard_pid)
    left = host.guard_pid()
    for pid in pids:
        if pid != left:
            assert os.waitpid(pid, 0) == (pid, 0)
    assert host.guard_pid() == left


def test_signals_meant_for_the_agent_do_not_end_the_guard(host: Host) -> None:
    Lease(host.runtime).renew(CLAIM, 60)
    guard = start_guard(runtime=host.runtime)
    until(lambda: host.guard_pid() == guard)
    assert os.getsid(guard) == guard
    for meant_for_others in (signal.SIGINT, signal.SIGHUP):
        os.kill(guard, meant_for_others)
    installed_here()
    Lease(host.runtime).renew(CLAIM, 0.1)
    until(lambda: ours() == [])


@pytest.mark.parametrize(
    "harm",
    [
        lambda lease: lease.unlink(),
        lambda lease: lease.write_text("{"),
        lambda lease: lease.write_bytes(b"\xff\xfe"),
        lambda lease: lease.write_text('{"claim": "{}", "boot": 1}'),
    ],
    ids=["gone", "torn", "not text", "no claim"],
)
def test_a_lease_file_that_someone_harmed_ends_no_watch(
    host: Host, harm: Callable[[Path], object]
) -> None:
    lease = Lease(host.runtime)
    lease.renew(CLAIM, 1.5)
    installed_here()
    start_guard(runtime=host.runtime)
    until(host.guard_pid)
    # It has read the lease once when it wakes for the second time; either way it remembers.
    looked = time.monotonic() + 0.7
    until(lambda: time.monotonic() > looked)
    harm(lease.path)
    until(lambda: ours() == [], within=2.5)


def test_the_guard_keeps_at_it_until_everything_is_gone(host: Host) -> None:
    """Someone puts our things back after the deadline: they go again."""
    Lease(host.runtime).renew(CLAIM, 0.1)
    start_guard(runtime=host.runtime)
    for _ in range(2):
        installed_here()
        until(lambda: ours() == [])


def test_the_guard_is_small_and_has_everything_loaded_from_the_start(host: Host) -> None:
    Lease(host.runtime).renew(CLAIM, 60)
    pid = start_guard(runtime=host.runtime)
    until(lambda: host.guard_pid() == pid)
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    assert int(resident.split()[1]) <= 16 * 1024
    script = (
        "import sys, steering.act.guard, steering.act.kernel.actuator as k\n"
        "before = set(sys.modules)\n"
        "from kernelhost import ADDRESSES, CLAIM\n"
        "late = set(sys.modules) - before\n"
        "before = set(sys.modules)\n"
        "with k.KernelActuator(CLAIM) as kernel: kernel.prepare(ADDRESSES); kernel.withdraw()\n"
        "print(sorted(set(sys.modules) - before))"
    )
    environment = {"PYTHONPATH": f"{_HERE}:{Path.cwd()}"}
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment
        ).stdout
        == "[]\n"
    )


# Off.


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("alive", [True, False])
def test_off_takes_everything_back_within_a_second(host: Host, guarded: bool, alive: bool) -> None:
    before = everything()
    agent = host.start_agent(lease=30.0)
    until(host.guard_pid)
    if not alive:
        agent.kill()
        agent.wait()
    if not guarded:
        for pid in host.guards():
            os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    off = switch_off(state=host.state, runtime=host.runtime, reason="test", by="noc")
    assert time.monotonic() - started <= 1.0
    assert (off.engaged, off.lasting, off.gone, off.troubles) == (True, True, True, ())
    assert everything() == before
    later = time.monotonic() + 0.4
    while time.monotonic() < later:  # the agent goes on turning and must not put back a thing
        assert ours() == []


def test_off_lasts_over_a_restart_of_the_agent_and_on_ends_it(host: Host) -> None:
    switch_off(
        state=host.state, runtime=host.runtime, reason="test", by="noc", configured=lambda: CLAIM
    )
    host.start_agent(lease=30.0)
    assert ours() == []
    OffSwitch(state=host.state, runtime=host.runtime).release()
    until(lambda: steers() == through("pao"))


def test_off_works_without_a_lease_by_the_configured_claim(host: Host) -> None:
    installed_here()
    unknown = switch_off(state=host.state, runtime=host.runtime, reason="test", by="noc")
    assert unknown.engaged
    assert not unknown.gone
    assert steers() == through("pao")
    off = switch_off(
        state=host.state, runtime=host.runtime, reason="test", by="noc", configured=lambda: CLAIM
    )
    assert off.gone
    assert ours() == []


def test_off_on_a_full_disk_holds_until_the_next_boot_and_says_so(host: Host) -> None:
    host.state.mkdir()
    run(f"mount -t tmpfs -o size=4k none {host.state}")
    try:
        (host.state / "fill").write_bytes(bytes(4096))
        installed_here()
        off = switch_off(
            state=host.state,
            runtime=host.runtime,
            reason="test",
            by="noc",
            configured=lambda: CLAIM,
        )
        assert (off.engaged, off.lasting, off.gone) == (True, False, True)
        assert [trouble.because for trouble in off.troubles] == ["No space left on device"]
        assert OffSwitch(state=host.state, runtime=host.runtime).engaged()
        assert not list(host.state.glob(".off*"))
    finally:
        run(f"umount {host.state}")


def test_the_guard_obeys_the_switch_where_the_agent_hangs(host: Host) -> None:
    agent = host.start_agent(lease=30.0)
    until(host.guard_pid)
    agent.send_signal(signal.SIGSTOP)
    OffSwitch(state=host.state, runtime=host.runtime).engage("test", "noc")
    until(lambda: ours() == [], within=1.0)


def test_the_actuator_asks_the_switch_before_each_batch(host: Host) -> None:
    switch = OffSwitch(state=host.state, runtime=host.runtime)
    with KernelActuator(CLAIM, may_write=lambda: not switch.engaged()) as kernel:
        switch.engage("test", "noc")
        assert {trouble.because for trouble in kernel.prepare(ADDRESSES)} == {SWITCHED_OFF}
        results = kernel.apply(ALL_PAO, ADDRESSES)
        assert all(isinstance(r, Refused) and r.because == SWITCHED_OFF for r in results)
        assert ours() == []
        switch.release()
        assert kernel.prepare(ADDRESSES) == ()
