"""A site behind a tunnel that ends on the agent's own host, whose packets carry our marks on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from stage import EXPIRED, Stage, on_stage

from steering.lab.network.sandbox import PYTHON, LabError, Program
from steering.lab.network.topology import EDGE
from steering.model import LOCAL, Family
from steering.observe.query import query

pytestmark = pytest.mark.lab

INNER: Mapping[Family, str] = {Family.IPV4: "10.200.1.2", Family.IPV6: "fd00:200::2"}
"""The far end of the tunnel, inside it: the next hop to the site."""
_MARK = 0x41  # of the first site, as it is without `act.kernel`
_PORT = 4789


def dig_tunnel(stage: Stage, outer: Family) -> None:
    """VXLAN between the edge host and the router of pao, as Kubernetes' networks have it."""
    pao = stage.scene.world.paths["pao"]
    ends = {EDGE: pao.link(1)[outer], pao.router: pao.link(2)[outer]}
    for number, (namespace, local) in enumerate(ends.items(), 1):
        (remote,) = (end for end in ends.values() if end != local)
        way = f"local {local} remote {remote} dstport {_PORT}"
        try:
            stage.scene.world.ip(namespace, *f"link add vx0 type vxlan id 7 {way}".split())
        except LabError as error:
            pytest.skip(f"this kernel makes no VXLAN: {error}")
        stage.scene.world.ip_batch(
            namespace,
            (
                "link set dev vx0 up",
                f"addr add 10.200.1.{number}/24 dev vx0",
                f"addr add fd00:200::{number}/64 dev vx0 nodad",
            ),
        )


def through_the_tunnel(stage: Stage) -> None:
    """Have the configuration name the tunnel's end as the next hop."""
    text = stage.scene.config.read_text()
    for family, hop in stage.scene.world.paths["pao"].next_hop.items():
        assert hop in text
        text = text.replace(hop, INNER[family])
    stage.scene.config.write_text(text)


def answered(stage: Stage, address: str) -> bool:
    """Whether a question with the site's mark comes back, asked by hand."""
    with stage.scene.world.socket(EDGE, Family.of(address), mark=_MARK) as probe:
        probe.settimeout(0.5)
        probe.connect((address, 53))
        for _ in range(4):
            with contextlib.suppress(OSError):
                probe.send(b"\x07\x07" + query("com.", "SOA")[2:])
                return bool(probe.recv(4096))
    return False


def answers(stage: Stage) -> dict[str, int]:
    """How many answers over pao were counted."""
    counted = {a["address"]: a["paths"]["pao"]["outcomes"] for a in stage.status()["addresses"]}
    return {a: sum(n for what, n in o.items() if what == "secure") for a, o in counted.items()}


@pytest.mark.parametrize("outer", Family)
def test_a_site_behind_a_vxlan_that_ends_here_is_proven_and_taken(outer: Family) -> None:
    with on_stage(agent=False) as stage:
        dig_tunnel(stage, outer)
        for address in stage.addresses[:2]:
            # What a default route in the site's table would do, and a host route does.
            version = "-6" if ":" in address else "-4"
            hop = INNER[Family.of(address)]
            for family, inner in ((v, INNER[f]) for v, f in zip(("-4", "-6"), Family, strict=True)):
                stage.sh(f"ip {family} route add default via {inner} table 99")
                stage.sh(f"ip {family} rule add pref 99 fwmark {_MARK} lookup 99")
            assert not answered(stage, address)
            for family in ("-4", "-6"):
                stage.sh(f"ip {family} route del default table 99")
            stage.sh(f"ip {version} route add {address} via {hop} table 99")
            assert answered(stage, address)
            for family in ("-4", "-6"):
                stage.sh(f"ip {family} route flush table 99; ip {family} rule del pref 99")
        through_the_tunnel(stage)
        stage.scene.start_agent()
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        assert {a["paths"]["pao"]["nsid"] for a in stage.status()["addresses"]} == {"ns1-pao"}
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        steered = {a: INNER[Family.of(a)] for a in stage.addresses}
        stage.await_routes(steered)
        stage.await_proof()
        stage.clients_fine()
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})


