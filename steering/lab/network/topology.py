r"""A small internet: an edge host, its provider, its own backbone, and anycast behind each.

::

                     isp -------- auth-local     the anycast instance that routing chose
                      |
                     edge                        resolver, agent, clients
                    /    \
              bb-pao      bb-fra                 links to the remote sites
                 |          |
                pao        fra                   their routers
                 |          |
             auth-pao    auth-fra                the instances *they* reach

With ``mesh`` the remote sites also have links between them (``bb-fra`` at pao and ``bb-pao`` at
fra), so that each can be an edge host of its own, with an agent that steers through the others.

Every ``auth-…`` namespace has the same addresses on its loopback, as with anycast. All links are
veth pairs with IPv4 and IPv6, without duplicate address detection, so that addresses work at once.
The addresses and routes of a namespace are one list of idempotent ``ip`` commands, which builds it
and also repairs a link that was down.

Other modules: the servers (``authority``), the resolver and clients (``resolver``, ``clients``).
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Self

from steering.lab.addresses import GTLD_SERVERS, addresses_of
from steering.lab.network.links import End, veth
from steering.lab.network.sandbox import LabError, Program, Sandbox, missing
from steering.lab.network.sockets import SocketFactory
from steering.model import LOCAL, Family

EDGE = "edge"
ISP = "isp"

# They must be set before a link comes up. Loose reverse path filtering (RFC 3704 2.4): an answer
# may come back by another link than the question left by.
_SYSCTLS = {
    "net/ipv4/ip_forward": 1,
    "net/ipv4/conf/all/rp_filter": 2,
    "net/ipv4/conf/default/rp_filter": 2,
    "net/ipv6/conf/all/forwarding": 1,
    "net/ipv6/conf/default/forwarding": 1,
    "net/ipv6/conf/default/accept_dad": 0,
    "net/ipv6/conf/default/accept_ra": 0,
    "net/ipv6/conf/default/keep_addr_on_down": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPath:
    """One path out of the edge host: a link, a router, and the instance behind it."""

    name: str
    number: int
    """0 for the provider, 1, 2, … for the remote sites in their order."""

    @property
    def router(self) -> str:
        """Namespace of the router at the far end of the link."""
        return ISP if self.name == LOCAL else self.name

    @property
    def auth(self) -> str:
        """Namespace of the anycast instance behind the router."""
        return f"auth-{self.name}"

    @property
    def interface(self) -> str:
        """Name of the link at the edge host."""
        return ISP if self.name == LOCAL else f"bb-{self.name}"

    def link(self, end: int) -> Mapping[Family, str]:
        """Addresses on the link to the edge host: end 1 is the edge, end 2 the router."""
        return _addresses(self.number, end)

    def inner(self, end: int) -> Mapping[Family, str]:
        """Addresses between router (end 1) and instance (end 2)."""
        return {
            Family.IPV4: f"10.255.{100 + self.number}.{end}",
            Family.IPV6: f"fd00:ff:{100 + self.number}::{end}",
        }

    @property
    def next_hop(self) -> Mapping[Family, str]:
        """The next hop of the edge host for this path."""
        return self.link(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another site, as seen from one of the sites."""

    interface: str
    """The link to it."""
    own: Mapping[Family, str]
    """Addresses of this end."""
    next_hop: Mapping[Family, str]
    """Addresses of the other end."""


