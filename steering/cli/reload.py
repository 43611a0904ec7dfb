"""`steering reload`: shows what the agent holds back, asks, and lets it pass.

The agent takes up changed files by itself; this is for those that would end most of the steers
in force. It goes by the two files of `approval`, so it needs no port and no signal.
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

_PATIENCE: Seconds = 3.0
"""The agent looks twice a second, and reads what was the same at two looks."""
_TURN: Seconds = 2.0
"""What is over is out of the status with the agent's next turn."""
_LOOK: Seconds = 0.1


def run(path: Path, setup: Setup, *, sure: bool) -> int:
    """Let the files at `path`, read as `setup`, pass if they are held. The exit code.

    Raises OSError where the runtime directory can't be read or written.
    """
    runtime, seen = setup.config.runtime, fingerprint(path)
    held = _await_held(runtime, approval.version_of(seen))
    if held is None:
        return _say_how_it_is(setup)
    if held.version != approval.version_of(seen):
        _complain("the files are not those that are held: they have changed since; try again")
        return FAILED
    print(f"held: {held.because}")
    print("\n".join(f"  {change}" for change in held.changes))
    if not sure and not _agreed():
        return FAILED
    approval.accept(runtime, seen)
    if not _until(lambda: approval.waiting(runtime) is None, within=_PATIENCE):
        _complain("the agent has not taken it up: is it running?")
        return FAILED
    return _say_how_it_is(setup)


def _await_held(runtime: Path, version: str) -> Held | None:
    """What is held, once the agent has had the time to look at the files as they are now."""

    def known() -> bool:
        held = approval.waiting(runtime)
        return held is not None and held.version == version

    _until(known, within=_PATIENCE)
    return approval.waiting(runtime)


def _until(true: Callable[[], bool], *, within: Seconds) -> bool:
    ends = time.monotonic() + within
    while not (found := true()) and time.monotonic() < ends:
        time.sleep(_LOOK)
    return found


def _say_how_it_is(setup: Setup) -> int:
    """Whether the agent goes by the files, in its own words."""
    try:
        if _until(lambda: not _alarms(setup), within=_TURN):
            print("nothing is held: the agent goes by the files as they are")
            return FINE
        for because in _alarms(setup):
            _complain(f"not in force: {because}")
    except (UnreachableError, NotFoundError) as error:
        _complain(str(error))
    return FAILED


def _alarms(setup: Setup) -> list[str]:
    """What the agent says of its files, if it does not go by them."""
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
