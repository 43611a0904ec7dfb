"""Checks of this host before anything is installed. All findings are reported at once.

The checks only read. A finding that stops the agent has an exit code. A finding that the operator
should know, but that does not stop the agent, is a notice.
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

from steering import bounds, next_hop
from steering.act.kernel import rtnetlink
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import askable, objection, unfit
from steering.act.kernel.gateways import route_for
from steering.act.kernel.marks import shared_with
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.rules import Flow
from steering.act.kernel.state import KernelReader
from steering.model import Family, Seconds
from steering.system.permissions import may_change_routes
from steering.system.side_thread import within

_DISK_TIMEOUT: Seconds = 2.0
"""Time limit for a directory: its disk may hang."""
_STRICT = 1  # rp_filter: the answer must come in where the route back leaves (RFC 3704, 2.2)


class Blame(enum.IntEnum):
    """Whose fault a finding is: its exit code, or 0 for a notice."""

    NOTICE = 0
    FAILED = 1
    WRONG_INPUT = 2
    NOT_PERMITTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, where, and what is wanted."""

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
    """All findings about this host, worst first. Raises nothing.

    With `create`, missing directories are made, and each is tried with an empty file. Without it
    nothing is written. What the claims in `former` own will be removed soon, so it is no finding.
    While a lease is in force (`leased`), foreign routes and rules within the claim are a notice:
    stopping would end the steers, and the agent has an alarm for them.
    """
    directories = {"state": state, "runtime": runtime}
    found: list[Finding] = [*_capabilities(claim), *_directories(directories, create=create)]
    found += _shared_marks(claim)
    try:
        with KernelReader(claim) as kernel, QuerySocket() as query:
            found += _families(claim, query)
            found += _occupied(kernel, former, Blame.NOTICE if leased else Blame.WRONG_INPUT)
            found += _addresses(claim, addresses, kernel.own_addresses())
            found += _bypassed(kernel, addresses)
            found += _uplinks(claim, addresses, query)
    except OSError as error:
        found.append(
            Finding(
                kind=Blame.NOT_PERMITTED
                if error.errno in {errno.EPERM, errno.EACCES}
                else Blame.FAILED,
                message=f"kernel: routing can't be read over netlink: {error.strerror}",
            )
        )
    return tuple(sorted(found, key=lambda finding: -finding.kind))


def _capabilities(claim: Claim) -> Iterator[Finding]:
    if not claim.sites:
        return  # nothing is installed in this kernel
    if not may_change_routes("self"):
        yield Finding(
            kind=Blame.NOT_PERMITTED,
            message="act.kernel: routes, rules and marked probes need CAP_NET_ADMIN: run as root, "
            "grant it in the unit (AmbientCapabilities=), or set mode: observe",
        )