class Topology:
    """The small internet, from entering the context until leaving it.

    ``addresses`` are the anycast addresses behind every path; ``sites`` the names of the
    remote sites, at most 99. Raises LabError if it cannot be built.
    """

    def __init__(
        self,
        *,
        addresses: Iterable[str] = addresses_of(GTLD_SERVERS),
        sites: Sequence[str] = ("pao", "fra"),
        mesh: bool = False,
        work: Path | None = None,
    ) -> None:
        self.addresses = tuple(addresses)
        self.sites = tuple(sites)
        self.paths = {
            name: LabPath(name=name, number=number) for number, name in enumerate((LOCAL, *sites))
        }
        """``local`` and the remote sites by name."""
        self._pairs = tuple(combinations(self.sites, 2)) if mesh else ()
        self._sandbox = Sandbox(work=work)
        self._sockets: dict[str, SocketFactory] = {}

    @staticmethod
    def missing() -> tuple[str, ...]:
        """What this machine lacks for the lab, as text; empty if nothing."""
        return missing()

    @property
    def work(self) -> Path:
        """The directory of configurations, zones and logs."""
        return self._sandbox.work

    @property
    def pid(self) -> int:
        """Process id, seen from outside, of the lab's init process."""
        return self._sandbox.pid

    def __enter__(self) -> Self:
        self._sandbox.__enter__()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process and namespace of the lab."""
        for factory in self._sockets.values():
            factory.close()
        self._sockets.clear()
        self._sandbox.close()

    def run(
        self,
        namespace: str,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end. Raises LabError if ``check`` and it fails."""
        return self._sandbox.run(namespace, argv, stdin=stdin, check=check, timeout=timeout)

    def start(
        self,
        namespace: str,
        argv: Sequence[str],
        *,
        log: str | Path | None = None,
        env: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Program:
        """Start a program; it ends with the lab at the latest."""
        return self._sandbox.start(namespace, argv, log=log, env=env, pass_fds=pass_fds)

    def ip(self, namespace: str, *words: str) -> str:
        """The output of ``ip`` in a namespace. Raises LabError if it fails."""
        return self.run(namespace, ["ip", *words]).stdout

    def ip_batch(self, namespace: str, lines: Iterable[str]) -> None:
        """Many ``ip`` commands in one process. Raises LabError at the first that fails."""
        self.run(namespace, ["ip", "-batch", "-"], stdin="\n".join(lines) + "\n")

    def socket(
        self,
        namespace: str,
        family: Family,
        kind: socket.SocketKind = socket.SOCK_DGRAM,
        *,
        mark: int = 0,
    ) -> socket.socket:
        """A socket of a namespace of the lab, for use in this process.

        A socket keeps the network namespace it was made in. So a socket that is made inside and
        passed out sends and receives there. ``mark`` is its SO_MARK.
        """
        if namespace not in self._sockets:
            self._sockets[namespace] = SocketFactory(self._sandbox, namespace)
        return self._sockets[namespace].make(family, kind, mark)

    def link(self, near: End, far: End) -> None:
        """One more link, both ends up."""
        self._sandbox.run(None, ["ip", *veth(near, far).split()])
        for end in (near, far):
            self.ip_batch(end.space, end.up)

    def link_down(self, path: str) -> None:
        """Take the edge host's own end of a link down: the kernel drops its routes."""
        self.ip(EDGE, "link", "set", "dev", self._path(path).interface, "down")

    def link_up(self, path: str) -> None:
        """Bring a link up again at both ends, with its addresses and routes."""
        path_ = self._path(path)
        for namespace in (path_.router, EDGE):
            self.ip_batch(namespace, self._configuration(namespace))

    def cut(self, path: str) -> None:
        """Take the far end of a link down: the edge host loses carrier."""
        self.ip(self._path(path).router, "link", "set", "dev", EDGE, "down")

    def blackhole(self, path: str, *, addresses: Iterable[str] | None = None) -> None:
        """Let a path's router silently drop packets to the addresses."""
        self.ip_batch(
            self._path(path).router,
            (f"route replace blackhole {_host(a)}" for a in self._anycast(addresses)),
        )

    def unblackhole(self, path: str, *, addresses: Iterable[str] | None = None) -> None:
        """End ``blackhole``."""
        path_ = self._path(path)
        self.ip_batch(
            path_.router, (_route_to(a, path_.inner(2)) for a in self._anycast(addresses))
        )

    def namespace(self, path: str) -> str:
        """The namespace of a site's host: its router, or the edge host for ``local``."""
        return EDGE if path == LOCAL else self.paths[path].router

    def neighbours(self, path: str) -> Mapping[str, Neighbour]:
        """The other sites, by name, that the host of a site has a link to."""
        if path == LOCAL:
            return {
                name: Neighbour(
                    interface=path_.interface, own=path_.link(1), next_hop=path_.link(2)
                )
                for name, path_ in self.paths.items()
                if name != LOCAL
            }
        path_ = self.paths[path]
        found = {LOCAL: Neighbour(interface=EDGE, own=path_.link(2), next_hop=path_.link(1))}
        for number, pair in enumerate(self._pairs, start=200):
            if path in pair:
                end = pair.index(path) + 1
                (other,) = set(pair) - {path}
                found[other] = Neighbour(
                    interface=f"bb-{other}",
                    own=_addresses(number, end),
                    next_hop=_addresses(number, 3 - end),
                )
        return found

    def _anycast(self, addresses: Iterable[str] | None) -> tuple[str, ...]:
        return self.addresses if addresses is None else tuple(addresses)

    def _path(self, name: str) -> LabPath:
        return self.paths[LOCAL if name == ISP else name]

    def _build(self) -> None:
        paths = self.paths.values()
        namespaces = [EDGE, *(ns for p in paths for ns in (p.router, p.auth))]
        self._sandbox.run(
            None,
            ["ip", "-batch", "-"],
            stdin="".join(f"netns add {namespace}\n" for namespace in namespaces),
        )
        settings = "".join(f"echo {v} >/proc/sys/{name}\n" for name, v in _SYSCTLS.items())
        for namespace in namespaces:
            self.run(namespace, ["sh", "-e"], stdin=settings)
        links = [(End(EDGE, p.interface), End(p.router, EDGE)) for p in paths]
        links += [(End(p.router, "auth"), End(p.auth, "router")) for p in paths]
        links += [(End(a, f"bb-{b}"), End(b, f"bb-{a}")) for a, b in self._pairs]
        self._sandbox.run(
            None,
            ["ip", "-batch", "-"],
            stdin="".join(f"{veth(near, far)}\n" for near, far in links),
        )
        for namespace in namespaces:
            self.ip_batch(namespace, self._configuration(namespace))

    def _configuration(self, namespace: str) -> list[str]:
        """Addresses and routes of one namespace, as commands that may be repeated."""
        if namespace == EDGE:
            lines = ["link set lo up"]
            for path_ in self.paths.values():
                lines += _interface(path_.interface, path_.link(1))
            return lines + _default(self.paths[LOCAL].next_hop)
        for path_ in self.paths.values():
            if namespace == path_.router:
                lines = ["link set lo up"]
                lines += _interface("auth", path_.inner(1))
                if path_.name == LOCAL:
                    lines += _interface(EDGE, path_.link(2))
                else:
                    for other in self.neighbours(path_.name).values():
                        lines += _interface(other.interface, other.own)
                if self._pairs:
                    lines += _default(path_.inner(2))  # its provider, as a host of its own
                lines += [
                    f"route replace 10.255.0.0/16 via {path_.link(1)[Family.IPV4]}",
                    f"route replace fd00:ff::/32 via {path_.link(1)[Family.IPV6]}",
                ]
                return lines + [_route_to(a, path_.inner(2)) for a in self.addresses]
            if namespace == path_.auth:
                lines = ["link set lo up", *_interface("router", path_.inner(2))]
                lines += _default(path_.inner(1))
                return lines + [f"addr replace {_host(a)} dev lo nodad" for a in self.addresses]
        raise LabError(f"the lab has no namespace {namespace}")


def _addresses(number: int, end: int) -> Mapping[Family, str]:
    return {Family.IPV4: f"10.255.{number}.{end}", Family.IPV6: f"fd00:ff:{number:x}::{end}"}


def _host(address: str) -> str:
    return f"{address}/{Family.of(address).bits}"


def _interface(name: str, addresses: Mapping[Family, str]) -> list[str]:
    lengths = {Family.IPV4: 24, Family.IPV6: 64}
    return End("", name, tuple(f"{a}/{lengths[f]}" for f, a in addresses.items())).up


def _default(next_hop: Mapping[Family, str]) -> list[str]:
    return [
        f"route replace 0.0.0.0/0 via {next_hop[Family.IPV4]}",
        f"route replace ::/0 via {next_hop[Family.IPV6]}",
    ]


def _route_to(address: str, next_hop: Mapping[Family, str]) -> str:
    return f"route replace {_host(address)} via {next_hop[Family.of(address)]}"
