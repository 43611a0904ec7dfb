"""Checks that need more than one value: whether the values of all files fit each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from steering import bounds
from steering.config.bgp import Bgp
from steering.config.configuration import Config, Kernel, Mode
from steering.config.policy import Policy
from steering.config.problems import Location, suggestion
from steering.config.zone_copy import ZoneCopy
from steering.model import LOCAL, Family

Finding = tuple[Location, str]
"""A location in the file, and the message."""


def wrong_in(config: Config) -> Iterator[Finding]:
    """Contradictions within the configuration."""
    if config.site in config.sites:
        yield ("sites", config.site), "is this site itself, wanted remote sites only"
    if config.mode is not Mode.OBSERVE and not config.sites:
        yield ("sites",), "is empty, wanted a site to steer to, or mode: observe"
    taken: dict[str, str] = {}
    for name, site in config.sites.items():
        for family, to in site.next_hop.items():
            if (other := taken.setdefault(to, name)) != name:
                message = (
                    f"{to} is the next hop of {other} already, wanted one for each site: another"
                    " address of that router, or a tunnel"
                )
                yield ("sites", name, "next_hop", family.value), message
    yield from _wrong_pins(config)
    if config.act.bgp:
        yield from _wrong_announcing(config, config.act.bgp)
    if config.act.kernel:
        yield from _wrong_numbers(config.act.kernel, len(config.sites))


def _wrong_pins(config: Config) -> Iterator[Finding]:
    """Pins of no path, pins of two paths, and missing pins where nothing else pins a path."""
    pins, paths = config.observe.probe.pins, (LOCAL, *config.sites)
    taken: dict[str | int, str] = {}
    for name, pin in pins.items():
        where = ("observe", "probe", "pins", name)
        if name not in paths:
            yield where, f"{name} is no path, {suggestion(name, paths)}"
        for key, value in (("ipv4", pin.ipv4), ("ipv6", pin.ipv6), ("dscp", pin.dscp)):
            if value is not None and (key != "dscp" or pin.ipv4 is pin.ipv6 is None):
                if value in taken:
                    message = f"{value} pins {taken[value]} already, wanted one a path"
                    yield (*where, key), message
                taken.setdefault(value, name)
    if config.act.bgp and config.act.kernel is None:
        for name in paths:
            if name not in pins:
                message = f"is missing, wanted a pin of {name}: with kernel: off nothing else"
                yield ("observe", "probe", "pins", name), f"{message} sends a probe over it"


def _wrong_announcing(config: Config, bgp: Bgp) -> Iterator[Finding]:
    """Next hops for BGP that belong to no site, or to two."""
    taken: dict[str, str] = {}
    for name, hops in config.announced_next_hops.items():
        for family, hop in hops.items():
            where = ("act", "bgp", "next_hop", name, family.value)
            if " " in hop:
                yield where, f"is `{hop}`, which cannot be announced, wanted an address"
            elif hop in taken and taken[hop] != name:
                yield where, f"{hop} is the next hop of {taken[hop]} already, wanted one a site"
            taken.setdefault(hop, name)
    for name in bgp.next_hop:
        if name not in config.sites:
            message = f"{name} is no remote site, {suggestion(name, tuple(config.sites))}"
            yield ("act", "bgp", "next_hop", name), message


def _wrong_numbers(kernel: Kernel, sites: int) -> Iterator[Finding]:
    """Table and mark each begin a block, with one more number for each site."""
    last, system = kernel.table + sites, bounds.SYSTEM_TABLES
    if last not in bounds.TABLES or any(kernel.table <= number <= last for number in system):
        message = (
            f"is {kernel.table}, and with one more table for each site the block ends at {last},"
            f" wanted one that stays clear of {min(system)} to {max(system)} and below"
            f" {bounds.TABLES.stop}"
        )
        yield ("act", "kernel", "table"), message
    if because := bounds.unfit_mark(kernel.mark, kernel.mark_bits, sites):
        yield ("act", "kernel", "mark"), because


def wrong_sites(to: Sequence[object], sites: tuple[str, ...]) -> Iterator[Finding]:
    """Sites in a policy's `steer.to`, as it was typed, that do not exist."""
    for at, name in enumerate(to):
        if isinstance(name, str) and name not in sites:
            yield ("steer", "to", at), f"{name} is no remote site, {suggestion(name, sites)}"


