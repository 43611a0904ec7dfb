"""Everything that would keep the actuator from working, found before anything is installed.

It only reads, and it reports all at once. What stops the agent is a complaint with an exit
code; what it can live with, but an operator should know, is a notice.
"""

from __future__ import annotations

import enum
import errno
import functools
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import if_indextoname, if_nameindex, if_nametoindex
from typing import Literal

from steering import bounds, next_hop
from steering.act.kernel import rtnetlink
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import askable, objection, unfit
from steering.act.kernel.gateways import way_to
from steering.act.kernel.marks import shared_with
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.state import KernelReader
from steering.model import Family, Seconds
from steering.system.side_thread import within

_PATIENCE: Seconds = 2.0
"""For a directory that may be on a disk that hangs."""
# linux/capability.h
_NET_ADMIN = 12  # SO_MARK asks for it too
_STRICT = 1  # rp_filter: the answer must come in where the route back leaves (RFC 3704, 2.2)


class Blame(enum.IntEnum):
    """Whose fault a complaint is: the exit code where it has one, 0 for a mere notice."""

    NOTICE = 0
    FAILED = 1
    WRONG_INPUT = 2
    NOT_PERMITTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it must be, where, and what is wanted."""

    kind: Blame
    message: str

    def __str__(self) -> str:
        return self.message


def preflight(
    claim: Claim,
    addresses: Collection[str],
    *,
    state: Path,
    runtime: Path,
    create: bool = True,
    former: Collection[Claim] = (),
    leased: bool = False,
) -> tuple[Finding, ...]:
    """All complaints about this host, worst first. Raises nothing.

    With `create` the two directories are made where they are missing and tried with an empty
    file each; without, nothing at all is written. What `former` claims own is about to go. While a
    lease is in force (`leased`), what others have among what is ours is a notice: not to go on
    would end the steers, and the agent's alarm says the same.
    """
    directories = {"state": state, "runtime": runtime}
    found: list[Finding] = [*_capabilities(claim), *_directories(directories, create=create)]
    found += _shared_marks(claim)
    try:
        with KernelReader(claim) as kernel, QuerySocket() as asking:
            found += _families(claim, asking)
            found += _occupied(kernel, former, Blame.NOTICE if leased else Blame.WRONG_INPUT)
            found += _addresses(claim, addresses, kernel.own_addresses())
            found += _bypassed(kernel, addresses)
            found += _ways_out(claim, addresses, asking)
    except OSError as error:
        found.append(
            Finding(
                kind=Blame.NOT_PERMITTED
                if error.errno in {errno.EPERM, errno.EACCES}
                else Blame.FAILED,
                message=f"kernel: routing can't be read over netlink: {error.strerror}",
            )
        )
    return tuple(sorted(found, key=lambda complaint: -complaint.kind))


def _capabilities(claim: Claim) -> Iterator[Finding]:
    if not claim.sites:
        return  # nothing is put into this kernel
    if not may_change_routes("self"):
        yield Finding(
            kind=Blame.NOT_PERMITTED,
            message="act.kernel: routes, rules and marked probes need CAP_NET_ADMIN: run as root "
            "or give it in the unit (AmbientCapabilities=), or set mode: observe",
        )


def may_change_routes(process: int | Literal["self"], *, uid: int | None = None) -> bool:
    """Whether a process has CAP_NET_ADMIN, and is this user's, if one is named.

    Raises OSError where there is no such process.
    """
    # A process gives itself its name: in it the kernel escapes "\n", and no other end of a line.
    lines = Path(f"/proc/{process}/status").read_bytes().split(b"\n")
    status = {key: value for key, _, value in (line.partition(b":") for line in lines)}
    effective = int(status[b"CapEff"], 16)
    theirs = uid is None or int(status[b"Uid"].split()[1]) == uid
    return theirs and bool(effective >> _NET_ADMIN & 1)


def _directories(directories: Mapping[str, Path], *, create: bool) -> Iterator[Finding]:
    look = _try if create else _look_at
    for key, path in directories.items():
        try:
            within(_PATIENCE, functools.partial(look, path), key)
        except TimeoutError as error:
            yield Finding(
                # An agent steers without `state`; without `runtime` there is no lease.
                kind=Blame.NOTICE if key == "state" else Blame.FAILED,
                message=f"{key}: {path}: {error.strerror}: wanted a file system that answers",
            )
        except OSError as error:
            denied = error.errno in {errno.EACCES, errno.EPERM}
            yield Finding(
                kind=Blame.NOT_PERMITTED if denied else Blame.WRONG_INPUT,
                message=f"{key}: {path}: {error.strerror}: wanted a directory to write in",
            )


def _try(path: Path) -> None:
    """Makes the directory, and a file in it that nobody sees. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        pass


def _look_at(path: Path) -> None:
    """Raises the OSError that making the directory, or a file in it, would meet."""
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(there, os.W_OK | os.X_OK):
        denied = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(denied, os.strerror(denied))


def _families(claim: Claim, asking: QuerySocket) -> Iterator[Finding]:
    for family in claim.families:
        # Every table of rules has at least the one that looks up the local table.
        rules = asking.dump(rtnetlink.GETRULE, rtnetlink.rules_of(family))
        if not any(rule and rule.family is family for rule in map(rtnetlink.rule_from, rules)):
            yield Finding(
                kind=Blame.FAILED,
                message=f"kernel: no policy routing for {family}: wanted a kernel with "
                f"{family} and IP_MULTIPLE_TABLES, or sites without {family} next hops",
            )


