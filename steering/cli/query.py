"""`steering status`, `explain` and `replay`: show an agent's state, past and present."""

from __future__ import annotations

import argparse
import ipaddress
import json
import sys
from pathlib import Path

from steering.errors import FINE, WRONG_INPUT, CommandError


def status(options: argparse.Namespace) -> int:
    """Print the status of the running agent."""
    from steering.cli.api_client import fetch
    from steering.config import load
    from steering.report.copies_text import zones_text
    from steering.report.status_text import status_text
    from steering.report.terminal import coloured, width

    answer = fetch(load(options.config).config, "/api/v1/status")
    if options.json:
        print(json.dumps(answer.get("zones", {}) if options.zones else answer))
    elif options.zones:
        print(zones_text(answer, columns=width()))
    else:
        colour = coloured(sys.stdout)
        print(status_text(answer, everything=options.all, columns=width(), colour=colour))
    return FINE


def explain(options: argparse.Namespace) -> int:
    """Print which rule decides for an address, now or at a time in the journal; or what is known
    of a copy of a zone.
    """
    try:
        address = str(ipaddress.ip_address(options.address))
    except ValueError:
        return _explain_copy(options)
    if options.at is not None:
        from steering.replay.command import explain_at

        return explain_at(_journal(options), address, options.at, as_json=options.json)
    if options.journal is not None:
        raise CommandError(WRONG_INPUT, "--journal needs a time: --at TIME")
    from steering.cli.api_client import fetch
    from steering.config import load
    from steering.report.status_text import explain_text
    from steering.report.terminal import coloured, width

    answer = fetch(load(options.config).config, f"/api/v1/explain?address={address}")
    if options.json:
        print(json.dumps(answer))
    else:
        print(explain_text(answer, columns=width(), colour=coloured(sys.stdout)))
    return FINE


def _explain_copy(options: argparse.Namespace) -> int:
    """Print what is known of the copies of this name."""
    from steering.config import ConfigError, load

    name = options.address
    try:
        setup = load(options.config)
    except ConfigError:
        raise CommandError(WRONG_INPUT, f"{name!r} is not an address") from None
    if name.partition("/")[0] not in {copy.zone_copy for copy in setup.copies}:
        message = f"{name!r} is not an address, and no zone_copy of the policies has this name"
        raise CommandError(WRONG_INPUT, message)
    if options.at is not None or options.journal is not None:
        raise CommandError(
            WRONG_INPUT,
            "--at and --journal are for addresses: of copies there is"
            " no journal, and the events say what happened",
        )
    from steering.cli.api_client import fetch
    from steering.report.copies_text import copy_text, named
    from steering.report.terminal import width

    found = named(fetch(setup.config, "/api/v1/status"), name)
    if not found:
        raise CommandError(WRONG_INPUT, f"{name!r}: the agent has no such copy")
    if options.json:
        print(json.dumps(found))
    else:
        print("\n\n".join(copy_text(one, columns=width()) for one in found))
    return FINE


def replay(options: argparse.Namespace) -> int:
    """Run a journal again, or a scenario."""
    from steering.replay.command import replay, scenario

    if options.since and options.until and options.until < options.since:
        raise CommandError(WRONG_INPUT, "--to is before --from")
    if options.scenario is not None:
        if any((options.journal, options.since, options.until)):
            raise CommandError(
                WRONG_INPUT, "--scenario runs as a whole: leave out JOURNAL, --from, --to"
            )
        return scenario(options.scenario, policies=options.policies, as_json=options.json)
    return replay(
        _journal(options),
        policies=options.policies,
        since=options.since,
        until=options.until,
        as_json=options.json,
    )


def notify(options: argparse.Namespace) -> int:
    """Print what the receivers of `notify` would be told, or send them a test."""
    from steering.cli.notify import run

    return run(options)


def _journal(options: argparse.Namespace) -> Path:
    """The named journal, or the one of the configuration's agent."""
    if options.journal is not None:
        return Path(options.journal)
    from steering.config import load
    from steering.journal.journal import NAME

    return load(options.config).config.state / NAME
