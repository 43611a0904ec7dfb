"""`steering override`: shows what will change, asks, and only then changes one file.

The whole set of files is checked with the change in it before anything is written, and is still
the same when nobody else can write any more. A running agent takes up what lies there; nothing here
speaks to it but for its status, so all of it works with the agent dead.
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
from steering.cli.override.compose import alarm_of, entry, name_of
from steering.cli.override.directory import OverrideDirectory
from steering.cli.override.effect import Effects
from steering.config import ConfigError, Setup, fingerprint, load
from steering.config.override_files import FOLDER
from steering.decide.override_state import OverrideStatus
from steering.errors import FAILED, WRONG_INPUT
from steering.format import ends, override_in_full
from steering.model import Override, WallTime
from steering.report.status import OVER
from steering.report.terminal import width, wrapped


def run(options: argparse.Namespace) -> None:
    """Does what was typed.

    Raises:
        NotDoneError: with the exit code.
        ConfigError: the files are faulty, or would be.
        OSError: a file can't be written or removed.
    """
    try:
        _DOING[options.doing](options)
    except BrokenPipeError:
        if options.doing == "list":
            raise
        _say_no_more()  # and what is done says so by `_done`, so nothing is
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
            said = f"{name} says that already: wanted another --reason, or an end"
            raise NotDoneError(WRONG_INPUT, said)  # an agent could not tell it from the one before
        _show_new(before, after, name, wall, may_match_nothing=options.matching_nothing)
        _confirm(options, "replace it" if name in before.override_files else "add it")
        with shelf.alone():
            again = load(options.config)
            if again == before and place == _place(again, shelf, name, replace=replace):
                shelf.put(place, written)
                _say_whole(options.config, before)
                break
        _look_again(options)
    _done(f"written to {place}: a running agent takes it up within two seconds")


def _is_over(setup: Setup, name: str, options: argparse.Namespace, wall: WallTime) -> bool:
    """Whether what has this name is an acknowledgement of that alarm which is over."""
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
            _remove_unread(options, name, error)
            return
        place = _lies(before, name)
        after = load(options.config, instead={place: None})
        _say(override_in_full(_called(name, before), wall))
        _show(before, after, wall, _called(name, before))
        _confirm(options, "remove it")
        shelf = OverrideDirectory(before.config.policies)
        with shelf.alone():
            if load(options.config) == before:
                shelf.take(place)
                _say_whole(options.config, before)
                break
        _look_again(options)
    _done(f"removed {place}: a running agent takes it up within two seconds")


def _done(what: str) -> None:
    """It is done, whether anybody still reads what is printed or not."""
    try:
        print(what, flush=True)
    except BrokenPipeError:
        _say_no_more()


def _say(sentence: str) -> None:
    """In lines that fit."""
    print("\n".join(wrapped(sentence, width())))


def _say_no_more() -> None:
    """What is left in the buffer has nobody to go to: it must not fail once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _look_again(options: argparse.Namespace) -> None:
    """Somebody else changed a file meanwhile, so what was shown is not what would come of it."""
    changed = "the files have changed meanwhile"
    if not options.yes:
        raise NotDoneError(FAILED, f"{changed}: nothing was done, look again")
    print(f"{changed}: once more")


def _say_whole(config: Path, before: Setup) -> None:
    """Tell the agent that these files are whole: it need not wait to see them lie still.

    What else lies there is not let pass by it: where that needs a word, the change waits with it.
    """
    with contextlib.suppress(OSError):
        mark_whole(before.config.runtime, fingerprint(config))


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
    shelf = OverrideDirectory(place.parent.parent)
    with shelf.alone():
        shelf.take(place)
    _done(f"removed {place}")


def _list(options: argparse.Namespace) -> None:
    wall = time.time()
    setup = load(options.config)
    files = setup.override_files
    standings = Effects.of(setup, wall).standings
    if options.name is not None:
        standings = tuple(s for s in standings if s.override.name == options.name)
        if not standings:
            raise _unknown(options.name, files)
    if options.names:
        print("\n".join(s.override.name for s in standings))
    elif options.json:
        print(json.dumps([show.as_json(s, files[s.override.name], wall) for s in standings]))
    elif options.name is not None:
        print(show.details(standings[0], files[options.name], wall, width()))
    else:
        print(show.listing(standings, files, wall, width()) if standings else "no overrides")
        try:
            status = fetch(setup.config, "/api/v1/status")
            _say(show.obeyed(setup.overrides, status))
        except (UnreachableError, NotFoundError) as error:
            _say(f"whether they are obeyed can't be told: {error}")


