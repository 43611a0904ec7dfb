"""The version of the files in force, left for whoever is started within the lease.

That somebody was started anew is no word for files that changed meanwhile: he goes on by what
was in force, and takes them up as a running agent does (`reload`), at once as a rule, and held
where they would end most of the steers. Without a lease there is nothing to go on with.

What is left is spent when an agent begins, and left again when it has looked at the files and
found them the same, taken them, or had a reason not to. So an agent that dies of the old version
before it comes to that is followed by one that goes by the files, and not by the same for ever.
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
_RUBBISH = (ValueError, OverflowError, KeyError, TypeError, RecursionError)
"""What comes of a file that says anything at all."""


def leave(runtime: Path, version: Version) -> None:
    """Leave this version for the next agent; none, where it can't be written: no older one."""
    setup = version.setup
    value = {
        "fingerprint": version.fingerprint,
        "setup": setups.write(setup),
        "overrides": _OVERRIDES.write(setup.overrides),
    }
    try:
        write_atomically(runtime / _NAME, json.dumps(value))
    except OSError:
        spend(runtime)


def spend(runtime: Path) -> None:
    """Nothing is left any more."""
    with contextlib.suppress(OSError):
        (runtime / _NAME).unlink()


def take_up(files: Version) -> Version:
    """The version to begin with: what was in force within a lease, else the files as they are."""
    config = files.setup.config
    kept = _left(config.runtime) if leased(config.runtime) else None
    if kept is None or kept.fingerprint == files.fingerprint:
        return files
    there = kept.setup.config
    if (there.state, there.runtime) != (config.state, config.runtime):
        return files  # a running agent can't change these: this is how one does
    return kept


def leased(runtime: Path) -> bool:
    """Whether a lease is in force in this directory."""
    try:
        return not Lease(runtime).expired()
    except OSError:
        return False


def _ours(file: os.stat_result) -> bool:
    """Whether nobody else can have written it: it names programs that the agent starts."""
    return file.st_uid == os.geteuid() and not file.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _left(runtime: Path) -> Version | None:
    """What was left; None: nothing, or nothing that this program can go by."""
    try:
        with open_regular(runtime / _NAME) as file:
            if not _ours(os.fstat(file.fileno())):
                return None
            value: Any = json.loads(read_open(file, _LARGEST))
        setup = setups.read(value["setup"])
        overrides = _OVERRIDES.read(value["overrides"])
        seen = tuple((str(name), int(a), int(b), int(c)) for name, a, b, c in value["fingerprint"])
        return Version.of(replace(setup, overrides=overrides), seen)
    except (OSError, AnchorError, *_RUBBISH):
        return None
