"""The commands of `steering`, their options and their help."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from steering import __version__
from steering.cli.examples import examples
from steering.cli.override.options import add_commands
from steering.cli.rootzone import add_commands as add_rootzone

DEFAULT = Path("/etc/steering/steering.yaml")


_TIME = "14:20, `10m ago`, 2026-11-24 05:12 (UTC), RFC 3339"


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="steering",
        description="Keeps DNS resolution working when an upstream nameserver, seen from here, "
        "goes bad.",
        epilog="Exit codes: 0 fine, 1 failed at run time, 2 wrong input, 3 not permitted.",
    )
    top.add_argument("--version", action="version", version=f"steering {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=examples(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def configured(name: str, text: str) -> argparse.ArgumentParser:
        return with_config(command(name, text))

    def with_config(
        sub: argparse.ArgumentParser, default: Path | str = DEFAULT
    ) -> argparse.ArgumentParser:
        option = sub.add_argument(
            "--config",
            type=Path,
            default=default,
            metavar="FILE",
            help=f"the configuration (default: {DEFAULT})",
        )
        option.complete = {"bash": "_shtab_compgen_files", "zsh": "_files"}  # type: ignore[attr-defined]
        return sub

    configured("run", "run the agent in the foreground")
    check = configured("check", "validate configuration and policies, print every problem")
    check.add_argument(
        "--strict",
        action="store_true",
        help="exit 1, 2 or 3 also for problems of this host and for notices about overrides",
    )
    check.add_argument(
        "--prefix-list",
        choices=("bird", "frr", "junos"),
        help="print a filter for the routers that get routes by BGP: the policies' addresses",
    )
    check.add_argument(
        "--sites",
        action="store_true",
        help="probe over each site once, by UDP, TCP and with large answers, and print what fails "
        "and why; takes 30 seconds at most, and exits 1 if something fails",
    )
    check.add_argument(
        "--temporary-rules",
        action="store_true",
        help="with --sites, where no agent runs: install the rules for these probes while they are "
        "sent, and nothing else",
    )
    check.add_argument("--json", action="store_true", help="with --sites: print JSON")
    status = configured("status", "show what the running agent sees and does")
    status.add_argument("--json", action="store_true", help="print JSON, as /api/v1/status answers")
    status.add_argument("--all", action="store_true", help="healthy addresses too")
    status.add_argument(
        "--zones",
        action="store_true",
        help="of each zone the newest serial over each path and in each copy, and who is behind",
    )
    explain = configured("explain", "show which rule decides for an address, and the evidence")
    explain.add_argument(
        "address", metavar="ADDRESS", help="an address of a policy, or the name of a zone_copy"
    )
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.add_argument(
        "--at", type=_moment, metavar="TIME", help=f"at a time in the journal: {_TIME}"
    )
    explain.add_argument(
        "--journal", type=Path, metavar="FILE", help="for --at (default: that of the configuration)"
    )
    override = configured("override", "set by hand where addresses go, and until when")
    # --config may stand before or after the subcommand: the later default would undo the other.
    add_commands(override, lambda sub: with_config(sub, argparse.SUPPRESS))
    reload = configured("reload", "show which steers a held change would end, and approve it")
    reload.add_argument("--yes", action="store_true", help="do not ask")
    off = configured(
        "off", "remove all routes and rules at once and stay off, whether the agent runs or not"
    )
    off.add_argument("--reason", default="", help="why, for other operators")
    configured("on", "end `off`")
    replay = configured("replay", "run a journal again, try policies on it, or run a scenario")
    _replay_options(replay)
    notify = configured(
        "notify", "show what the receivers of `notify` would be told, or send them a test"
    )
    notify.add_argument(
        "receivers", nargs="*", metavar="RECEIVER", help="by name (default: all of them)"
    )
    notify.add_argument("--send", action="store_true", help="send each of them one test notice")
    rootzone = configured("rootzone", "keep a good copy of the root zone, and give it to resolvers")
    add_rootzone(rootzone, lambda sub: with_config(sub, argparse.SUPPRESS))
    demo = command("demo", "replay July 2023 live, in its own network namespaces")
    demo.add_argument("--json", type=Path, metavar="FILE", help="write the timeline there")
    demo.add_argument(
        "--embedded",
        action="store_true",
        help="use the embedded servers and client even where NSD and Unbound are installed",
    )
    about = command("help", "show the commands, or one of them with its options")
    about.add_argument("of", nargs="*", metavar="COMMAND", help="such as `override add`")
    completion = command("completion", "print a completion script for a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return top


def _replay_options(replay: argparse.ArgumentParser) -> None:
    replay.add_argument(
        "journal",
        type=Path,
        nargs="?",
        metavar="JOURNAL",
        help="a journal.sqlite (default: that of the configuration)",
    )
    replay.add_argument("--scenario", type=Path, metavar="FILE", help="run this scenario instead")
    replay.add_argument(
        "--policies",
        type=Path,
        metavar="DIR",
        help="use these policies instead of the recorded ones",
    )
    replay.add_argument(
        "--from",
        dest="since",
        type=_moment,
        metavar="TIME",
        help=f"print from this time on: {_TIME}",
    )
    replay.add_argument(
        "--to", dest="until", type=_moment, metavar="TIME", help="stop at this time"
    )
    replay.add_argument("--json", action="store_true", help="print JSON")


def _moment(text: str) -> float:
    """UNIX seconds of a typed time."""
    from steering.cli.typed_time import past

    try:
        return past(text, time.time())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
