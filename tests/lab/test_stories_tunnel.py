"""A site behind a tunnel that ends on the agent's own host, whose packets carry our marks on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import pytest
from stage import EXPIRED, Stage, on_stage

from steering.lab.sandbox import LabError, poll
from steering.lab.world import EDGE
from steering.model import LOCAL, Family
from steering.observe.ask import query

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
        assert poll(lambda: stage.healths("pao") == {"unknown"}, timeout=60.0)
