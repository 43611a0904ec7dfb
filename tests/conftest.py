"""What tests share: a network namespace of one's own, and worlds of several."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from steering.lab.world import World

WorldFactory = Callable[..., World]

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
    if lacks := World.missing():
        pytest.skip("; ".join(lacks))


@pytest.fixture
def make_world(possible: None) -> Iterator[WorldFactory]:
    """Builds worlds with the arguments of ``World``; all end with the test."""
    with contextlib.ExitStack() as stack:

        def make(**arguments: Any) -> World:  # noqa: ANN401 - those of World, as they are
            return stack.enter_context(World(**arguments))

        yield make
