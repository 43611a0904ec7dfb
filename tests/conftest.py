"""What tests share: a namespace of one's own, worlds of several, and what is built only once."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from steering.lab.network.topology import Topology

ROOT = Path(__file__).parents[1]

WorldFactory = Callable[..., Topology]
Once = Callable[[str, Callable[[Path], None]], Path]

# What lands is reproducible; at home every run may find something new. How busy the machine is
# says nothing of the code: no example fails for its time.
for profile, derandomize in (("random", False), ("reproducible", True)):
    settings.register_profile(
        profile,
        derandomize=derandomize,
        print_blob=True,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("reproducible" if os.environ.get("CI") else "random")

_CLONE_NEWNET = 0x40000000  # linux/sched.h


@pytest.fixture
def namespace() -> Iterator[None]:
    """Runs the test, and every process it starts, in a fresh network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            pytest.skip(f"no network namespace to be had: {os.strerror(ctypes.get_errno())}")
        yield
        assert libc.setns(home, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(home)


@pytest.fixture(scope="session")
def possible() -> None:
    """Skip where no namespaces can be made, saying why."""
    if lacks := Topology.missing():
        pytest.skip("; ".join(lacks))


@pytest.fixture
def make_world(possible: None) -> Iterator[WorldFactory]:
    """Builds worlds with the arguments of ``World``; all end with the test."""
    with contextlib.ExitStack() as stack:

        def make(**arguments: Any) -> Topology:  # noqa: ANN401 - those of World, as they are
            return stack.enter_context(Topology(**arguments))

        yield make


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes a directory, given its name and what fills it; all processes of a run get the same."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        place, filled = shared / name, shared / f"{name}.filled"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not filled.exists():
                shutil.rmtree(place, ignore_errors=True)  # of one who failed or was killed
                place.mkdir()
                fill(place)
                filled.touch()
        return place

    return make


@pytest.fixture(scope="session")
def wheel(once: Once) -> Path:
    """Built from what git would check out, not from what else lies about."""

    def build(place: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
        quick = os.environ | {"MYPYC_OPT_LEVEL": "1"}
        subprocess.run(command, cwd=ROOT, env=quick, check=True, capture_output=True, text=True)

    (built,) = once("wheel", build).glob("*.whl")
    return built
