"""Makes the text of an override file from the options."""

from __future__ import annotations

import argparse
import math
import re
from difflib import get_close_matches

from steering.cli.operator import author
from steering.cli.override import NotDoneError
from steering.cli.override.options import action_of
from steering.cli.typed_time import coming
from steering.config.overrides import until_text
from steering.config.problems import printable, shown, suggestion
from steering.config.types import read_name, seconds
from steering.config.yaml_file import Value, write
from steering.errors import WRONG_INPUT
from steering.format import NEVER, rfc3339, whole_second
from steering.model import WallTime
from steering.override import Override
from steering.remedies import EVERY_ALARM

_KEYS = ("upstream", "nameserver", "address", "family")
_LONGEST = 63
_ALARMS = tuple(sorted(EVERY_ALARM))


def alarm_of(options: argparse.Namespace) -> None:
    """Raises NotDoneError if there is no such alarm, with the most similar names."""
    word = options.alarm
    if word is not None and word not in EVERY_ALARM:
        close = get_close_matches(word, _ALARMS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else suggestion(word, _ALARMS)
        raise NotDoneError(WRONG_INPUT, f"{shown(word)} is no alarm, {hint}")


def name_of(options: argparse.Namespace) -> str:
    """The name of the override and of its file. Raises NotDoneError."""
    try:
        return read_name(_made(options) if options.name is None else options.name)
    except ValueError as error:
        raise NotDoneError(WRONG_INPUT, f"name: {error}") from None


def _made(options: argparse.Namespace) -> str:
    """A name for an acknowledgement: `seen-unproven-gtld-servers`."""
    parts = (getattr(options, key) for key in (*_KEYS, "site"))
    name = "-".join(("seen", options.alarm, *filter(None, parts)))
    return re.sub("[^A-Za-z0-9._-]", "-", name)[:_LONGEST].rstrip(".")


def entry(options: argparse.Namespace, name: str, wall: WallTime) -> str:
    """The text of the file. Raises NotDoneError; other problems show when it is read."""
    action, to = action_of(options)
    match: dict[str, Value] = {k: v for k in _KEYS if (v := getattr(options, k)) is not None}
    if options.alarm is None and bool(match) is options.all:
        raise NotDoneError(
            WRONG_INPUT,
            "wanted at least one of --upstream, --nameserver, --address, --family, or --all",
        )
    if options.site is not None:
        match["site"] = options.site
    values: dict[str, Value] = {
        "name": name,
        "match": match,
        "action": str(action),
        **({"to": to} if to is not None else {}),
        **({"alarm": options.alarm} if options.alarm is not None else {}),
        "until": _until(options, wall),
        "reason": options.reason,
        "by": options.by or author(),
    }
    return _written(values, options, wall)


def extended(override: Override, options: argparse.Namespace, wall: WallTime) -> str:
    """The text of the file of an override with another end. Raises NotDoneError."""
    keys = (*_KEYS, "site")
    match: dict[str, Value] = {
        k: str(v) for k in keys if (v := getattr(override.match, k)) is not None
    }
    values: dict[str, Value] = {
        "name": override.name,
        "match": match,
        "action": str(override.action),
        **({"to": override.to} if override.to is not None else {}),
        **({"alarm": override.alarm} if override.alarm is not None else {}),
        "until": _until(options, wall),
        "reason": override.reason,
        "by": override.by,
    }
    return _written(values, options, wall)


def _written(values: dict[str, Value], options: argparse.Namespace, wall: WallTime) -> str:
    by = f" by {printable(author())}" if options.doing == "extend" else ""
    head = f"# Written by `steering override {options.doing}` at {whole_second(wall)}{by}.\n"
    return head + write({"overrides": [values]})


def _until(options: argparse.Namespace, wall: WallTime) -> str:
    try:
        if options.length is not None:
            return rfc3339(math.ceil(wall + seconds(options.length)))
        if options.until == NEVER:
            return NEVER
        return until_text(coming(options.until, wall))
    except (ValueError, OverflowError) as error:
        given = "--for" if options.length is not None else "--until"
        raise NotDoneError(WRONG_INPUT, f"{given}: {error}") from None
