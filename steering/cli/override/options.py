"""The subcommands and options of `steering override`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from steering.cli.examples import examples
from steering.model import Family
from steering.override import Action
from steering.remedies import EVERY_ALARM

NAMES = "_steering_overrides"
"""The shell function that completes the name of an override."""
ALARMS = "_steering_alarms"
"""The one that completes the name of an alarm."""
_EVERY = " ".join(sorted(EVERY_ALARM))

PREAMBLE = {
    "bash": f"""\
{NAMES}() {{
  compgen -W "$(steering override list --names 2>/dev/null)" -- "$1"
}}
{ALARMS}() {{
  compgen -W "{_EVERY}" -- "$1"
}}
""",
    "zsh": f"""\
{NAMES}() {{
  compadd -- ${{(f)"$(steering override list --names 2>/dev/null)"}}
}}
{ALARMS}() {{
  compadd -- {_EVERY}
}}
""",
}
"""The head of a completion script, for each shell that supports one."""


def add_commands(
    override: argparse.ArgumentParser,
    configure: Callable[[argparse.ArgumentParser], argparse.ArgumentParser],
) -> None:
    """Adds the five commands; `configure` gives each the option for the configuration."""
    commands = override.add_subparsers(
        dest="doing", required=True, metavar="add|acknowledge|extend|list|remove"
    )

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=examples(f"override {name}"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return configure(made)

    add = command("add", "set where addresses go, until when and why")
    add.add_argument("--name", required=True, help="its name: up to 63 letters, digits, . - _")
    _what(add.add_argument_group("what it orders").add_mutually_exclusive_group(required=True))
    whom = add.add_argument_group("which addresses (those that match all of these)")
    _whom(whom)
    whom.add_argument("--all", action="store_true", help="every address of every policy")
    whom.add_argument(
        "--matching-nothing",
        action="store_true",
        help="accept that no address matches now: it will be added later",
    )
    _why(add)
    add.set_defaults(alarm=None)

    seen = command("acknowledge", "mark an alarm as seen, until when and why")
    alarm = seen.add_argument("alarm", metavar="ALARM", help="its name, as `status` shows it")
    alarm.complete = {"bash": ALARMS, "zsh": ALARMS}  # type: ignore[attr-defined]
    seen.add_argument("--name", help="the override's name (default: made from the other options)")
    _whom(
        seen.add_argument_group("for which addresses (default: all that the alarm will be about)")
    )
    _why(seen)
    seen.set_defaults(all=False, matching_nothing=False)

    extend = command("extend", "give one that `add` or `acknowledge` wrote another end")
    _named(extend)
    _until(extend.add_argument_group("until when").add_mutually_exclusive_group(required=True))
    _sure(extend)
    extend.set_defaults(alarm=None)

    remove = command("remove", "remove one that `add` or `acknowledge` wrote")
    _named(remove)
    _sure(remove)

    every = command("list", "show all, with their effect; needs no agent")
    _named(every, nargs="?")
    form = every.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as data")
    form.add_argument("--names", action="store_true", help="the names alone")


def _what(group: argparse._MutuallyExclusiveGroup) -> None:
    steer = "through this site, whatever is measured"
    group.add_argument("--steer", metavar="SITE", help=steer)
    local = "over the local path, whatever is measured"
    group.add_argument("--local", action="store_true", help=local)
    group.add_argument(
        "--freeze", action="store_true", help="keep the path that it has when this begins"
    )
    group.add_argument("--avoid", metavar="SITE", help="never through this site")


def _whom(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--upstream", metavar="NAME", help="addresses of this upstream")
    group.add_argument("--nameserver", metavar="NAME", help="addresses of this nameserver")
    group.add_argument("--address", help="this address")
    group.add_argument(
        "--family", choices=[str(f) for f in Family], help="addresses of this family"
    )
    group.add_argument("--site", help="only the agent of this site obeys it")


def _why(parser: argparse.ArgumentParser) -> None:
    """The options for the end, the reason and the author."""
    _until(parser.add_argument_group("until when").add_mutually_exclusive_group(required=True))
    parser.add_argument("--reason", required=True, help="why, for other operators")
    parser.add_argument("--by", help="by whom (default: the user who types this)")
    parser.add_argument(
        "--replace", action="store_true", help="replace the override of this name, at once"
    )
    _sure(parser)


def _until(group: argparse._MutuallyExclusiveGroup) -> None:
    group.add_argument(
        "--until",
        metavar="TIME",
        help="the next 14:20 (UTC), 2026-11-24 06:00 (UTC), RFC 3339, or never",
    )
    group.add_argument("--for", dest="length", metavar="DURATION", help="from now on: 30m, 2h, 3d")


def _named(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    name = parser.add_argument("name", metavar="NAME", nargs=nargs, help="the override's name")
    name.complete = {"bash": NAMES, "zsh": NAMES}  # type: ignore[attr-defined]


def _sure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="show what changes, do not ask")


def action_of(options: argparse.Namespace) -> tuple[Action, str | None]:
    """The action, and its site."""
    if options.alarm is not None:
        return Action.ACKNOWLEDGE, None
    if options.steer is not None:
        return Action.STEER, options.steer
    if options.avoid is not None:
        return Action.AVOID, options.avoid
    return (Action.LOCAL if options.local else Action.FREEZE), None
