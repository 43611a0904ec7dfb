"""docs/connecting-a-site.md, typed word for word: each example carries a whole incident."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml
from machines import NAMESPACES, OURS, SIN, everything, lay
from page import PAGE, Block, example, says
from stage import PATIENCE, QUICK, Stage, on_stage, slack

from steering.lab.network.peering import passable
from steering.lab.network.sandbox import PYTHON, LabError, find
from steering.lab.network.topology import EDGE, ISP
from steering.lab.scene import Scene, Settings
from steering.lab.servers.resolver import Resolving, Unbound
from steering.lab.servers.zone import Fault, FaultKind
from steering.lab.waiting import until
from steering.model import LOCAL, Family

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(find("nft") is None, reason="the program nft (nftables) is not installed"),
    pytest.mark.skipif(find("unbound") is None, reason="unbound is not installed"),
]

PARTLY = Fault(kind=FaultKind.EXPIRED, share=0.13)
MACHINES = ("edge", "router", "pao")


@dataclass(slots=True)
class Typist:
    """Types blocks of the page where they belong, and remembers which."""

    scene: Scene
    typed: set[int] = field(default_factory=set)
    """The lines of the page at which they stand."""
    unbound: list[str] = field(default_factory=list)
    """Lines for the `server:` clause."""
    config: dict[str, Any] = field(default_factory=dict)

    def type(self, block: Block) -> None:
        """Do what a block says, but for a console's."""
        self.typed.add(block.line)
        world, namespace = self.scene.world, NAMESPACES[block.machine]
        match block.language:
            case "sh":
                try:
                    world.run(namespace, ["sh", "-e"], stdin=block.text)
                except LabError as error:
                    if "Unknown device type" in str(error):
                        pytest.skip(f"this kernel makes no such link: {error}")
                    raise
            case "nft":
                world.run(namespace, ["nft", "-f", "-"], stdin=block.text)
            case "yaml":
                merge(self.config, yaml.safe_load(block.text))
            case "unbound":
                head, *lines = block.text.splitlines()
                assert head == "server:"
                self.unbound += [line.strip() for line in lines]
            case "bird":
                passable(world.work)
                conf = world.work / "bird.conf"
                conf.write_text(block.text)
                words = f"bird -f -c {conf} -s {world.work}/bird.ctl -P {world.work}/bird.pid"
                world.start(namespace, words.split(), log="bird.log")
            case other:
                pytest.fail(f"line {block.line}: nobody knows what to do with {other}")

    def prepare(self, number: int, change: Callable[[Block], Block] = lambda block: block) -> None:
        """Type what an example says is to be done beforehand."""
        for block in example(number):
            if block.time == "before":
                self.type(change(block))

    def look(self, block: Block, tell: Callable[[], str]) -> None:
        """Type what stands in a console, until it prints what stands there."""
        self.typed.add(block.line)
        for command, wanted in block.steps:
            self._look_for(block, command, wanted, tell)

    def _look_for(self, block: Block, command: str, wanted: str, tell: Callable[[], str]) -> None:
        last = ""

        def so() -> bool:
            nonlocal last
            last = self._prints(NAMESPACES[block.machine], command)
            return says(last, wanted)

        def why() -> str:
            return f"line {block.line}: {command}\n{last}\nwanted:\n{wanted}\n{tell()}"

        until(so, PATIENCE / 2, every=0.5, tell=why)

    def configure(self, settings: Settings) -> None:
        """Put what the page says into the agent's configuration, beside the lab's own."""
        config = yaml.safe_load(self.scene.configure(settings).read_text())
        merge(config, self.config)
        if "bgp" in config.get("act", {}):
            config["act"]["bgp"]["user"] = "nobody"  # the page's own has to be made first
        self.scene.config.write_text(json.dumps(config))

    def _prints(self, namespace: str, command: str) -> str:
        run = f'{PYTHON} -m steering "$word" --config {self.scene.config} "$@"'
        known = f"steering() {{ word=$1; shift; {run}; }}"
        done = self.scene.world.run(namespace, ["sh", "-c", f"{known}\n{command}"], check=False)
        return done.stdout + done.stderr


def merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Mappings are merged, but for the sites; everything else is replaced."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and key != "sites":
            merge(into[key], value)
        else:
            into[key] = value


