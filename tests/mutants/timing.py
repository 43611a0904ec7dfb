"""A plugin for pytest: which tests passed and how long each took, which failed; as JSON.

The file's name is in the environment, as the processes of pytest-xdist have no other options.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

PLACE: Final = "STEERING_MUTANTS_TOLD"

_times: Final[dict[str, float]] = {}
_failed: Final[dict[str, None]] = {}
_skipped: Final[set[str]] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _times[report.nodeid] = _times.get(report.nodeid, 0.0) + report.duration
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
