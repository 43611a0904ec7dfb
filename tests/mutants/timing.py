"""A plugin for pytest: which tests passed and what CPU time each took, which failed; as JSON.

CPU time, with that of the processes that a test waited for: what else the machine does, and what
a test sleeps, says nothing of what it costs. The file's name is in the environment, as the
processes of pytest-xdist have no other options.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PLACE: Final = "STEERING_MUTANTS_TOLD"

_times: Final[dict[str, float]] = {}
_failed: Final[dict[str, None]] = {}
_skipped: Final[set[str]] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    began = _used()
    try:
        return (yield)
    finally:
        _times[item.nodeid] = _used() - began


def _used() -> float:
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed[report.nodeid] = None
    elif report.skipped:  # kills nothing
        _skipped.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    unfit = _skipped | _failed.keys()
    told = {
        "passed": {test: taken for test, taken in _times.items() if test not in unfit},
        "failed": list(_failed),
    }
    Path(os.environ[PLACE]).write_text(json.dumps(told), encoding="utf-8")