def _directories(directories: Mapping[str, Path], *, create: bool) -> Iterator[Finding]:
    check = _try if create else _check
    for key, path in directories.items():
        try:
            within(_DISK_TIMEOUT, functools.partial(check, path), key)
        except TimeoutError as error:
            yield Finding(
                # The agent can steer without `state`. Without `runtime` it has no lease.
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
    """Makes the directory, and an unnamed temporary file in it. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        pass


def _check(path: Path) -> None:
    """Raises the OSError that making the directory, or a file in it, would raise."""
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(there, os.W_OK | os.X_OK):
        denied = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(denied, os.strerror(denied))


def _families(claim: Claim, query: QuerySocket) -> Iterator[Finding]:
    for family in claim.families:
        # With policy routing there is at least the rule that looks up the local table.
        rules = query.dump(rtnetlink.GETRULE, rtnetlink.rules_of(family))
        if not any(rule and rule.family is family for rule in map(rtnetlink.rule_numbers, rules)):
            yield Finding(
                kind=Blame.FAILED,
                message=f"kernel: no policy routing for {family}: wanted a kernel with "
                f"{family} and IP_MULTIPLE_TABLES, or sites without {family} next hops",
            )


def _occupied(kernel: KernelReader, former: Collection[Claim], kind: Blame) -> Iterator[Finding]:
    claim = kernel.claim
    if not claim.sites:
        return
    for problem in kernel.foreign_rules_within():
        yield Finding(
            kind=Blame.NOTICE,
            message=f"act.kernel: {problem}: give that rule a preference outside "
            f"{claim.preferences[0]} to {claim.preferences[-1]} (`ip rule add pref ...`): "
            "our rules may need this one later",
        )
    for problem in kernel.foreign(besides=former):
        yield Finding(
            kind=kind,
            message=f"act.kernel: {problem}: wanted tables {claim.tables[0]} to "
            f"{claim.tables[-1]}, preferences {claim.preferences[0]} to {claim.preferences[-1]} "
            f"and marks {_marks(claim)} that no other program uses",
        )


def _marks(claim: Claim) -> str:
    return f"{claim.marks[0]:#x} to {claim.marks[-1]:#x} under the mask {claim.mask:#x}"


def _shared_marks(claim: Claim) -> Iterator[Finding]:
    users = shared_with(claim) if claim.sites else ()
    if users:
        yield Finding(
            kind=Blame.NOTICE,
            message=f"act.kernel.mark: {_marks(claim)} share bits with the marks of "
            f"{', '.join(users)}: if one of these runs here, its rules may catch our probes: "
            f"wanted the default mark {bounds.MARK:#x} under the mask {bounds.MASK:#x}, or bits "
            "that no other program on this host uses",
        )


def _bypassed(kernel: KernelReader, addresses: Collection[str]) -> Iterator[Finding]:
    """Foreign rules come and go, so they don't stop the agent. It steers no address whose packets
    they catch, and has an alarm for it.
    """
    if kernel.claim.sites:
        for text in kernel.bypasses(addresses).texts():
            yield Finding(kind=Blame.NOTICE, message=f"act.kernel: {text}")


def _addresses(claim: Claim, addresses: Collection[str], own: Collection[str]) -> Iterator[Finding]:
    allowed = frozenset(addresses if claim.sites else ())
    unsteerable: Counter[Family] = Counter()
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
            unsteerable[Family.of(address)] += 1
    for family, count in unsteerable.items():
        message = f"policies: {count} addresses can't be steered: no site has an {family} next hop"
        yield Finding(kind=Blame.NOTICE, message=message)
    for site, hops in claim.next_hops.items():
        for family, to in hops.items():
            if next_hop.parts(to)[0] in own:
                yield Finding(
                    kind=Blame.WRONG_INPUT,
                    message=f"sites.{site}.next_hop.{family}: {to} is this host itself: "
                    f"wanted a router that forwards to {site}",
                )


def _is_in(address: str, claim: Claim, site: str) -> bool:
    try:
        return claim.next_hop(site, Family.of(address)) is not None
    except ValueError:
        return False


def _uplinks(claim: Claim, addresses: Collection[str], query: QuerySocket) -> Iterator[Finding]:
    for name in claim.transit_interfaces:
        try:
            if_nametoindex(name)
        except OSError:
            yield Finding(
                kind=Blame.NOTICE,
                message=f"transit_interfaces: there is no interface {name} now: only packets that "
                "arrive by these interfaces are exempt from our detours",
            )
    interfaces: set[str] = set()
    for site, hops in claim.next_hops.items():
        for family, to in hops.items():
            via, dev = next_hop.parts(to)
            link = {dev} & _links() if dev else _link_of(via or "", query, claim)
            if not link:
                yield Finding(
                    kind=Blame.NOTICE,
                    message=f"sites.{site}.next_hop.{family}: {to} is on no link of this host "
                    f"now: no {family} packets can go through {site} until it is",
                )
            elif family is Family.IPV4:
                interfaces |= link
    for family in Family:
        ours = [a for a in askable(addresses, claim) if Family.of(a) is family]
        route = route_for(query, _unsteered(ours[0], claim)) if ours else None
        if ours and route is None:
            yield Finding(
                kind=Blame.NOTICE,
                message=f"policies: this host has no route to their {len(ours)} {family} addresses "
                "now: they are not measured until it has one",
            )
        elif route is not None and family is Family.IPV4:
            interfaces |= _name_of_index(route.oif)
    yield from (c for name in sorted(interfaces) for c in _reverse_path(name))


def _unsteered(address: str, claim: Claim) -> Flow:
    return Flow(destination=address, mark=claim.mark)


def _links() -> set[str]:
    return {name for _, name in if_nameindex()}


def _link_of(address: str, query: QuerySocket, claim: Claim) -> set[str]:
    """The link that an address is directly on; empty if there is none."""
    route = route_for(query, _unsteered(address, claim))
    return set() if route is None or route.gateway is not None else _name_of_index(route.oif)


def _name_of_index(index: int | None) -> set[str]:
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
            message=f"rp_filter: {interface} drops packets whose route back leaves by another "
            "interface. While an address is steered, answers to probes are such packets: wanted "
            f"sysctl -w net.ipv4.conf.{interface}.rp_filter=2",
        )