def test_a_tunnel_that_goes_takes_its_site_out_and_no_local_answer_for_it() -> None:
    with on_stage(agent=False) as stage:
        dig_tunnel(stage, Family.IPV4)
        through_the_tunnel(stage)
        stage.scene.start_agent()
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        stage.sh("ip link del vx0")
        stage.await_alarm("kernel")
        before = answers(stage)
        stage.asked_more(12)
        assert answers(stage) == before, stage.story()
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("fra"))
        stage.until(lambda: stage.healths("pao"), 60.0, wanted={"unknown"})


# A tunnel in user space: what is sent to the interface goes to the other end by UDP.
_TUN = """
import contextlib, fcntl, os, select, socket, struct, sys
here, there = sys.argv[1:]
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF: TUN, NO_PI
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.bind((here, 5555))
wire.connect((there, 5555))
while True:
    for end in select.select([tun, wire], [], [])[0]:
        with contextlib.suppress(OSError):
            if end is tun:
                wire.send(os.read(tun, 65535))
            else:
                os.write(tun, wire.recv(65535))
"""


def open_tun(stage: Stage) -> list[Program]:
    """Both ends of the tunnel to pao, with an address of the edge host's on it."""
    pao = stage.scene.world.paths["pao"]
    edge, router = pao.link(1)[Family.IPV4], pao.link(2)[Family.IPV4]
    return [
        open_end(stage, EDGE, [edge, router], "addr add {} dev tun0 nodad"),
        open_end(stage, pao.router, [router, edge], "route replace {} dev tun0"),
    ]


def open_end(stage: Stage, namespace: str, ends: list[str], command: str) -> Program:
    world = stage.scene.world
    made = world.start(namespace, [PYTHON, "-c", _TUN, *ends])
    there = ["ip", "link", "show", "dev", "tun0"]
    stage.until(
        lambda: world.run(namespace, there, check=False).returncode, 30.0, wanted=0, every=0.05
    )
    lines = [command.format(address) for address in ("10.200.1.1/32", "fd00:200::1/128")]
    world.ip_batch(namespace, ["link set dev tun0 up", *lines])
    return made


def test_sites_behind_a_tun_and_behind_a_link_local_router() -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun")
    with on_stage(agent=False) as stage:
        tun = open_tun(stage)
        fra = stage.scene.world.paths["fra"]
        via = "fe80::7"
        for namespace, link, address in (
            (fra.router, EDGE, via),
            (EDGE, fra.interface, "fe80::8"),
        ):
            stage.scene.world.ip_batch(namespace, [f"addr add {address}/64 dev {link} nodad"])
        text = stage.scene.config.read_text()
        for hop in stage.scene.world.paths["pao"].next_hop.values():
            text = text.replace(f"'{hop}'", "{dev: tun0}").replace(hop, "{dev: tun0}")
        link_local = f'{{via: "{via}", dev: {fra.interface}}}'
        text = text.replace(f"'{fra.next_hop[Family.IPV6]}'", link_local)
        stage.scene.config.write_text(text)
        stage.scene.start_agent()
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        shown = {a["paths"][p]["nsid"] for a in stage.status()["addresses"] for p in ("pao", "fra")}
        assert shown == {"ns1-pao", "ns1-fra"}
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(dict.fromkeys(stage.addresses, ""))
        stage.await_proof()
        stage.clients_fine()
        for end in tun:  # the interfaces go with them
            end.kill()
        by_fra = {a: via if ":" in a else fra.next_hop[Family.IPV4] for a in stage.addresses}
        stage.await_routes(by_fra)
        stage.clients_fine()
        open_tun(stage)
        stage.await_health("healthy", path="pao")
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})
