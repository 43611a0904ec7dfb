"""The agent's own file: who this site is, which other sites there are, how to act."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from steering import bounds
from steering.config.address_types import (
    Endpoint,
    FamilyName,
    IPv4,
    IPv6,
    Listen,
    Prefix,
    ResolverAddress,
    Stream,
    TransitInterface,
)
from steering.config.base import DISTINCT, SOME, MisfitError, OrOff, Section
from steering.config.bgp import Bgp
from steering.config.site import Site
from steering.config.sources import ResolverSources
from steering.config.types import (
    FilePath,
    Name,
    Permissions,
    SiteName,
    duration,
    duration_text,
    percentage,
    size,
    whole,
    whole_in,
)
from steering.model import Family

# rtnetlink(7) and include/uapi/linux/rtnetlink.h. A routing daemon flushes the routes with
# its own number when it starts: sharing one with it would cost the detours.
_PROTOCOLS: Mapping[int, str] = {
    8: "gated's",
    9: "that of router advertisements",
    10: "MRT's",
    11: "zebra's",
    12: "BIRD's",
    13: "DECnet's",
    14: "XORP's",
    15: "Netsukuku's",
    16: "that of DHCP clients",
    17: "that of multicast daemons",
    18: "keepalived's",
    42: "Babel's",
    99: "Open/R's",
    186: "BGP's",
    187: "IS-IS's",
    188: "OSPF's",
    189: "RIP's",
    192: "EIGRP's",
}


class Mode(enum.StrEnum):
    """How far the agent may act."""

    ENFORCE = "enforce"
    REHEARSE = "rehearse"
    OBSERVE = "observe"


class Pin(Section):
    """How routers know a question that shall take one path, whatever they were told by BGP."""

    ipv4: IPv4 | None = Field(
        default=None, description="Source address of IPv4 questions, one of this host's."
    )
    ipv6: IPv6 | None = Field(
        default=None, description="Source address of IPv6 questions, one of this host's."
    )
    dscp: Annotated[int, whole(1, 63, why="0 is all traffic's")] | None = Field(
        default=None, description="DSCP of the questions, of six bits (RFC 2474)."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.ipv4 is None and self.ipv6 is None and self.dscp is None:
            raise ValueError("pins nothing, wanted source addresses or a dscp")
        return self


class Probe(Section):
    """How often the agent asks for itself."""

    interval: Annotated[
        float, duration("10ms", "1h", why="slower finds nothing, faster is rude")
    ] = Field(
        default=10.0,
        description="Time between two questions to one address over one path, in calm times.",
    )
    fast_interval: Annotated[
        float, duration("10ms", "1h", why="slower finds nothing, faster is rude")
    ] = Field(
        default=0.2,
        description="The same while the address is suspect or steered; at most `interval`.",
    )
    timeout: Annotated[float, duration("10ms", "10s", why="resolvers give up sooner than that")] = (
        Field(default=1.0, description="How long an answer is waited for.")
    )
    pins: Mapping[Name, Pin] = Field(
        default={},
        description="By path (`local` or a site): what routers send over this path by policy."
        " Besides the marks, or instead of them with `kernel: off`.",
    )

    @model_validator(mode="after")
    def _faster(self) -> Self:
        fast, slow = duration_text(self.fast_interval), duration_text(self.interval)
        if self.fast_interval > self.interval:
            raise MisfitError("fast_interval", f"is {fast}, wanted at most the interval of {slow}")
        return self


class Observe(Section):
    """Where observations come from."""

    dnstap: Annotated[tuple[Stream, ...], DISTINCT] = Field(
        default=(),
        description="Where the resolvers bring dnstap: unix sockets (created by the agent) or"
        " tcp://address:port. None: own probes alone.",
    )
    dnstap_group: Name | None = Field(
        default=None,
        description="Group of the unix sockets, which may write to them: the one that the resolver"
        " runs as. The agent's own if left out.",
    )
    dnstap_mode: Permissions = Field(
        default="0660", description="Permissions of the unix sockets, in octal digits, quoted."
    )
    probe: Probe = Field(default=Probe(), description="The agent's own questions.")


class Kernel(Section):
    """What of the Linux routing tables is the agent's own."""

    table: Annotated[
        int, whole_in(bounds.TABLES, why="what the kernel can count", taken=bounds.SYSTEM_TABLES)
    ] = Field(
        default=5353,
        description="The routing table of the steers. The next tables, one for each site, hold"
        " the way of its probes.",
    )
    protocol: Annotated[
        int, whole_in(bounds.PROTOCOLS, why="0 to 4 are the kernel's own", taken=_PROTOCOLS)
    ] = Field(
        default=53, description="The protocol number on every route and rule of the agent's own."
    )
    priority: Annotated[
        int,
        whole_in(
            bounds.PRIORITIES,
            why="0 is the rule of the local table, and after 32766, the rule of the main table,"
            " nothing is steered; the agent has three rules before this one and one after it",
        ),
    ] = Field(
        default=5353,
        description="Preference of the rule that looks up the steers; the three before it and the"
        " one after it are the agent's, too.",
    )
    mark: Annotated[int, whole_in(bounds.MARKS, why="0 is the mark of all traffic")] = Field(
        default=bounds.MARK,
        description="The mark (SO_MARK) on probes of the local path, 0x40 if left out. The"
        " next marks, one for each site, are those of the probes through it; they are counted in"
        " the lowest bit of `mask` and lie within it.",
    )
    mask: Annotated[int, whole_in(bounds.MASKS, why="two bits at least, of a mark's 32")] | None = (
        Field(
            default=None,
            description="The bits of a packet's mark that are the agent's: its rules match no"
            " others. If left out, 0x7f where `mark` lies within it, else all 32.",
        )
    )

    @property
    def mark_bits(self) -> int:
        """The mask that is used."""
        if self.mask is not None:
            return self.mask
        # A mark that was chosen for version 0.1.0 goes on to be matched whole.
        return bounds.U32 if self.mark & ~bounds.MASK else bounds.MASK


