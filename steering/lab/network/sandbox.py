"""The namespaces in which the lab's programs run; they end with this process.

One init process holds a mount, network and PID namespace; without root also a user namespace with
a root of its own. It reads a pipe that only this process writes. However this process ends, the
pipe closes, the init ends, and with it the kernel ends every process and network namespace inside
(pid_namespaces(7)). ``/run`` inside is a private tmpfs, so named network namespaces are not visible
outside.

Other modules: the network (``topology``) and the programs in it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from steering.lab.waiting import poll

_INIT = "mount -t tmpfs lab /run && echo ready && exec cat >/dev/null"
_ATTEMPT = (
    "mount -t tmpfs lab /run && ip netns add a && ip link add x netns a type veth peer name y"
    " && ip -n a rule add pref 9 fwmark 9 table 9 && ip -6 -n a rule add pref 9 fwmark 9 table 9"
)
_PROGRAMS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "mount": "mount",
    "sh": "dash",
    "cat": "coreutils",
}
# Sysctls that forbid user namespaces to users other than root, and the value that does.
_FORBIDDING = {
    "kernel/apparmor_restrict_unprivileged_userns": "1",  # Ubuntu 24.04
    "kernel/unprivileged_userns_clone": "0",  # Debian's patch
    "user/max_user_namespaces": "0",  # every kernel
}
_SBIN = "/usr/sbin:/sbin"  # often not in the PATH of users other than root


class LabError(Exception):
    """A program of the lab has failed; the text has the end of its log."""


class Program:
    """A program in the lab, with its process id as seen from outside.

    It consists of two processes: ``nsenter`` waits outside for the program inside.
    """

    def __init__(self, process: subprocess.Popen[bytes], *, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._outer = process
        self._inner: int | None = None

    @property
    def running(self) -> bool:
        return self._outer.poll() is None

    @property
    def returncode(self) -> int | None:
        return self._outer.poll()

    @property
    def pid(self) -> int:
        """Process id of the program itself. Raises LabError if it has ended."""
        if self._inner is None:
            self._inner = only_child(self._outer)
        if self._inner is None or not self.running:
            raise LabError(f"{self.name} has ended{self.tail()}")
        return self._inner

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone. Raises LabError if it has ended."""
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """Stop the program and its children (SIGSTOP)."""
        os.killpg(self._outer.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen program continue (SIGCONT).

        nsenter stops itself when it notices that its child was stopped, which may be after the
        first SIGCONT; so the signal is repeated until it waits again.
        """

        def waiting() -> bool:
            os.killpg(self._outer.pid, signal.SIGCONT)
            return not self.running or _state(self._outer.pid) == "S"

        poll(waiting, timeout=2.0, every=0.002)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired after ``timeout`` seconds."""
        return self._outer.wait(timeout)

    def stop(self, timeout: float = 3.0) -> None:
        """End it: SIGTERM, and SIGKILL for the whole group after ``timeout`` seconds."""
        if not self.running:
            return
        self.thaw()
        try:
            self.signal(signal.SIGTERM)
            self._outer.wait(timeout)
        except (LabError, ProcessLookupError, subprocess.TimeoutExpired):
            self.kill()

    def kill(self) -> None:
        """End it and its children at once (SIGKILL)."""
        if self.running:
            os.killpg(self._outer.pid, signal.SIGKILL)
        self._outer.wait()

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log, to append to an error's text."""
        try:
            text = self.log.read_text(errors="replace").rstrip().splitlines()[-lines:]
        except OSError:
            return ""
        return "".join(f"\n  {self.name}: {line}" for line in text)


class Sandbox:
    """The namespaces, from entering the context until leaving it.

    Raises LabError on entering if the machine does not allow them; ``missing`` has the reason.
    """

    def __init__(self, *, work: Path | None = None) -> None:
        self._init: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._programs: list[Program] = []
        self._own_work = work is None
        self.work = work or Path(tempfile.mkdtemp(prefix="steering-lab-"))
        """Configurations, zones and logs; removed at the end if it was made here."""

    @property
    def pid(self) -> int:
        """Process id of the init process inside, as seen from outside."""
        return self._pid

    def __enter__(self) -> Self:
        self._init = subprocess.Popen(
            [*_unshare(), "sh", "-c", _INIT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # the terminal's Ctrl-C is for this process, not for the lab
        )
        if not self._init.stdout or self._init.stdout.readline() != b"ready\n":
            self.close()
            raise LabError("no namespaces here: " + ("; ".join(missing()) or "the init ended"))
        self._pid = only_child(self._init) or 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything inside. The work directory goes too, if it was made here."""
        if self._init:
            self._init.kill()  # unshare's --kill-child ends the init with it
            self._init.communicate()
            self._init = None
        for program in self._programs:
            program.kill()
        self._programs.clear()
        if self._own_work:
            shutil.rmtree(self.work, ignore_errors=True)

    def inside(self, namespace: str | None, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` in a named network namespace of the lab."""
        user = ["--user", "--preserve-credentials"] if os.geteuid() else []
        net = f"--net=/proc/{self._pid}/root/run/netns/{namespace}" if namespace else "--net"
        return ["nsenter", f"--target={self._pid}", *user, "--mount", "--pid", net, *argv]

    def run(
        self,
        namespace: str | None,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end. Raises LabError if ``check`` and its exit status is not 0."""
        done = subprocess.run(
            self.inside(namespace, argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env=_environment(),
            timeout=timeout,
            start_new_session=True,
            check=False,
        )
        if check and done.returncode:
            text = (done.stderr or done.stdout).strip()
            raise LabError(f"{' '.join(argv)} in {namespace or 'the lab'}: {text}")
        return done

    def start(
        self,
        namespace: str | None,
        argv: Sequence[str],
        *,
        log: str | Path | None = None,
        env: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Program:
        """Start a program; its output goes to ``log`` in the work directory."""
        name = Path(argv[0]).name
        path = self.work / (log or f"{name}-{len(self._programs)}.log")
        with path.open("ab") as file:
            process = subprocess.Popen(
                self.inside(namespace, argv),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=_environment() | (env or {}),
                pass_fds=pass_fds,
                start_new_session=True,
            )
        program = Program(process, name=path.stem, log=path)
        self._programs.append(program)
        return program


def missing() -> tuple[str, ...]:
    """What this machine lacks for a lab, as text; empty if nothing."""
    lacking = [
        f"the program {program} (package {package}) is not installed"
        for program, package in _PROGRAMS.items()
        if not find(program)
    ]
    if lacking:
        return tuple(lacking)
    attempt = subprocess.run(
        [*_unshare(), "sh", "-c", _ATTEMPT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    if attempt.returncode == 0:
        return ()
    text = attempt.stderr.strip().splitlines() or [f"exit status {attempt.returncode}"]
    if os.geteuid():
        for sysctl, value in _FORBIDDING.items():
            setting = Path("/proc/sys") / sysctl
            if setting.exists() and setting.read_text().strip() == value:
                name = sysctl.replace("/", ".")
                return (f"user namespaces are forbidden by the sysctl {name}={value}: {text[-1]}",)
    return (f"namespaces can't be created here: {text[-1]}",)


def find(program: str) -> str | None:
    """The path of a program, searched in the sbin directories too; None if there is none."""
    return shutil.which(program, path=_environment()["PATH"])


def only_child(process: subprocess.Popen[bytes]) -> int | None:
    """The child of a process that forks once, or None if it ended before."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def child() -> int | None:
        if process.poll() is not None:
            return -1
        words = children.read_text().split()
        return int(words[0]) if words else None

    found = poll(child, timeout=5.0, every=0.001)
    return found if found and found > 0 else None


def _state(pid: int) -> str:
    """The state letter of a process (proc_pid_stat(5)); empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def _unshare() -> list[str]:
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=SIGKILL"]
    if os.geteuid():
        words += ["--user", "--map-root-user"]
    return [*words, "--mount-proc"]


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[2])
    return os.environ | {
        "PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}",
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
    }


PYTHON = sys.executable
"""The interpreter for the lab's own programs."""
