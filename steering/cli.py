"""The command line. Exit codes: 0 fine, 1 failed at run time, 2 wrong input, 3 not permitted.

Imports wait until a command needs them: `steering off` has to be done within a second.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from steering import __version__
from steering.override.options import PREAMBLE, add_commands

if TYPE_CHECKING:
    from steering.config import Setup

FINE, FAILED, WRONG_INPUT, NOT_PERMITTED = 0, 1, 2, 3
DEFAULT = Path("/etc/steering/steering.yaml")


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
        return commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")

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
        "--rules",
        action="store_true",
        help="print the `ip` commands that pin probes to each path, for observe mode",
    )
    check.add_argument(
        "--prefix-list",
        choices=("bird", "frr", "junos"),
        help="print a filter for the routers that are told by BGP: the policies' addresses",
    )
    status = configured("status", "show what the running agent sees and does")
    status.add_argument("--json", action="store_true", help="as /api/v1/status answers")
    status.add_argument("--all", action="store_true", help="healthy addresses too")
    explain = configured("explain", "say which rule decides for an address, and on what evidence")
    explain.add_argument("address", metavar="ADDRESS", help="an address of a policy")
    explain.add_argument("--json", action="store_true", help="as data")
    explain.add_argument(
        "--at", type=_moment, metavar="TIME", help="at a time in the journal: RFC 3339, or UTC"
    )
    explain.add_argument(
        "--journal", type=Path, metavar="FILE", help="for --at (default: that of the configuration)"
    )
    override = configured("override", "say by hand where addresses go, and until when")
    # Said before or after the word that follows: the later one's default would undo the other.
    add_commands(override, lambda sub: with_config(sub, argparse.SUPPRESS))
    reload = configured("reload", "show what changed files would end, and let them pass")
    reload.add_argument("--yes", action="store_true", help="without a question")
    off = configured("off", "take everything back at once and stay off, agent running or not")
    off.add_argument("--reason", default="", help="for those who find it off")
    configured("on", "end `off`")
    replay = configured("replay", "run a journal again, try policies on it, or tell a story")
    replay.add_argument(
        "journal",
        type=Path,
        nargs="?",
        metavar="JOURNAL",
        help="a journal.sqlite (default: that of the configuration)",
    )
    replay.add_argument("--scenario", type=Path, metavar="FILE", help="tell this story instead")
    replay.add_argument(
        "--policies", type=Path, metavar="DIR", help="try these instead of those recorded"
    )
    replay.add_argument("--from", dest="since", type=_moment, metavar="TIME")
    replay.add_argument("--to", dest="until", type=_moment, metavar="TIME")
    replay.add_argument("--json", action="store_true", help="as data")
    demo = command("demo", "replay July 2023 live, in network namespaces of its own")
    demo.add_argument("--json", type=Path, metavar="FILE", help="write the timeline there")
    demo.add_argument(
        "--embedded",
        action="store_true",
        help="use the embedded servers and client even where NSD and Unbound are installed",
    )
    completion = command("completion", "print a completion script")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = parser().parse_args(arguments)
    try:
        return {
            "run": _run,
            "check": _check,
            "status": _status,
            "explain": _explain,
            "override": _override,
            "reload": _reload,
            "off": _off,
            "on": _on,
            "replay": _replay,
            "demo": _demo,
            "completion": _completion,
        }[options.command](options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _load(path: Path) -> Setup | None:
    """The configuration, or None after all its problems were printed."""
    from steering.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        for problem in error.problems:
            _say(str(problem))
        return None


def _run(options: argparse.Namespace) -> int:
    # One thread is all the arrays here ever need; a pool per core only costs memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import asyncio
    import resource

    from steering.agent.loop import Agent
    from steering.agent.parts import CannotRun
    from steering.config import fingerprint
    from steering.report.events import Log

    seen = fingerprint(options.config)
    setup = _load(options.config)
    if setup is None:
        return WRONG_INPUT
    # A silent upstream holds a socket for each question under way, and a shell's soft limit
    # is 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    log = Log(stream=sys.stderr, readable=sys.stderr.isatty())
    try:
        agent = Agent(setup, log, options.config, seen)
        asyncio.run(agent.run())
    except CannotRun as error:
        for reason in error.reasons:
            _say(f"steering: {reason}")
        return error.code
    except PermissionError as error:
        _say(f"steering: not permitted: {error}")
        return NOT_PERMITTED
    return FINE


def _check(options: argparse.Namespace) -> int:
    setup = _load(options.config)
    if setup is None:
        return WRONG_INPUT
    from steering.act.preflight import Fault, preflight
    from steering.agent import parts
    from steering.dnstap.listen import objections
    from steering.observe.anchors import AnchorError

    try:
        parts.chain_of(setup)
    except AnchorError as error:
        _say(str(error))
        return WRONG_INPUT
    claim = parts.claim_of(setup.config)
    if options.rules:
        if claim is None:
            _say("kernel: off: there are no rules")
            return WRONG_INPUT
        print("\n".join(parts.pinning_commands(claim)))
        return FINE
    addresses = parts.addresses_of(setup)
    if options.prefix_list:
        from steering.prefixes import prefix_list

        print(prefix_list(options.prefix_list, addresses))
        return FINE
    counts = {
        "upstream": len(setup.policies),
        "address": len(addresses),
        "remote site": len(setup.config.sites),
        **({"override": len(setup.overrides)} if setup.overrides else {}),
    }
    print(f"{options.config}: fine: {', '.join(_counted(n, what) for what, n in counts.items())}")
    if claim is not None:
        for complaint in preflight(
            claim,
            addresses,
            state=setup.config.state,
            runtime=setup.config.runtime,
            create=False,
        ):
            word = "notice" if complaint.kind is Fault.NOTICE else "`run` would refuse"
            _say(f"this host: {word}: {complaint}")
    if (terms := parts.terms_of(setup.config)) is not None:
        from steering.act.bgp.household import look_around

        home = look_around(terms, setup.config.runtime, setup.config.lease)
        for trouble in home.troubles:
            _say(f"this host: act.bgp: {trouble}")
    for place in parts.places_of(setup.config):
        for objection in objections(place):
            _say(f"this host: observe.dnstap: {objection}")
    return FINE


def _counted(number: int, what: str) -> str:
    plural = "" if number == 1 else "es" if what.endswith("s") else "s"
    return f"{number} {what}{plural}"


def _status(options: argparse.Namespace) -> int:
    from steering.report.client import Unreachable, fetch
    from steering.report.text import status_text

    setup = _load(options.config)
    if setup is None:
        return WRONG_INPUT
    try:
        answer = fetch(setup.config.status, "/api/v1/status")
    except Unreachable as error:
        _say(f"steering: {error}")
        return FAILED
    print(json.dumps(answer) if options.json else status_text(answer, everything=options.all))
    return FINE


def _explain(options: argparse.Namespace) -> int:
    import ipaddress

    from steering.report.client import Unknown, Unreachable, fetch
    from steering.report.text import explain_text

    try:
        address = str(ipaddress.ip_address(options.address))
    except ValueError:
        _say(f"steering: {options.address!r} is not an address")
        return WRONG_INPUT
    if options.at is not None:
        return _explain_at(options, address)
    setup = _load(options.config)
    if setup is None:
        return WRONG_INPUT
    try:
        answer = fetch(setup.config.status, f"/api/v1/explain?address={address}")
    except Unknown as error:
        _say(f"steering: {error}")
        return WRONG_INPUT
    except Unreachable as error:
        _say(f"steering: {error}")
        return FAILED
    print(json.dumps(answer) if options.json else explain_text(answer))
    return FINE


def _override(options: argparse.Namespace) -> int:
    from steering.config import ConfigError
    from steering.override import NotDone
    from steering.override.command import run

    try:
        run(options)
    except ConfigError as error:
        for problem in error.problems:
            _say(str(problem))
        return WRONG_INPUT
    except NotDone as error:
        _say(f"steering: {error}")
        return error.code
    except BrokenPipeError:
        raise
    except PermissionError as error:
        _say(f"steering: not permitted: {error}")
        return NOT_PERMITTED
    except OSError as error:
        _say(f"steering: {error}")
        return FAILED
    return FINE


def _reload(options: argparse.Namespace) -> int:
    from steering.passing import run

    setup = _load(options.config)
    if setup is None:
        return WRONG_INPUT
    try:
        return run(options.config, setup, sure=options.yes)
    except PermissionError as error:
        _say(f"steering: not permitted: {error}")
        return NOT_PERMITTED
    except OSError as error:
        _say(f"steering: {error}")
        return FAILED


def _off(options: argparse.Namespace) -> int:
    from steering.act.off import switch_off
    from steering.places import claim, places

    # The switch must not hang on a configuration that still parses: where it does not, the
    # two directories are taken from it as they can be, and the claim from the lease. Nothing
    # that may fail, be it a word on a closed terminal, comes before it is thrown.
    where = places(options.config)
    result = switch_off(
        state=where.state,
        runtime=where.runtime,
        reason=options.reason,
        by=os.environ.get("SUDO_USER") or _user(),
        configured=lambda: claim(options.config),
    )
    if where.trouble:
        _say(f"steering: {where.trouble}")
    for trouble in result.troubles:
        _say(f"steering: {trouble}")
    if result.gone and result.engaged:
        lasting = "" if result.lasting else ", but only until this host restarts"
        print(f"off: everything taken back in {result.seconds:.2f} s{lasting}")
        return FINE
    return NOT_PERMITTED if os.geteuid() else FAILED


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # an id that has no name on this host
        return f"uid {os.getuid()}"


def _on(options: argparse.Namespace) -> int:
    from steering.act.off import OffSwitch
    from steering.places import places

    where = places(options.config)
    if where.trouble:
        _say(f"steering: {where.trouble}")
    switch = OffSwitch(state=where.state, runtime=where.runtime)
    was = switch.engaged()
    try:
        switch.release()
    except PermissionError as error:
        _say(f"steering: not permitted: {error}")
        return NOT_PERMITTED
    except OSError as error:
        _say(f"steering: {error}")
        return FAILED
    print("on again" if was else "was on already")
    return FINE


def _explain_at(options: argparse.Namespace, address: str) -> int:
    from steering.replay.show import explain_at

    journal = options.journal or _journal(options.config)
    if journal is None:
        return WRONG_INPUT
    return explain_at(journal, address, options.at, as_json=options.json)


def _replay(options: argparse.Namespace) -> int:
    from steering.replay.show import replay, scenario

    if options.scenario is not None:
        return scenario(options.scenario, policies=options.policies, as_json=options.json)
    journal = options.journal or _journal(options.config)
    if journal is None:
        return WRONG_INPUT
    return replay(
        journal,
        policies=options.policies,
        since=options.since,
        until=options.until,
        as_json=options.json,
    )


def _moment(text: str) -> float:
    """UNIX seconds of a time that was typed."""
    from steering.replay.show import when

    try:
        return when(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _journal(config: Path) -> Path | None:
    """The journal that a configuration's agent writes."""
    from steering.replay.journal import NAME

    setup = _load(config)
    return None if setup is None else setup.config.state / NAME


def _demo(options: argparse.Namespace) -> int:
    from steering.lab.demo import demo

    return demo(timeline=options.json, embedded=options.embedded)


def _completion(options: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(parser(), options.shell, preamble=PREAMBLE.get(options.shell, "")))
    return FINE


if __name__ == "__main__":
    raise SystemExit(main())
