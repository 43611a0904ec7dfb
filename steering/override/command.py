"""`steering override`: shows what will change, asks, and only then changes one file.

The whole set of files is checked with the change in it before anything is written, and again
when nobody else can write any more. A running agent takes up what lies there; nothing here
speaks to it but for its status, so all of it works with the agent dead.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import math
import os
import sys
import time
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from steering.config import ConfigError, Setup, load
from steering.config.document import Value, write
from steering.config.overrides import Until, rfc3339
from steering.config.overruling import FOLDER
from steering.config.scalars import Word
from steering.config.units import seconds
from steering.consent import waiting
from steering.model import WallTime
from steering.override import text
from steering.override.options import action_of
from steering.override.reach import Reach
from steering.override.shelf import Shelf
from steering.report.client import Unknown, Unreachable, fetch

FAILED, WRONG_INPUT = 1, 2


class NotDone(Exception):  # noqa: N818 - it says whose fault it is by its exit code
    """Nothing was changed, and why."""

    def __init__(self, code: int, because: str) -> None:
        super().__init__(because)
        self.code = code


def run(options: argparse.Namespace) -> None:
    """Does what was typed.

    Raises:
        NotDone: with the exit code.
        ConfigError: the files are faulty, or would be.
        OSError: a file can't be written or removed.
    """
    {"add": _add, "list": _list, "remove": _remove}[options.doing](options)


def _add(options: argparse.Namespace) -> None:
    wall = time.time()
    name = _name(options.name)
    written = _written(options, name, wall)
    before = load(options.config)
    shelf = Shelf(before.config.policies)
    place = _place(before, shelf, name, replace=options.replace)
    after = load(options.config, instead={place: written})
    (override,) = (o for o in after.overrides if o.name == name)
    if override.until is not None and override.until <= wall:
        raise NotDone(WRONG_INPUT, f"--until: {text.ends(override, wall)}: it would do nothing")
    print(text.head(override, wall))
    _show(before, after, wall)
    for remark in after.remarks:
        if remark.file == place:
            print(f"CAUTION: {remark.message}")
    (standing,) = (s for s in Reach.of(after, wall).standings if s.override.name == name)
    if standing.shadowed:
        print(f"CAUTION: {text.standing_text(standing)}, whose file is later in order")
    _confirm(options, "replace it" if place.exists() else "add it")
    with shelf.alone():
        place = _place(load(options.config), shelf, name, replace=options.replace)
        load(options.config, instead={place: written})
        shelf.put(place, written)
    print(f"written to {place}: a running agent takes it up within two seconds")


def _remove(options: argparse.Namespace) -> None:
    wall = time.time()
    name = _name(options.name)
    try:
        before = load(options.config)
    except ConfigError as error:
        _remove_unread(options, name, error)
        return
    place = _lies(before, name)
    shelf = Shelf(before.config.policies)
    after = load(options.config, instead={place: None})
    (override,) = (o for o in before.overrides if o.name == name)
    print(text.head(override, wall))
    _show(before, after, wall)
    _confirm(options, "remove it")
    with shelf.alone():
        shelf.take(_lies(load(options.config), name))
    print(f"removed {place}: a running agent takes it up within two seconds")


def _remove_unread(options: argparse.Namespace, name: str, error: ConfigError) -> None:
    """Removes a file that may itself be what keeps all of them from being read."""
    faulty = {p.file for p in error.problems}
    places = [f for f in faulty if f.name == f"{name}.yaml" and f.parent.name == FOLDER]
    if not places:
        raise error
    for problem in error.problems:
        print(problem, file=sys.stderr)
    (place,) = places
    print(f"{place} can't be read, so no agent obeys it; one that runs has the last good version")
    _confirm(options, "remove it")
    shelf = Shelf(place.parent.parent)
    with shelf.alone():
        shelf.take(place)
    print(f"removed {place}")


def _list(options: argparse.Namespace) -> None:
    wall = time.time()
    setup = load(options.config)
    files = setup.override_files
    standings = Reach.of(setup, wall).standings
    if options.name is not None:
        standings = tuple(s for s in standings if s.override.name == options.name)
        if not standings:
            raise _unknown(options.name, files)
    if options.names:
        print("\n".join(s.override.name for s in standings))
    elif options.json:
        print(json.dumps([text.as_json(s, files[s.override.name], wall) for s in standings]))
    elif options.name is not None:
        print(text.details(standings[0], files[options.name], wall))
    elif standings:
        print(text.listing(standings, files, wall))
    else:
        print("no overrides")


def _name(name: str) -> str:
    try:
        return Word().read(name, None)
    except ValueError as error:
        raise NotDone(WRONG_INPUT, f"name: {error}") from None


def _written(options: argparse.Namespace, name: str, wall: WallTime) -> str:
    """The text of the file."""
    action, to = action_of(options)
    keys = ("upstream", "nameserver", "address", "family")
    match: dict[str, Value] = {k: v for k in keys if (v := getattr(options, k)) is not None}
    if bool(match) is options.all:
        raise NotDone(
            WRONG_INPUT, "wanted some of --upstream, --nameserver, --address, --family, or --all"
        )
    if options.site is not None:
        match["site"] = options.site
    entry: dict[str, Value] = {
        "name": name,
        "match": match,
        "action": str(action),
        **({"to": to} if to is not None else {}),
        "until": _until(options, wall),
        "reason": options.reason,
        "by": options.by or os.environ.get("SUDO_USER") or getpass.getuser(),
    }
    head = f"# Written by `steering override add` at {rfc3339(math.floor(wall))}.\n"
    return head + write({"overrides": [entry]})


def _until(options: argparse.Namespace, wall: WallTime) -> str:
    try:
        if options.length is not None:
            return rfc3339(math.ceil(wall + seconds(options.length)))
        return Until().write(Until().read(options.until, None))
    except (ValueError, OverflowError) as error:
        given = "--for" if options.length is not None else "--until"
        raise NotDone(WRONG_INPUT, f"{given}: {error}") from None


def _place(setup: Setup, shelf: Shelf, name: str, *, replace: bool) -> Path:
    """The file for an override of this name. Raises NotDone where something else is there."""
    there = setup.override_files.get(name)
    if there is None:
        place = shelf.place(name)
        if os.path.lexists(place):
            raise NotDone(WRONG_INPUT, f"{place} is there already, wanted another name")
        return place
    if not replace:
        raise NotDone(WRONG_INPUT, f"{name} is there already, in {there}; see --replace")
    return _lies(setup, name)


def _lies(setup: Setup, name: str) -> Path:
    """The file of an override that commands may change. Raises NotDone."""
    file = setup.override_files.get(name)
    if file is None:
        raise _unknown(name, setup.override_files)
    shared = [o for o, f in setup.override_files.items() if f == file and o != name]
    if file.parent.name != FOLDER or shared:
        raise NotDone(WRONG_INPUT, f"{name} stands in {file}, which is edited by hand")
    return file


def _unknown(name: str, known: Iterable[str]) -> NotDone:
    close = get_close_matches(name, [*known], n=1)
    hint = f", did you mean {close[0]}?" if close else "; see `steering override list`"
    return NotDone(WRONG_INPUT, f"there is no override {name}{hint}")


def _show(before: Setup, after: Setup, wall: WallTime) -> None:
    """Prints what will change, beside what is now if an agent can tell."""
    reach, was = Reach.of(after, wall), Reach.of(before, wall).said
    changes = [
        text.Change(target=target, was=was[target.address], then=reach.said[target.address])
        for target in reach.targets
        if reach.said[target.address] != was[target.address]
    ]
    status: text.Answer | None = None
    try:
        status = fetch(after.config.status, "/api/v1/status")
    except (Unreachable, Unknown) as error:
        print(f"where addresses go now can't be told: {error}")
    print("\n".join(text.preview(changes, status)))
    with contextlib.suppress(OSError):
        if held := waiting(after.config.runtime):
            print(f"CAUTION: changed files wait for a word ({held.because}): this waits with them")


def _confirm(options: argparse.Namespace, what: str) -> None:
    """Raises NotDone unless the one who typed it is sure."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise NotDone(WRONG_INPUT, f"nobody can be asked: wanted --yes to {what}")
    try:
        answer = input(f"{what}? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise NotDone(FAILED, "nothing was changed")
