"""The agent's own file: this site, the remote sites, how to measure, how to act."""

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
from steering.config.base import DISTINCT, SOME, FieldError, OrOff, Section
from steering.config.bgp import Bgp
from steering.config.notify import Notify
from steering.config.resolvers import Flush
from steering.config.rootzone import RootZone
from steering.config.site import Site
from steering.config.sources import ResolverSources
from steering.config.types import (
    FilePath,
    HostName,
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
# its own number when it starts. With a shared number it would remove the detours.
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
    """How routers recognise a probe that must take one path, whatever BGP announces."""

    ipv4: IPv4 | None = Field(
        default=None, description="Source address of IPv4 probes, one of this host's."
    )
    ipv6: IPv6 | None = Field(
        default=None, description="Source address of IPv6 probes, one of this host's."
    )
    dscp: Annotated[int, whole(1, 63, why="all other traffic has 0")] | None = Field(
        default=None, description="DSCP of the probes, six bits (RFC 2474)."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.ipv4 is None and self.ipv6 is None and self.dscp is None:
            raise ValueError("pins nothing, wanted source addresses or a dscp")
        return self


class Probe(Section):
    """How often the agent sends its own probes."""

    interval: Annotated[
        float, duration("10ms", "1h", why="slower finds nothing, faster is rude")
    ] = Field(
        default=10.0,
        description="Time between two probes to one address over one path while nothing is"
        " suspected.",
    )
    fast_interval: Annotated[
        float, duration("10ms", "1h", why="slower finds nothing, faster is rude")
    ] = Field(
        default=0.2,
        description="The same while the address is suspect or steered; at most `interval`.",
    )
    timeout: Annotated[float, duration("10ms", "10s", why="resolvers give up sooner than that")] = (
        Field(default=1.0, description="How long the agent waits for an answer.")
    )
    pins: Mapping[Name, Pin] = Field(
        default={},
        description="For each path (`local` or a site) the source addresses or DSCP that routers"
        " send over it by policy. Used besides the marks, or instead of them with `kernel: off`.",
    )

    @model_validator(mode="after")
    def _faster(self) -> Self:
        fast, slow = duration_text(self.fast_interval), duration_text(self.interval)
        if self.fast_interval > self.interval:
            raise FieldError("fast_interval", f"is {fast}, wanted at most the interval of {slow}")
        return self


class Observe(Section):
    """Where observations come from."""

    dnstap: Annotated[tuple[Stream, ...], DISTINCT] = Field(
        default=(),
        description="Where the resolvers send dnstap: unix sockets (created by the agent) or"
        " tcp://address:port. If empty, the agent uses its own probes alone.",
    )
    dnstap_group: Name | None = Field(
        default=None,
        description="Group that may write to the unix sockets: the group that the resolver runs as."
        " The agent's own group if left out.",
    )
    dnstap_mode: Permissions = Field(
        default="0660", description="Permissions of the unix sockets, in octal digits, quoted."
    )
    probe: Probe = Field(default=Probe(), description="The agent's own probes.")


class Kernel(Section):
    """Which tables, marks and numbers of the Linux routing belong to the agent."""

    table: Annotated[
        int,
        whole_in(
            bounds.TABLES,
            why="table numbers have 32 bits, and 0 is no table",
            taken=bounds.SYSTEM_TABLES,
        ),
    ] = Field(
        default=5353,
        description="The routing table of the steers. The tables after it, one for each site, lead"
        " that site's probes.",
    )
    protocol: Annotated[
        int, whole_in(bounds.PROTOCOLS, why="0 to 4 are the kernel's own", taken=_PROTOCOLS)
    ] = Field(default=53, description="The protocol number on every route and rule of the agent.")
    priority: Annotated[
        int,
        whole_in(
            bounds.PRIORITIES,
            why="0 is the rule of the local table, and after 32766, the rule of the main table,"
            " nothing is steered; the agent has three rules before this one and one after it",
        ),
    ] = Field(
        default=5353,
        description="Preference of the rule that looks up the steers. The three preferences before"
        " it and the one after it belong to the agent, too.",
    )
    mark: Annotated[int, whole_in(bounds.MARKS, why="0 is the mark of all other traffic")] = Field(
        default=bounds.MARK,
        description="The mark (SO_MARK) on probes of the local path, 0x40 if left out. The marks"
        " after it, one for each site, are on the probes through that site. They are counted in the"
        " lowest bit of `mask` and lie within it.",
    )
    mask: Annotated[int, whole_in(bounds.MASKS, why="two bits at least, of a mark's 32")] | None = (
        Field(
            default=None,
            description="The bits of a packet's mark that belong to the agent. Its rules match no"
            " others. If left out, 0x7f where `mark` lies within it, else all 32.",
        )
    )

    @property
    def mark_bits(self) -> int:
        """The mask in use."""
        if self.mask is not None:
            return self.mask
        # A mark that was chosen for version 0.1.0 is still matched as a whole.
        return bounds.U32 if self.mark & ~bounds.MASK else bounds.MASK


class Act(Section):
    """How steers are carried out."""

    kernel: Annotated[Kernel | None, OrOff()] = Field(
        default=Kernel(), description="Host routes in a table of this host; `off` for none."
    )
    bgp: Annotated[Bgp | None, OrOff()] = Field(
        default=None, description="Host routes announced to routers; `off` for none."
    )


class Budget(Section):
    """Limits on changes, whatever was measured."""

    moves_per_minute: Annotated[
        int, whole(1, 10**6, why="with none nothing could be steered or go back")
    ] = Field(
        default=120,
        description="Most addresses that change their path within a minute, away or back; the"
        " others wait. Overrides and `off` do not wait and are not counted. An address on a detour"
        " that is worse than the local path does not wait for its return either.",
    )
    at_once: Annotated[int, whole(1, 10**6, why="with none nothing could be steered")] | None = (
        Field(
            default=None,
            description="Most addresses steered at once, of all upstreams together; no limit if"
            " left out.",
        )
    )
    capacity_share: Annotated[float, percentage("1%", why="less would let nothing through")] = (
        Field(
            default=0.8,
            description="Share of a site's `capacity` that steered traffic may take up, by the"
            " policies' `steer.queries_per_second`.",
        )
    )


class Journal(Section):
    """How long the journal keeps turns, for `steering replay`."""

    max_age: Annotated[
        float, duration("1h", "365d", why="less holds no incident, more fills disks")
    ] = Field(default=604_800.0, description="Older turns are deleted, hour by hour.")
    max_size: Annotated[
        int, size("4MB", "100GB", why="less holds no incident, more fills disks")
    ] = Field(
        default=256_000_000,
        description="Most space on the disk. When it is full, the oldest turns are deleted.",
    )


class Config(Section):
    """One agent's configuration, complete. Paths are absolute, times are in seconds."""

    site: SiteName = Field(description="This site's name.")
    mode: Mode = Field(
        default=Mode.ENFORCE,
        description="`enforce`: steer. `rehearse`: install only what the agent's own marked probes"
        " need, decide, and report what it would do. `observe`: measure the local path and report,"
        " change nothing.",
    )
    lease: Annotated[
        float,
        duration(
            "2s", "1h", why="shorter ones flap under load, longer ones outlive the agent too long"
        ),
    ] = Field(
        default=60.0,
        description="How long installed routes stay when the agent no longer renews the lease.",
    )
    state: FilePath = Field(
        default=Path("/var/lib/steering"),
        description="Directory of what must outlast a reboot: the journal, the off switch. Created"
        " if missing.",
    )
    journal: Annotated[Journal | None, OrOff()] = Field(
        default=Journal(),
        description="The inputs and decisions of every turn, in `journal.sqlite` under `state`;"
        " `off` for none.",
    )
    runtime: FilePath = Field(
        default=Path("/run/steering"),
        description="Directory of what need not outlast a reboot: sockets, the lease. Created if"
        " missing.",
    )
    policies: FilePath = Field(
        default=Path("policies"),
        validate_default=True,
        description="Directory of the policies, one file for each upstream, relative to this file.",
    )
    families: Annotated[tuple[FamilyName, ...], SOME, DISTINCT] | None = Field(
        default=None,
        description="The address families that this host has. The policies' addresses of the other"
        " family are ignored, and no rules of it are installed. If left out, the agent uses each"
        " family that has a route, and reports one that never had any.",
    )
    trust_anchors: FilePath | None = Field(
        default=None,
        description="File of DS or DNSKEY records in zone-file form, for any zone, relative to"
        " this file; the root anchors of IANA if left out.",
    )
    resolvers: Annotated[tuple[ResolverAddress, ...], SOME, DISTINCT] | None = Field(
        default=None,
        description="Resolvers that the agent asks (with CD) for the DS and DNSKEY records between"
        " a trust anchor and the policies' zones; those of /etc/resolv.conf if left out.",
    )
    resolver_sources: ResolverSources | None = Field(
        default=None,
        description="Addresses that the resolvers of this host send from, where they do not leave"
        " that to the kernel (Unbound's `outgoing-interface`, BIND's `query-source`). The agent"
        " probes from each in turn, and uses a site only where answers come back to all of them. If"
        " left out, the address that the kernel chooses, and those that other sockets of this host"
        " use.",
    )
    forwarded_sources: Annotated[tuple[Prefix, ...], DISTINCT] = Field(
        default=(),
        description="Prefixes of pods, containers and hosts that send through this one, and whose"
        " packets every site carries too: translated on the way to it as on the local path, or"
        " routed back. A client that asks through this host and is in none of them keeps the"
        " addresses of its family on the local path. For most pods it is the prefix that they get"
        " their addresses from.",
    )
    sites: Mapping[SiteName, Site] = Field(
        description="The remote sites that this one can send upstream traffic through."
    )
    transit_interfaces: Annotated[tuple[TransitInterface, ...], DISTINCT] = Field(
        default=(),
        description="Interfaces by which other sites' packets arrive. These packets leave here and"
        " are never steered again, so that two sites cannot send them in circles.",
    )
    observe: Observe = Field(default=Observe(), description="Where observations come from.")
    budget: Budget = Field(
        default=Budget(), description="Limits on changes, whatever was measured."
    )
    act: Act = Field(default=Act(), description="How steers are carried out.")
    notify: Notify = Field(
        default=Notify(),
        description="Who is told of alarms, moves and ended incidents. `steering notify` shows what"
        " they would get, and sends them a test.",
    )
    status_names: Annotated[tuple[HostName, ...], DISTINCT] = Field(
        default=(),
        description="Names by which browsers and Prometheus ask for this host, beside its own name,"
        " `localhost` and addresses. By any other name they are refused (DNS rebinding).",
    )
    rootzone: Annotated[RootZone | None, OrOff()] = Field(
        default=None,
        description="A good copy of the root zone, kept for resolvers; `off` for none.",
    )
    flush: Annotated[Flush | None, OrOff()] = Field(
        default=None,
        description="Which resolvers of this host forget what keeps their clients failing, after a"
        " move and after the return; `off` for none.",
    )
    status: Endpoint = Field(
        default=Listen(host="127.0.0.1", port=9353),
        description="Address and port of the page, the API and /metrics. Port 0: any free one.",
    )

    @property
    def acts(self) -> bool:
        """Whether the agent changes where any traffic goes."""
        by_any = self.act.kernel is not None or self.act.bgp is not None
        return self.mode is Mode.ENFORCE and by_any

    @property
    def compares(self) -> bool:
        """Whether the agent probes over the sites as well, by marks or pins."""
        by_pins = not self.observe.probe.pins.keys().isdisjoint(self.sites)
        return self.mode is not Mode.OBSERVE or by_pins

    @property
    def announced_next_hops(self) -> Mapping[str, Mapping[Family, str]]:
        """Site -> next hops as BGP announces them; empty without BGP."""
        if self.act.bgp is None:
            return {}
        configured = {name: hops.by_family for name, hops in self.act.bgp.next_hop.items()}
        return {
            name: {**site.next_hop, **configured.get(name, {})} for name, site in self.sites.items()
        }
