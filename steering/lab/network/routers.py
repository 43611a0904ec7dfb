"""BIRD, FRR and GoBGP in the router's namespace: starts them, reads their routes, stops them."""

from __future__ import annotations

import contextlib
import json
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steering.act.bgp.settings import NO_EXPORT
from steering.lab.network.links import run
from steering.lab.network.peering import EDGE, ROUTER, Network, passable
from steering.lab.network.sandbox import find
from steering.lab.waiting import until
from steering.model import Family


@dataclass(frozen=True, kw_only=True)
class RouterRoute:
    """One route as a router has it."""

    next_hop: str
    local_preference: int | None
    communities: frozenset[str]


class Router(ABC):
    """One router program in the router's namespace."""

    program: str

    def __init__(self, network: Network, work: Path, *, peer_as: int, over: Family) -> None:
        """`peer_as` is the edge's AS; the router's own is 64512."""
        self.network, self.work = network, work
        self.peer_as, self.over = peer_as, over
        self.password = ""
        self.announces = 0
        """Number of routes of its own that it sends to the edge."""
        self.families: tuple[Family, ...] = tuple(Family)
        self.processes: list[subprocess.Popen[bytes]] = []
        work.mkdir(parents=True, exist_ok=True)

    @classmethod
    def missing(cls) -> bool:
        return find(cls.program) is None and not Path(cls.program).exists()

    @property
    def external(self) -> bool:
        return self.peer_as != 64512

    def spawn(self, command: str) -> None:
        log = (self.work / "log").open("ab")
        with log:
            self.processes.append(
                subprocess.Popen(
                    [*self.network.enter("router"), *command.split()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def stop(self) -> None:
        """At once, as in a crash."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def route(self, address: str) -> RouterRoute | None: ...

    @abstractmethod
    def updates(self) -> int:
        """The UPDATEs from the edge since the session is up, of both families.

        If a router counts routes instead: the announced and withdrawn ones.
        """

    @abstractmethod
    def drop_session(self) -> None:
        """Let the router end the session; it comes up again."""


class Bird(Router):
    program = "bird"
    KERNEL = "".join(
        f"protocol kernel k_{f} {{ {f} {{ export where source = RTS_BGP && "
        "dest != RTD_UNREACHABLE; }; }\n"
        for f in Family
    )

    def start(self) -> None:
        ours, theirs = ROUTER[self.over], EDGE[self.over]
        gateway = "gateway recursive; " if self.external else ""
        hosts = {Family.IPV4: "0.0.0.0/0{32,32}", Family.IPV6: "::/0{128,128}"}
        export = "all" if self.announces else "none"
        channels = " ".join(
            f"{f} {{ {gateway}import where net ~ [ {hosts[f]} ]; export {export}; }};"
            for f in self.families
        )
        static = "".join(
            f"route 100.{64 + i // 250}.{i % 250}.0/24 unreachable;" for i in range(self.announces)
        )
        (self.work / "bird.conf").write_text(
            "router id 10.9.0.2;\n"
            "protocol device { scan time 1; }\n"
            "protocol direct { ipv4; ipv6; check link on; }\n"
            f"protocol static {{ ipv4; {static} }}\n"
            + self.KERNEL
            + f"protocol bgp edge {{ local {ours} as 64512; neighbor {theirs} as {self.peer_as};"
            " hold time 9; error wait time 1, 10; connect delay time 1; connect retry time 1;"
            + (f' password "{self.password}";' if self.password else "")
            + f" {channels} }}\n"
        )
        self.spawn(f"bird -f -c {self.work}/bird.conf -s {self.work}/ctl -P {self.work}/pid")

    def _ask(self, command: str) -> str:
        return run(f"birdc -s {self.work}/ctl {command}", check=False)

    def route(self, address: str) -> RouterRoute | None:
        bits = Family.of(address).bits
        table = "master4" if bits == 32 else "master6"
        text = self._ask(f"show route all {address}/{bits} table {table}")
        words = dict(
            line.strip().removeprefix("BGP.").split(": ", 1)
            for line in text.splitlines()
            if line.strip().startswith("BGP.") and ": " in line.strip()
        )
        if "next_hop" not in words:
            return None
        names = {"65535,65281": NO_EXPORT}
        communities = words.get("community", "").strip("()").split(") (")
        communities += words.get("large_community", "").strip("()").split(") (")
        return RouterRoute(
            next_hop=words["next_hop"].split()[0],
            local_preference=int(words["local_pref"]) if "local_pref" in words else None,
            communities=frozenset(
                names.get(c, c.replace(", ", ":").replace(",", ":")) for c in communities if c
            ),
        )

    def drop_session(self) -> None:
        self._ask("restart edge")

    def updates(self) -> int:
        lines = self._ask("show protocols all edge").splitlines()
        return sum(
            int(line.split(":")[1].split()[0])
            for line in lines
            if "Import updates" in line or "Import withdraws" in line
        )


class Frr(Router):
    program = "/usr/lib/frr/bgpd"

    def start(self) -> None:
        theirs = EDGE[self.over]
        self.work.chmod(0o777)
        passable(self.work)  # it runs as a user of its own
        host = "ip prefix-list hosts4 permit 0.0.0.0/0 ge 32\nipv6 prefix-list hosts6 permit ::/0"
        lines = [
            f"{host} ge 128",
            "route-map in4 permit 10",
            " match ip address prefix-list hosts4",
            "route-map in6 permit 10",
            " match ipv6 address prefix-list hosts6",
            "route-map none deny 10",
            "router bgp 64512",
            " bgp router-id 10.9.0.2",
            " no bgp default ipv4-unicast",
            f" neighbor {theirs} remote-as {self.peer_as}",
            f" neighbor {theirs} timers 3 9",
            f" neighbor {theirs} timers connect 1",
            *([f" neighbor {theirs} disable-connected-check"] if self.external else []),
            *([f" neighbor {theirs} password {self.password}"] if self.password else []),
        ]
        for f in self.families:
            lines += [
                f" address-family {f} unicast",
                f"  neighbor {theirs} activate",
                f"  neighbor {theirs} route-map in{f[-1]} in",
                f"  neighbor {theirs} route-map none out",
                " exit-address-family",
            ]
        (self.work / "zebra.conf").write_text("log stdout\n")
        (self.work / "bgpd.conf").write_text("\n".join(lines) + "\n")
        common = f"--vty_socket {self.work} -z {self.work}/zserv"
        self.spawn(
            f"/usr/lib/frr/zebra -f {self.work}/zebra.conf -i {self.work}/zebra.pid"
            f" -A 127.0.0.1 -P 0 {common}"
        )
        until((self.work / "zserv").exists)
        self.spawn(
            f"/usr/lib/frr/bgpd -f {self.work}/bgpd.conf -i {self.work}/bgpd.pid"
            f" -A 127.0.0.1 -P 0 {common}"
        )

    def stop(self) -> None:
        super().stop()
        for stale in ("zserv", "zebra.vty", "bgpd.vty"):
            (self.work / stale).unlink(missing_ok=True)

    def _ask(self, *commands: str) -> str:
        words = [word for command in commands for word in ("-c", command)]
        done = subprocess.run(
            ["vtysh", "--vty_socket", str(self.work), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def route(self, address: str) -> RouterRoute | None:
        family = Family.of(address)
        text = self._ask(f"show bgp {family} unicast {address}/{family.bits} json")
        with contextlib.suppress(json.JSONDecodeError):
            for path in json.loads(text or "{}").get("paths", []):
                return RouterRoute(
                    next_hop=path["nexthops"][0]["ip"],
                    local_preference=path.get("locPrf"),
                    communities=frozenset(
                        {
                            *path.get("community", {}).get("list", []),
                            *path.get("largeCommunity", {}).get("list", []),
                        }
                    )
                    - {"noExport"}
                    | ({NO_EXPORT} if "noExport" in str(path.get("community")) else set()),
                )
        return None

    def updates(self) -> int:
        found = json.loads(self._ask(f"show bgp neighbors {EDGE[self.over]} json"))
        return int(found[EDGE[self.over]]["messageStats"]["updatesRecv"])

    def drop_session(self) -> None:
        self._ask("clear bgp *")


class GoBgp(Router):
    """GoBGP, which has only a RIB: a BIRD, to which it reflects the routes, installs them.

    It could use FRR's zebra, but its version 3.10 and the 8.4 of Debian 12 don't work together
    (osrg/gobgp#2681, docs/bgp.md).
    """

    program = "gobgpd"
    CLIENT: Mapping[Family, str] = {Family.IPV4: "10.9.0.3", Family.IPV6: "fd09::3"}

    @classmethod
    def missing(cls) -> bool:
        return super().missing() or Bird.missing()

    def start(self) -> None:
        theirs, client = EDGE[self.over], self.CLIENT[self.over]
        safis = "".join(
            f'[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name="{f}-unicast"\n'
            for f in self.families
        )
        secret = f'auth-password = "{self.password}"\n' if self.password else ""
        (self.work / "gobgp.conf").write_text(
            '[global.config]\nas = 64512\nrouter-id = "10.9.0.2"\n'
            f'local-address-list = ["{ROUTER[self.over]}"]\n'
            f'[[neighbors]]\n[neighbors.config]\nneighbor-address = "{theirs}"\n'
            f"peer-as = {self.peer_as}\n{secret}"
            "[neighbors.timers.config]\nhold-time = 9\nconnect-retry = 1\n"
            f"idle-hold-time-after-reset = 1\n{safis}"
            f'[[neighbors]]\n[neighbors.config]\nneighbor-address = "{client}"\n'
            "peer-as = 64512\n[neighbors.transport.config]\npassive-mode = true\n"
            "[neighbors.route-reflector.config]\nroute-reflector-client = true\n"
            f'route-reflector-cluster-id = "10.9.0.2"\n{safis}'
        )
        self.spawn(f"gobgpd -f {self.work}/gobgp.conf --api-hosts 127.0.0.1:50051 --pprof-disable")
        self._start_client()

    def _start_client(self) -> None:
        ours, client = ROUTER[self.over], self.CLIENT[self.over]
        nodad = " nodad" if self.over is Family.IPV6 else ""
        self.network.run("router", f"ip addr replace {client}/{self.over.bits} dev up-edge{nodad}")
        channels = " ".join(
            f"{f} {{ gateway recursive; import all; export none; }};" for f in self.families
        )
        (self.work / "bird.conf").write_text(
            "router id 10.9.0.3;\n"
            "protocol device { scan time 1; }\n"
            "protocol direct { ipv4; ipv6; check link on; }\n"
            + Bird.KERNEL
            + f"protocol bgp reflector {{ strict bind; local {client} port 1790 as 64512;"
            f" neighbor {ours} as 64512; hold time 9; error wait time 1, 10;"
            f" connect delay time 1; connect retry time 1; {channels} }}\n"
        )
        self.spawn(f"bird -f -c {self.work}/bird.conf -s {self.work}/ctl -P {self.work}/pid")

    def _ask(self, command: str) -> str:
        return self.network.run("router", f"gobgp -p 50051 {command}", check=False)

    def route(self, address: str) -> RouterRoute | None:
        family = Family.of(address)
        text = self._ask(f"-j global rib {address}/{family.bits} -a {family}")
        try:
            found: Mapping[str, list[dict[str, Any]]] = json.loads(text or "{}")
        except json.JSONDecodeError:
            return None
        # While it starts, and when it refuses, the values are not lists of paths.
        for path in (p for paths in found.values() if isinstance(paths, list) for p in paths):
            by_type: Mapping[int, Mapping[str, Any]] = {a["type"]: a for a in path["attrs"]}
            reach = by_type.get(14, {}).get("nexthop")
            known = {(65535 << 16) | 65281: NO_EXPORT}
            communities = {
                known.get(c, f"{c >> 16}:{c & 0xFFFF}")
                for c in by_type.get(8, {}).get("communities", [])
            }
            communities |= {
                f"{c['ASN']}:{c['LocalData1']}:{c['LocalData2']}"
                for c in by_type.get(32, {}).get("value", [])
            }
            return RouterRoute(
                next_hop=reach or by_type.get(3, {}).get("nexthop", ""),
                local_preference=by_type.get(5, {}).get("value"),
                communities=frozenset(communities),
            )
        return None

    def updates(self) -> int:
        found = json.loads(self._ask(f"-j neighbor {EDGE[self.over]}"))
        return int(found["state"]["messages"]["received"]["update"])

    def drop_session(self) -> None:
        self._ask(f"neighbor {EDGE[self.over]} reset")


ROUTERS: tuple[type[Router], ...] = (Bird, Frr, GoBgp)