@dataclass(slots=True)
class Play:
    """An example that is set up, and the agent asks."""

    number: int
    stage: Stage
    typist: Typist
    before: Mapping[str, set[str]]
    """What the machines had before any of it."""

    @property
    def hops(self) -> dict[str, str]:
        """The routes that send every address through pao."""
        hop = self.typist.config["sites"]["pao"]["next_hop"]
        return {a: hop[str(Family.of(a))] for a in self.stage.addresses}

    def look(self, time: str) -> None:
        """Type the consoles of this time."""
        for block in example(self.number):
            if block.time == time:
                self.typist.look(block, self.stage.story)

    def take_back(self) -> None:
        """As the page says: then nothing of it is left, and every block was typed."""
        scene = self.stage.scene
        scene.steering("off")
        scene.stop_agent()
        scene.resolver.stop()
        for block in example(self.number):
            if block.time == "back":
                self.typist.type(block)
        for machine in self.before:
            left = functools.partial(self._unlike, machine)
            until(left, PATIENCE / 2, wanted=set(), every=0.5, tell=machine)
        assert {block.line for block in example(self.number)} <= self.typist.typed

    def _unlike(self, machine: str) -> set[str]:
        """What is not as it was before, there or no longer there."""
        return self.before[machine] ^ everything(self.stage.scene.world, machine)


@contextmanager
def set_up(
    number: int,
    *,
    after: Sequence[int] = (),
    dnstap: str = "",
    pao: str = "healthy",
    change: Callable[[Block], Block] = lambda block: block,
    **laid: Any,  # noqa: ANN401 - those of `lay`, as they are
) -> Iterator[Play]:
    """An example is set up as the page says, `after` others, and the agent finds pao like that.

    `change` makes of a block another one.
    """
    typists: list[Typist] = []
    before: dict[str, set[str]] = {}

    def opening(scene: Scene) -> Resolving:
        typist = Typist(scene)
        typists.append(typist)
        lay(scene.world, **laid)
        for other in after:
            typist.prepare(other)
        before.update({machine: everything(scene.world, machine) for machine in MACHINES})
        typist.prepare(number, change)
        pod = any(block.machine == "pod" for block in example(number))
        if pod:
            scene.clients.server = typist.config["resolvers"][0]
            scene.world.run(EDGE, ["mkdir", "-p", "/run/steering"])
        return Unbound(
            scene.world,
            keys=scene.anchors,
            extra=typist.unbound,
            namespace="pod" if pod else EDGE,
            dnstap=dnstap,
        )

    with on_stage(QUICK, agent=False, sites=("pao",), resolver=opening) as stage:
        (typist,) = typists
        typist.configure(QUICK)
        stage.scene.start_agent()
        for path, health in ((LOCAL, "healthy"), ("pao", pao)):
            stage.await_health(health, path=path)
        yield Play(number=number, stage=stage, typist=typist, before=before)


@contextmanager
def play(number: int, **arguments: Any) -> Iterator[Play]:  # noqa: ANN401 - those of `set_up`
    """An example from its beginning to its end."""
    with set_up(number, **arguments) as played:
        yield played
        played.take_back()


def an_incident(played: Play, wanted: Callable[[], object], home: Callable[[], object]) -> None:
    """13 % of the record sets run out at the local instance, and are fresh again after a while."""
    stage = played.stage
    played.look("calm")
    stage.clients_fine()
    stage.scene.serve(PARTLY, paths=[LOCAL])
    stage.until(wanted, every=0.05)
    stage.await_proof()
    played.look("steered")
    stage.clients_fine()
    stage.scene.serve(paths=[LOCAL])
    stage.until(home, every=0.05)
    stage.clients_fine()
    stage.await_alarm("reach", "return", "bypassed", "kernel", "bgp", "pins", there=False)


def by_the_kernel(played: Play) -> None:
    """An incident in which this host's own table moves the packets."""
    routes = played.stage.scene.routes
    an_incident(played, lambda: routes() == played.hops, lambda: routes() == {})


def test_vxlan_and_snat_at_the_remote_site() -> None:
    with play(1) as played:
        by_the_kernel(played)


def test_a_routed_source_prefix_over_the_backbone() -> None:
    with play(2, backbone="edge", at_pao=OURS) as played:
        by_the_kernel(played)


