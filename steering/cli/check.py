"""Commands on the files: `check`, `override`, `reload`; and `completion`, which is one."""

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
    """Every problem of the files, and what on this host would keep `run` from working.

    The exit code is about the files; with `--strict` about everything that is said.
    """
    from steering.agent import from_config
    from steering.config import load

    setup = load(options.config)
    from_config.chain_of(setup)
    addresses = from_config.addresses_of(setup)
    if options.prefix_list:
        from steering.act.bgp.router_filters import prefix_list

        print(prefix_list(options.prefix_list, addresses))
        return FINE
    if options.sites or options.temporary_rules or options.json:
        if options.strict:
            raise CommandError(
                WRONG_INPUT, "--strict goes without --sites, which exits 1 by itself"
            )
        if not options.sites:
            raise CommandError(WRONG_INPUT, "--temporary-rules and --json go with --sites")
        from steering.cli.check_sites import check_sites

        return check_sites(options, setup)
    counts = {
        "upstream": len(setup.policies),
        "address": len(addresses),
        "remote site": len(setup.config.sites),
        **({"override": len(setup.overrides)} if setup.overrides else {}),
    }
    here = tuple(dict.fromkeys(_of_this_host(setup)))
    # What `run` would refuse is not fine, however valid the files are.
    word = "valid" if any(complaint.kind for complaint in here) else "fine"
    print(f"{options.config}: {word}: {', '.join(counted(n, what) for what, n in counts.items())}")
    for remark in setup.remarks:
        print(remark, file=sys.stderr)
    for complaint in here:
        print(f"this host: {complaint}", file=sys.stderr)
    if not options.strict or not (here or setup.remarks):
        return FINE
    return max((int(complaint.kind) for complaint in here), default=0) or FAILED


def _of_this_host(setup: Setup) -> Iterator[Finding]:
    """What is not as it has to be for these files; worse than a notice: that keeps them from
    working.
    """
    from steering.act.preflight import Blame, Finding, preflight
    from steering.agent import from_config
    from steering.agent.in_force import leased
    from steering.config import Mode
    from steering.observe.dnssec.algorithms import refusal, refused
    from steering.observe.dnstap.listeners import objections

    def failed(message: str) -> Finding:
        return Finding(kind=Blame.FAILED, message=message)

    config = setup.config
    # In observe mode nothing is installed, so `run` minds none of it; a later change of mode does.
    who = "`mode: rehearse`" if config.mode is Mode.OBSERVE else "`run`"
    if (claim := from_config.claim_of(config)) is not None:
        addresses = from_config.addresses_of(setup)
        for complaint in preflight(
            claim,
            addresses,
            state=config.state,
            runtime=config.runtime,
            create=False,
            leased=leased(config.runtime),
        ):
            word = "notice" if complaint.kind is Blame.NOTICE else f"{who} would refuse"
            yield Finding(kind=complaint.kind, message=f"{word}: {complaint}")
    if (terms := from_config.terms_of(config)) is not None:
        from steering.act.bgp.prerequisites import look_around, shared

        if because := shared(terms.user):
            yield failed(f"act.bgp: {because}")
        for trouble in look_around(terms, config.runtime, config.lease).troubles:
            yield failed(f"act.bgp: {trouble}")
    yield from (Finding(kind=Blame.NOTICE, message=said) for said in _unrouted(setup))
    yield from map(failed, _sources(setup))
    yield from map(failed, _forwarded(setup))
    for algorithm in sorted(refused()):
        said = f"{refusal(algorithm)}; nothing that is signed by it alone is judged"
        yield failed(f"DNSSEC: {said}")
    for place in from_config.places_of(config):
        for objection in objections(place):
            yield failed(f"observe.dnstap: {objection}")


def _unrouted(setup: Setup) -> Iterator[str]:
    """The upstreams to no address of which this host has any route."""
    for policy in setup.policies:
        families = {target.family: target.address for target in policy.targets}
        if not any(map(_routed, families.values())):
            which = " and ".join(sorted(families))
            yield (
                f"notice: {policy.upstream}: this host has no route to any of its addresses"
                f" ({which}): nobody can tell how it does"
            )


def _routed(address: str) -> bool:
    """Whether there is a way to it; no packet is sent for that."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((address, 53))
    except OSError:
        return False
    return True


def _sources(setup: Setup) -> Iterator[str]:
    """What the resolvers are said to send from and can't, or no site could ever answer."""
    from steering.agent import from_config
    from steering.observe.traffic.resolver_sources import lacks, unpinned

    config, said = setup.config, from_config.sources_of(setup.config)
    for family, sources in said.items():
        for source in sources:
            if because := lacks(source):
                yield f"resolver_sources.{family}: {source}: {because}; nothing is asked from it"
        for path, pin in config.observe.probe.pins.items():
            own = pin.ipv4 if family.bits == 32 else pin.ipv6
            others = [str(source) for source in sources if str(source) != own]
            if own is not None and path in config.sites and others:
                yield f"observe.probe.pins.{path}.{family}: {unpinned(path, own, others)}"


def _forwarded(setup: Setup) -> Iterator[str]:
    """Who asks through this host and is not said to be carried by the sites."""
    from steering.act.kernel.conntrack import Conntrack
    from steering.agent import from_config
    from steering.model import Family
    from steering.observe.traffic.forwarded import MUCH, carried

    if from_config.claim_of(setup.config) is None:
        return
    conntrack = Conntrack(setup.config.transit_interfaces)
    asks: Counter[str] = Counter()
    with suppress(OSError):  # not for everybody to see
        for family in Family:
            found = conntrack.questions(family, from_config.addresses_of(setup))
            asks.update(entry.source for entry in found if not entry.apart)
    for source, number in sorted(asks.items()):
        if number >= MUCH and not carried(source, setup.config.forwarded_sources):
            yield (
                f"forwarded_sources: {source} asks watched nameservers through this host, and is in"
                " none of them: its family will stay local, unless its packets are translated or"
                " routed back on the way to the sites as well, and this says so"
            )


def override(options: argparse.Namespace) -> int:
    """The operator's word, put there, taken back or listed."""
    from steering.cli.override.command import run

    run(options)
    return FINE


def reload(options: argparse.Namespace) -> int:
    """What is held back, shown and let pass."""
    from steering.cli.reload import run
    from steering.config import load

    return run(options.config, load(options.config), sure=options.yes)


def completion(options: argparse.Namespace) -> int:
    """A script for a shell."""
    import shtab

    from steering.cli.override.options import PREAMBLE
    from steering.cli.parser import parser

    print(shtab.complete(parser(), options.shell, preamble=PREAMBLE.get(options.shell, "")))
    return FINE
