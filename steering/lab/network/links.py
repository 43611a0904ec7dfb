"""Links, which every lab lays in the same way, and namespaces beside the present one."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from steering.lab.waiting import until


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link."""

    space: str
    """Its namespace; empty for the present one."""
    name: str
    addresses: tuple[str, ...] = ()
    """With the lengths of their prefixes."""
    link_local: bool = True
    """Whether the kernel gives it an address of its own, which may turn up late."""

    @property
    def up(self) -> list[str]:
        """What brings it up with its addresses, and may be repeated: lines for `ip -batch`."""
        mode = "" if self.link_local else " addrgenmode none"
        return [
            f"link set dev {self.name}{mode} up",
            *(f"addr replace {address} dev {self.name} nodad" for address in self.addresses),
        ]


def veth(near: End, far: End) -> str:
    """What lays a link between the ends: a line for `ip -batch`."""
    here, there = (f" netns {end.space}" if end.space else "" for end in (near, far))
    return f"link add name {near.name}{here} type veth peer name {far.name}{there}"


def run(command: str, *, stdin: str | None = None, check: bool = True) -> str:
    """What a command prints. Raises AssertionError if it fails and that is to be checked."""
    done = subprocess.run(command.split(), input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}{done.stdout}"
    return done.stdout


class Spaces:
    """Namespaces beside the present one, by name; `close` ends them.

    Each is held by a child process that reads a pipe of this process: however this one ends, the
    children end, and their namespaces with them.
    """

    def __init__(self, *names: str) -> None:
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        self._held = {
            name: subprocess.Popen(["unshare", "--net", "cat"], stdin=pipe, stdout=null)
            for name in names
        }
        try:
            for name in names:
                until(functools.partial(self._apart, name))
            for name in ("", *names):
                self.batch(name, ["link set dev lo up"])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End them."""
        for process in self._held.values():
            process.kill()
            process.communicate()

    def _apart(self, name: str) -> bool:
        pid = self._held[name].pid
        own, its = Path("/proc/thread-self/ns/net"), Path(f"/proc/{pid}/ns/net")
        started = Path(f"/proc/{pid}/comm").read_text() == "cat\n"
        return started and own.readlink() != its.readlink()

    def enter(self, name: str) -> list[str]:
        """What starts a program there, as the first words of its command."""
        return ["nsenter", f"--net=/proc/{self._held[name].pid}/ns/net"] if name else []

    def run(self, name: str, command: str, *, stdin: str | None = None, check: bool = True) -> str:
        """`run` in one of them."""
        return run(" ".join([*self.enter(name), command]), stdin=stdin, check=check)

    def batch(self, name: str, lines: Iterable[str]) -> None:
        """Many `ip` commands in one of them."""
        self.run(name, "ip -batch -", stdin="\n".join(lines) + "\n")

    def link(self, near: End, far: End) -> None:
        """A link between two of them, or within one; both ends up."""
        run(f"ip {veth(*(self._by_pid(end) for end in (near, far)))}")
        for end in (far, near):
            self.batch(end.space, end.up)

    def take(self, name: str, link: str) -> None:
        """Move an interface of the present one into one of them."""
        run(f"ip link set dev {link} netns {self._held[name].pid}")

    @contextlib.contextmanager
    def serving(self, name: str, code: str, *words: str) -> Iterator[None]:
        """Python code runs in one of them. It prints a line as soon as it serves."""
        argv = [*self.enter(name), sys.executable, "-c", code, *words]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline(), f"{name}: it does not serve"
                yield
            finally:
                process.kill()

    def _by_pid(self, end: End) -> End:
        return End(str(self._held[end.space].pid), end.name) if end.space else end