@pytest.mark.skipif(find("bird") is None, reason="bird is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="the speaker gives up root, which only root can")
def test_bgp_with_pins_on_a_router() -> None:
    with play(3, backbone="router", at_pao=SIN) as played:
        scene = played.stage.scene

        def told() -> set[str]:
            """The addresses for which the router has a host route by BGP."""
            families = (
                scene.world.ip(ISP, "-j", f, "route", "show", "proto", "bird") for f in ("-4", "-6")
            )
            return {route["dst"] for text in families for route in json.loads(text or "[]")}

        an_incident(played, lambda: told() == set(played.stage.addresses), lambda: not told())


def test_a_resolver_with_bound_sources() -> None:
    with play(4, backbone="edge", at_pao=OURS, at_sin=OURS) as played:
        by_the_kernel(played)


POD: Mapping[str, Any] = {"after": (2,), "backbone": "edge", "at_pao": OURS}


def dnstap() -> str:
    """What Unbound's page says of dnstap, as it stands there."""
    page = (PAGE.parent / "resolvers" / "unbound.md").read_text()
    return page.partition("```text\n")[2].partition("```")[0]


def test_a_resolver_in_a_pod_behind_nat() -> None:
    with play(5, dnstap=dnstap(), **POD) as played:
        by_the_kernel(played)


def on_the_uplink_alone(block: Block) -> Block:
    """The usual fault, of which the page warns."""
    if block.language != "nft":
        return block
    text = block.text.replace('oifname != "pod0"', 'oifname "eth0"')
    assert text != block.text
    return replace(block, text=text)


def deaf(block: Block) -> Block:
    """The fault, and an agent that does not hear the pod."""
    text = block.text.replace("[/run/steering/dnstap.sock]", "[]")
    return on_the_uplink_alone(replace(block, text=text))


def unsaid(block: Block) -> Block:
    """Nor does anybody say that the pod is carried."""
    return replace(deaf(block), text=deaf(block).text.replace(SAID, ""))


SAID = 'forwarded_sources: [10.88.0.0/24, "fd88::/64"]\n'


def failing_share(stage: Stage, questions: int = 150) -> float:
    """Of the next questions of clients."""
    clients = stage.scene.clients
    start = now = clients.totals()

    def enough() -> bool:
        nonlocal now
        now = clients.totals()
        return now.failed + now.answered >= start.failed + start.answered + questions

    stage.until(enough, every=0.05, tell=lambda: now)
    failed = now.failed - start.failed
    return failed / (failed + now.answered - start.answered)


def test_a_pod_that_is_translated_on_the_uplink_alone_is_home_within_seconds_with_dnstap() -> None:
    with set_up(5, change=on_the_uplink_alone, dnstap=dnstap(), **POD) as played:
        stage = played.stage
        stage.scene.serve(PARTLY, paths=[LOCAL])
        stage.await_event("steered")
        stage.await_alarm("unserved")
        stage.await_routes({})
        assert failing_share(stage) < 0.5


def test_a_pod_that_is_translated_on_the_uplink_alone_is_home_within_seconds_unheard() -> None:
    """The kernel's table shows that nothing comes back to it."""
    with set_up(5, change=deaf, **POD) as played:
        stage = played.stage
        stage.clients_fine()
        stage.scene.serve(PARTLY, paths=[LOCAL])
        stage.await_event("steered")
        went = time.monotonic()
        stage.await_alarm("forwarded")
        stage.await_routes({})
        assert time.monotonic() - went < 10 + slack()
        assert failing_share(stage) < 0.5
        stage.steady({})


def test_a_pod_of_which_nobody_says_that_it_is_carried_is_sent_nowhere() -> None:
    """By IPv4: which families its resolver takes in the first seconds is up to that."""
    wanted = "pao (ipv4): 10.88.0.2 (over the local path: 192.0.2.53)"
    with set_up(5, change=unsaid, **POD) as played:
        stage = played.stage

        def told() -> bool:
            said = [a["because"] for a in stage.status()["alarms"] if a["name"] == "forwarded"]
            return wanted in "".join(said)

        stage.until(told)
        checked = stage.scene.steering("check")
        assert "forwarded_sources: 10.88.0.2 asks watched nameservers" in checked
        assert "192.0.2.53 asks" not in checked
        stage.scene.serve(PARTLY, paths=[LOCAL])
        stage.await_alarm("unproven")
        mine = set(stage.family(Family.IPV4))
        stage.asked_more(36, meanwhile=lambda: not mine & stage.scene.routes().keys())
        assert not mine & stage.about("steered")


def test_where_the_remote_provider_drops_our_sources_the_site_is_never_proven() -> None:
    """uRPF: the prefix is not announced there."""
    with set_up(2, pao="failing", backbone="edge") as played:
        stage = played.stage
        stage.await_alarm("reach")
        stage.scene.serve(PARTLY, paths=[LOCAL])
        stage.await_alarm("everywhere", "unproven")
        stage.steady({})


FIREWALLD = """\
table inet firewalld {{
  chain filter_PREROUTING {{
    type filter hook prerouting priority filter + 10;
    icmpv6 type {{ nd-router-advert, nd-neighbor-solicit }} accept
    meta nfproto ipv6 fib saddr . mark{0} oif missing drop
  }}
}}
"""
"""Its reverse path filter of IPv6, as version 2 puts it: ` . iif` where it is strict."""


def test_firewalld_s_filter_of_ipv6_keeps_a_site_from_being_proven_until_it_is_loose() -> None:
    with set_up(2, backbone="edge", at_pao=OURS) as played:
        stage, nft = played.stage, ["nft", "-f", "-"]
        stage.scene.world.run(EDGE, nft, stdin=FIREWALLD.format(" . iif"))
        stage.await_alarm("reach")
        stage.sh("nft delete table inet firewalld")
        stage.scene.world.run(EDGE, nft, stdin=FIREWALLD.format(""))
        stage.await_health("healthy", path="pao")
