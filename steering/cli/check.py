"""Commands on files: `check`, `override`, `reload`, and `completion`."""

from __future__ import annotations

import argparse
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from steering.errors import FAILED, FINE, WRONG_INPUT, CommandError
from steering.format import counted

if TYPE_CHECKING:
    from steering.act.preflight import Finding
    from steering.config import Setup


def check(options: argparse.Namespace) -> int:
    """Print every problem of the files, and those of this host that would prevent `run`.

    The exit code is about the files; with `--strict` about every problem printed.
    """
    from steering import from_config
    from steering.config import load

    setup = load(options.config)
    from_config.key_sources_of(setup)
    addresses = from_config.addresses_of(setup)
    if options.prefix_list:
        from steering.act.bgp.router_filters import prefix_list

        print(prefix_list(options.prefix_list, addresses))
        return FINE
    if options.sites or options.temporary_rules or options.json:
        if options.strict:
            raise CommandError(
                WRONG_INPUT, "--strict can't be used with --sites, which exits 1 by itself"
            )
        if not options.sites:
            raise CommandError(WRONG_INPUT, "--temporary-rules and --json need --sites")
        from steering.cli.check_sites import check_sites

        return check_sites(options, setup)
    counts = {
        "upstream": len(setup.policies),
        "address": len(addresses),
        "remote site": len(setup.config.sites),
        **({"override": len(setup.overrides)} if setup.overrides else {}),
    }
    here = tuple(dict.fromkeys(_of_this_host(setup)))
    # Files that `run` would refuse on this host are only valid.
    word = "valid" if any(finding.kind for finding in here) else "fine"
    print(f"{options.config}: {word}: {', '.join(counted(n, what) for what, n in counts.items())}")
    for remark in setup.remarks:
        print(remark, file=sys.stderr)
    for finding in here:
        print(f"this host: {finding}", file=sys.stderr)
    if not options.strict or not (here or setup.remarks):
        return FINE
    return max((int(finding.kind) for finding in here), default=0) or FAILED


def _of_this_host(setup: Setup) -> Iterator[Finding]:
    """The problems of this host with these files; all but notices would prevent `run`."""
    from steering import from_config
    from steering.act.lease import leased
    from steering.act.preflight import Blame, Finding, preflight
    from steering.config import Mode
    from steering.observe.dnssec.algorithms import refusal, refused
    from steering.observe.dnstap.listeners import place_problems

    def failed(message: str) -> Finding:
        return Finding(kind=Blame.FAILED, message=message)

    config = setup.config
    # In observe mode nothing is installed, so `run` accepts all of it; another mode would not.
    who = "`mode: rehearse`" if config.mode is Mode.OBSERVE else "`run`"
    if (claim := from_config.claim_of(config)) is not None:
        addresses = from_config.addresses_of(setup)
        for finding in preflight(
            claim,
            addresses,
            state=config.state,
            runtime=config.runtime,
            create=False,
            leased=leased(config.runtime),
        ):
            word = "notice" if finding.kind is Blame.NOTICE else f"{who} would refuse"
            yield Finding(kind=finding.kind, message=f"{word}: {finding}")
    if (terms := from_config.bgp_settings_of(config)) is not None:
        from steering.act.bgp.prerequisites import look_around, shared

        if because := shared(terms.user):
            yield failed(f"act.bgp: {because}")
        for trouble in look_around(terms, config.runtime, config.lease).troubles:
            yield failed(f"act.bgp: {trouble}")
    yield from (Finding(kind=Blame.NOTICE, message=said) for said in _unrouted(setup))
    yield from map(failed, _sources(setup))
    yield from map(failed, _forwarded(setup))
    for algorithm in sorted(refused()):
        said = f"{refusal(algorithm)}; answers signed by it alone are not judged"
        yield failed(f"DNSSEC: {said}")
    for said in _copies(setup):
        yield Finding(kind=Blame.NOTICE, message=f"notice: {said}")
    for place in from_config.dnstap_places(config):
        for objection in place_problems(place):
            yield failed(f"observe.dnstap: {objection}")


def _unrouted(setup: Setup) -> Iterator[str]:
    """Upstreams to whose addresses this host has no route at all."""
    for policy in setup.policies:
        families = {target.family: target.address for target in policy.targets}
        if not any(map(_routed, families.values())):
            which = " and ".join(sorted(families))
            yield (
                f"notice: {policy.upstream}: this host has no route to any of its addresses"
                f" ({which}): it can't be measured"
            )


def _routed(address: str) -> bool:
    """Whether this host has a route to it; no packet is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((address, 53))
    except OSError:
        return False
    return True


def _sources(setup: Setup) -> Iterator[str]:
    """Configured sources that resolvers can't send from, or that no site could answer."""
    from steering import from_config
    from steering.observe.traffic.resolver_sources import lacks, unpinned

    config = setup.config
    for family, sources in from_config.sources_of(config).items():
        for source in sources:
            if because := lacks(source):
                yield f"resolver_sources.{family}: {source}: {because}; no probe is sent from it"
        for path, pin in config.observe.probe.pins.items():
            own = pin.ipv4 if family.bits == 32 else pin.ipv6
            others = [str(source) for source in sources if str(source) != own]
            if own is not None and path in config.sites and others:
                yield f"observe.probe.pins.{path}.{family}: {unpinned(path, own, others)}"


def _forwarded(setup: Setup) -> Iterator[str]:
    """Sources that ask through this host and are not in `forwarded_sources`."""
    from steering import from_config
    from steering.act.kernel.conntrack import Conntrack
    from steering.model import Family
    from steering.observe.traffic.forwarded import MUCH, carried

    if from_config.claim_of(setup.config) is None:
        return
    conntrack = Conntrack(setup.config.transit_interfaces)
    asks: Counter[str] = Counter()
    with suppress(OSError):  # only root may read the table
        for family in Family:
            found = conntrack.questions(family, from_config.addresses_of(setup))
            asks.update(entry.source for entry in found if not entry.apart)
    for source, number in sorted(asks.items()):
        if number >= MUCH and not carried(source, setup.config.forwarded_sources):
            yield (
                f"forwarded_sources: {source} asks watched nameservers through this host and is not"
                " listed: addresses of its family stay local until its packets to the sites are"
                " translated (NAT) or routed back too, and it is listed"
            )


def _copies(setup: Setup) -> Iterator[str]:
    """What in the resolvers' own settings makes their copies of zones dangerous."""
    from steering.resolver_settings import dangers

    kept = setup.config.rootzone
    renewed = [given.file for given in kept.publish.values()] if kept else []
    for policy in setup.copies:
        for name, copy in policy.resolvers.items():
            if copy.settings is not None:
                kind = type(copy.control)
                for danger in dangers(kind, copy.settings, policy.zone, renewed=renewed):
                    yield f"{policy.zone_copy}: {name}: {danger}"


def override(options: argparse.Namespace) -> int:
    """Add, remove or list overrides."""
    from steering.cli.override.command import run

    run(options)
    return FINE


def reload(options: argparse.Namespace) -> int:
    """Show the held change, and approve it."""
    from steering.cli.reload import run
    from steering.config import load

    return run(options.config, load(options.config), sure=options.yes)


def completion(options: argparse.Namespace) -> int:
    """Print a completion script for a shell."""
    import shtab

    from steering.cli.override.options import PREAMBLE
    from steering.cli.parser import parser

    print(shtab.complete(parser(), options.shell, preamble=PREAMBLE.get(options.shell, "")))
    return FINE