def _occupied(kernel: KernelReader, former: Collection[Claim], kind: Blame) -> Iterator[Finding]:
    claim = kernel.claim
    if not claim.sites:
        return
    for trouble in kernel.foreign_rules_within():
        yield Finding(
            kind=Blame.NOTICE,
            message=f"act.kernel: {trouble}: give it one outside {claim.preferences[0]} to "
            f"{claim.preferences[-1]} (`ip rule add pref ...`) before it is needed",
        )
    for trouble in kernel.foreign(besides=former):
        yield Finding(
            kind=kind,
            message=f"act.kernel: {trouble}: wanted tables {claim.tables[0]} to "
            f"{claim.tables[-1]}, preferences {claim.preferences[0]} to {claim.preferences[-1]} "
            f"and marks {_marks(claim)} that nobody else uses",
        )


def _marks(claim: Claim) -> str:
    return f"{claim.marks[0]:#x} to {claim.marks[-1]:#x} under the mask {claim.mask:#x}"


def _shared_marks(claim: Claim) -> Iterator[Finding]:
    users = shared_with(claim) if claim.sites else ()
    if users:
        yield Finding(
            kind=Blame.NOTICE,
            message=f"act.kernel.mark: {_marks(claim)} share bits with those of "
            f"{', '.join(users)}: where one of these runs, its rules may catch our questions: "
            f"wanted the usual mark {bounds.MARK:#x} under the mask {bounds.MASK:#x}, or bits "
            "that nobody else on this host uses",
        )


def _bypassed(kernel: KernelReader, addresses: Collection[str]) -> Iterator[Finding]:
    """Rules of others come and go: the agent runs beside them, acts on nothing they take past it,
    and has an alarm for it.
    """
    if kernel.claim.sites:
        for text in kernel.bypasses(addresses).texts():
            yield Finding(kind=Blame.NOTICE, message=f"act.kernel: {text}")


def _addresses(claim: Claim, addresses: Collection[str], own: Collection[str]) -> Iterator[Finding]:
    allowed = frozenset(addresses if claim.sites else ())
    without: Counter[Family] = Counter()
    for address in sorted(allowed):
        sites = [s for s in claim.sites if _is_in(address, claim, s)]
        if because := (
            objection(address, sites[0], claim=claim, allowed=allowed, own=own)
            if sites
            else unfit(address, allowed=allowed, own=own)
        ):
            message = f"policies: {address} can't be steered: {because}"
            yield Finding(kind=Blame.WRONG_INPUT, message=message)
        elif not sites:
            without[Family.of(address)] += 1
    for family, count in without.items():
        message = f"policies: {count} addresses can't be steered: no site has an {family} next hop"
        yield Finding(kind=Blame.NOTICE, message=message)
    for site, hops in claim.next_hops.items():
        for family, to in hops.items():
            if next_hop.parts(to)[0] in own:
                yield Finding(
                    kind=Blame.WRONG_INPUT,
                    message=f"sites.{site}.next_hop.{family}: {to} is this host itself: "
                    f"wanted the router that leads to {site}",
                )


def _is_in(address: str, claim: Claim, site: str) -> bool:
    try:
        return claim.next_hop(site, Family.of(address)) is not None
    except ValueError:
        return False


def _ways_out(claim: Claim, addresses: Collection[str], asking: QuerySocket) -> Iterator[Finding]:
    for name in claim.transit_interfaces:
        try:
            if_nametoindex(name)
        except OSError:
            yield Finding(
                kind=Blame.NOTICE,
                message=f"transit_interfaces: there is no interface {name} now: only "
                "packets that arrive by the interfaces named here are exempt from our detours",
            )
    interfaces: set[str] = set()
    for site, hops in claim.next_hops.items():
        for family, to in hops.items():
            via, dev = next_hop.parts(to)
            link = {dev} & _links() if dev else _link_of(via or "", asking, claim)
            if not link:
                yield Finding(
                    kind=Blame.NOTICE,
                    message=f"sites.{site}.next_hop.{family}: {to} is on no link of this host "
                    f"now: nothing can be sent through {site} over {family} until it is",
                )
            elif family is Family.IPV4:
                interfaces |= link
    for family in Family:
        mine = [a for a in askable(addresses, claim) if Family.of(a) is family]
        way = way_to(asking, mine[0], claim.mark) if mine else None
        if mine and way is None:
            yield Finding(
                kind=Blame.NOTICE,
                message=f"policies: this host has no route to their {len(mine)} {family} addresses "
                "now: they are not measured until there is one",
            )
        elif way is not None and family is Family.IPV4:
            interfaces |= _named(way.oif)
    yield from (c for name in sorted(interfaces) for c in _reverse_path(name))


def _links() -> set[str]:
    return {name for _, name in if_nameindex()}


def _link_of(address: str, asking: QuerySocket, claim: Claim) -> set[str]:
    """The link that an address is on, if any."""
    way = way_to(asking, address, claim.mark)
    return set() if way is None or way.gateway is not None else _named(way.oif)


def _named(index: int | None) -> set[str]:
    try:
        return {if_indextoname(index)} if index else set()
    except OSError:
        return set()


def _reverse_path(interface: str) -> Iterator[Finding]:
    """IPv4 only: the kernel has no such check for IPv6."""
    strictest = 0
    for name in ("all", interface):
        path = Path("/proc/sys/net/ipv4/conf", name, "rp_filter")
        try:
            strictest = max(strictest, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            return
    if strictest == _STRICT:
        yield Finding(
            kind=Blame.NOTICE,
            message=f"rp_filter: {interface} drops answers that come in another way than the "
            "route back leaves, as those of the probes do while an address is steered: wanted "
            f"sysctl -w net.ipv4.conf.{interface}.rp_filter=2",
        )
