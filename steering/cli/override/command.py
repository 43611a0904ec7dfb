"""`steering override`: shows what will change, asks, and only then changes one file.

All files are checked with the change in them before anything is written, and again under the lock.
A running agent reads the directory by itself; the commands only ask it for its status, so they also
work without an agent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from steering.agent.approval import mark_whole, waiting
from steering.cli.api_client import NotFoundError, UnreachableError, fetch
from steering.cli.confirm import NoTerminalError, confirmed
from steering.cli.override import NotDoneError, show
from steering.cli.override.compose import alarm_of, entry, extended, name_of
from steering.cli.override.directory import OverrideDirectory
from steering.cli.override.effect import Effects
from steering.config import ConfigError, Setup, fingerprint, load
from steering.config.override_files import FOLDER
from steering.decide.overrides.override_state import OverrideStatus
from steering.errors import FAILED, WRONG_INPUT
from steering.model import WallTime
from steering.override import Override
from steering.override_text import ends, override_in_full
from steering.report.status import OVER
from steering.report.terminal import width, wrapped


def run(options: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
        NotDoneError: with the exit code.
        ConfigError: the files are faulty, or would be.
        OSError: a file can't be written or removed.
    """
    try:
        _COMMANDS[options.doing](options)
    except BrokenPipeError:
        if options.doing == "list":
            raise
        _discard_output()  # `_done` handles this itself, so nothing was changed yet
        raise NotDoneError(
            FAILED, "what would change can't be shown: nothing was changed"
        ) from None


def _add(options: argparse.Namespace) -> None:
    alarm_of(options)
    name = name_of(options)
    while True:
        wall = time.time()
        before = load(options.config)
        shelf = OverrideDirectory(before.config.policies)
        over = _is_over(before, name, options, wall)
        replace = options.replace or over
        place = _place(before, shelf, name, replace=replace)
        written = entry(options, name, wall)
        after = load(options.config, instead={place: written})
        if over and _called(name, after) in before.overrides:
            said = f"{name} is the same already: give another --reason, or another end"
            raise NotDoneError(WRONG_INPUT, said)  # the agent would take it for the spent one
        _show_new(before, after, name, wall, may_match_nothing=options.matching_nothing)
        _confirm(options, "replace it" if name in before.override_files else "add it")
        with shelf.alone():
            again = load(options.config)
            if again == before and place == _place(again, shelf, name, replace=replace):
                shelf.put(place, written)
                _mark_whole(options.config, before)
                break
        _changed_meanwhile(options)
    _done(f"written to {place}: a running agent takes it up within two seconds")


def _extend(options: argparse.Namespace) -> None:
    name = name_of(options)
    while True:
        wall = time.time()
        before = load(options.config)
        place = _own_file(before, name)
        written = extended(_called(name, before), options, wall)
        after = load(options.config, instead={place: written})
        was, will = _called(name, before).until, _called(name, after).until
        if was == will:
            raise NotDoneError(WRONG_INPUT, f"{name} ends then already: {ends(will, wall)}")
        _say(f"was: {ends(was, wall)}")
        if will is not None and (was is None or will < was):
            _say("CAUTION: that is sooner than before")
        _show_new(before, after, name, wall, may_match_nothing=True)
        _confirm(options, "give it this end")
        shelf = OverrideDirectory(before.config.policies)
        with shelf.alone():
            if load(options.config) == before:
                shelf.put(place, written)
                _mark_whole(options.config, before)
                break
        _changed_meanwhile(options)
    _done(f"written to {place}: a running agent takes it up within two seconds")


def _is_over(setup: Setup, name: str, options: argparse.Namespace, wall: WallTime) -> bool:
    """Whether the override of this name is an acknowledgement of that alarm, and is over."""
    there = next((o for o in setup.overrides if o.name == name), None)
    if options.alarm is None or there is None or there.alarm != options.alarm:
        return False
    if there.until is not None and there.until <= wall:
        return True
    try:
        status: show.Answer = fetch(setup.config, "/api/v1/status")
    except (UnreachableError, NotFoundError):
        return False
    return any(o["name"] == name and o.get("state") == OVER for o in status["overrides"])


