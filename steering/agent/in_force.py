"""The version of the files in force, saved for an agent that starts within the lease.

A restart does not approve changed files. The new agent begins with the version that was in force,
and handles the changed files as a running agent does (`reload`): as a rule it applies them at
once, and it holds them if they would end most of the steers. Without a lease the files count.

The saved version is removed when an agent begins. It is saved again when the agent has read the
files and found them unchanged, applied them, or had a reason not to. So after an agent that
crashed because of the old version, the next one uses the files, and not the old version again.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from steering.act.lease import Lease
from steering.agent.reload import Version
from steering.journal import setups
from steering.journal.codec import Codec
from steering.model import Override
from steering.observe.dnssec.anchors import AnchorError
from steering.system.files import open_regular, read_open, write_atomically

_NAME = "in-force"
_LARGEST = 1 << 25
"""Bytes: several times what the largest files come to."""
_OVERRIDES = Codec(tuple[Override, ...])
_DAMAGED = (ValueError, OverflowError, KeyError, TypeError, RecursionError)
"""What reading a file with arbitrary content raises."""


def save(runtime: Path, version: Version) -> None:
    """Save this version for the next agent. If it can't be written, an older one is removed."""
    setup = version.setup
    value = {
        "fingerprint": version.fingerprint,
        "setup": setups.write(setup),
        "overrides": _OVERRIDES.write(setup.overrides),
    }
    try:
        write_atomically(runtime / _NAME, json.dumps(value))
    except OSError:
        remove(runtime)


def remove(runtime: Path) -> None:
    """Remove the saved version."""
    with contextlib.suppress(OSError):
        (runtime / _NAME).unlink()


def load(files: Version) -> Version:
    """The version to begin with: what was in force within a lease, else the files as they are."""
    config = files.setup.config
    saved = _saved(config.runtime) if leased(config.runtime) else None
    if saved is None or saved.fingerprint == files.fingerprint:
        return files
    before = saved.setup.config
    if (before.state, before.runtime) != (config.state, config.runtime):
        return files  # only a restart can change these
    return saved


def leased(runtime: Path) -> bool:
    """Whether a lease is in force in this directory."""
    try:
        return not Lease(runtime).expired()
    except OSError:
        return False


def _ours(file: os.stat_result) -> bool:
    """Whether no other user can have written it: it names programs that the agent starts."""
    return file.st_uid == os.geteuid() and not file.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _saved(runtime: Path) -> Version | None:
    """The saved version; None: there is none, or none that this program can use."""
    try:
        with open_regular(runtime / _NAME) as file:
            if not _ours(os.fstat(file.fileno())):
                return None
            value: Any = json.loads(read_open(file, _LARGEST))
        setup = setups.read(value["setup"])
        overrides = _OVERRIDES.read(value["overrides"])
        seen = tuple((str(name), int(a), int(b), int(c)) for name, a, b, c in value["fingerprint"])
        return Version.of(replace(setup, overrides=overrides), seen)
    except (OSError, AnchorError, *_DAMAGED):
        return None