class Act(Section):
    """How a plan becomes true."""

    kernel: Annotated[Kernel | None, OrOff()] = Field(
        default=Kernel(), description="Host routes in a table of this host; `off` for none."
    )
    bgp: Annotated[Bgp | None, OrOff()] = Field(
        default=None, description="Host routes announced to routers; `off` for none."
    )


class Budget(Section):
    """How much may be changed at once, whatever was measured."""

    moves_per_minute: Annotated[
        int, whole(1, 10**6, why="none at all is no steering, and no way back")
    ] = Field(
        default=120,
        description="Most addresses that change their path within a minute, away or back; the"
        " others wait. What an override or `off` says is not held up and uses none of them; the way"
        " back from a detour that is worse than the local path is not held up either.",
    )
    at_once: Annotated[int, whole(1, 10**6, why="none at all is no steering")] | None = Field(
        default=None,
        description="Most addresses steered at once, of all upstreams together; no limit if"
        " left out.",
    )
    capacity_share: Annotated[float, percentage("1%", why="less would let nothing through")] = (
        Field(
            default=0.8,
            description="Share of a site's `capacity` that steered traffic may take up, by the"
            " policies' `steer.queries_per_second`.",
        )
    )


class Journal(Section):
    """How long every turn is kept, for `steering replay`."""

    max_age: Annotated[
        float, duration("1h", "365d", why="less holds no incident, more fills disks")
    ] = Field(default=604_800.0, description="What is older is forgotten, hour by hour.")
    max_size: Annotated[
        int, size("4MB", "100GB", why="less holds no incident, more fills disks")
    ] = Field(
        default=256_000_000, description="Room that it may take; then the oldest is forgotten."
    )


