"""`steering reload`: shows the change that the agent holds, asks, and approves it.

The agent takes up changed files by itself; this is for changes that would end most of the steers in
force. It uses the two files of `agent.approval`, so it needs no port and no signal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from steering.agent import approval
from steering.agent.approval import Held
from steering.cli.api_client import NotFoundError, UnreachableError, fetch
from steering.cli.confirm import NoTerminalError, confirmed
from steering.config import Setup, fingerprint
from steering.errors import FAILED, FINE
from steering.model import Seconds

_WITHIN: Seconds = 3.0
"""The agent checks the files twice a second, and reads them if they were the same twice."""
_TURN: Seconds = 2.0
"""The status shows the end of an alarm after the agent's next turn."""
_LOOK: Seconds = 0.1


def run(path: Path, setup: Setup, *, sure: bool) -> int:
    """Approve the files at `path`, read as `setup`, if they are held. The exit code.

    Raises OSError where the runtime directory can't be read or written.
    """
    runtime, seen = setup.config.runtime, fingerprint(path)
    held = _await_held(runtime, approval.version_of(seen))
    if held is None:
        return _report(setup)
    if held.version != approval.version_of(seen):
        _complain("the files have changed since the agent held them: try again")
        return FAILED
    print(f"held: {held.because}")
    print("\n".join(f"  {change}" for change in held.changes))
    if not sure and not _agreed():
        return FAILED
    approval.accept(runtime, seen)
    if not _until(lambda: approval.waiting(runtime) is None, within=_WITHIN):
        _complain(
            "the agent has not taken it up: is it running? A start takes the files as they are"
        )
        return FAILED
    return _report(setup)


def _await_held(runtime: Path, version: str) -> Held | None:
    """The held change, once the agent had the time to check the present files."""

    def known() -> bool:
        held = approval.waiting(runtime)
        return held is not None and held.version == version

    _until(known, within=_WITHIN)
    return approval.waiting(runtime)


def _until(true: Callable[[], bool], *, within: Seconds) -> bool:
    ends = time.monotonic() + within
    while not (found := true()) and time.monotonic() < ends:
        time.sleep(_LOOK)
    return found


def _report(setup: Setup) -> int:
    """Print whether the agent uses the files, with its alarms if not."""
    try:
        if _until(lambda: not _alarms(setup), within=_TURN):
            print("nothing is held: the agent uses the files as they are")
            return FINE
        for because in _alarms(setup):
            _complain(f"not in force: {because}")
    except (UnreachableError, NotFoundError) as error:
        _complain(str(error))
    return FAILED


def _alarms(setup: Setup) -> list[str]:
    """The alarms about the files, if the agent does not use them."""
    alarms = fetch(setup.config, "/api/v1/status").get("alarms")
    return [
        str(alarm.get("because"))
        for alarm in (alarms if isinstance(alarms, list) else ())
        if alarm.get("name") in {"config", "config_held"}
    ]


def _agreed() -> bool:
    try:
        return confirmed("approve it")
    except NoTerminalError as error:
        _complain(str(error))
        return False


def _complain(text: str) -> None:
    print(f"steering: {text}", file=sys.stderr)
