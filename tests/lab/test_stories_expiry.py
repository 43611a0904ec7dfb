"""Signatures that ran out: what July 2023 was, and what it can look like."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import dns.rdatatype
import pytest
from dns.rdtypes.ANY.RRSIG import RRSIG
from stage import EXPIRED, QUICK, Kernel, add_foreign, foreign, on_stage, slack

from steering.lab.addresses import GTLD_SERVERS
from steering.lab.demo.timeline import route_times
from steering.lab.network.sandbox import find
from steering.lab.scene import Settings
from steering.lab.servers.signzone import signzone
from steering.lab.servers.zone import Fault, FaultKind, SignedZone, Validity
from steering.model import LOCAL, Family, Seconds, WallTime

pytestmark = pytest.mark.lab

DETECTED: Seconds = 5.0
"""From the first expired answer to both families of all addresses, at a cadence of 1 s."""
APART: Seconds = 0.010
"""Between the two families' routes."""
AFTERMATH: Seconds = 1.0
"""No client may fail later than this after the routes are in."""


def test_july_2023_takes_seconds_and_ends_by_itself() -> None:
    with on_stage(Settings(), nameservers=GTLD_SERVERS, count=300) as stage:
        scene, pao = stage.scene, stage.through("pao")
        add_foreign(stage)
        others = foreign(stage)
        kernel = Kernel(stage)
        zones = scene.zones(EXPIRED)
        began = time.time()  # no expired answer is older
        scene.authorities[LOCAL].serve(zones)
        stage.await_routes(pao)

        told = route_times(kernel.lines(), "5353")
        assert set(told) == set(stage.addresses)
        assert max(told.values()) - began <= DETECTED + slack()
        last = {family: max(told[a] for a in stage.family(family)) for family in Family}
        assert abs(last[Family.IPV4] - last[Family.IPV6]) <= APART
        assert began < min(stage.times("suspected")) <= min(stage.times("confirmed"))
        assert len(stage.about("confirmed")) * 2 > len(stage.addresses)  # the rest goes along
        stage.await_about("steered")
        assert max(stage.times("steered")) - began <= DETECTED + slack()
        stage.await_proof()

        stage.clients_fine()
        failed = scene.clients.totals()
        assert failed.failed, "it hurt before it was mended"
        assert failed.last_failure is not None
        assert failed.last_failure <= max(told.values()) + AFTERMATH + slack()

        fixed = scene.serve(paths=[LOCAL])
        stage.await_routes({}, within=25 + 2 * slack())
        stage.await_about("released")
        # The hold of 10 s counts from the breach.
        assert min(stage.times("released")) >= max(fixed, min(stage.times("confirmed")) + 10)
        stage.clients_fine()
        assert scene.clients.totals().failed == failed.failed, "the way back cost a client"
        assert not stage.about("undone")
        assert foreign(stage) == others


def test_thirteen_per_cent_of_the_rrsets_are_found_by_probes() -> None:
    settings = replace(QUICK, interval="300ms")
    with on_stage(settings, count=1000) as stage:
        began = time.time()
        partly = Fault(kind=FaultKind.EXPIRED, share=0.13, spare_apex=True)
        stage.scene.serve(partly, paths=[LOCAL])
        moved = stage.await_routes(stage.through("pao"), within=45)
        assert min(stage.times("suspected")) > began
        shares = [a["paths"][LOCAL]["failure_rate"] for a in stage.status()["addresses"]]
        assert max(shares) < 0.5, "most answers are still good, and nobody waits for all to fail"
        stage.clients_fine()
        failure = stage.scene.clients.totals().last_failure
        assert failure is not None, "clients met it"
        assert failure <= moved + AFTERMATH + slack()
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})


@pytest.mark.skipif(find("dnssec-signzone") is None, reason="needs bind9-utils")
def test_signatures_that_run_out_one_by_one_are_noticed_when_they_do(tmp_path: Path) -> None:
    with on_stage() as stage:
        scene = stage.scene
        now = time.time()
        # dnssec-signzone spreads the ends over the jitter: from 6 s to 20 s from now.
        validity = Validity(inception=now - 3600, life=3620, jitter=14, now=now)
        dying: list[SignedZone] = []
        for name, spec in scene.specs.items():
            directory = tmp_path / name.rstrip(".")
            directory.mkdir()
            dying.append(signzone(spec, scene.keys[name], validity, directory))
        ends = sorted(_ends(dying))
        assert ends[0] >= now + 5
        assert len(set(ends)) > 5, "they run out at different seconds"
        scene.authorities[LOCAL].serve(dying)
        assert time.time() < ends[0], "too slow a machine to be there in time"

        moved = stage.await_routes(stage.through("pao"), within=ends[-1] - time.time() + 5)
        stage.await_event("steered", now="pao")  # the routes are there before it is in the log
        assert min(stage.times("suspected")) >= ends[0]
        assert min(stage.times("steered")) >= ends[0]
        assert moved <= ends[-1] + 5 + slack()
        stage.clients_fine()


def test_keys_are_chained_from_the_root_through_the_resolver() -> None:
    with on_stage(nameservers=GTLD_SERVERS, root=True) as stage:
        anchors = (stage.scene.config.parent / "anchors").read_text()
        assert anchors.startswith(". 86400 IN DS")
        assert len(anchors.splitlines()) == 1
        assert "keys" not in stage.alarms()
        secure = [
            a["paths"][LOCAL]["outcomes"].get("secure", 0) for a in stage.status()["addresses"]
        ]
        assert min(secure) >= 3
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.clients_fine()
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})


def _ends(zones: Iterable[SignedZone]) -> list[WallTime]:
    """When the signatures over data run out."""
    return [
        float(rrsig.expiration)
        for zone in zones
        for rrset in zone.rrsets
        if rrset.rdtype == dns.rdatatype.RRSIG
        for rrsig in rrset
        if isinstance(rrsig, RRSIG) and rrsig.type_covered != dns.rdatatype.DNSKEY
    ]
