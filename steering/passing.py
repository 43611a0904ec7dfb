"""`steering reload`: shows what the agent holds back, asks, and lets it pass.

The agent takes up changed files by itself; this is for those that would end most of the steers
in force. It goes by the two files of `consent`, so it needs no port and no signal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from steering import consent
from steering.config import Setup, fingerprint
from steering.consent import Held
from steering.model import Seconds
from steering.report.client import Unknown, Unreachable, fetch

FINE, FAILED, WRONG_INPUT = 0, 1, 2
_PATIENCE: Seconds = 5.0
"""The agent looks once a second, and reads what has been still for half of one."""
_LOOK: Seconds = 0.1


def run(path: Path, setup: Setup, *, sure: bool) -> int:
    """Let the files at `path`, read as `setup`, pass if they are held. The exit code.

    Raises OSError where the runtime directory can't be read or written.
    """
    runtime, seen = setup.config.runtime, fingerprint(path)
    held = _await_held(runtime, consent.version_of(seen))
    if held is None:
        return _say_how_it_is(setup)
    if held.version != consent.version_of(seen):
        _complain("the files are not those that are held: they have changed since; try again")
        return FAILED
    print(f"held: {held.because}")
    print("\n".join(f"  {change}" for change in held.changes))
    if not sure and not _agreed():
        return FAILED
    consent.accept(runtime, seen)
    if not _until(lambda: consent.waiting(runtime) is None):
        _complain("the agent has not taken it up: is it running?")
        return FAILED
    return _say_how_it_is(setup)


def _await_held(runtime: Path, version: str) -> Held | None:
    """What is held, once the agent has had the time to look at the files as they are now."""
    _until(lambda: (held := consent.waiting(runtime)) is not None and held.version == version)
    return consent.waiting(runtime)


def _until(true: Callable[[], bool]) -> bool:
    ends = time.monotonic() + _PATIENCE
    while not (found := true()) and time.monotonic() < ends:
        time.sleep(_LOOK)
    return found


def _say_how_it_is(setup: Setup) -> int:
    """Whether the agent goes by the files, in its own words."""
    try:
        status = fetch(setup.config.status, "/api/v1/status")
    except (Unreachable, Unknown) as error:
        _complain(str(error))
        return FAILED
    alarms = status.get("alarms")
    for alarm in alarms if isinstance(alarms, list) else ():
        if alarm.get("name") in {"config", "config_held"}:
            _complain(f"not in force: {alarm.get('because')}")
            return FAILED
    print("nothing is held: the agent goes by the files as they are")
    return FINE


def _agreed() -> bool:
    if not sys.stdin.isatty():
        _complain("nobody can be asked: wanted --yes to let it pass")
        return False
    try:
        answer = input("let it pass? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in {"y", "yes"}


def _complain(text: str) -> None:
    print(f"steering: {text}", file=sys.stderr)