def _remove(options: argparse.Namespace) -> None:
    name = name_of(options)
    while True:
        wall = time.time()
        try:
            before = load(options.config)
        except ConfigError as error:
            _remove_faulty(options, name, error)
            return
        place = _own_file(before, name)
        after = load(options.config, instead={place: None})
        _say(override_in_full(_called(name, before), wall))
        _show(before, after, wall, _called(name, before))
        _confirm(options, "remove it")
        shelf = OverrideDirectory(before.config.policies)
        with shelf.alone():
            if load(options.config) == before:
                shelf.take(place)
                _mark_whole(options.config, before)
                break
        _changed_meanwhile(options)
    _done(f"removed {place}: a running agent takes it up within two seconds")


def _done(what: str) -> None:
    """Print what was done; it stays done if the output has no reader."""
    try:
        print(what, flush=True)
    except BrokenPipeError:
        _discard_output()


def _say(sentence: str) -> None:
    """Print a sentence in lines that fit."""
    print("\n".join(wrapped(sentence, width())))


def _discard_output() -> None:
    """Send buffered output to /dev/null: it has no reader, and must not fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _changed_meanwhile(options: argparse.Namespace) -> None:
    """Another user changed a file meanwhile, so the shown changes are not the real ones."""
    changed = "the files have changed meanwhile"
    if not options.yes:
        raise NotDoneError(FAILED, f"{changed}: nothing was changed, try again")
    print(f"{changed}: trying again")


def _mark_whole(config: Path, before: Setup) -> None:
    """Mark these files as complete for the agent, so that it need not read them twice.

    This approves nothing: if other changes in the files need approval, this one waits with them.
    """
    with contextlib.suppress(OSError):
        mark_whole(before.config.runtime, fingerprint(config))


def _remove_faulty(options: argparse.Namespace, name: str, error: ConfigError) -> None:
    """Removes a faulty file, which may be what keeps all files from being read."""
    faulty = {p.file for p in error.problems}
    places = [f for f in faulty if f.name == f"{name}.yaml" and f.parent.name == FOLDER]
    if not places:
        raise error
    for problem in error.problems:
        print(problem, file=sys.stderr)
    (place,) = places
    print(f"{place} is faulty, so no agent uses it; a running one keeps the last good version")
    _confirm(options, "remove it")
    shelf = OverrideDirectory(place.parent.parent)
    with shelf.alone():
        shelf.take(place)
    _done(f"removed {place}")


def _list(options: argparse.Namespace) -> None:
    wall = time.time()
    setup = load(options.config)
    files = setup.override_files
    effects = Effects.of(setup, wall).each
    if options.name is not None:
        effects = tuple(e for e in effects if e.override.name == options.name)
        if not effects:
            raise _unknown(options.name, files)
    if options.names:
        print("\n".join(e.override.name for e in effects))
    elif options.json:
        print(json.dumps([show.as_json(e, files[e.override.name], wall) for e in effects]))
    elif options.name is not None:
        print(show.details(effects[0], files[options.name], wall, width()))
    else:
        print(show.listing(effects, files, wall, width()) if effects else "no overrides")
        try:
            status = fetch(setup.config, "/api/v1/status")
            _say(show.in_use(setup.overrides, status))
        except (UnreachableError, NotFoundError) as error:
            _say(f"not known whether the agent uses them: {error}")


def _place(setup: Setup, shelf: OverrideDirectory, name: str, *, replace: bool) -> Path:
    """The file for an override of this name. Raises NotDoneError if that file is in use."""
    there = setup.override_files.get(name)
    if there is None:
        place = shelf.place(name)
        if os.path.lexists(place):
            raise NotDoneError(WRONG_INPUT, f"{place} exists already: give another name")
        return place
    if not replace:
        raise NotDoneError(WRONG_INPUT, f"{name} exists already, in {there}: see --replace")
    return _own_file(setup, name)


def _own_file(setup: Setup, name: str) -> Path:
    """The file of an override, if commands may change it. Raises NotDoneError."""
    file = setup.override_files.get(name)
    if file is None:
        raise _unknown(name, setup.override_files)
    shared = [o for o, f in setup.override_files.items() if f == file and o != name]
    if file.parent.name != FOLDER or shared:
        raise NotDoneError(WRONG_INPUT, f"{name} is in {file}: edit that file by hand")
    return file


def _unknown(name: str, known: Iterable[str]) -> NotDoneError:
    close = get_close_matches(name, [*known], n=1)
    hint = f", did you mean {close[0]}?" if close else "; see `steering override list`"
    return NotDoneError(WRONG_INPUT, f"there is no override {name}{hint}")


def _show_new(
    before: Setup, after: Setup, name: str, wall: WallTime, *, may_match_nothing: bool
) -> None:
    """Prints what an added override will change.

    Raises NotDoneError if it has ended already, or matches nothing without `may_match_nothing`.
    """
    override = _called(name, after)
    if override.until is not None and override.until <= wall:
        raise NotDoneError(
            WRONG_INPUT, f"--until: {ends(override.until, wall)}: it would do nothing"
        )
    remarks = [r.message for r in after.remarks if r.file == after.override_files[name]]
    (effect,) = (e for e in Effects.of(after, wall).each if e.override.name == name)
    if effect.state is OverrideStatus.UNMATCHED and not may_match_nothing:
        raise NotDoneError(
            WRONG_INPUT,
            f"{remarks[0]}; nothing was changed"
            + ("" if override.alarm else ": use --matching-nothing if that is intended"),
        )
    _say(override_in_full(override, wall))
    _show(before, after, wall, override)
    for remark in remarks:
        _say(f"CAUTION: {remark}")
    if effect.shadowed:
        _say(f"CAUTION: {show.status_of(effect)}, whose file is later in order")


def _called(name: str, setup: Setup) -> Override:
    (found,) = (override for override in setup.overrides if override.name == name)
    return found


def _show(before: Setup, after: Setup, wall: WallTime, override: Override) -> None:
    """Prints what will change, with the present paths if an agent answers."""
    status: show.Answer | None = None
    try:
        status = fetch(after.config, "/api/v1/status")
    except (UnreachableError, NotFoundError) as error:
        what = "the present paths" if override.alarm is None else "the present alarms"
        _say(f"{what} are not known: {error}")
    then, was = Effects.of(after, wall), Effects.of(before, wall).orders
    changes = [
        show.Change(target=target, was=was[target.address], then=then.orders[target.address])
        for target in then.targets
        if then.orders[target.address] != was[target.address]
    ]
    if override.alarm is not None:
        print(
            "\n".join(show.of_alarm(override, status, width(), there=override in after.overrides))
        )
    if override.alarm is None or changes:
        print("\n".join(show.preview(changes, status, width())))
    with contextlib.suppress(OSError):
        if held := waiting(after.config.runtime):
            _say(
                "CAUTION: changed files wait for `steering reload`"
                f" ({held.because}): this waits with them"
            )


_COMMANDS = {
    "add": _add,
    "acknowledge": _add,
    "extend": _extend,
    "list": _list,
    "remove": _remove,
}


def _confirm(options: argparse.Namespace, what: str) -> None:
    """Raises NotDoneError unless the user confirms."""
    sys.stdout.flush()
    if options.yes:
        return
    try:
        sure = confirmed(what)
    except NoTerminalError as error:
        raise NotDoneError(WRONG_INPUT, str(error)) from None
    if not sure:
        raise NotDoneError(FAILED, "nothing was changed")
