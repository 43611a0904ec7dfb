"""Three sites that all run the agent: nobody sends anybody in circles."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest
from stage import EXPIRED, FEW, PATIENCE, QUICK

from steering.lab.fleet import HERE, Host
from steering.lab.network.sandbox import find
from steering.lab.network.topology import Topology
from steering.lab.scene import Scene
from steering.lab.waiting import until
from steering.model import LOCAL, Family
from steering.observe.query import query

pytestmark = pytest.mark.lab


@dataclass(slots=True)
class Fleet:
    """The three hosts of one scene."""

    scene: Scene
    hosts: Mapping[str, Host]

    def break_at(self, *sites: str) -> None:
        self.scene.serve(EXPIRED, paths=[LOCAL if s == HERE else s for s in sites])

    def mend_at(self, *sites: str) -> None:
        self.scene.serve(paths=[LOCAL if s == HERE else s for s in sites])

    def all_by(self, site: str, way: str | None) -> Callable[[], bool]:
        """Whether all addresses go from a site by a way; None: by its own path."""
        wanted = dict.fromkeys(self.scene.world.addresses, way) if way else {}
        return lambda: self.hosts[site].installed() == wanted

    def until(self, true: Callable[[], object], what: str) -> None:
        """Until it is so, with traffic from every site all the while."""

        def why() -> str:
            return f"not so: {what}; {self.story()}"

        until(true, PATIENCE, every=0.1, meanwhile=self.traffic, tell=why)

    def traffic(self, each: int = 3) -> None:
        """What the hosts' own resolvers would ask: without a mark, so it goes by the steers."""
        body = b"\x12\x34" + query("com.", "SOA")
        for host in self.hosts.values():
            for address in self.scene.world.addresses:
                with (
                    self.scene.world.socket(host.namespace, Family.of(address)) as sock,
                    contextlib.suppress(OSError),
                ):
                    sock.setblocking(False)
                    sock.connect((address, 53))
                    for _ in range(each):
                        sock.send(body)

    def looping(self) -> int:
        return sum(host.looping() for host in self.hosts.values())

    def story(self) -> str:
        return "; ".join(
            f"{name}: {set(host.installed().values())}, {host.health('local')}, {host.alarms()}"
            for name, host in self.hosts.items()
        )


@contextmanager
def fleet(
    orders: Mapping[str, Sequence[str]],
    *,
    transit: bool = True,
    overrides: Mapping[str, str] | None = None,
) -> Iterator[Fleet]:
    """All sites well, each with an agent that knows it; at the end no agent may have died."""
    if lacks := Topology.missing():
        pytest.skip("; ".join(lacks))
    if not find("nft"):
        pytest.skip("the program nft (package nftables) is not installed")
    with Scene(nameservers=FEW, count=40, mesh=True) as scene:
        scene.serve()
        hosts = {
            host.name: host
            for host in (Host(scene, path, transit=transit) for path in scene.world.paths)
        }
        for name, host in hosts.items():
            host.configure(orders[name], QUICK, (overrides or {}).get(name, ""))
            host.count_looping()
            host.start()
        mine = Fleet(scene, hosts)
        for name, host in hosts.items():
            # Where all is ordered from the start, the ways through the others may be circles.
            for path in ("local", *(() if overrides else orders[name])):
                mine.until(partial(_well, host, path), f"{name} by {path}")
        yield mine
        for host in hosts.values():
            assert host.agent is not None
            assert host.agent.running, host.agent.tail()
            assert "Traceback" not in host.agent.log.read_text(), host.agent.tail(40)


ALL = {"sin": ("pao", "fra"), "pao": ("sin", "fra"), "fra": ("sin", "pao")}


def test_two_sites_bad_at_home_both_go_to_the_third_and_nothing_circles() -> None:
    with fleet(ALL) as sites:
        sites.break_at("sin", "pao")
        sites.until(sites.all_by("sin", "fra"), "sin by fra")
        sites.until(sites.all_by("pao", "fra"), "pao by fra")
        assert sites.all_by("fra", None)()
        assert sites.looping() == 0
        sites.mend_at("sin", "pao")
        sites.until(sites.all_by("sin", None), "sin at home")
        sites.until(sites.all_by("pao", None), "pao at home")
        assert sites.looping() == 0


def test_a_target_that_is_itself_steering_is_not_chosen_while_another_is_proven() -> None:
    """Sin likes pao best. Its own probes through pao tell what pao's own path is worth."""
    with fleet(ALL) as sites:
        sites.break_at("pao")
        sites.until(sites.all_by("pao", "sin"), "pao by sin")
        sin = sites.hosts["sin"]
        sites.until(lambda: sin.health("pao") == {"failing"}, "sin knows of pao")
        sites.break_at("sin")
        sites.until(sites.all_by("sin", "fra"), "sin by fra")
        sites.until(sites.all_by("pao", "fra"), "pao leaves sin for fra")
        assert sites.looping() == 0


def test_a_target_that_goes_bad_later_is_left_and_nothing_circles_meanwhile() -> None:
    with fleet(ALL) as sites:
        sites.break_at("sin")
        sites.until(sites.all_by("sin", "pao"), "sin by pao")
        sites.break_at("pao")
        sites.until(sites.all_by("sin", "fra"), "sin by fra")
        sites.until(sites.all_by("pao", "fra"), "pao by fra")
        assert sites.looping() == 0


def test_two_that_have_only_each_other_stay_at_home_when_both_are_bad() -> None:
    with fleet({"sin": ("pao",), "pao": ("sin",), "fra": ("sin",)}) as sites:
        sites.break_at("sin", "pao")
        for name in ("sin", "pao"):
            host = sites.hosts[name]
            sites.until(partial(_alarmed, host), f"alarm at {name}")
        assert sites.all_by("sin", None)()
        assert sites.all_by("pao", None)()
        assert sites.looping() == 0
        sites.mend_at("pao")
        sites.until(sites.all_by("sin", "pao"), "sin by pao")
        assert sites.looping() == 0


def _well(host: Host, path: str) -> bool:
    return host.health(path) == {"healthy"}


def _alarmed(host: Host) -> bool:
    return bool(host.alarms() & {"everywhere", "clock"})


def _to(site: str) -> str:
    return (
        f"overrides:\n  - {{name: go, match: {{}}, action: steer, to: {site}, until: never, "
        "reason: a mistake, by: test}\n"
    )


@pytest.mark.parametrize("transit", [True, False], ids=["transit", "no-transit"])
def test_even_two_that_are_ordered_to_each_other_do_not_circle_by_the_transit_rule(
    *, transit: bool
) -> None:
    """Without the rule they do: the count is no decoration."""
    orders = {"sin": _to("pao"), "pao": _to("sin")}
    with fleet(ALL, transit=transit, overrides=orders) as sites:
        sites.until(sites.all_by("sin", "pao"), "sin by pao")
        sites.until(sites.all_by("pao", "sin"), "pao by sin")
        if transit:
            before = {name: _answered(sites, host) for name, host in sites.hosts.items()}
            assert all(before.values()), before
            assert sites.looping() == 0
        else:
            sites.until(lambda: sites.looping() > 100, "looping packets")


def _answered(sites: Fleet, host: Host) -> bool:
    """Whether traffic of this host without a mark is answered."""
    address = sites.scene.world.addresses[0]
    with sites.scene.world.socket(host.namespace, Family.of(address)) as sock:
        sock.settimeout(3.0)
        sock.connect((address, 53))
        sock.send(b"\x12\x34" + query("com.", "SOA"))
        try:
            return len(sock.recv(4096)) > 12
        except TimeoutError:
            return False