def wrong_hops(config: Config, policies: tuple[Policy, ...]) -> Iterator[Finding]:
    """Next hops that a steer would redirect, so that the detour would lead into itself."""
    steered: Mapping[str, Policy] = {t.address: p for p in policies for t in p.targets}
    for name, site in config.sites.items():
        for family, hop in site.next_hop.items():
            if hop in steered:
                message = (
                    f"{hop} is a next hop inside a steered prefix (an address of"
                    f" {steered[hop].upstream}), wanted an address of ours"
                )
                yield ("sites", name, "next_hop", family.value), message
    if config.act.bgp is None:
        return
    for name, hops in config.act.bgp.next_hop.items():
        for family, hop in hops.by_family.items():
            if hop in steered:
                message = f"{hop} is an address of {steered[hop].upstream}, wanted one of ours"
                yield ("act", "bgp", "next_hop", name, family.value), message
    for at, neighbor in enumerate(config.act.bgp.neighbors):
        if neighbor.address in steered:
            upstream = steered[neighbor.address].upstream
            message = f"{neighbor.address} is an address of {upstream}, wanted a router of ours"
            yield ("act", "bgp", "neighbors", at, "address"), message


def within(policy: Policy, families: tuple[Family, ...] | None) -> Policy:
    """The policy with only its addresses of these families; None: all families."""
    if families is None:
        return policy
    kept = {
        nameserver: some
        for nameserver, every in policy.nameservers.items()
        if (some := tuple(address for address in every if Family.of(address) in families))
    }
    return policy.model_copy(update={"nameservers": kept})


def left_empty(config: Config, policies: tuple[Policy, ...]) -> Iterator[Finding]:
    """Upstreams that have no address of the configured `families`."""
    for policy in policies:
        if config.families is not None and not within(policy, config.families).nameservers:
            lacking = " and ".join(f for f in Family if f not in config.families)
            message = (
                f"{policy.upstream} in {policy.file.name} has addresses of {lacking} alone, wanted"
                " that family too, or no such policy"
            )
            yield ("families",), message


def wrong_between(policies: tuple[Policy, ...]) -> Iterator[tuple[Policy, Finding]]:
    """Names and addresses that two policies, or two lines of one, both have. Zones may overlap."""
    upstreams: dict[str, Policy] = {}
    addresses: dict[str, str] = {}
    for policy in policies:
        first = upstreams.setdefault(policy.upstream, policy)
        if first is not policy:
            message = f"{policy.upstream} is the upstream of {first.file.name} already, wanted one"
            yield policy, (("upstream",), f"{message} file each")
        for nameserver, each in policy.nameservers.items():
            for at, address in enumerate(each):
                place = f"{nameserver} in {policy.file.name}"
                if address in addresses:
                    message = f"{address} belongs to {addresses[address]} already, wanted it once"
                    yield policy, (("nameservers", nameserver, at), message)
                addresses.setdefault(address, place)


def wrong_copies(
    copies: Sequence[ZoneCopy], policies: Sequence[Policy]
) -> Iterator[tuple[ZoneCopy, Finding]]:
    """Copies of one name, and zones that no server is known of."""
    names: dict[str, ZoneCopy] = {}
    served = {zone for policy in policies for zone in policy.zones}
    for copy in copies:
        if (first := names.setdefault(copy.zone_copy, copy)) is not copy:
            message = f"{copy.zone_copy} is the copy of {first.file.name} already, wanted one"
            yield copy, (("zone_copy",), f"{message} file each")
        if not copy.servers and copy.zone not in served:
            message = f"is missing, wanted nameservers of {copy.zone}: no policy has this zone"
            yield copy, (("servers",), message)
    if copies and not policies:
        message = "is all that the policies hold, wanted an upstream's policy as well"
        yield copies[0], (("zone_copy",), message)
