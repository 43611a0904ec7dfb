"""From a configuration to the parts it describes: the claim on the kernel, paths, pace, keys.

`run`, `check` and `off` build from the same words here, so they can't mean different things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steering import bounds
from steering.act.bgp.settings import NO_EXPORT, BgpSettings, Peer
from steering.act.kernel.claim import Claim
from steering.config import Config, Mode, Policy, Return, Setup
from steering.config import Pin as PinConfig
from steering.errors import CommandError
from steering.model import LOCAL, Family, Seconds, Source
from steering.observe.dnssec import anchors
from steering.observe.dnssec.chain import system_resolvers
from steering.observe.dnssec.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnstap.listeners import Place
from steering.observe.probe.prober import Path as Probed
from steering.observe.probe.questions import delegations
from steering.observe.probe.schedule import Pace
from steering.observe.query import UNPINNED, ProbePin


class CannotRunError(CommandError):
    """Why the agent does not start. Nothing has been installed."""


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


def terms_of(config: Config) -> BgpSettings | None:
    """What this configuration has to tell routers; None with `bgp: off`."""
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


def held_by(config: Config) -> Claim | None:
    """What an agent by this configuration holds; None where it changes nothing on this host."""
    if config.mode is Mode.OBSERVE:
        return None
    return claim_of(config) or (NOTHING if config.acts else None)


def told_to_routers(config: Config) -> BgpSettings | None:
    """What an agent by this configuration tells routers by; None where it tells them nothing."""
    return terms_of(config) if config.acts else None


def rerouted(was: Config, now: Config) -> frozenset[str]:
    """The paths that are another way now: reached, announced or asked by something else, or not.

    What was measured over the one way says nothing of the other. The local path is asked by its
    mark, which leads where it did whatever its number, unless a pin says otherwise.
    """
    paths = (LOCAL, *(name for name in now.sites if name in was.sites))
    return frozenset(path for path in paths if _way(was, path) != _way(now, path))


def _way(config: Config, path: str) -> tuple[object, ...]:
    """All that leads over a path: what packets and routers go by, how probes get there."""
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
    """The paths that can be asked: those with a mark or a pin, and always the local one."""
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
    """What questions through the sites carry for the routers, by site."""
    pins = config.observe.probe.pins
    return {path: _pin(pin) for path, pin in pins.items() if path != LOCAL}


def _pin(pin: PinConfig) -> ProbePin:
    return ProbePin(ipv4=pin.ipv4, ipv6=pin.ipv6, dscp=pin.dscp)


def pace_of(config: Config) -> Pace:
    """The intervals of probing."""
    probe = config.observe.probe
    return Pace(interval=probe.interval, fast_interval=probe.fast_interval, timeout=probe.timeout)


def sources_of(config: Config) -> Mapping[Family, tuple[Source, ...]]:
    """What the resolvers send from, as far as the configuration says."""
    said = config.resolver_sources
    return {} if said is None else said.by_family


def places_of(config: Config) -> tuple[Place, ...]:
    """Where resolvers bring dnstap."""
    observe = config.observe
    return tuple(
        Place(at=at, group=observe.dnstap_group, mode=int(observe.dnstap_mode, 8))
        for at in observe.dnstap
    )


def asked_of(policies: Sequence[Policy]) -> tuple[ProbedPolicy, ...]:
    """The policies as the prober needs them."""
    return tuple(ProbedPolicy(policy.upstream, policy.zones, policy.skew) for policy in policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySources:
    """What keys are believed from, and for which zones."""

    zones: tuple[str, ...]
    anchors: anchors.Anchors
    resolvers: tuple[str, ...]
    skew: Seconds


def chain_of(setup: Setup) -> KeySources:
    """From the anchors to the policies' zones. Raises anchors.AnchorError for rubbish in them."""
    config = setup.config
    resolvers = system_resolvers() if config.resolvers is None else config.resolvers
    return KeySources(
        zones=tuple(sorted({zone for policy in setup.policies for zone in policy.zones})),
        anchors=anchors.read(config.trust_anchors) if config.trust_anchors else anchors.built_in(),
        resolvers=tuple(resolvers),
        skew=max((policy.skew for policy in setup.policies), default=0.0),
    )


def key_store(chain: KeySources, signatures: Signatures, known: KeyStore | None = None) -> KeyStore:
    """The keys of all zones; what another store knows by the same anchors is known at once."""
    return KeyStore(
        chain.zones,
        chain.anchors,
        chain.resolvers,
        signatures=signatures,
        skew=chain.skew,
        known=known,
    )


def delegations_of(setup: Setup) -> Mapping[str, Sequence[str]]:
    """Zone -> the names delegated right below it, as far as the policies tell."""
    return delegations(
        (zone for policy in setup.policies for zone in policy.zones),
        (target.nameserver for policy in setup.policies for target in policy.targets),
    )