class Config(Section):
    """One agent's configuration, complete. Paths are absolute, times are in seconds."""

    site: SiteName = Field(description="This site's name.")
    mode: Mode = Field(
        default=Mode.ENFORCE,
        description="`enforce`; `rehearse`: put in what carries the agent's own marked questions,"
        " decide, and say what it would do; or `observe`: measure the local path and report, change"
        " nothing at all.",
    )
    lease: Annotated[
        float, duration("2s", "1h", why="shorter flaps under load, longer outlives its agent")
    ] = Field(
        default=60.0,
        description="How long what the agent installed outlives the agent.",
    )
    state: FilePath = Field(
        default=Path("/var/lib/steering"),
        description="Directory of what outlasts a boot: the journal, the off switch. Created if"
        " missing.",
    )
    journal: Annotated[Journal | None, OrOff()] = Field(
        default=Journal(),
        description="Every turn's facts and decisions, in `journal.sqlite` under `state`; `off`"
        " for none.",
    )
    runtime: FilePath = Field(
        default=Path("/run/steering"),
        description="Directory of what does not: sockets, the lease. Created if missing.",
    )
    policies: FilePath = Field(
        default=Path("policies"),
        validate_default=True,
        description="Directory of the policies, one upstream a file, relative to this file.",
    )
    families: Annotated[tuple[FamilyName, ...], SOME, DISTINCT] | None = Field(
        default=None,
        description="The address families that this host has: the policies' addresses of the other"
        " one are left out, and so are its rules. Left out: what has a route is asked, and one that"
        " never had any is told of and left alone.",
    )
    trust_anchors: FilePath | None = Field(
        default=None,
        description="File of DS or DNSKEY records in zone-file form, for any zone, relative to"
        " this file; the root anchors of IANA if left out.",
    )
    resolvers: Annotated[tuple[ResolverAddress, ...], SOME, DISTINCT] | None = Field(
        default=None,
        description="Asked (with CD) for DS and DNSKEY records between a trust anchor and the"
        " policies' zones; those of /etc/resolv.conf if left out.",
    )
    resolver_sources: ResolverSources | None = Field(
        default=None,
        description="What the resolvers of this host send from, where they do not leave that to the"
        " kernel (Unbound's `outgoing-interface`, BIND's `query-source`). The agent asks from each"
        " in turn, and a site is taken only where answers come back to all of them. Left out: what"
        " the kernel chooses, and what other sockets of this host are seen to use.",
    )
    forwarded_sources: Annotated[tuple[Prefix, ...], DISTINCT] = Field(
        default=(),
        description="Prefixes of pods, containers and hosts that send through this one, and whose"
        " packets every site carries too: translated on the way to it as on the local path, or"
        " routed back. Who is seen to ask through this host and is in none of them keeps the"
        " addresses of its family on the local path. For most pods: the prefix that they are given"
        " their addresses from.",
    )
    sites: Mapping[SiteName, Site] = Field(
        description="The remote sites that this one can send upstream traffic through."
    )
    transit_interfaces: Annotated[tuple[TransitInterface, ...], DISTINCT] = Field(
        default=(),
        description="Interfaces by which other sites' packets arrive: those leave here and are"
        " never steered on, so two sites cannot send each other in circles.",
    )
    observe: Observe = Field(default=Observe(), description="Where observations come from.")
    budget: Budget = Field(
        default=Budget(), description="How much may be changed at once, whatever was measured."
    )
    act: Act = Field(default=Act(), description="How a plan becomes true.")
    status: Endpoint = Field(
        default=Listen(host="127.0.0.1", port=9353),
        description="Address and port of the page, the API and /metrics. Port 0: any free one.",
    )

    @property
    def acts(self) -> bool:
        """Whether an agent by this configuration changes where any traffic goes."""
        by_any = self.act.kernel is not None or self.act.bgp is not None
        return self.mode is Mode.ENFORCE and by_any

    @property
    def compares(self) -> bool:
        """Whether an agent by this configuration asks over the sites as well, by marks or pins."""
        by_pins = not self.observe.probe.pins.keys().isdisjoint(self.sites)
        return self.mode is not Mode.OBSERVE or by_pins

    @property
    def announced_next_hops(self) -> Mapping[str, Mapping[Family, str]]:
        """Site -> next hops as BGP announces them; empty without BGP."""
        if self.act.bgp is None:
            return {}
        said = {name: hops.by_family for name, hops in self.act.bgp.next_hop.items()}
        return {name: {**site.next_hop, **said.get(name, {})} for name, site in self.sites.items()}
