"""Commands on the files: `check`, `override`, `reload`; and `completion`, which is one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from steering.excuse import FINE, WRONG_INPUT, Excuse

if TYPE_CHECKING:
    from steering.config import Setup


def check(options: argparse.Namespace) -> int:
    """Every problem of the files, and what on this host would keep `run` from working."""
    from steering.agent import parts
    from steering.config import load

    setup = load(options.config)
    parts.chain_of(setup)
    claim, addresses = parts.claim_of(setup.config), parts.addresses_of(setup)
    if options.rules:
        if claim is None:
            raise Excuse(WRONG_INPUT, "kernel: off: there are no rules")
        print("\n".join(parts.pinning_commands(claim, addresses)))
        return FINE
    if options.prefix_list:
        from steering.prefixes import prefix_list

        print(prefix_list(options.prefix_list, addresses))
        return FINE
    if options.sites or options.temporary_rules or options.json:
        if not options.sites:
            raise Excuse(WRONG_INPUT, "--temporary-rules and --json go with --sites")
        from steering.cli.sites import check_sites

        return check_sites(options, setup)
    counts = {
        "upstream": len(setup.policies),
        "address": len(addresses),
        "remote site": len(setup.config.sites),
        **({"override": len(setup.overrides)} if setup.overrides else {}),
    }
    print(f"{options.config}: fine: {', '.join(_counted(n, what) for what, n in counts.items())}")
    for complaint in dict.fromkeys(_of_this_host(setup)):
        print(f"this host: {complaint}", file=sys.stderr)
    return FINE


def _of_this_host(setup: Setup) -> Iterator[str]:
    from steering.act.preflight import Fault, preflight
    from steering.agent import parts
    from steering.agent.standing import leased
    from steering.config import Mode
    from steering.dnstap.listen import objections
    from steering.observe.algorithms import refusal, refused

    config = setup.config
    # In observe mode nothing is installed, so `run` minds none of it; a later change of mode does.
    who = "`run`" if config.mode is Mode.ENFORCE else "`mode: enforce`"
    if (claim := parts.claim_of(config)) is not None:
        addresses = parts.addresses_of(setup)
        for complaint in preflight(
            claim,
            addresses,
            state=config.state,
            runtime=config.runtime,
            create=False,
            leased=leased(config.runtime),
        ):
            word = "notice" if complaint.kind is Fault.NOTICE else f"{who} would refuse"
            yield f"{word}: {complaint}"
    if (terms := parts.terms_of(config)) is not None:
        from steering.act.bgp.household import look_around, shared

        if because := shared(terms.user):
            yield f"act.bgp: {because}"
        for trouble in look_around(terms, config.runtime, config.lease).troubles:
            yield f"act.bgp: {trouble}"
    yield from _sources(setup)
    for algorithm in sorted(refused()):
        yield f"DNSSEC: {refusal(algorithm)}; nothing that is signed by it alone is judged"
    for place in parts.places_of(config):
        for objection in objections(place):
            yield f"observe.dnstap: {objection}"


def _sources(setup: Setup) -> Iterator[str]:
    """What the resolvers are said to send from and can't, or no site could ever answer."""
    from steering.agent import parts
    from steering.observe.sources import lacks, unpinned

    config, said = setup.config, parts.sources_of(setup.config)
    for family, sources in said.items():
        for source in sources:
            if because := lacks(source):
                yield f"resolver_sources.{family}: {source}: {because}; nothing is asked from it"
        for path, pin in config.observe.probe.pins.items():
            own = pin.ipv4 if family.bits == 32 else pin.ipv6
            others = [str(source) for source in sources if str(source) != own]
            if own is not None and path in config.sites and others:
                yield f"observe.probe.pins.{path}.{family}: {unpinned(path, own, others)}"


def _counted(number: int, what: str) -> str:
    plural = "" if number == 1 else "es" if what.endswith("s") else "s"
    return f"{number} {what}{plural}"


def override(options: argparse.Namespace) -> int:
    """The operator's word, put there, taken back or listed."""
    from steering.override.command import run

    run(options)
    return FINE


def reload(options: argparse.Namespace) -> int:
    """What is held back, shown and let pass."""
    from steering.config import load
    from steering.passing import run

    return run(options.config, load(options.config), sure=options.yes)


def completion(options: argparse.Namespace) -> int:
    """A script for a shell."""
    import shtab

    from steering.cli.words import parser
    from steering.override.options import PREAMBLE

    print(shtab.complete(parser(), options.shell, preamble=PREAMBLE.get(options.shell, "")))
    return FINE
