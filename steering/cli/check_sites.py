"""`steering check --sites`: each path is probed once, and each loss is explained."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from steering.errors import FAILED, FINE, NOT_PERMITTED, CommandError
from steering.format import whole_second

if TYPE_CHECKING:
    from steering.config import Setup
    from steering.model import Family, Seconds, Source

Progress = Callable[[int, int], None]


def check_sites(options: argparse.Namespace, setup: Setup) -> int:
    """Probe over each site and print the table; status 1 if any answer does not come back."""
    import asyncio

    from steering import from_config
    from steering.observe.nonce import system_random
    from steering.sitecheck import asking
    from steering.sitecheck.legs import sample
    from steering.sitecheck.reasons import judged
    from steering.sitecheck.temporary_rules import temporary
    from steering.sitecheck.text import data_of, text_of
    from steering.system.permissions import may_change_routes

    claim = from_config.claim_of(setup.config)
    if claim is not None and not may_change_routes("self"):
        raise CommandError(
            NOT_PERMITTED,
            "check --sites: probes over a site carry a mark, which needs CAP_NET_ADMIN: "
            "run it as root",
        )
    sources, running = _sources(setup)
    prepared = asking.prepared(setup, sources)
    addresses = list(
        dict.fromkeys(address for leg in prepared for address in sample(setup.policies, leg.family))
    )
    without = asking.missing(setup, sources)
    by = f"without rules for {', '.join(without)}" if without else "by the rules that are there"
    with ExitStack() as stack:
        if claim is not None and without and options.temporary_rules:
            stack.enter_context(temporary(setup.config, claim, addresses))
            by = "by temporary rules"
        report = stack.enter_context(_progress(asking.WHOLE))
        found = asyncio.run(asking.ask(setup, sources, rng=system_random(), progress=report))
    rows = judged(found)
    asked = {path.name for path in from_config.probed_paths(claim, setup.config)}
    unasked = [site for site in setup.config.sites if site not in asked]
    about = {
        "site": setup.config.site,
        "time": whole_second(time.time()),
        "agent": running,
        "rules": by,
        "addresses": addresses,
        "unasked": unasked,
    }
    if options.json:
        print(json.dumps({**about, "paths": data_of(rows)}))
    else:
        head = [
            "site {site}, {time}, {agent}, {rules}".format(
                **about | {"agent": "an agent runs" if running else "no agent answers"}
            ),
            f"asked {', '.join(addresses) or 'no address'}",
            *(f"{site}: not asked: it has neither a mark nor a pin" for site in unasked),
        ]
        print(text_of(rows, head))
    return FAILED if unasked or any(row.failed for row in rows) else FINE


def _sources(setup: Setup) -> tuple[Mapping[Family, Sequence[Source | None]], bool]:
    """The resolvers' sources, as configured or as a running agent found; whether one runs."""
    from steering import from_config
    from steering.cli.api_client import fetch
    from steering.model import Family

    found: dict[Family, list[Source | None]] = {}
    running = False
    with contextlib.suppress(CommandError):
        answer = fetch(setup.config, "/api/v1/status")
        running = True
        sites = answer.get("sites")
        for families in sites.values() if isinstance(sites, dict) else ():
            for family in Family:
                if named := families.get(family):
                    found[family] = [_source(name) for name in named]
    return {**found, **from_config.sources_of(setup.config)}, running


def _source(name: str) -> Source | None:
    """The source with this name in the status."""
    from steering.model import Source

    address, _, interface = name.partition("@")
    return None if name == "kernel" else Source(address=address, interface=interface or None)


@contextlib.contextmanager
def _progress(at_most: Seconds) -> Iterator[Progress]:
    """Shows the progress on a terminal."""

    def show(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    show(f"asking, {at_most:.0f} seconds at most")
    try:
        yield lambda done, of: show(f"{done} of {of} asked, {at_most:.0f} seconds at most")
    finally:
        show("")
