"""What all tests share: a network namespace of one's own."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest

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