def _place(setup: Setup, shelf: OverrideDirectory, name: str, *, replace: bool) -> Path:
    """The file for an override of this name. Raises NotDoneError where something else is there."""
    there = setup.override_files.get(name)
    if there is None:
        place = shelf.place(name)
        if os.path.lexists(place):
            raise NotDoneError(WRONG_INPUT, f"{place} is there already, wanted another name")
        return place
    if not replace:
        raise NotDoneError(WRONG_INPUT, f"{name} is there already, in {there}; see --replace")
    return _lies(setup, name)


def _lies(setup: Setup, name: str) -> Path:
    """The file of an override that commands may change. Raises NotDoneError."""
    file = setup.override_files.get(name)
    if file is None:
        raise _unknown(name, setup.override_files)
    shared = [o for o, f in setup.override_files.items() if f == file and o != name]
    if file.parent.name != FOLDER or shared:
        raise NotDoneError(WRONG_INPUT, f"{name} stands in {file}, which is edited by hand")
    return file


def _unknown(name: str, known: Iterable[str]) -> NotDoneError:
    close = get_close_matches(name, [*known], n=1)
    hint = f", did you mean {close[0]}?" if close else "; see `steering override list`"
    return NotDoneError(WRONG_INPUT, f"there is no override {name}{hint}")


def _show_new(
    before: Setup, after: Setup, name: str, wall: WallTime, *, may_match_nothing: bool
) -> None:
    """Prints what one that is added will change.

    Raises NotDoneError if it has ended already, or matches nothing and that was not said to be so.
    """
    override = _called(name, after)
    if override.until is not None and override.until <= wall:
        raise NotDoneError(
            WRONG_INPUT, f"--until: {ends(override.until, wall)}: it would do nothing"
        )
    remarks = [r.message for r in after.remarks if r.file == after.override_files[name]]
    (standing,) = (s for s in Effects.of(after, wall).standings if s.override.name == name)
    if standing.state is OverrideStatus.UNMATCHED and not may_match_nothing:
        raise NotDoneError(
            WRONG_INPUT,
            f"{remarks[0]}; nothing was changed"
            + ("" if override.alarm else ": --matching-nothing, if that is meant"),
        )
    _say(override_in_full(override, wall))
    _show(before, after, wall, override)
    for remark in remarks:
        _say(f"CAUTION: {remark}")
    if standing.shadowed:
        _say(f"CAUTION: {show.standing_text(standing)}, whose file is later in order")


def _called(name: str, setup: Setup) -> Override:
    (found,) = (override for override in setup.overrides if override.name == name)
    return found


def _show(before: Setup, after: Setup, wall: WallTime, override: Override) -> None:
    """Prints what will change, beside what is now if an agent can tell."""
    status: show.Answer | None = None
    try:
        status = fetch(after.config, "/api/v1/status")
    except (UnreachableError, NotFoundError) as error:
        what = "where addresses go" if override.alarm is None else "which alarms there are"
        _say(f"{what} now can't be told: {error}")
    reach, was = Effects.of(after, wall), Effects.of(before, wall).said
    changes = [
        show.Change(target=target, was=was[target.address], then=reach.said[target.address])
        for target in reach.targets
        if reach.said[target.address] != was[target.address]
    ]
    if override.alarm is not None:
        print(
            "\n".join(show.of_alarm(override, status, width(), there=override in after.overrides))
        )
    if override.alarm is None or changes:
        print("\n".join(show.preview(changes, status, width())))
    with contextlib.suppress(OSError):
        if held := waiting(after.config.runtime):
            _say(f"CAUTION: changed files wait for a word ({held.because}): this waits with them")


_DOING = {"add": _add, "acknowledge": _add, "list": _list, "remove": _remove}


def _confirm(options: argparse.Namespace, what: str) -> None:
    """Raises NotDoneError unless the one who typed it was shown what comes of it, and is sure."""
    sys.stdout.flush()
    if options.yes:
        return
    try:
        sure = confirmed(what)
    except NoTerminalError as error:
        raise NotDoneError(WRONG_INPUT, str(error)) from None
    if not sure:
        raise NotDoneError(FAILED, "nothing was changed")
