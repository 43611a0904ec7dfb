"""From a configuration to the parts it describes: the claim on the kernel, paths, pace, keys.

`run`, `check` and `off` all use this module, so they understand a configuration alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from steering import bounds
from steering.act.bgp.settings import NO_EXPORT, BgpSettings, Peer
from steering.act.kernel.claim import Claim
from steering.config import Config, Mode, Policy, Return, Setup
from steering.config import Pin as PinConfig
from steering.model import LOCAL, Family, Seconds, Source
from steering.observe.dnssec import anchors
from steering.observe.dnssec.keys.chain import system_resolvers
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnstap.listeners import Place
from steering.observe.probe.prober import Path as Probed
from steering.observe.probe.questions import delegations
from steering.observe.probe.schedule import Pace
from steering.observe.query import UNPINNED, ProbePin
from steering.observe.zone.lookup import ZoneFile


@dataclass(frozen=True, slots=True)
class ProbedPolicy:
    """A policy as the prober needs it."""

    name: str
    zones: Sequence[str]
    skew: Seconds


def claim_of(config: Config) -> Claim | None:
    """What this configuration owns in the kernel; None with `kernel: off`."""
    kernel = config.act.kernel
    if kernel is None:
        return None
    return Claim(
        table=kernel.table,
        protocol=kernel.protocol,
        priority=kernel.priority,
        mark=kernel.mark,
        mask=kernel.mark_bits,
        sites=tuple(config.sites),
        next_hops={
            name: {
                family: to
                for family, to in site.next_hop.items()
                if config.families is None or family in config.families
            }
            for name, site in config.sites.items()
        },
        transit_interfaces=config.transit_interfaces,
    )


NOTHING = Claim(table=5353, protocol=53, priority=5353, mark=bounds.MARK, sites=(), next_hops={})
"""A claim on nothing in the kernel, for an agent that acts by BGP alone."""


def bgp_settings_of(config: Config) -> BgpSettings | None:
    """The BGP settings of this configuration; None with `bgp: off`."""
    bgp = config.act.bgp
    if bgp is None:
        return None
    return BgpSettings(
        local_as=bgp.local_as,
        router_id=bgp.router_id,
        peers=tuple(
            Peer(
                address=neighbor.address,
                peer_as=neighbor.peer_as,
                port=neighbor.port,
                local_address=neighbor.local_address,
                password_file=neighbor.password_file,
                hold_time=int(neighbor.hold_time),
                families=neighbor.families,
                passive=neighbor.passive,
            )
            for neighbor in bgp.neighbors
        ),
        next_hops={name: dict(hops) for name, hops in config.announced_next_hops.items()},
        local_preference=bgp.local_preference,
        med=bgp.med,
        communities=frozenset(bgp.communities) | ({NO_EXPORT} if bgp.no_export else set()),
        large_communities=frozenset(bgp.large_communities),
        listen=bgp.listen,
        exabgp=bgp.exabgp,
        user=bgp.user,
    )


def acting_claim_of(config: Config) -> Claim | None:
    """What an agent with this configuration owns; None where it changes nothing on this host."""
    if config.mode is Mode.OBSERVE:
        return None
    return claim_of(config) or (NOTHING if config.acts else None)


def bgp_settings_in_force(config: Config) -> BgpSettings | None:
    """The BGP settings an agent with this configuration uses; None where it announces nothing."""
    return bgp_settings_of(config) if config.acts else None


def rerouted(was: Config, now: Config) -> frozenset[str]:
    """The paths that lead elsewhere now: reached, announced or probed in another way, or not.

    What was measured before a path changed is no evidence for it after. Probes of the local path
    carry its mark, which leads there whatever its number, unless there is a pin.
    """
    paths = (LOCAL, *(name for name in now.sites if name in was.sites))
    return frozenset(path for path in paths if _route_of(was, path) != _route_of(now, path))


def _route_of(config: Config, path: str) -> tuple[object, ...]:
    """All that decides where a path leads: for packets, for routers and for probes."""
    pin = config.observe.probe.pins.get(path)
    if path == LOCAL:
        return (pin,)
    hops, returns = config.sites[path].next_hop, config.sites[path].returns
    asked = config.mode is not Mode.OBSERVE or pin is not None
    return (asked, hops, config.announced_next_hops.get(path, hops), pin, returns)


def addresses_of(setup: Setup) -> frozenset[str]:
    """Every address that may ever be steered."""
    return frozenset(t.address for policy in setup.policies for t in policy.targets)


def probed_paths(claim: Claim | None, config: Config) -> tuple[Probed, ...]:
    """The paths that can be probed: those with a mark or a pin, and always the local one."""
    pins = config.observe.probe.pins
    return tuple(
        Probed(
            name=path,
            mark=None if claim is None else claim.mark_of(path),
            pin=_pin(pins[path]) if path in pins else UNPINNED,
            any_return=path != LOCAL and config.sites[path].returns is Return.ANY,
        )
        for path in (LOCAL, *config.sites)
        if path == LOCAL or claim is not None or path in pins
    )


def site_pins(config: Config) -> Mapping[str, ProbePin]:
    """The pins of probes through the sites, by site."""
    pins = config.observe.probe.pins
    return {path: _pin(pin) for path, pin in pins.items() if path != LOCAL}


def _pin(pin: PinConfig) -> ProbePin:
    return ProbePin(ipv4=pin.ipv4, ipv6=pin.ipv6, dscp=pin.dscp)


def pace_of(config: Config) -> Pace:
    """The intervals of probing."""
    probe = config.observe.probe
    return Pace(interval=probe.interval, fast_interval=probe.fast_interval, timeout=probe.timeout)


def sources_of(config: Config) -> Mapping[Family, tuple[Source, ...]]:
    """What the resolvers send from, as far as the configuration has it."""
    sources = config.resolver_sources
    return {} if sources is None else sources.by_family


def dnstap_places(config: Config) -> tuple[Place, ...]:
    """Where resolvers send dnstap."""
    observe = config.observe
    return tuple(
        Place(at=at, group=observe.dnstap_group, mode=int(observe.dnstap_mode, 8))
        for at in observe.dnstap
    )


def probed_policies(policies: Sequence[Policy]) -> tuple[ProbedPolicy, ...]:
    """The policies as the prober needs them."""
    return tuple(ProbedPolicy(policy.upstream, policy.zones, policy.skew) for policy in policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySources:
    """Where trusted keys come from: anchors, resolvers to ask; and for which zones."""

    zones: tuple[str, ...]
    anchors: anchors.Anchors
    resolvers: tuple[str, ...]
    skew: Seconds
    copy: FilePath | None = None
    """A copy of the root zone, for when no resolver answers."""


def key_sources_of(setup: Setup) -> KeySources:
    """The key sources for the policies' zones. Raises anchors.AnchorError for faulty anchors."""
    config = setup.config
    resolvers = system_resolvers() if config.resolvers is None else config.resolvers
    return KeySources(
        zones=tuple(sorted(_zones_of(setup))),
        anchors=anchors.read(config.trust_anchors) if config.trust_anchors else anchors.built_in(),
        resolvers=tuple(resolvers),
        skew=max((policy.skew for policy in setup.policies), default=0.0),
        copy=config.state / "rootzone" / "root.zone" if config.rootzone is not None else None,
    )


def _zones_of(setup: Setup) -> frozenset[str]:
    return frozenset(
        (
            *(zone for policy in setup.policies for zone in policy.zones),
            *(copy.zone for copy in setup.copies),
        )
    )


def key_store(
    sources: KeySources, signatures: Signatures, known: KeyStore | None = None
) -> KeyStore:
    """The keys of all zones; those that `known` has by the same anchors are taken from there."""
    return KeyStore(
        sources.zones,
        sources.anchors,
        sources.resolvers,
        signatures=signatures,
        skew=sources.skew,
        known=known,
        copy=ZoneFile(sources.copy).ask if sources.copy is not None else None,
    )


def delegations_of(setup: Setup) -> Mapping[str, Sequence[str]]:
    """Zone -> the names delegated right below it, as far as the policies have them."""
    return delegations(
        (zone for policy in setup.policies for zone in policy.zones),
        (target.nameserver for policy in setup.policies for target in policy.targets),
    )
